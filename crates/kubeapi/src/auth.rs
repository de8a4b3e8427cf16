//! Who calls, and what they may do.
//!
//! Callers prove themselves with a client certificate of the API's own CA or with a service
//! account token. There are no roles to configure: the machine's owner and the mesh's own
//! components may do everything, a service account may look at itself and at discovery, and
//! nobody else gets past authentication.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::{
    request::{ResourcePath, verb},
    resource::Resource,
    status::ApiError,
};

/// Group of the machine's owner.
pub(crate) const MASTERS: &str = "system:masters";

/// Group of the mesh's own components; only the API's CA can put somebody into it.
pub(crate) const COMPONENTS: &str = "system:palisade-components";

const AUTHENTICATED: &str = "system:authenticated";

/// Prefix of service accounts' user names.
pub(crate) const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// An authenticated caller.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    /// User name.
    pub(crate) name: String,
    /// Unique id, for service accounts.
    pub(crate) uid: String,
    /// Groups.
    pub(crate) groups: Vec<String>,
    /// Facts about the credential.
    pub(crate) extra: Vec<(String, String)>,
}

impl Identity {
    /// From the subject of a verified client certificate.
    pub(crate) fn from_certificate(common_name: &str, organizations: &[String]) -> Option<Self> {
        // A certificate must not pass for a service account: those are proven by tokens.
        if common_name.is_empty() || common_name.starts_with(SERVICE_ACCOUNT) {
            return None;
        }
        let mut groups = organizations.to_vec();
        groups.push(AUTHENTICATED.to_owned());
        Some(Self { name: common_name.to_owned(), groups, ..Self::default() })
    }

    /// A service account.
    pub(crate) fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            name: format!("{SERVICE_ACCOUNT}{namespace}:{name}"),
            uid: uid.to_owned(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                AUTHENTICATED.to_owned(),
            ],
            extra: Vec::new(),
        }
    }

    /// Whether it may do everything.
    pub(crate) fn is_privileged(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS || group == COMPONENTS)
    }

    /// The identity that `Impersonate-*` headers ask for. Whoever may not impersonate is refused:
    /// to ignore the headers would be to act with more rights than asked.
    pub(crate) fn impersonate(self, headers: &HeaderMap) -> Result<Self, ApiError> {
        let asked = headers.keys().any(|name| name.as_str().starts_with("impersonate-"));
        if !asked {
            return Ok(self);
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let user = text("impersonate-user").unwrap_or_default();
        if !self.is_privileged() || user.is_empty() {
            let users = Resource { plural: "users".to_owned(), ..Resource::default() };
            let why = format!("User \"{}\" cannot impersonate resource \"users\"", self.name);
            return Err(ApiError::forbidden(&users, user, &why));
        }
        let mut groups: Vec<String> = headers
            .get_all("impersonate-group")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect();
        if let Some(account) = user.strip_prefix(SERVICE_ACCOUNT)
            && let Some((namespace, name)) = account.split_once(':')
            && groups.is_empty()
        {
            return Ok(Self::service_account(namespace, name, ""));
        }
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Ok(Self { name: user.to_owned(), groups, ..Self::default() })
    }

    /// As `status.user` of a review and `userInfo` of an admission request.
    pub(crate) fn to_json(&self) -> Value {
        let mut user = serde_json::Map::new();
        user.insert("username".to_owned(), json!(self.name));
        if !self.uid.is_empty() {
            user.insert("uid".to_owned(), json!(self.uid));
        }
        user.insert("groups".to_owned(), json!(self.groups));
        if !self.extra.is_empty() {
            let extra: serde_json::Map<String, Value> =
                self.extra.iter().map(|(key, value)| (key.clone(), json!([value]))).collect();
            user.insert("extra".to_owned(), Value::Object(extra));
        }
        Value::Object(user)
    }
}

/// An action on a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action<'a> {
    /// `get`, `list`, ...
    pub(crate) verb: &'a str,
    /// API group.
    pub(crate) group: &'a str,
    /// Plural name.
    pub(crate) resource: &'a str,
    /// Subresource; may be empty.
    pub(crate) subresource: &'a str,
}

/// Whether a caller may do something with a resource.
pub(crate) fn may(identity: &Identity, action: &Action<'_>) -> bool {
    identity.is_privileged()
        || (identity.groups.iter().any(|group| group == AUTHENTICATED)
            && action.verb == "create"
            && action.subresource.is_empty()
            && matches!(
                (action.group, action.resource),
                ("authentication.k8s.io", "selfsubjectreviews")
                    | (
                        "authorization.k8s.io",
                        "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
                    )
            ))
}

/// Whether a caller may read a path that is no resource: discovery is for everybody who is known.
pub(crate) fn may_read_path(identity: &Identity, path: &[String]) -> bool {
    const DISCOVERY: [&str; 7] =
        ["api", "apis", "openapi", "version", "healthz", "livez", "readyz"];
    let first = path.first().map_or("", String::as_str);
    identity.is_privileged() || DISCOVERY.contains(&first)
}

/// Refuses what a caller may not do, in Kubernetes' words.
pub(crate) fn authorize(
    identity: &Identity,
    method: &http::Method,
    path: &ResourcePath,
    resource: &Resource,
    query: &crate::request::Query,
) -> Result<&'static str, ApiError> {
    let verb = verb(method, path, query).ok_or_else(ApiError::method_not_allowed)?;
    let action =
        Action { verb, group: &path.group, resource: &path.plural, subresource: &path.subresource };
    if may(identity, &action) {
        return Ok(verb);
    }
    let what = match path.subresource.as_str() {
        "" => path.plural.clone(),
        subresource => format!("{}/{subresource}", path.plural),
    };
    let scope = match path.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let why = format!(
        "User \"{}\" cannot {verb} resource \"{what}\" in API group \"{}\" {scope}",
        identity.name, path.group
    );
    Err(ApiError::forbidden(resource, &path.name, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(verb: &'static str, group: &'static str, resource: &'static str) -> Action<'static> {
        Action { verb, group, resource, subresource: "" }
    }

    #[test]
    fn a_service_account_may_only_look_at_itself() {
        let account = Identity::service_account("a", "b", "u");
        let review = action("create", "authentication.k8s.io", "selfsubjectreviews");
        assert!(may(&account, &review));
        assert!(!may(&account, &action("get", "", "pods")));
        assert!(!may(&account, &action("create", "authentication.k8s.io", "tokenreviews")));
        assert!(!may(&account, &Action { subresource: "x", ..review }));
    }

    #[test]
    fn the_owner_may_do_everything() {
        let owner = Identity::from_certificate("admin", &[MASTERS.to_owned()]).unwrap();
        assert!(may(&owner, &action("delete", "", "nodes")));
        let stranger = Identity::from_certificate("admin", &[]).unwrap();
        assert!(!may(&stranger, &action("get", "", "pods")));
    }

    #[test]
    fn a_certificate_cannot_pass_for_a_service_account() {
        assert_eq!(Identity::from_certificate("system:serviceaccount:a:b", &[]), None);
        assert_eq!(Identity::from_certificate("", &[MASTERS.to_owned()]), None);
    }

    #[test]
    fn impersonation_takes_rights_away_and_gives_none() {
        let mut headers = HeaderMap::new();
        headers.insert("impersonate-user", "system:serviceaccount:a:b".parse().unwrap());
        let owner = Identity::from_certificate("admin", &[MASTERS.to_owned()]).unwrap();
        assert!(!owner.clone().impersonate(&headers).unwrap().is_privileged());
        let account = Identity::service_account("a", "c", "u");
        assert!(account.impersonate(&headers).is_err());
        let mut only_group = HeaderMap::new();
        only_group.insert("impersonate-group", MASTERS.parse().unwrap());
        assert!(owner.impersonate(&only_group).is_err(), "a group without a user is refused");
    }
}
