//! Webhook configurations.

use std::collections::BTreeMap;

use super::{labels, meta::named, names, pod, volume, workload::within};
use crate::{
    codes,
    place::{Place, Report},
};

/// A MutatingWebhookConfiguration or ValidatingWebhookConfiguration.
pub(super) fn configuration(root: &Place<'_>, report: &mut Report) {
    let mut seen = BTreeMap::new();
    for webhook in root.list("webhooks") {
        if let Some(name) = webhook.get("name") {
            let text = name.node.text().unwrap_or_default();
            if named(names::SUBDOMAIN, text, &name, report) && text.split('.').count() < 3 {
                let message = format!("`{text}` has fewer than three parts");
                let help = "a webhook has a name such as `inject.example.com`";
                report.error_help(codes::NAME, &name, message, help);
            }
            pod::unique("webhook", &name, &mut seen, report);
        }
        self::webhook(&webhook, report);
    }
}

fn webhook(webhook: &Place<'_>, report: &mut Report) {
    within(webhook, "timeoutSeconds", 1, 30, report);
    for key in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = webhook.get(key) {
            labels::selector(&selector, report);
        }
    }
    if let Some(versions) = webhook.get("admissionReviewVersions")
        && !versions.items().any(|version| version.node.text() == Some("v1"))
    {
        let message = "the webhook does not take AdmissionReview `v1`";
        report.error_help(codes::VALUE, &versions, message, "no other version is sent");
    }
    for rule in webhook.list("rules") {
        for key in ["apiGroups", "apiVersions", "operations", "resources"] {
            if rule.list(key).next().is_none() {
                report.missing(&rule, key);
            }
        }
    }
    let Some(client) = webhook.get("clientConfig") else { return };
    volume::exactly_one(&client, &["service", "url"], report);
    if let Some(url) = client.get("url") {
        let text = url.node.text().unwrap_or_default();
        if !text.starts_with("https://") {
            report.error(codes::FORM, &url, format!("`{text}` does not start with `https://`"));
        }
    }
    if let Some(service) = client.get("service") {
        within(&service, "port", 1, 65535, report);
    }
}
