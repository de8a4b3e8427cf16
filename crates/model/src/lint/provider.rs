//! CUSTOM policies whose external authorizer can't be asked, so that they deny.

use palisade_manifest::{Action, codes};

use super::{Lint, Subject};

pub(super) fn check(lint: &mut Lint<'_>, subject: &Subject<'_>) {
    let spec = &subject.policy.spec;
    let Some(named) = spec.provider.as_ref().filter(|_| spec.action == Action::Custom) else {
        return;
    };
    let name = &named.name;
    let providers = &lint.world.mesh().extension_providers;
    let (message, help) = match providers.iter().find(|provider| provider.name == *name) {
        None => (
            format!("there is no extension provider `{name}`, so what the rules match is denied"),
            "define it in `extensionProviders` of the ConfigMap `istio`, and check both together",
        ),
        Some(provider) => match &provider.trouble {
            None => return,
            Some(trouble) => (
                format!("`{name}` can't be asked, so what the rules match is denied: {trouble}"),
                "apply the Service or ServiceEntry, and check both together",
            ),
        },
    };
    let at = (subject.study, subject.object);
    lint.report(codes::REFERENCE, at, "spec.provider.name", message, help);
}
