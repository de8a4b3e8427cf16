//! An authority in a Secret, which is replaced as a whole and only in the version that was read: a step is in it
//! or it is not, and of two control planes that write at once one finds out.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    AuthorityFilesError, Rotation,
    files::{Edit, Files},
};
use crate::{kinds, kubernetes};

/// The Secret of an authority; clones share what they know of it.
#[derive(Clone)]
pub(crate) struct Secret {
    client: Client,
    namespace: String,
    name: String,
    /// As it was read or written last; none: it was not there.
    seen: Arc<Mutex<Option<Value>>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("at", &self.place()).finish_non_exhaustive()
    }
}

impl Secret {
    pub(crate) fn new(client: &Client, namespace: &str, name: &str) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self { client: client.clone(), namespace, name, seen: Arc::default() }
    }

    pub(super) async fn read(&self) -> Result<Files, AuthorityFilesError> {
        let found = self.find().await.map_err(self.failed("read"))?;
        let files = self.files(found.as_ref())?;
        if found.is_some() && files.is_empty() {
            // Whoever emptied it may have meant to; whom its roots certified would be cut off.
            return Err(self.unusable(
                "it holds no authority: restore it, or delete it to start a new mesh".to_owned(),
            ));
        }
        *self.seen.lock() = found;
        Ok(files)
    }

    /// The step to `rotation`, from what was read last.
    pub(super) async fn turn(&self, rotation: &Rotation) -> Result<(), AuthorityFilesError> {
        let seen = self.seen.lock().clone();
        self.write(&self.files(seen.as_ref())?.turn(rotation)).await
    }

    /// Makes all edits at once, of what was read last.
    pub(super) async fn write(&self, edits: &[Edit]) -> Result<(), AuthorityFilesError> {
        let seen = self.seen.lock().clone();
        let mut wanted = self.files(seen.as_ref())?;
        wanted.edit(edits);
        let written = match seen {
            None => {
                let secret = self.first(&wanted);
                kubernetes::create(&self.client, &kinds::secrets(), secret).await
            }
            Some(mut secret) => {
                if let Some(secret) = secret.as_object_mut() {
                    secret.insert("data".to_owned(), data(&wanted));
                }
                kubernetes::replace(&self.client, &kinds::secrets(), secret).await
            }
        };
        let (stored, error) = match written {
            Ok(stored) => (stored, None),
            // An answer may be lost, and a request sent again: what is stored decides.
            Err(error) => match self.find().await {
                Ok(Some(stored)) => (stored, Some(error)),
                Ok(None) | Err(_) => return Err(self.failed("write")(error)),
            },
        };
        let is_as_wanted = self.files(Some(&stored)).is_ok_and(|files| files == wanted);
        match error {
            Some(kube::Error::Api(status)) if !is_as_wanted && status.code == 409 => {
                Err(AuthorityFilesError::Changed(self.place()))
            }
            Some(error) if !is_as_wanted => Err(self.failed("write")(error)),
            _ => {
                *self.seen.lock() = Some(stored);
                Ok(())
            }
        }
    }

    async fn find(&self) -> Result<Option<Value>, kube::Error> {
        kubernetes::find(&self.client, &kinds::secrets(), Some(&self.namespace), &self.name).await
    }

    /// The Secret as it is made first; its type is that of Istio's own.
    fn first(&self, files: &Files) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "type": "istio.io/ca-root",
            "data": data(files),
        })
    }

    fn files(&self, secret: Option<&Value>) -> Result<Files, AuthorityFilesError> {
        let mut files = Files { place: self.place(), ..Files::default() };
        let data = secret.and_then(|it| it.get("data")).and_then(Value::as_object);
        for name in data.into_iter().flatten().map(|(name, _)| name) {
            let text = kubernetes::secret_entry(secret.unwrap_or(&Value::Null), name);
            if let Some(text) = text.map_err(|reason| self.unusable(reason))? {
                files.texts.insert(name.clone(), text);
            }
        }
        Ok(files)
    }

    fn place(&self) -> String {
        format!("Secret {}/{}", self.namespace, self.name)
    }

    fn unusable(&self, reason: String) -> AuthorityFilesError {
        AuthorityFilesError::Unusable { place: self.place(), reason }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(kube::Error) -> AuthorityFilesError {
        let place = self.place();
        move |source| AuthorityFilesError::Secret { action, place, source }
    }
}

fn data(files: &Files) -> Value {
    let entry =
        |(name, text): (&String, &String)| (name.clone(), json!(BASE64_STANDARD.encode(text)));
    Value::Object(files.texts.iter().map(entry).collect())
}

#[cfg(test)]
mod tests;
