//! What the API server's version means for us. It is asked once, at the start: a cluster that is made newer
//! is taken for the older until the control plane starts again, which is right there too.

use std::time::Duration;

use kube::Client;
use tokio::time::sleep;

/// Whether the API server knows native sidecars, asked until it answers.
pub(crate) async fn knows_native_sidecars(client: &Client) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                let native = has_native_sidecars(&version.major, &version.minor);
                tracing::info!(
                    version = version.git_version,
                    native,
                    "sidecars as the API knows them"
                );
                return native;
            }
            Err(error) => tracing::warn!(%error, "the API's version is not known yet, retrying"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Init containers with `restartPolicy: Always` are on by default from Kubernetes 1.29. A provider's minor may
/// read `29+`; what is no number is an old version, since a plain container works everywhere.
fn has_native_sidecars(major: &str, minor: &str) -> bool {
    let number = |text: &str| -> Option<u32> {
        let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end)?.parse().ok()
    };
    number(major).zip(number(minor)) >= Some((1, 29))
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sidecars_are_native_from_1_29_whatever_a_provider_appends() {
        for (major, minor, native) in [
            ("1", "20", false),
            ("1", "28+", false),
            ("1", "29", true),
            ("1", "29+", true),
            ("1", "36", true),
            ("2", "0", true),
            ("", "", false),
            ("1", "x29", false),
            ("1", "99999999999", false),
        ] {
            assert_eq!(has_native_sidecars(major, minor), native, "{major}.{minor}");
        }
    }
}
