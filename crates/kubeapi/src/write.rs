//! Writing: create, update and patch, and the way every new object goes.
//!
//! `decode → prune → default → mutate → own → check → validate → store`: webhooks may change an
//! object before the system's own fields are set and everything is checked, and may refuse it
//! after. Updates are made on the version that was read and start over if somebody else was
//! faster, unless the client named a version.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    admission::{self, Operation},
    api::{Api, Call, write_error},
    body,
    http_io::Answer,
    object,
    options::Ids,
    patch::{self, Patch},
    read, rules, schema, services,
    status::ApiError,
    store::{Expect, Object, Receipt},
};

/// How often a write starts over when others change the same object.
const ATTEMPTS: usize = 8;

/// A new object on its way, with what the client is to be told about it.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The object.
    pub(crate) value: Value,
    /// What each manager applied last.
    pub(crate) applied: Option<Arc<Value>>,
    /// Warnings so far.
    pub(crate) warnings: Vec<String>,
}

impl Draft {
    /// An object with nothing to say about it yet.
    pub(crate) fn of(value: Value) -> Self {
        Self { value, applied: None, warnings: Vec::new() }
    }
}

/// Answers `create`.
pub(crate) async fn create(api: &Api, call: &Call, bytes: &Bytes) -> Result<Answer, ApiError> {
    let value = body::object(&call.headers, bytes, &call.resource, &call.path.version)?;
    let draft = Draft::of(value);
    create_draft(api, call, draft).await
}

async fn create_draft(api: &Api, call: &Call, mut draft: Draft) -> Result<Answer, ApiError> {
    let resource = &call.resource;
    check_namespace_of(call, &draft.value)?;
    admission::check_namespace(api, call, object::name(&draft.value))?;
    strip(&mut draft.value);
    prune(call, &mut draft)?;
    if resource.namespaced {
        object::set_metadata(&mut draft.value, "namespace", json!(call.path.namespace));
    }
    schema::apply_defaults(&mut draft.value);
    admission::service_account(api, call, &mut draft.value)?;
    admission::mutate(api, call, Operation::Create, None, &mut draft).await?;
    rules::prepare_create(resource, &call.path.namespace, &mut draft.value)?;
    schema::apply_defaults(&mut draft.value);
    let _addresses = services::allocate(api, call, None, &mut draft.value).await?;
    check(api, call, &mut draft, rules::validate_create)?;
    admission::validate(api, call, Operation::Create, None, &mut draft).await?;
    // The namespace may have begun to end while webhooks were asked.
    admission::check_namespace(api, call, object::name(&draft.value))?;
    let Draft { value, applied, warnings } = draft;
    if call.query.dry_run()? {
        return Ok(with_warnings(
            read::answer(call, StatusCode::CREATED, &unsaved(value)),
            &warnings,
        ));
    }
    let key = call.key_of(object::name(&value));
    let (object, receipt) = api.put(resource, &key, value, applied, Expect::Absent)?;
    durable(call, receipt).await?;
    Ok(with_warnings(read::answer(call, StatusCode::CREATED, &object), &warnings))
}

/// Answers `update`.
pub(crate) async fn update(api: &Api, call: &Call, bytes: &Bytes) -> Result<Answer, ApiError> {
    let value = body::object(&call.headers, bytes, &call.resource, &call.path.version)?;
    check_namespace_of(call, &value)?;
    let name = object::name(&value);
    if name != call.path.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.path.name
        )));
    }
    change(api, call, |_| Ok(Draft::of(value.clone()))).await
}

/// Answers `patch`.
pub(crate) async fn patch(api: &Api, call: &Call, bytes: &Bytes) -> Result<Answer, ApiError> {
    let patch = Patch::parse(&call.headers, bytes, &call.resource)?;
    let Patch::Apply(wanted) = patch else {
        return change(api, call, |current| {
            let served =
                crate::convert::from_storage(&call.resource, &call.path.version, &current.value);
            let patched = patch.patched(&served)?;
            Ok(Draft::of(crate::convert::to_storage(&call.resource, patched)))
        })
        .await;
    };
    apply(api, call, wanted).await
}

async fn apply(api: &Api, call: &Call, mut wanted: Value) -> Result<Answer, ApiError> {
    let manager = match call.query.text("fieldManager") {
        "" => return Err(ApiError::bad_request("fieldManager is required for apply patch")),
        manager => manager,
    };
    body::expect_kind(
        &mut wanted,
        &call.resource.api_version(&call.path.version),
        &call.resource.kind,
    )?;
    let wanted = crate::convert::to_storage(&call.resource, wanted);
    let exists = api.store.get(&call.key()).is_some();
    if !exists && call.path.subresource.is_empty() {
        let mut value = wanted.clone();
        object::set_metadata(&mut value, "name", json!(call.path.name));
        let mut draft = Draft::of(value);
        draft.applied = Some(Arc::new(json!({ manager: wanted })));
        return create_draft(api, call, draft).await;
    }
    change(api, call, |current| {
        let managers = current.applied.as_deref();
        let applied = patch::apply(&current.value, managers, manager, &wanted)?;
        let mut draft = Draft::of(applied.object);
        draft.applied = Some(Arc::new(applied.managers));
        Ok(draft)
    })
    .await
}

/// Changes an object as a function says, on the newest version.
pub(crate) async fn change(
    api: &Api,
    call: &Call,
    wanted: impl Fn(&Object) -> Result<Draft, ApiError>,
) -> Result<Answer, ApiError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let current = api.get(call)?;
        let draft = wanted(&current)?;
        let names_version = !matches!(version_of(&draft.value), "" | "0")
            && version_of(&draft.value) != version_of(&current.value);
        if names_version {
            return Err(ApiError::conflict(&call.resource, &call.path.name));
        }
        let result = change_once(api, call, &current, draft).await;
        let retry = result.as_ref().is_err_and(|error| error.code == StatusCode::CONFLICT);
        if !retry || attempt == ATTEMPTS {
            return result;
        }
    }
}

async fn change_once(
    api: &Api,
    call: &Call,
    current: &Arc<Object>,
    mut draft: Draft,
) -> Result<Answer, ApiError> {
    let resource = &call.resource;
    let subresource = call.path.subresource.as_str();
    let old = &current.value;
    let uid = object::uid(&draft.value);
    if !uid.is_empty() && uid != object::uid(old) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object::uid(old)
        );
        return Err(ApiError::conflict_because(resource, &call.path.name, &why));
    }
    strip(&mut draft.value);
    prune(call, &mut draft)?;
    let own = |draft: &mut Value| {
        rules::prepare_update(resource, subresource, old, draft);
        if subresource != "status" {
            schema::apply_defaults(draft);
        }
    };
    own(&mut draft.value);
    admission::mutate(api, call, Operation::Update, Some(old), &mut draft).await?;
    own(&mut draft.value);
    let _addresses = services::allocate(api, call, Some(old), &mut draft.value).await?;
    let warnings = draft.warnings.len();
    check(api, call, &mut draft, |resource, new| rules::validate_update(resource, old, new))?;
    if !rules::changes_specification(old, &draft.value) {
        // Who only labels an object need not hear again what is odd about it.
        draft.warnings.truncate(warnings);
    }
    admission::validate(api, call, Operation::Update, Some(old), &mut draft).await?;
    let Draft { value, applied, warnings } = draft;
    let applied = applied.or_else(|| current.applied.clone());
    let finish =
        |object: &Object| Ok(with_warnings(read::answer(call, StatusCode::OK, object), &warnings));
    if call.query.dry_run()? {
        return finish(&unsaved(value));
    }
    if rules::is_finished(resource, &value) {
        let (object, receipt) = api.remove(resource, &call.key(), value, current.version)?;
        durable(call, receipt).await?;
        return finish(&object);
    }
    if value == *old && applied == current.applied {
        return finish(current);
    }
    let expect = Expect::Version(current.version);
    let (object, receipt) = api.put(resource, &call.key(), value, applied, expect)?;
    durable(call, receipt).await?;
    finish(&object)
}

/// Waits until a write is on disk, unless it is an observation.
pub(crate) async fn durable(call: &Call, receipt: Receipt) -> Result<(), ApiError> {
    if rules::is_observation(&call.resource, &call.path.subresource) {
        return Ok(());
    }
    receipt.wait().await.map_err(|error| write_error(&call.resource, &call.path.name, &error))
}

/// An answer with `Warning` headers.
pub(crate) fn with_warnings(mut answer: Answer, warnings: &[String]) -> Answer {
    for warning in warnings {
        let text = warning.replace(['\n', '\r'], " ").replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
    answer
}

/// An object that a dry run made.
fn unsaved(mut value: Value) -> Object {
    object::canonical_order(&mut value);
    let json = Bytes::from(value.to_string());
    Object { value, version: 0, json, applied: None }
}

fn version_of(object: &Value) -> &str {
    object::text(object, "/metadata/resourceVersion")
}

/// Removes what this server does not keep.
fn strip(value: &mut Value) {
    object::remove_metadata(value, "managedFields");
    object::remove_metadata(value, "selfLink");
}

fn check_namespace_of(call: &Call, value: &Value) -> Result<(), ApiError> {
    let given = object::namespace(value);
    if call.resource.namespaced && !given.is_empty() && given != call.path.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Removes unknown fields; refuses them or warns of them as the client wants.
fn prune(call: &Call, draft: &mut Draft) -> Result<(), ApiError> {
    let unknown = schema::prune(&mut draft.value);
    let said = unknown.iter().map(|field| format!("unknown field \"{field}\""));
    match call.query.text("fieldValidation") {
        "Ignore" => {}
        "Strict" if !unknown.is_empty() => {
            let kind = &call.resource.kind;
            let said: Vec<String> = said.collect();
            return Err(ApiError::bad_request(format!(
                "{kind} in version \"{}\" cannot be handled as a {kind}: strict decoding error: {}",
                call.path.version,
                said.join(", ")
            )));
        }
        _ => draft.warnings.extend(said),
    }
    Ok(())
}

/// Refuses an object that breaks rules, naming all of them.
fn check(
    api: &Api,
    call: &Call,
    draft: &mut Draft,
    own_rules: impl Fn(&crate::resource::Resource, &Value) -> Vec<crate::status::Cause>,
) -> Result<(), ApiError> {
    schema::prune(&mut draft.value);
    let mut causes = own_rules(&call.resource, &draft.value);
    // What a controller or node reports needs no manifest rules: nobody wrote it.
    if call.path.subresource.is_empty() {
        let findings = schema::check(&draft.value);
        causes.extend(findings.causes);
        draft.warnings.extend(findings.warnings);
        if api.ids == Ids::One {
            draft.warnings.extend(palisade_manifest::one_id_warning(&draft.value));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(&call.resource, object::name(&draft.value), &causes))
}
