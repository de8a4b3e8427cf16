//! PeerAuthentications.

use super::istio;
use crate::{
    codes,
    place::{Place, Report},
};

/// `spec` of a PeerAuthentication.
pub(super) fn policy(spec: &Place<'_>, report: &mut Report) {
    istio::selector(spec, report);
    let Some(ports) = spec.get("portLevelMtls") else { return };
    let selected = spec
        .walk(&["selector", "matchLabels"])
        .is_some_and(|labels| labels.entries().next().is_some());
    if !selected {
        let message = "`portLevelMtls` needs a selector with labels";
        let help = "ports are those of chosen workloads; a policy for all of them has none";
        report.push(
            palisade_types::Diagnostic::error(codes::PORT_LEVEL.id, message)
                .at(ports.key_span, "")
                .field(&ports.path)
                .help(help),
        );
    }
    if ports.entries().next().is_none() {
        report.error_key(codes::EMPTY, &ports, "`portLevelMtls` is empty");
    }
    for (port, place) in ports.entries() {
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            let message = format!("`{port}` is no port; ports are 1 to 65535");
            report.error_key(codes::RANGE, &place, message);
        }
    }
}
