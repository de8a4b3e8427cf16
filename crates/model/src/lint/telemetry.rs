//! Telemetry whose spans would go nowhere.

use palisade_manifest::{Object, Telemetry, Typed, codes};

use super::Lint;
use crate::snapshot::tracing_provider;

pub(super) fn check(lint: &mut Lint<'_>) {
    let studies = lint.studies.iter().enumerate();
    let objects = studies.flat_map(|(at, study)| study.objects.iter().map(move |it| (at, it)));
    for (study, object) in objects {
        if let Typed::Telemetry(telemetry) = &object.typed {
            providers(lint, (study, object), telemetry);
        }
    }
}

fn providers(lint: &mut Lint<'_>, at: (usize, &Object), telemetry: &Telemetry) {
    let settings = &lint.world.mesh().tracing;
    for (index, rule) in telemetry.spec.tracing.iter().enumerate() {
        if rule.disable_span_reporting == Some(true) {
            continue;
        }
        let named = rule.providers.first().map(|it| it.name.as_str());
        let Some(name) = named.or(settings.default_provider.as_deref()) else {
            let help = "name one in `providers`, or in `defaultProviders.tracing` of the mesh";
            let message = "no provider gets the spans of this Telemetry, so there are none";
            let path = format!("spec.tracing[{index}]");
            return lint.report(codes::REFERENCE, at, &path, message, help);
        };
        let (message, help) = match tracing_provider(settings, name) {
            None => (
                format!("there is no provider `{name}` that takes spans, so there are none"),
                "define it in `extensionProviders` of the ConfigMap `istio`, with `opentelemetry`",
            ),
            Some(provider) => match &provider.trouble {
                None => continue,
                Some(trouble) => (
                    format!("`{name}` gets no spans: {trouble}"),
                    "apply the Service or ServiceEntry, and check both together",
                ),
            },
        };
        lint.report(codes::REFERENCE, at, &format!("spec.tracing[{index}]"), message, help);
    }
}
