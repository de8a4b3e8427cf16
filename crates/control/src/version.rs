//! What the API server's version means for us. It is asked once, at the start: a cluster that is made newer
//! is taken for the older until the control plane starts again, which is right there too.

use std::time::Duration;

use kube::Client;
use tokio::time::sleep;

/// What an API server can do that not all can.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Abilities {
    /// Init containers with `restartPolicy: Always`, on by default from Kubernetes 1.29.
    pub(crate) native_sidecars: bool,
    /// `discovery.k8s.io/v1`, from 1.21; before that it is `v1beta1`, with the same fields.
    pub(crate) stable_endpoint_slices: bool,
}

/// What the API server can do, asked until it answers.
pub(crate) async fn abilities(client: &Client) -> Abilities {
    let mut pause = FIRST_PAUSE;
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                let abilities = Abilities::of(&version.major, &version.minor);
                tracing::info!(version = version.git_version, ?abilities, "the API answers");
                return abilities;
            }
            Err(error) => tracing::warn!(%error, "the API's version is not known yet, retrying"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Abilities {
    /// A provider's minor may read `29+`; what is no number is an old version, since a plain container works
    /// everywhere.
    fn of(major: &str, minor: &str) -> Self {
        let number = |text: &str| -> Option<u32> {
            let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
            text.get(..end)?.parse().ok()
        };
        let version = number(major).zip(number(minor));
        Self {
            native_sidecars: version >= Some((1, 29)),
            stable_endpoint_slices: version >= Some((1, 21)),
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_come_with_versions_whatever_a_provider_appends() {
        for (major, minor, native, stable) in [
            ("1", "20", false, false),
            ("1", "21", false, true),
            ("1", "28+", false, true),
            ("1", "29", true, true),
            ("1", "29+", true, true),
            ("1", "36", true, true),
            ("2", "0", true, true),
            ("", "", false, false),
            ("1", "x29", false, false),
            ("1", "99999999999", false, false),
        ] {
            let expected = Abilities { native_sidecars: native, stable_endpoint_slices: stable };
            assert_eq!(Abilities::of(major, minor), expected, "{major}.{minor}");
        }
    }
}
