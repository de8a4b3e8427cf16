//! What the facts about a mesh that runs mean.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Check,
    judge::{fatal, warning},
};
use crate::{commands::sidecar, output::remaining};

/// What was found out about a mesh.
#[derive(Clone, Debug)]
pub(crate) struct MeshFacts {
    /// Now, by the clock of whoever asks.
    pub(crate) now: Timestamp,
    /// Why the API does not answer, and what to do.
    pub(crate) api: Option<String>,
    /// What the control plane says, or why it does not.
    pub(crate) control: Result<Asked, String>,
}

/// What the control plane says.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its version.
    pub(crate) version: String,
    /// Of every sidecar, what it has in force (`/debug/syncz`).
    pub(crate) sidecars: Vec<Value>,
    /// Stored objects, and what is wrong with them (`/debug/generation`).
    pub(crate) objects: Value,
    /// Who signs, and which roots are trusted (`/debug/ca`).
    pub(crate) ca: Value,
}

/// All checks, group by group; what can't be told for want of an answer is left out.
pub(super) fn checks(facts: &MeshFacts) -> Vec<Check> {
    let mut checks = reached(facts);
    if let Ok(asked) = &facts.control {
        checks.extend(sidecars(asked));
        checks.extend(certificates(asked, facts.now));
        checks.push(clocks(asked));
    }
    checks
}

fn reached(facts: &MeshFacts) -> Vec<Check> {
    let group = "control-plane";
    let api = fatal(group, "the API answers", facts.api.is_none(), || {
        facts.api.clone().unwrap_or_default()
    });
    if facts.api.is_some() {
        return vec![api];
    }
    let name = "the control plane answers";
    let asked = match &facts.control {
        Ok(asked) => asked,
        Err(problem) => {
            let hint = || {
                format!(
                    "{problem}: see control.log in the state directory; sidecars go on with what they have in force"
                )
            };
            return vec![api, fatal(group, name, false, hint)];
        }
    };
    let troubles = asked.objects["troubles"].as_object().cloned().unwrap_or_default();
    let troubles: Vec<String> = troubles
        .iter()
        .map(|(object, why)| format!("{object}: {}", why.as_str().unwrap_or_default()))
        .collect();
    vec![
        api,
        fatal(group, name, true, String::new),
        fatal(group, "every stored object is in force as it is", troubles.is_empty(), || {
            format!("{}; apply versions that can be used", some_of(&troubles))
        }),
        warning(
            group,
            &format!("control plane and this command are of version {VERSION}"),
            asked.version == VERSION,
            || format!("the control plane is {}: take the same release for both", asked.version),
        ),
    ]
}

fn sidecars(asked: &Asked) -> Vec<Check> {
    let group = "sidecars";
    let having = |trouble: fn(&Value) -> Option<String>| named(&asked.sidecars, trouble);
    let which = |trouble: fn(&Value) -> Option<String>| -> Vec<String> {
        let these = asked.sidecars.iter().filter(|proxy| trouble(proxy).is_some());
        these.map(sidecar::name).collect()
    };
    let (lost, late) = (which(sidecar::lost), which(sidecar::late));
    let (refused, denying) = (having(sidecar::refused), having(sidecar::denying));
    let others = named(&asked.sidecars, |proxy| {
        let version = proxy["istio_version"].as_str().filter(|it| !it.is_empty())?;
        (version != asked.version).then(|| version.to_owned())
    });
    let foreign = sidecar::texts(&asked.objects["foreign"]);
    vec![
        fatal(group, "every sidecar is connected", lost.is_empty(), || {
            format!(
                "not connected: {}; such a one enforces what it has, and hears of no change: see `palisade status` and its log",
                some_of(&lost)
            )
        }),
        fatal(group, "every sidecar takes its configuration", refused.is_empty(), || {
            format!("{}; the last good one is in force", some_of(&refused))
        }),
        fatal(group, "every sidecar has the current generation in force", late.is_empty(), || {
            format!("not yet in {}; `palisade wait` waits for it", some_of(&late))
        }),
        fatal(group, "no sidecar denies everything for want of rules", denying.is_empty(), || {
            format!("{}; apply versions that can be used", some_of(&denying))
        }),
        warning(group, "sidecars are of the control plane's version", others.is_empty(), || {
            format!("{}; start their pods again", some_of(&others))
        }),
        warning(group, "every sidecar is ours", foreign.is_empty(), || {
            format!("{} is somebody else's: what it enforces is not known here", some_of(&foreign))
        }),
    ]
}

fn certificates(asked: &Asked, now: Timestamp) -> Vec<Check> {
    let group = "certificates";
    let authorities: Vec<&Value> = std::iter::once(&asked.ca["signer"])
        .chain(asked.ca["roots"].as_array().into_iter().flatten())
        .collect();
    let ending = |within: SignedDuration| -> Vec<String> {
        let soon = authorities.iter().filter(|it| ends_by(&it["notAfter"], now + within));
        let mut soon: Vec<String> = soon.map(|it| authority(it, now)).collect();
        soon.dedup();
        soon
    };
    let (over, soon) = (ending(SignedDuration::ZERO), ending(SOON));
    let of_sidecars = |trouble: &dyn Fn(&Value) -> Option<String>| {
        let connected = asked.sidecars.iter().filter(|proxy| proxy["connected"] == true);
        named(connected, trouble)
    };
    let expired = of_sidecars(&|proxy| {
        let certificate = &proxy["certificate"];
        match certificate["serial"].as_str() {
            None | Some("") => Some("it has none".to_owned()),
            Some(_) if ends_by(&certificate["not_after"], now) => Some("it has expired".to_owned()),
            Some(_) => None,
        }
    });
    let not_renewed = of_sidecars(&sidecar::not_renewed);
    let roots = of_sidecars(&|proxy| {
        let theirs = proxy["certificate"]["roots"].as_str().filter(|it| !it.is_empty())?;
        (asked.ca["rootsFingerprint"] != theirs).then(|| "it trusts other roots".to_owned())
    });
    let waiting = asked.ca["waiting"].as_array().into_iter().flatten();
    let behind: Vec<String> = waiting
        .filter_map(|it| it["who"].as_str().zip(it["reason"].as_str()))
        .filter(|(_, reason)| *reason == "the roots are not written yet")
        .map(|(who, reason)| format!("{who}: {reason}"))
        .chain(roots)
        .collect();
    vec![
        fatal(group, "authority and roots are valid", over.is_empty(), || {
            format!(
                "{}: no certificate is good: bring another authority with --ca-dir",
                some_of(&over)
            )
        }),
        warning(group, "authority and roots are valid for 30 days more", soon.is_empty(), || {
            format!("{}: `palisade ca rotate`", some_of(&soon))
        }),
        fatal(group, "every sidecar has a valid certificate", expired.is_empty(), || {
            format!("{}; see its log, and control.log for a refusal", some_of(&expired))
        }),
        fatal(group, "every certificate is renewed", not_renewed.is_empty(), || {
            format!("{}; the one before it is in use as long as it is valid", some_of(&not_renewed))
        }),
        fatal(group, "roots are the same everywhere", behind.is_empty(), || {
            format!("{}; `palisade ca status` says how far a rotation is", some_of(&behind))
        }),
    ]
}

fn clocks(asked: &Asked) -> Check {
    let off = named(&asked.sidecars, sidecar::clock);
    let name = "sidecars' clocks are the control plane's";
    let far = |proxy: &Value| sidecar::clock_off(proxy).is_some_and(|(by, _)| by > BACKDATE);
    let hint = || {
        format!(
            "{}; certificates seem expired, or not valid yet: set the clocks, for example with \
             `timedatectl set-ntp true`",
            some_of(&off)
        )
    };
    if asked.sidecars.iter().any(far) {
        return fatal("clocks", name, false, hint);
    }
    warning("clocks", name, off.is_empty(), hint)
}

/// The sidecars that have a trouble, each with it.
fn named<'a>(
    sidecars: impl IntoIterator<Item = &'a Value>,
    trouble: impl Fn(&Value) -> Option<String>,
) -> Vec<String> {
    let one = |proxy: &Value| Some(format!("{}: {}", sidecar::name(proxy), trouble(proxy)?));
    sidecars.into_iter().filter_map(one).collect()
}

/// The first of many, and how many there are besides.
fn some_of(all: &[String]) -> String {
    let first = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}

/// An authority by its name, and how long it is valid.
fn authority(certificate: &Value, now: Timestamp) -> String {
    let text = |key: &str| certificate[key].as_str().unwrap_or_default();
    let left = anstream::adapter::strip_str(&remaining(text("notAfter"), now)).to_string();
    format!("{} ({}): {left}", text("subject"), text("serial"))
}

/// Whether a certificate is not valid at a time any more; what can't be read is not.
fn ends_by(not_after: &Value, at: Timestamp) -> bool {
    let end = not_after.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    end.is_none_or(|end| end <= at)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How many are named in a hint.
const NAMED: usize = 5;
/// When the next authority is due: people need time to bring it.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Seconds that certificates are dated back: with a clock that is as far behind, new ones are not valid yet.
const BACKDATE: i64 = 120;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{args::Format, doctor::doctor_mesh};

    fn proxy(name: &str) -> Value {
        json!({
            "proxy": format!("{name}.shop"), "istio_version": VERSION, "connected": true, "synced": true,
            "certificate": {"serial": "a1", "not_after": "2026-01-02T00:00:00Z", "roots": "0c", "error": ""},
            "clock_ahead_seconds": 0.1, "unusable": [],
        })
    }

    fn well() -> Asked {
        let root = json!({"subject": "CN=Palisade mesh CA", "serial": "r1", "notAfter": "2036-01-01T00:00:00Z"});
        Asked {
            version: VERSION.to_owned(),
            sidecars: vec![proxy("web-1"), proxy("db-1")],
            objects: json!({"troubles": {}, "foreign": []}),
            ca: json!({"signer": root, "roots": [root], "rootsFingerprint": "0c", "waiting": []}),
        }
    }

    fn ill() -> Asked {
        let mut sidecars: Vec<Value> =
            (1..=7).map(|number| proxy(&format!("web-{number}"))).collect();
        sidecars.iter_mut().for_each(|proxy| proxy["connected"] = json!(false));
        let mut refusing = proxy("db-1");
        refusing["error"] = json!("can't open the access log");
        refusing["istio_version"] = json!("0.0.1");
        refusing["certificate"]["not_after"] = json!("2025-12-31T00:00:00Z");
        let mut late = proxy("db-2");
        late["synced"] = json!(false);
        late["clock_ahead_seconds"] = json!(-7200.0);
        late["certificate"]["roots"] = json!("0d");
        let mut denying = proxy("db-3");
        denying["unusable"] = json!(["AuthorizationPolicy/shop/p"]);
        denying["certificate"]["error"] = json!("the control plane does not answer");
        let mut without = proxy("db-4");
        without["certificate"] = Value::Null;
        sidecars.extend([refusing, late, denying, without]);
        let root = json!({"subject": "CN=old", "serial": "r1", "notAfter": "2025-12-01T00:00:00Z"});
        let signer =
            json!({"subject": "CN=next", "serial": "s1", "notAfter": "2026-01-20T00:00:00Z"});
        let waiting = json!([{"who": "registrations of webhooks", "reason": "the roots are not written yet"}]);
        Asked {
            version: "0.0.2".to_owned(),
            sidecars,
            objects: json!({
                "troubles": {"AuthorizationPolicy/shop/p": "unknown field `rulez`"}, "foreign": ["envoy.shop"],
            }),
            ca: json!({"signer": signer, "roots": [root], "rootsFingerprint": "0c", "waiting": waiting}),
        }
    }

    fn printed(api: Option<&str>, control: Result<Asked, String>) -> String {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let facts = MeshFacts { now, api: api.map(str::to_owned), control };
        let mut out = Vec::new();
        let passed = doctor_mesh(&facts, Format::Table, &mut out).is_ok();
        let text = String::from_utf8(out).unwrap();
        format!("{}passed: {passed}\n", anstream::adapter::strip_str(&text))
    }

    #[test]
    fn a_mesh_that_is_well_is_ticked_off() {
        insta::assert_snapshot!(printed(None, Ok(well())));
    }

    #[test]
    fn every_trouble_of_a_mesh_has_a_hint_and_a_page() {
        insta::assert_snapshot!(printed(None, Ok(ill())));
    }

    #[test]
    fn who_does_not_answer_is_named_and_no_more_is_said() {
        let hangs = || Err("ask the control plane: nothing came in 10 s: it hangs".to_owned());
        let texts = [
            printed(None, hangs()),
            printed(Some("there is no mesh in `/state`"), Err(String::new())),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
