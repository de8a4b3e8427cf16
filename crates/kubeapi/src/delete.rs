//! Deleting: at once, after finalizers, or after a pod has ended gracefully.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    admission::{self, Operation},
    api::{Api, Call},
    body,
    http_io::{self, Answer},
    object, read, rules,
    status::{self, ApiError},
    store::{Expect, Key, Object, Receipt},
    write,
};

/// How long a pod may take to end if neither it nor the client says so.
const DEFAULT_GRACE: i64 = 30;

/// How often a delete starts over when others change the same object.
const ATTEMPTS: usize = 8;

/// What a delete asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Options {
    grace: Option<i64>,
    propagation: String,
    uid: String,
    version: String,
    dry_run: bool,
}

/// What a delete led to.
#[derive(Debug)]
enum Outcome {
    /// The object is gone.
    Gone(Arc<Object>, Option<Receipt>),
    /// It waits for somebody.
    Waits(Arc<Object>, Option<Receipt>),
}

/// Answers `delete`.
pub(crate) async fn delete(api: &Api, call: &Call, bytes: &Bytes) -> Result<Answer, ApiError> {
    let options = Options::parse(call, bytes)?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let current = api.get(call)?;
        let mut draft = write::Draft::of(current.value.clone());
        admission::validate(api, call, Operation::Delete, Some(&current.value), &mut draft).await?;
        match delete_one(api, call, &call.key(), &current, &options) {
            Err(error)
                if error.code == StatusCode::CONFLICT
                    && attempt < ATTEMPTS
                    && options.version.is_empty()
                    && options.uid.is_empty() => {}
            Err(error) => return Err(error),
            Ok(outcome) => {
                let answer = answer(call, &outcome);
                wait(call, outcome).await?;
                return Ok(write::with_warnings(answer, &draft.warnings));
            }
        }
    }
}

/// Answers `deletecollection`.
pub(crate) async fn delete_collection(
    api: &Api,
    call: &Call,
    bytes: &Bytes,
) -> Result<Answer, ApiError> {
    let options = Options::parse(call, bytes)?;
    let selector = read::selector(call)?;
    let (_, objects) = api.store.list(&call.resource.storage, read::scope(call));
    let mut deleted = Vec::new();
    for current in objects.into_iter().filter(|object| selector.matches(&object.value)) {
        let key = Key {
            resource: call.resource.storage.clone(),
            namespace: object::namespace(&current.value).to_owned(),
            name: object::name(&current.value).to_owned(),
        };
        let mut draft = write::Draft::of(current.value.clone());
        admission::validate(api, call, Operation::Delete, Some(&current.value), &mut draft).await?;
        // What changed meanwhile is tried once more in its newest version; what is gone is gone.
        let outcome = match delete_one(api, call, &key, &current, &options) {
            Err(error) if error.code == StatusCode::CONFLICT => match api.store.get(&key) {
                Some(newest) => delete_one(api, call, &key, &newest, &options)?,
                None => continue,
            },
            other => other?,
        };
        wait(call, outcome).await?;
        deleted.push(current);
    }
    let list = read::list_of(call, api.store.version(), &deleted);
    Ok(http_io::json(StatusCode::OK, list))
}

fn answer(call: &Call, outcome: &Outcome) -> Answer {
    match outcome {
        // Kubernetes gives back a pod, and says of the rest that they are gone.
        Outcome::Gone(object, _) if call.resource.storage != "pods" => {
            let (name, uid) = (object::name(&object.value), object::uid(&object.value));
            http_io::json_value(StatusCode::OK, &status::deleted(&call.resource, name, uid))
        }
        Outcome::Gone(object, _) | Outcome::Waits(object, _) => {
            read::answer(call, StatusCode::OK, object)
        }
    }
}

async fn wait(call: &Call, outcome: Outcome) -> Result<(), ApiError> {
    match outcome {
        Outcome::Gone(_, Some(receipt)) | Outcome::Waits(_, Some(receipt)) => {
            write::durable(call, receipt).await
        }
        Outcome::Gone(_, None) | Outcome::Waits(_, None) => Ok(()),
    }
}

fn delete_one(
    api: &Api,
    call: &Call,
    key: &Key,
    current: &Arc<Object>,
    options: &Options,
) -> Result<Outcome, ApiError> {
    let resource = &call.resource;
    let old = &current.value;
    options.check(call, old)?;
    if matches!(key.name.as_str(), "default" | "kube-system") && key.resource == "namespaces" {
        return Err(ApiError::forbidden(resource, &key.name, "this namespace may not be deleted"));
    }
    let mut value = old.clone();
    add_finalizer(&mut value, &options.propagation);
    let grace = if key.resource == "pods" { grace(old, options) } else { 0 };
    mark(&mut value, grace);
    if key.resource == "namespaces" {
        object::section(&mut value, "status").insert("phase".to_owned(), json!("Terminating"));
    }
    if options.dry_run {
        return Ok(Outcome::Gone(Arc::clone(current), None));
    }
    if rules::is_finished(resource, &value) {
        let (object, receipt) = api.remove(resource, key, value, current.version)?;
        return Ok(Outcome::Gone(object, Some(receipt)));
    }
    if value == *old {
        return Ok(Outcome::Waits(Arc::clone(current), None));
    }
    let expect = Expect::Version(current.version);
    let (object, receipt) = api.put(resource, key, value, current.applied.clone(), expect)?;
    Ok(Outcome::Waits(object, Some(receipt)))
}

/// Sets when the object is to be gone; an earlier time replaces a later one, and never the
/// other way round.
fn mark(value: &mut Value, grace: i64) {
    let already = object::is_terminating(value);
    let before = value.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    if already && before.is_none_or(|before| before <= grace) {
        return;
    }
    let end = Timestamp::now()
        .checked_add(SignedDuration::from_secs(grace))
        .unwrap_or_else(|_| Timestamp::now());
    object::set_metadata(value, "deletionTimestamp", json!(object::timestamp(end)));
    object::set_metadata(value, "deletionGracePeriodSeconds", json!(grace));
    if let Some(generation) = value.pointer("/metadata/generation").and_then(Value::as_i64)
        && !already
    {
        object::set_metadata(value, "generation", json!(generation + 1));
    }
}

/// Seconds until a pod must have ended; none for one that no node runs or that has ended.
fn grace(pod: &Value, options: &Options) -> i64 {
    let ended = matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed");
    if object::text(pod, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    options.grace.or(own).unwrap_or(DEFAULT_GRACE).max(0)
}

fn add_finalizer(value: &mut Value, propagation: &str) {
    let finalizer = match propagation {
        "Foreground" => "foregroundDeletion",
        "Orphan" => "orphan",
        _ => return,
    };
    let finalizers = object::metadata(value).entry("finalizers").or_insert_with(|| json!([]));
    if let Value::Array(list) = finalizers
        && !list.iter().any(|entry| entry == finalizer)
    {
        list.push(json!(finalizer));
    }
}

impl Options {
    fn parse(call: &Call, bytes: &[u8]) -> Result<Self, ApiError> {
        let body = body::value(&call.headers, bytes, "DeleteOptions")?;
        let text = |pointer: &str| object::text(&body, pointer).to_owned();
        let mut options = Self {
            grace: body.get("gracePeriodSeconds").and_then(Value::as_i64),
            propagation: text("/propagationPolicy"),
            uid: text("/preconditions/uid"),
            version: text("/preconditions/resourceVersion"),
            dry_run: call.query.dry_run()?
                || object::array(&body, "/dryRun").any(|value| value == "All"),
        };
        if let Some(grace) = call.query.number("gracePeriodSeconds")? {
            options.grace = i64::try_from(grace).ok();
        }
        let propagation = call.query.text("propagationPolicy");
        if !propagation.is_empty() {
            propagation.clone_into(&mut options.propagation);
        }
        let orphan = body.get("orphanDependents").and_then(Value::as_bool).unwrap_or_default();
        if orphan || call.query.text("orphanDependents") == "true" {
            "Orphan".clone_into(&mut options.propagation);
        }
        match options.propagation.as_str() {
            "" | "Background" | "Foreground" | "Orphan" => Ok(options),
            other => Err(ApiError::bad_request(format!("invalid propagationPolicy `{other}`"))),
        }
    }

    fn check(&self, call: &Call, object: &Value) -> Result<(), ApiError> {
        let uid = object::uid(object);
        let version = object::text(object, "/metadata/resourceVersion");
        let failed = |what: &str, wanted: &str, is: &str| {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {is}"
            );
            ApiError::conflict_because(&call.resource, object::name(object), &why)
        };
        if !self.uid.is_empty() && self.uid != uid {
            return Err(failed("UID", &self.uid, uid));
        }
        if !self.version.is_empty() && self.version != version {
            return Err(failed("ResourceVersion", &self.version, version));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_the_clients_then_the_pods_then_thirty_seconds() {
        let with = |grace| Options { grace, ..Options::default() };
        let pod = |spec: Value, phase: &str| json!({"spec": spec, "status": {"phase": phase}});
        let cases = [
            (pod(json!({"nodeName": "n"}), "Running"), None, 30),
            (pod(json!({"nodeName": "n", "terminationGracePeriodSeconds": 1}), "Running"), None, 1),
            (
                pod(json!({"nodeName": "n", "terminationGracePeriodSeconds": 1}), "Running"),
                Some(0),
                0,
            ),
            (pod(json!({}), "Pending"), None, 0),
            (pod(json!({"nodeName": "n"}), "Failed"), None, 0),
        ];
        for (pod, asked, wanted) in cases {
            assert_eq!(grace(&pod, &with(asked)), wanted, "{pod}");
        }
    }

    #[test]
    fn a_second_delete_can_only_hurry() {
        let mut pod = json!({"metadata": {"name": "a"}});
        mark(&mut pod, 30);
        let first = pod.clone();
        mark(&mut pod, 60);
        assert_eq!(pod, first);
        mark(&mut pod, 0);
        assert_eq!(pod.pointer("/metadata/deletionGracePeriodSeconds"), Some(&json!(0)));
    }
}
