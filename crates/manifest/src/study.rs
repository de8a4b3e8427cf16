//! Texts to objects that are to be understood and not applied here: manifests of any cluster with Istio.
//!
//! What Palisade can't run does not matter then, nor do kinds that it does not know; but a pod template is
//! one in whatever kind it stands.

use palisade_types::{Diagnostic, Span};
use serde_json::{Value, json};

use crate::{Content, Node, Object, Pod, codes, decode::decode_judged, schema};

/// What a text contains.
#[derive(Clone, Debug, Default)]
pub struct Study {
    /// Its sound objects of known kinds, in order.
    pub objects: Vec<Object>,
    /// Whatever runs pods, of any kind, in order.
    pub workloads: Vec<Workload>,
    /// Problems that would be ones in any cluster.
    pub diagnostics: Vec<Diagnostic>,
}

/// Something that runs pods.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// The pod that it runs, under the workload's own name.
    pub pod: Pod,
    /// The pod as JSON, with what [`Pod`] leaves out.
    pub value: Value,
    /// Where it is named.
    pub span: Span,
}

/// Decodes a text to study it.
#[must_use]
pub fn study(source: &str, text: &str) -> Study {
    let mut workloads = Vec::new();
    let decoded = decode_judged(source, text, |node, diagnostics| {
        workloads.extend(workload(node));
        diagnostics.into_iter().filter(|problem| counts(node, problem)).collect()
    });
    Study { objects: decoded.objects, workloads, diagnostics: decoded.diagnostics }
}

/// Whether a problem is one in any cluster.
fn counts(node: &Node, problem: &Diagnostic) -> bool {
    let only_here = [codes::UNSUPPORTED, codes::IGNORED, codes::UNSUPPORTED_KIND];
    if text(node, &["apiVersion"]).is_empty() && text(node, &["kind"]).is_empty() {
        // Values of a chart, a suite of probes: a file, but no manifest.
        return false;
    }
    if problem.code == codes::UNKNOWN_KIND.id {
        // A typing error in a name of Istio's is worth telling; that a kind is not known is not.
        let group = text(node, &["apiVersion"]).split('/').next().unwrap_or_default();
        return group.ends_with("istio.io")
            && schema::kinds().iter().any(|kind| kind.group == group)
            && problem.help.as_ref().is_some_and(|help| help.starts_with("did you mean"));
    }
    !only_here.iter().any(|code| code.id == problem.code)
}

/// The pod of an object that runs pods.
fn workload(node: &Node) -> Option<Workload> {
    let kind = text(node, &["kind"]);
    let template = match kind {
        "Pod" => node,
        "CronJob" => at(node, &["spec", "jobTemplate", "spec", "template"])?,
        _ => at(node, &["spec", "template"])?,
    };
    at(template, &["spec", "containers"])?;
    let mut metadata = at(template, &["metadata"]).map(Node::to_value).unwrap_or(json!({}));
    let fields = metadata.as_object_mut()?;
    let own = |key: &str| text(node, &["metadata", key]).to_owned();
    fields.insert("name".to_owned(), own("name").into());
    fields.insert("namespace".to_owned(), own("namespace").into());
    let mut value = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": at(template, &["spec"])?.to_value(),
    });
    if let Some(status) = at(template, &["status"]) {
        value["status"] = status.to_value();
    }
    let name = at(node, &["metadata", "name"]).unwrap_or(node);
    let pod = serde_json::from_value(value.clone()).ok()?;
    Some(Workload { kind: kind.to_owned(), pod, value, span: name.span })
}

fn at<'a>(node: &'a Node, keys: &[&str]) -> Option<&'a Node> {
    keys.iter().try_fold(node, |node, key| node.get(key).filter(|it| it.value != Content::Null))
}

fn text<'a>(node: &'a Node, keys: &[&str]) -> &'a str {
    at(node, keys).and_then(Node::text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_found_in_any_kind() {
        let containers = "{containers: [{name: a, image: b}]}";
        let text = format!(
            "{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: db, namespace: x}}, \
             spec: {{template: {{metadata: {{labels: {{app: db}}}}, spec: {containers}}}}}}}\n---\n\
             {{apiVersion: batch/v1, kind: CronJob, metadata: {{name: nightly}}, \
             spec: {{jobTemplate: {{spec: {{template: {{spec: {containers}}}}}}}}}}}\n---\n\
             {{apiVersion: v1, kind: Pod, metadata: {{name: one}}, spec: {containers}}}\n---\n\
             {{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{ports: [{{port: 80}}]}}}}"
        );
        let study = study("t", &text);
        let found: Vec<(&str, &str, &str)> = study
            .workloads
            .iter()
            .map(|it| {
                let metadata = &it.pod.metadata;
                (it.kind.as_str(), metadata.name.as_str(), metadata.namespace.as_str())
            })
            .collect();
        let expected = [("StatefulSet", "db", "x"), ("CronJob", "nightly", ""), ("Pod", "one", "")];
        assert_eq!(found, expected);
        assert_eq!(study.diagnostics, []);
        assert_eq!(study.workloads[0].pod.metadata.labels["app"], "db");
    }

    #[test]
    fn what_can_not_be_honoured_here_is_no_problem_elsewhere() {
        for (text, expected) in [
            (
                "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: a}, spec: {}}",
                &[][..],
            ),
            ("{apiVersion: networking.istio.io/v1, kind: EnvoyFilter, metadata: {name: a}}", &[]),
            (
                "{apiVersion: security.istio.io/v1, kind: AuthorisationPolicy, metadata: {name: a}}",
                &["PAL0012"],
            ),
            (
                "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {rulez: []}}",
                &["PAL0013"],
            ),
        ] {
            let study = study("t", text);
            let codes: Vec<&str> = study.diagnostics.iter().map(|it| it.code.as_str()).collect();
            assert_eq!(codes, expected, "{text}");
        }
    }
}
