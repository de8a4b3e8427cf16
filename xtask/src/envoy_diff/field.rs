//! What istiod makes of one field of a rule: matchers of Envoy's RBAC filter.
//!
//! Follows `pilot/pkg/security/authz/model/generator.go`, `matcher/*.go` and
//! `pilot/pkg/security/trustdomain/bundle.go`.

use std::net::IpAddr;

use serde_json::{Value, json};

/// A field of a rule, or the key of a condition.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    DestinationIp,
    DestinationPort,
    Sni,
    Metadata(&'a str),
    Host,
    Method,
    Path,
    SourceIp,
    RemoteIp,
    Namespace,
    ServiceAccount,
    TrustDomain,
    Principal,
    RequestPrincipal,
    Claim(&'a str),
    Header(&'a str),
    Claims(&'a str),
}

/// Where a field goes in a policy of the RBAC filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Permission,
    Principal,
}

impl Part {
    pub(super) fn all(self, matchers: &[Value]) -> Value {
        match self {
            Self::Permission => json!({"and_rules": {"rules": matchers}}),
            Self::Principal => json!({"and_ids": {"ids": matchers}}),
        }
    }

    pub(super) fn any(self, matchers: &[Value]) -> Value {
        match self {
            Self::Permission => json!({"or_rules": {"rules": matchers}}),
            Self::Principal => json!({"or_ids": {"ids": matchers}}),
        }
    }

    pub(super) fn not(self, matcher: &Value) -> Value {
        match self {
            Self::Permission => json!({"not_rule": matcher}),
            Self::Principal => json!({"not_id": matcher}),
        }
    }
}

impl<'a> Field<'a> {
    /// The field of a condition's key; none if Istio does not know it.
    pub(super) fn of_key(key: &'a str) -> Option<Self> {
        Some(match key {
            "destination.ip" => Self::DestinationIp,
            "destination.port" => Self::DestinationPort,
            "connection.sni" => Self::Sni,
            "source.ip" => Self::SourceIp,
            "remote.ip" => Self::RemoteIp,
            "source.namespace" => Self::Namespace,
            "source.serviceAccount" => Self::ServiceAccount,
            "source.trustDomain" => Self::TrustDomain,
            "source.principal" => Self::Principal,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::Claim("aud"),
            "request.auth.presenter" => Self::Claim("azp"),
            _ if key.starts_with("experimental.envoy.filters.") => Self::Metadata(key),
            _ => match key.strip_prefix("request.headers") {
                Some(rest) => Self::Header(rest),
                None => Self::Claims(key.strip_prefix("request.auth.claims")?),
            },
        })
    }

    pub(super) fn part(self) -> Part {
        match self {
            Self::DestinationIp
            | Self::DestinationPort
            | Self::Sni
            | Self::Metadata(_)
            | Self::Host
            | Self::Method
            | Self::Path => Part::Permission,
            _ => Part::Principal,
        }
    }

    fn is_http_only(self) -> bool {
        matches!(
            self,
            Self::Host
                | Self::Method
                | Self::Path
                | Self::RequestPrincipal
                | Self::Claim(_)
                | Self::Claims(_)
                | Self::Header(_)
        )
    }
}

/// A value that istiod can't translate.
#[derive(Debug)]
pub(super) struct Untranslatable;

/// What the translation of a value depends on.
#[derive(Debug)]
pub(super) struct Translation<'a> {
    /// The mesh's trust domain and its aliases.
    pub(super) domains: Vec<String>,
    /// Namespace of the policy.
    pub(super) namespace: &'a str,
    /// Whether it is for a TCP port.
    pub(super) tcp: bool,
}

type Matcher = Result<Value, Untranslatable>;

impl Translation<'_> {
    /// A matcher for each of the values, or for all of them together.
    pub(super) fn matchers(&self, field: Field<'_>, values: &[String]) -> Vec<Matcher> {
        if self.tcp && field.is_http_only() {
            return values.iter().map(|_| Err(Untranslatable)).collect();
        }
        let each = |matcher: &dyn Fn(&str) -> Matcher| {
            values.iter().map(|value| matcher(value)).collect::<Vec<_>>()
        };
        match field {
            Field::DestinationIp => each(&|v| Ok(json!({"destination_ip": cidr(v)?}))),
            Field::DestinationPort => each(&|v| Ok(json!({"destination_port": port(v)?}))),
            Field::Sni => each(&|v| Ok(json!({"requested_server_name": pattern(v)}))),
            Field::Metadata(key) => together(values, || metadata(key, values)),
            Field::Host => each(&|v| Ok(json!({"header": host(v)}))),
            Field::Method => each(&|v| Ok(json!({"header": header(":method", v)}))),
            Field::Path => each(&|v| Ok(path(v))),
            Field::SourceIp => each(&|v| Ok(json!({"direct_remote_ip": cidr(v)?}))),
            Field::RemoteIp => each(&|v| Ok(json!({"remote_ip": cidr(v)?}))),
            Field::Namespace => each(&|v| Ok(authenticated(&namespace(v)))),
            Field::ServiceAccount => each(&|v| Ok(authenticated(&self.service_account(v)))),
            Field::TrustDomain => {
                let values = values.iter().flat_map(|value| self.expand_domain(value));
                values.map(|value| Ok(authenticated(&trust_domain(&value)))).collect()
            }
            Field::Principal => {
                let values = values.iter().flat_map(|value| self.expand_principal(value));
                values.map(|value| Ok(authenticated(&principal(&value)))).collect()
            }
            Field::RequestPrincipal => each(&|v| Ok(request_principal(v))),
            Field::Claim(name) => together(values, || Ok(claims(&[name], values))),
            Field::Claims(rest) => together(values, || Ok(claims(&nested(rest)?, values))),
            Field::Header(rest) => each(&|v| Ok(json!({"header": header(bracketed(rest)?, v)}))),
        }
    }

    fn service_account(&self, value: &str) -> Value {
        let (namespace, name) = value.split_once('/').unwrap_or((self.namespace, value));
        let (namespace, name) = (quoted(namespace), quoted(name));
        regex(&format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?"))
    }

    fn expand_domain(&self, value: &str) -> Vec<String> {
        if self.domains.iter().any(|domain| domain == value) {
            return self.domains.clone();
        }
        vec![value.to_owned()]
    }

    fn expand_principal(&self, value: &str) -> Vec<String> {
        let (domain, rest) = match value.split_once('/') {
            Some((domain, rest)) if domain != "*" && rest.split('/').count() == 4 => (domain, rest),
            _ => return vec![value.to_owned()],
        };
        let own = |own: &String| {
            own == domain || domain == "*" || own == "*" || stars(own, domain) || stars(domain, own)
        };
        if domain != "cluster.local" && !self.domains.iter().any(own) {
            return vec![value.to_owned()];
        }
        let mut expanded: Vec<String> = Vec::new();
        for own in &self.domains {
            let kept = domain.strip_prefix('*').is_some_and(|suffix| own.ends_with(suffix));
            let new = if kept { value.to_owned() } else { format!("{own}/{rest}") };
            if !expanded.contains(&new) {
                expanded.push(new);
            }
        }
        expanded
    }
}

fn together(values: &[String], matcher: impl FnOnce() -> Matcher) -> Vec<Matcher> {
    if values.is_empty() { Vec::new() } else { vec![matcher()] }
}

/// Whether a text begins or ends as a pattern with a star says.
fn stars(text: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').is_some_and(|prefix| text.starts_with(prefix))
        || pattern.strip_prefix('*').is_some_and(|suffix| text.ends_with(suffix))
}

fn pattern(value: &str) -> Value {
    if value == "*" {
        regex(".+")
    } else if let Some(suffix) = value.strip_prefix('*') {
        json!({"suffix": suffix})
    } else if let Some(prefix) = value.strip_suffix('*') {
        json!({"prefix": prefix})
    } else {
        json!({"exact": value})
    }
}

fn principal(value: &str) -> Value {
    match (value, value.strip_prefix('*')) {
        ("*", _) => regex(".+"),
        (_, Some(suffix)) => regex(&format!("spiffe://.*{}", quoted(suffix))),
        _ => pattern(&format!("spiffe://{value}")),
    }
}

fn namespace(value: &str) -> Value {
    let parts: Vec<String> = value.split('*').map(quoted).collect();
    regex(&format!(".*/ns/{}/.*", parts.join(".*")))
}

fn trust_domain(value: &str) -> Value {
    match (value, value.split_once('*')) {
        ("*", _) => json!({"prefix": "spiffe://"}),
        (_, None) => json!({"prefix": format!("spiffe://{value}/")}),
        (_, Some((before, after))) => {
            regex(&format!("spiffe://{}[^/]*{}/.*", quoted(before), quoted(after)))
        }
    }
}

fn authenticated(name: &Value) -> Value {
    json!({"authenticated": {"principal_name": name}})
}

fn request_principal(value: &str) -> Value {
    let any = || regex(".+");
    let exact = |value: &str| json!({"exact": value});
    let (iss, sub) = match value.rsplit_once('/') {
        None if value == "*" => (any(), any()),
        None => match (value.strip_prefix('*'), value.strip_suffix('*')) {
            (Some(suffix), _) => (any(), json!({"suffix": suffix})),
            (None, Some(prefix)) => (json!({"prefix": prefix}), any()),
            (None, None) => (exact(value), exact("")),
        },
        Some((iss, sub)) => match (iss.strip_prefix('*'), sub.strip_suffix('*')) {
            (Some(""), _) => (any(), exact(sub)),
            (Some(suffix), _) => (json!({"suffix": suffix}), exact(sub)),
            (None, Some("")) => (exact(iss), any()),
            (None, Some(prefix)) => (exact(iss), json!({"prefix": prefix})),
            (None, None) => (exact(iss), exact(sub)),
        },
    };
    let claim = |name: &str, matcher: Value| payload(&[name], &json!({"string_match": matcher}));
    json!({"and_ids": {"ids": [claim("iss", iss), claim("sub", sub)]}})
}

/// A claim that is a text of the values, or a list with one.
fn claims(names: &[&str], values: &[String]) -> Value {
    let value =
        either(values.iter().map(|value| json!({"string_match": pattern(value)})).collect());
    let in_list = json!({"list_match": {"one_of": value}});
    payload(names, &json!({"or_match": {"value_matchers": [in_list, value]}}))
}

fn either(mut matchers: Vec<Value>) -> Value {
    if matchers.len() == 1 {
        matchers.remove(0)
    } else {
        json!({"or_match": {"value_matchers": matchers}})
    }
}

fn payload(names: &[&str], value: &Value) -> Value {
    let path: Vec<Value> =
        std::iter::once(&"payload").chain(names).map(|key| json!({"key": key})).collect();
    json!({"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": value}})
}

fn metadata(key: &str, values: &[String]) -> Matcher {
    let key = key.strip_prefix("experimental.").unwrap_or(key);
    let key = key.strip_suffix(']').unwrap_or(key);
    let (filter, name) = key.split_once('[').ok_or(Untranslatable)?;
    let matchers = values.iter().map(|value| {
        match value.strip_prefix('[').filter(|value| value.ends_with(']')) {
            Some(_) => {
                let inside = json!({"string_match": pattern(value.trim_matches(['[', ']']))});
                json!({"list_match": {"one_of": inside}})
            }
            None => json!({"string_match": pattern(value)}),
        }
    });
    let value = either(matchers.collect());
    Ok(json!({"metadata": {"filter": filter, "path": [{"key": name}], "value": value}}))
}

fn header(name: &str, value: &str) -> Value {
    match value {
        "*" => json!({"name": name, "present_match": true}),
        _ => json!({"name": name, "string_match": pattern(value)}),
    }
}

fn host(value: &str) -> Value {
    let mut matcher = header(":authority", value);
    if let Some(text) = matcher.get_mut("string_match").and_then(Value::as_object_mut) {
        text.insert("ignore_case".to_owned(), true.into());
    }
    matcher
}

fn path(value: &str) -> Value {
    if value.contains("{*}") || value.contains("{**}") {
        let template = value.replace("{*}", "*").replace("{**}", "**");
        return json!({"uri_template": {"name": "uri-template", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
            "path_template": template,
        }}});
    }
    json!({"url_path": {"path": pattern(value)}})
}

/// `[name]` without its brackets.
fn bracketed(text: &str) -> Result<&str, Untranslatable> {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or(Untranslatable)
}

/// `[a][b]` taken apart; what is no such nesting is one name in the outermost brackets.
fn nested(text: &str) -> Result<Vec<&str>, Untranslatable> {
    let mut names = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let name = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match name {
            Some((name, after)) if !name.contains('[') => {
                names.push(name);
                rest = after;
            }
            _ => return Ok(vec![bracketed(text)?]),
        }
    }
    Ok(names)
}

fn port(value: &str) -> Result<u16, Untranslatable> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or(Untranslatable)
}

fn cidr(value: &str) -> Matcher {
    let (address, length) = match value.split_once('/') {
        Some((address, length)) => {
            (address, Some(length.parse::<u8>().map_err(|_| Untranslatable)?))
        }
        None => (value, None),
    };
    let address: IpAddr = address.parse().map_err(|_| Untranslatable)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(bits);
    if length > bits {
        return Err(Untranslatable);
    }
    Ok(json!({"address_prefix": address.to_string(), "prefix_len": length}))
}

fn regex(text: &str) -> Value {
    json!({"safe_regex": {"regex": text}})
}

/// A text of a regular expression that stands for itself.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}
