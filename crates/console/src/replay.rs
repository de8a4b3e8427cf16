//! Which of the calls that were seen lately a draft would treat otherwise. Both answers come from the engine; what
//! a record does not tell is bounded from both sides, and where that leaves two answers, neither is given.

use std::collections::HashMap;

use palisade_model::{Arrival, Call, Request, World};
use palisade_policy::{
    Verdict,
    explain::{Explanation, LayerName},
};
use palisade_telemetry::{
    DecisionRecord, ReportingWorkload,
    history::{Directory, KnownCall},
};
use serde::Serialize;

use crate::{calls::Party, view::Draft};

/// What a draft would change.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replayed {
    /// Kinds of calls that were replayed.
    kinds: usize,
    /// Those of which the answer is another one.
    flips: Vec<Flip>,
    /// Those of which no answer can be given.
    unknown: Vec<Unknown>,
}

/// A kind of call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    source: Option<Party>,
    principal: Option<String>,
    address: String,
    target: Option<Party>,
    port: u16,
    method: String,
    host: Option<String>,
    path: String,
    /// How often it was told of.
    seen: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Flip {
    #[serde(flatten)]
    kind: Kind,
    before: Verdict,
    after: Verdict,
    /// Why, afterwards.
    sentence: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Unknown {
    #[serde(flatten)]
    kind: Kind,
    why: &'static str,
}

/// A mesh, and its bounds.
struct Bounds {
    world: World,
    best: World,
    worst: World,
}

impl Bounds {
    fn new(world: World) -> Self {
        Self { best: world.at_best(), worst: world.at_worst(), world }
    }

    fn at(&self, pod: &ReportingWorkload) -> Option<[Arrival<'_>; 3]> {
        let Self { world, best, worst } = self;
        Some([arrival(world, pod)?, arrival(best, pod)?, arrival(worst, pod)?])
    }
}

fn arrival<'a>(world: &'a World, pod: &ReportingWorkload) -> Option<Arrival<'a>> {
    Some(world.arrival(world.pod(&pod.pod, &pod.namespace)?))
}

/// Replays kinds of calls. It takes a while: not for a thread that serves others.
pub(crate) fn replay(draft: Draft, calls: &[KnownCall], directory: &Directory) -> Replayed {
    let (before, after) = (Bounds::new(draft.before), Bounds::new(draft.after));
    let mut by_pod: HashMap<&ReportingWorkload, Vec<&KnownCall>> = HashMap::new();
    for call in calls {
        by_pod.entry(&call.last.pod).or_default().push(call);
    }
    let mut replayed = Replayed::default();
    for (pod, calls) in by_pod {
        let (Some(before), Some(after)) = (before.at(pod), after.at(pod)) else { continue };
        let same = before[0].enforces_as(&after[0]);
        for known in calls {
            replayed.kinds += 1;
            if !same {
                replayed.compare(known, &before, &after, directory);
            }
        }
    }
    replayed.flips.sort_by_key(|flip| std::cmp::Reverse(flip.kind.seen));
    replayed.unknown.sort_by_key(|unknown| std::cmp::Reverse(unknown.kind.seen));
    replayed
}

impl Replayed {
    fn compare(
        &mut self,
        known: &KnownCall,
        before: &[Arrival<'_>; 3],
        after: &[Arrival<'_>; 3],
        directory: &Directory,
    ) {
        let record = &known.last.call;
        let answers = match before[0].authenticates_as(&after[0]) {
            true => (answer(record, before), answer(record, after)),
            false => (Err(TOKENS), Err(TOKENS)),
        };
        let why = match answers {
            (Ok(before), Ok(after)) if before.verdict == after.verdict => {
                return;
            }
            (Ok(before), Ok(after)) => {
                let (before, sentence) = (before.verdict, after.sentence);
                let after = after.verdict;
                let kind = Kind::of(known, directory);
                return self.flips.push(Flip { kind, before, after, sentence });
            }
            (Err(why), _) | (_, Err(why)) => why,
        };
        self.unknown.push(Unknown { kind: Kind::of(known, directory), why });
    }
}

/// What becomes of a recorded call, or why it can't be told.
fn answer(
    record: &DecisionRecord,
    [real, best, worst]: &[Arrival<'_>; 3],
) -> Result<Explanation, &'static str> {
    if real.asks_others() {
        return Err("an external authorizer is asked (CUSTOM)");
    }
    if record.may_be_cut() {
        return Err("its host or path is longer than what records keep");
    }
    if record.host.is_none() && !record.method.is_empty() {
        return Err("its record does not tell the host");
    }
    let Some(call) = call(record) else { return Err("its record can't be read") };
    let explained = real.explain(&call);
    // Of a connection that was refused before it said anything, what it would have said is not known.
    if record.verdict == "refuse" {
        let is_refused = explained.refused_by == Some(LayerName::Mtls);
        return match is_refused {
            true => Ok(explained),
            false => Err("the connection was refused before it said what it wants"),
        };
    }
    match best.explain(&call).verdict == worst.explain(&call).verdict {
        true => Ok(explained),
        false => Err("a rule asks for a header or a token, which records leave out"),
    }
}

const TOKENS: &str = "it may carry a token, which records leave out, and other tokens would be accepted \
     (RequestAuthentication)";

fn call(record: &DecisionRecord) -> Option<Call> {
    let request = Request {
        method: record.method.clone(),
        host: record.host.clone().unwrap_or_default(),
        path: record.path.clone(),
        ..Request::default()
    };
    Some(Call {
        now: None,
        authorizer: None,
        identities: record.source.principal.clone().into_iter().collect(),
        source_ip: record.source.address.parse().ok()?,
        port: record.destination.port,
        request: (!record.method.is_empty()).then_some(request),
    })
}

impl Kind {
    fn of(known: &KnownCall, directory: &Directory) -> Self {
        let record = &known.last.call;
        Self {
            source: Party::at(&record.source.address, directory),
            principal: record.source.principal.clone(),
            address: record.source.address.clone(),
            target: Party::of(&known.last.pod, directory),
            port: record.destination.port,
            method: record.method.clone(),
            host: record.host.clone(),
            path: record.path.clone(),
            seen: known.seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use palisade_manifest::study;
    use palisade_telemetry::{
        DecisionDestination, DecisionSource, Direction, history::RecordedCall,
    };

    use super::*;

    const TOKENS_OF: &str = "
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: '{\"keys\": []}'}]}
";

    /// A workload with an ALLOW policy of these rules, and tokens of an issuer.
    fn world(rules: &str, issuer: Option<&str>) -> World {
        let tokens = issuer.map_or_else(String::new, |it| TOKENS_OF.replace("ISSUER", it));
        let manifests = format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: api, namespace: shop}}
spec: {{containers: [{{name: api, image: api, ports: [{{containerPort: 80}}]}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: shop}}
spec: {{rules: {rules}}}
{tokens}"
        );
        World::of_manifests([&study("shop.yaml", &manifests)])
    }

    fn get(host: &str, path: &str) -> DecisionRecord {
        DecisionRecord {
            request_id: String::new(),
            time: String::new(),
            direction: Direction::Inbound,
            source: DecisionSource { principal: None, address: "10.244.0.7".to_owned() },
            destination: DecisionDestination { address: "10.244.0.5".to_owned(), port: 80 },
            method: "GET".to_owned(),
            host: Some(host.to_owned()),
            path: path.to_owned(),
            verdict: "allow".to_owned(),
            reason: "allowed".to_owned(),
            policy: None,
            generation: 1,
            response_code: 200,
        }
    }

    /// What a draft that allows only `rules` says of a call that anybody may make now: `same`, `flips`, or why
    /// it can't be told.
    fn told(call: DecisionRecord, rules: &str, issuers: [Option<&str>; 2]) -> String {
        let draft = Draft {
            before: world("[{}]", issuers[0]),
            after: world(rules, issuers[1]),
            problems: Vec::new(),
            kinds: Vec::new(),
        };
        let pod = ReportingWorkload { namespace: "shop".to_owned(), pod: "api".to_owned() };
        let call = KnownCall { last: RecordedCall { number: 1, pod, call }, seen: 1 };
        let replayed = replay(draft, &[call], &Directory::default());
        let unknown = replayed.unknown.first().map(|it| it.why.to_owned());
        unknown
            .unwrap_or_else(|| if replayed.flips.is_empty() { "same" } else { "flips" }.to_owned())
    }

    #[test]
    fn only_what_a_rule_asks_for_and_no_record_has_can_not_be_told() {
        let hosts = |host: &str| format!("[{{to: [{{operation: {{hosts: ['{host}']}}}}]}}]");
        let token = "[{from: [{source: {requestPrincipals: ['*']}}]}]";
        let header = "[{when: [{key: 'request.headers[x-a]', values: [b]}]}]";
        let long = "/".repeat(600);
        let nobody = DecisionRecord { host: None, ..get("", "/") };
        let connection = DecisionRecord { method: String::new(), ..nobody.clone() };
        let none = [None, None];
        for (call, rules, issuers, expected) in [
            (get("api.shop:80", "/"), hosts("api.shop:80"), none, "same"),
            (get("api.shop:80", "/"), hosts("*.other"), none, "flips"),
            (get("api.shop", "/"), header.to_owned(), none, "a rule asks for a header"),
            (get("api.shop", &long), hosts("*"), none, "its host or path is longer"),
            (nobody, hosts("*"), none, "its record does not tell the host"),
            (connection, hosts("*"), none, "flips"),
            (get("api.shop", "/"), hosts("*.other"), [Some("a"), Some("a")], "flips"),
            (get("api.shop", "/"), token.to_owned(), [Some("a"), Some("a")], "a rule asks for a"),
            (
                get("api.shop", "/"),
                hosts("*.other"),
                [Some("a"), Some("b")],
                "it may carry a token",
            ),
        ] {
            let told = told(call, &rules, issuers);
            assert!(told.starts_with(expected), "{rules} {issuers:?}: {told}");
        }
    }
}
