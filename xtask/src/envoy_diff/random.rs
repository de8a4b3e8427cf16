//! Random scenes: policies, a workload and requests, as cases in conformance/ have them.

use palisade_policy::generators;
use serde_json::{Value, json};

/// So many requests that every policy set costs little, and so few that there are many sets.
const REQUESTS: usize = 20;

/// A case without its requests: the fields of authz-cases.yaml.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) mesh: Value,
    pub(super) workload: Value,
    pub(super) policies: Vec<Value>,
    pub(super) requests: Vec<Value>,
}

/// As many scenes as it takes for `pairs` requests; a seed repeats them.
pub(super) fn scenes(seed: u64, pairs: usize) -> Vec<Draft> {
    let mut left = pairs;
    let mut drafts = Vec::with_capacity(pairs / REQUESTS + 1);
    for (index, (policies, asked)) in generators::scenes(seed, REQUESTS).enumerate() {
        if left == 0 {
            break;
        }
        let tcp = index % 8 == 7;
        let mut mesh = json!(generators::mesh());
        mesh["pathNormalization"] = json!(NORMALIZATIONS[index % NORMALIZATIONS.len()]);
        let workload = json!({
            "namespace": "foo",
            "labels": generators::labels(),
            "protocol": if tcp { "TCP" } else { "HTTP" },
            "ip": "10.9.9.9",
        });
        // No mesh here has a provider to ask, so that what CUSTOM rules match is denied.
        let mut policies: Vec<Value> = policies.iter().map(|policy| json!(policy)).collect();
        for policy in &mut policies {
            policy["kind"] = json!("AuthorizationPolicy");
        }
        policies.push(json!({
            "kind": "RequestAuthentication",
            "metadata": {"name": "tokens", "namespace": "foo"},
            "spec": {"jwtRules": [{"issuer": "i"}, {"issuer": "https://i/x"}]},
        }));
        let requests: Vec<Value> =
            asked.iter().take(left).map(|asked| asked.request(!tcp)).collect();
        left -= requests.len();
        drafts.push(Draft { mesh, workload, policies, requests });
    }
    drafts
}

const NORMALIZATIONS: [&str; 4] = ["BASE", "NONE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"];
