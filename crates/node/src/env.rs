//! The environment of a container: values, references, and `$(NAME)` in both and in commands.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};

use crate::{
    cluster::{Cluster, Contents, ReferenceError, Source},
    context::Context,
    fields,
    resources::{self, Allocatable},
};

/// Why a container's environment can't be made; Kubernetes calls it
/// `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvError {
    /// A ConfigMap or Secret can't be had.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It lacks a key.
    #[error("couldn't find key {key} in {source_name}")]
    Key {
        /// The key.
        key: String,
        /// Where it was looked for.
        source_name: String,
    },
    /// A field that is not offered.
    #[error("env {name}: {what} is not supported")]
    Unsupported {
        /// The variable.
        name: String,
        /// What it asks for.
        what: String,
    },
}

/// All variables that the pod sets for a container, in order.
pub(crate) async fn environment(
    context: &Context,
    pod: &Pod,
    container: &Container,
    ip: Ipv4Addr,
) -> Result<Vec<(String, String)>, EnvError> {
    let cluster = &context.cluster;
    let mut lookup = Lookup { cluster, pod, container, ip, read: BTreeMap::new() };
    let mut env = service_links(context, pod).await;
    for from in container.env_from.iter().flatten() {
        let (source, optional) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(map), _) => (Source::ConfigMap(&map.name), map.optional),
            (None, Some(secret)) => (Source::Secret(&secret.name), secret.optional),
            (None, None) => continue,
        };
        let prefix = from.prefix.as_deref().unwrap_or_default();
        for (key, value) in lookup.contents(source, optional).await?.into_iter().flatten() {
            set(&mut env, format!("{prefix}{key}"), String::from_utf8_lossy(value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(from) => lookup.value(variable, from).await?,
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &env)),
        };
        if let Some(value) = value {
            set(&mut env, variable.name.clone(), value);
        }
    }
    Ok(env)
}

/// Variables that lead to services, which all others override.
async fn service_links(context: &Context, pod: &Pod) -> Vec<(String, String)> {
    let mut links = context.links.clone();
    let Ok(links) = links.wait_for(Option::is_some).await else { return Vec::new() };
    let enabled = pod.spec.as_ref().and_then(|spec| spec.enable_service_links);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    links.as_ref().map(|links| links.of(namespace, enabled != Some(false))).unwrap_or_default()
}

/// Replaces `$(NAME)` by the variable's value, `$$` by `$`; what is not known stays as it is.
pub(crate) fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            expanded.push('$');
            rest = tail;
        } else if let Some((name, tail)) =
            after.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        {
            match env.iter().find(|(known, _)| known == name) {
                Some((_, value)) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

fn set(env: &mut Vec<(String, String)>, name: String, value: String) {
    match env.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => env.push((name, value)),
    }
}

struct Lookup<'a> {
    cluster: &'a Cluster,
    pod: &'a Pod,
    container: &'a Container,
    ip: Ipv4Addr,
    /// One read per source.
    read: BTreeMap<String, Option<Contents>>,
}

impl Lookup<'_> {
    async fn contents(
        &mut self,
        source: Source<'_>,
        optional: Option<bool>,
    ) -> Result<Option<&Contents>, EnvError> {
        let id = describe(source);
        if !self.read.contains_key(&id) {
            let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
            let contents = match self.cluster.contents(namespace, source).await {
                Ok(contents) => Some(contents),
                Err(ReferenceError::Missing { .. }) if optional == Some(true) => None,
                Err(error) => return Err(error.into()),
            };
            self.read.insert(id.clone(), contents);
        }
        Ok(self.read.get(&id).and_then(Option::as_ref))
    }

    async fn value(
        &mut self,
        variable: &EnvVar,
        from: &EnvVarSource,
    ) -> Result<Option<String>, EnvError> {
        let unsupported = |what: String| {
            let name = variable.name.clone();
            EnvError::Unsupported { name, what }
        };
        if let Some(reference) = &from.field_ref {
            let path = &reference.field_path;
            let value = fields::field(self.pod, self.ip, path);
            return value.map(Some).ok_or_else(|| unsupported(format!("fieldPath `{path}`")));
        }
        if let Some(wanted) = &from.resource_field_ref {
            let machine = Allocatable::here();
            let value = resources::field(self.pod, Some(self.container), wanted, machine);
            let what = || unsupported(format!("resource `{}`", wanted.resource));
            return value.map(Some).ok_or_else(what);
        }
        let (source, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
            (Some(map), _) => (Source::ConfigMap(&map.name), &map.key, map.optional),
            (None, Some(secret)) => (Source::Secret(&secret.name), &secret.key, secret.optional),
            (None, None) => return Err(unsupported("this source".to_owned())),
        };
        let contents = self.contents(source, optional).await?;
        let value = contents.and_then(|contents| contents.get(key));
        match value {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional == Some(true) => Ok(None),
            None => Err(EnvError::Key { key: key.clone(), source_name: describe(source) }),
        }
    }
}

fn describe(source: Source<'_>) -> String {
    match source {
        Source::ConfigMap(name) => format!("ConfigMap {name}"),
        Source::Secret(name) => format!("Secret {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_variables_are_expanded_as_kubernetes_does() {
        let env = [("A", "1"), ("B_C", "two")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)-$(B_C)", "1-two"),
            ("$$(A)", "$(A)"),
            ("$(NONE) $(A", "$(NONE) $(A"),
            ("$A $", "$A $"),
            ("$$$(A)", "$1"),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }
}
