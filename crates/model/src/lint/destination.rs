//! DestinationRules that have clients speak plaintext to workloads that take mTLS only.

use palisade_manifest::{DestinationRule, Object, TlsMode, Typed, codes};
use palisade_types::MtlsMode;

use super::{Lint, or_default};
use crate::snapshot::{is_about, service_ref};

pub(super) fn check(lint: &mut Lint<'_>) {
    let studies = lint.studies.iter().enumerate();
    let objects = studies.flat_map(|(at, study)| study.objects.iter().map(move |it| (at, it)));
    for (study, object) in objects {
        if let Typed::DestinationRule(rule) = &object.typed {
            plaintext(lint, (study, object), rule.as_ref().clone());
        }
    }
}

fn plaintext(lint: &mut Lint<'_>, at: (usize, &Object), mut rule: DestinationRule) {
    rule.metadata.namespace = or_default(&rule.metadata.namespace).to_owned();
    let tls = rule.spec.traffic_policy.as_ref().and_then(|policy| policy.tls.as_ref());
    if tls.is_none_or(|tls| tls.mode == TlsMode::IstioMutual) {
        return;
    }
    let world = lint.world;
    let services = world.services().filter(|service| is_about(&rule, &service_ref(service)));
    let reset = services
        .flat_map(|service| world.behind(service).map(move |pod| (service, world.arrival(pod))))
        .find_map(|(service, arrival)| {
            let mut ports = world.targets(service, arrival.pod());
            let port = ports.find(|port| arrival.mtls().at(*port) == MtlsMode::Strict)?;
            arrival.has_sidecar().then(|| (service.metadata.name.clone(), port))
        });
    let Some((service, port)) = reset else { return };
    let message = format!(
        "clients of `{service}` are told to speak plaintext, and port {port} behind it takes mTLS only"
    );
    let help = "remove `tls`, or write `mode: ISTIO_MUTUAL`";
    lint.report(codes::CLIENT_PLAINTEXT, at, "spec.trafficPolicy.tls.mode", message, help);
}
