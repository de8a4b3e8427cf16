//! The certificate that the control plane's own servers show: for the names of its Service, from the mesh's
//! authority, renewed while it runs.

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use palisade_pki::{Credential, IssueError};
use palisade_tls::HttpsAcceptor;
use tokio::time::sleep;

use crate::{
    ca::{Authorities, Ca},
    metrics::Metrics,
    registration::SERVICE,
    run::{ControlOptions, RunError},
};

/// Ends TLS with a certificate of the mesh's authority.
pub(crate) fn acceptor(
    authorities: &Authorities,
    options: &ControlOptions,
    metrics: &Metrics,
) -> Result<HttpsAcceptor, RunError> {
    let own = server_certificate(authorities, options)?;
    let protocols = ["h2", "http/1.1"];
    let acceptor = HttpsAcceptor::new(&own.certificate_pem, &own.key_pem, None, &protocols)?;
    metrics.own_certificate(own.facts.not_after);
    Ok(acceptor)
}

fn server_certificate(
    authorities: &Authorities,
    options: &ControlOptions,
) -> Result<Credential, IssueError> {
    let namespace = &options.namespace;
    let names = [
        format!("{SERVICE}.{namespace}.svc"),
        format!("{SERVICE}.{namespace}.svc.cluster.local"),
        format!("{SERVICE}.{namespace}"),
        SERVICE.to_owned(),
    ];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Nobody calls "any address".
    let addresses: &[IpAddr] = match options.listen_ip.is_unspecified() {
        true => &[],
        false => &[options.listen_ip],
    };
    let authority = &authorities.own.authority;
    authority.server_credential(&names, addresses, LIFETIME, Timestamp::now())
}

/// Renews the servers' own certificate at half its life, and when another authority signs, for ever.
pub(crate) async fn renew(
    ca: Arc<Ca>,
    acceptor: Arc<HttpsAcceptor>,
    options: ControlOptions,
    metrics: Arc<Metrics>,
) {
    let mut authorities = ca.changes();
    let mut wait = LIFETIME / 2;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            Ok(()) = authorities.changed() => {}
        }
        let now = Arc::clone(&authorities.borrow_and_update());
        let renewed = server_certificate(&now, &options).map_err(RunError::from).and_then(|own| {
            acceptor.reload(&own.certificate_pem, &own.key_pem)?;
            Ok(own.facts.not_after)
        });
        wait = match renewed {
            Ok(not_after) => {
                metrics.own_certificate(not_after);
                LIFETIME / 2
            }
            Err(error) => {
                metrics.failed_own_renewals.add(1);
                tracing::error!(%error, "the control plane's own certificate is not renewed");
                TRY_AGAIN
            }
        };
    }
}

const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How soon a certificate that could not be renewed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use palisade_pki::certificates_from_pem;

    use super::*;
    use crate::{
        authority::{Held, Rotation},
        run::AuthorityPlace,
    };

    #[test]
    fn the_address_to_listen_on_is_certified_unless_it_is_any() {
        let own = Held::generate(Timestamp::now()).unwrap();
        let authorities = Authorities { own, rotation: Rotation::Settled };
        // A GeneralName of an address is [7] (RFC 5280, section 4.2.1.6), with its octets.
        for (listen, certified) in [([10, 96, 0, 7], true), ([0, 0, 0, 0], false)] {
            let options =
                ControlOptions::new(None, AuthorityPlace::Folder("ca".into()), listen.into());
            let own = server_certificate(&authorities, &options).unwrap();
            let [a, b, c, d] = listen;
            let shown = certificates_from_pem(&own.certificate_pem).unwrap();
            let found = shown[0].windows(6).any(|it| it == [0x87, 4, a, b, c, d]);
            assert_eq!(found, certified, "{listen:?}");
        }
    }
}
