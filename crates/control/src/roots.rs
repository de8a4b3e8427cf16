//! The mesh's roots in every namespace, where pods mount it: ConfigMap
//! `istio-ca-root-cert`, key `root-cert.pem`. Made at once for a new namespace, and repaired.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream::select};
use kube::Client;
use palisade_model::Kind;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    ca::{Ca, Teller},
    kinds,
    kubernetes::{self, Change, Scope},
};

/// Name of the ConfigMap.
const NAME: &str = "istio-ca-root-cert";
const KEY: &str = "root-cert.pem";
/// Label by which Istio finds its own ConfigMaps.
const LABEL: &str = "istio.io/config";
/// Pause before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of a namespace, and what its ConfigMap says.
#[derive(Debug, Default)]
struct Roots {
    root_pem: String,
    namespaces: BTreeMap<String, bool>,
    written: BTreeMap<String, Value>,
}

/// Where a change was seen.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Namespace,
    ConfigMap,
}

/// Keeps the ConfigMaps right for ever.
pub(crate) async fn keep(client: Client, ca: Arc<Ca>) {
    let namespaces = kubernetes::watch(&client, &kinds::of(Kind::Namespace), &Scope::default());
    let label = Some(format!("{LABEL}=true"));
    let scope = Scope { label, ..Scope::default() };
    let config_maps = kubernetes::watch(&client, &kinds::config_maps(), &scope);
    let mut changes = select(
        namespaces.map(|change| (Seen::Namespace, change)),
        config_maps.map(|change| (Seen::ConfigMap, change)),
    );
    let mut authorities = ca.changes();
    let root_pem = authorities.borrow_and_update().bundle().to_pem();
    let mut roots = Roots { root_pem, ..Roots::default() };
    let mut retry_at: Option<Instant> = None;
    loop {
        let retry = sleep_until(retry_at.unwrap_or_else(|| Instant::now() + PAUSE));
        tokio::select! {
            change = changes.next() => match change {
                Some((seen, change)) => roots.change(seen, change),
                None => return,
            },
            () = retry, if retry_at.is_some() => retry_at = None,
            Ok(()) = authorities.changed() => {
                roots.root_pem = authorities.borrow_and_update().bundle().to_pem();
            }
        }
        if retry_at.is_some() {
            continue;
        }
        if write(&client, &mut roots).await {
            ca.told(Teller::ConfigMaps, &roots.root_pem);
        } else {
            retry_at = Some(Instant::now() + PAUSE);
        }
    }
}

/// Writes what is wrong or missing; false if some of it must be tried again.
async fn write(client: &Client, roots: &mut Roots) -> bool {
    let mut done = true;
    for namespace in roots.wrong() {
        let wanted = roots.wanted(&namespace);
        match kubernetes::ensure(client, &kinds::config_maps(), wanted.clone()).await {
            Ok(()) => {
                roots.written.insert(namespace, wanted["data"].clone());
            }
            Err(error) => {
                tracing::warn!(namespace, %error, "the mesh's root is not in the namespace yet");
                done = false;
            }
        }
    }
    done
}

impl Roots {
    fn change(&mut self, seen: Seen, change: Change) {
        match (seen, change) {
            (_, Change::Reset(objects)) => {
                match seen {
                    Seen::Namespace => self.namespaces.clear(),
                    Seen::ConfigMap => self.written.clear(),
                }
                for object in objects {
                    self.change(seen, Change::Apply(object));
                }
            }
            (Seen::Namespace, Change::Apply(object)) => {
                let leaving = object.pointer("/metadata/deletionTimestamp").is_some();
                self.namespaces.insert(text(&object, "name"), !leaving);
            }
            (Seen::Namespace, Change::Delete(object)) => {
                self.namespaces.remove(&text(&object, "name"));
                self.written.remove(&text(&object, "name"));
            }
            (Seen::ConfigMap, Change::Apply(object)) if text(&object, "name") == NAME => {
                let data = object.get("data").cloned().unwrap_or_default();
                self.written.insert(text(&object, "namespace"), data);
            }
            (Seen::ConfigMap, Change::Delete(object)) if text(&object, "name") == NAME => {
                self.written.remove(&text(&object, "namespace"));
            }
            (Seen::ConfigMap, Change::Apply(_) | Change::Delete(_)) => {}
        }
    }

    /// Namespaces that stay and whose ConfigMap is missing or says something else.
    fn wrong(&self) -> Vec<String> {
        self.namespaces
            .iter()
            .filter(|(name, stays)| {
                let found = self.written.get(*name).and_then(|data| data.get(KEY));
                **stays && found.and_then(Value::as_str) != Some(self.root_pem.as_str())
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn wanted(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": namespace, "labels": {LABEL: "true"}},
            "data": {KEY: self.root_pem},
        })
    }
}

fn text(object: &Value, field: &str) -> String {
    let value = object.get("metadata").and_then(|metadata| metadata.get(field));
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Value {
        json!({"metadata": {"name": name}})
    }

    #[test]
    fn every_namespace_that_stays_has_the_root_and_nothing_else_under_its_key() {
        let mut roots = Roots { root_pem: "ROOT".to_owned(), ..Roots::default() };
        roots.change(Seen::Namespace, Change::Reset(vec![namespace("a"), namespace("b")]));
        assert_eq!(roots.wrong(), ["a", "b"]);
        let good = roots.wanted("a");
        let mut forged = roots.wanted("b");
        forged["data"][KEY] = json!("EVIL");
        roots.change(Seen::ConfigMap, Change::Reset(vec![good.clone(), forged]));
        assert_eq!(roots.wrong(), ["b"]);
        let mut leaving = namespace("b");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        roots.change(Seen::Namespace, Change::Apply(leaving));
        assert!(roots.wrong().is_empty());
        roots.change(Seen::ConfigMap, Change::Delete(good));
        assert_eq!(roots.wrong(), ["a"], "repaired when deleted");
        roots.change(Seen::Namespace, Change::Delete(namespace("a")));
        assert!(roots.wrong().is_empty());
    }
}
