//! DestinationRules: host and subsets.

use std::collections::BTreeMap;

use super::{labels, meta::named, names, pod};
use crate::{
    codes,
    place::{Place, Report},
};

/// `spec` of a DestinationRule.
pub(super) fn rule(spec: &Place<'_>, report: &mut Report) {
    if let Some(host) = spec.get("host") {
        let text = host.node.text().unwrap_or_default();
        let name = text.strip_prefix("*.").unwrap_or(text);
        if text != "*" && !names::SUBDOMAIN.fits(&name.to_ascii_lowercase()) {
            let message = format!("`{text}` is no host");
            let help = "write `backend` or `backend.default.svc.cluster.local`";
            report.error_help(codes::NAME, &host, message, help);
        }
    }
    let mut seen = BTreeMap::new();
    for subset in spec.list("subsets") {
        if let Some(name) = subset.get("name") {
            let text = name.node.text().unwrap_or_default();
            named(names::LABEL, text, &name, report);
            pod::unique("subset", &name, &mut seen, report);
        }
        if let Some(place) = subset.get("labels") {
            labels::labels(&place, report);
        }
    }
}
