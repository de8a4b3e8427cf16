//! What a request asks for: the path and query of the Kubernetes API, taken apart.
//!
//! Path segments are split before they are decoded, so that an encoded slash never makes a new
//! segment; segments that decode to `.`, `..`, nothing, or contain a slash are refused where they
//! name an object.

use http::Method;

use crate::status::ApiError;

/// The path, by its meaning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// `/version`, `/healthz`, `/openapi/...`, discovery.
    Path(Vec<String>),
    /// A resource, an object or a subresource.
    Resource(ResourcePath),
}

/// The parts of a resource's path.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ResourcePath {
    /// API group; empty for core.
    pub(crate) group: String,
    /// Version.
    pub(crate) version: String,
    /// Namespace; empty for cluster scope or all namespaces.
    pub(crate) namespace: String,
    /// Plural name.
    pub(crate) plural: String,
    /// Object name; empty for the collection.
    pub(crate) name: String,
    /// Subresource; empty for the object.
    pub(crate) subresource: String,
    /// What follows a `proxy` subresource, with its leading slash, as it was encoded.
    pub(crate) rest: String,
}

impl Target {
    /// Takes a path apart.
    pub(crate) fn parse(path: &str) -> Result<Self, ApiError> {
        let raw: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let (group, version, rest) = match raw.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            other => return Ok(Self::Path(other.iter().map(|s| (*s).to_owned()).collect())),
        };
        let (namespace, rest) = match rest {
            // `namespaces/NAME/status` and `/finalize` are parts of the namespace itself.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let mut target = ResourcePath {
            group: decode(group)?,
            version: decode(version)?,
            namespace: decode(namespace)?,
            ..ResourcePath::default()
        };
        match rest {
            [plural] => target.plural = decode(plural)?,
            [plural, name] => {
                target.plural = decode(plural)?;
                target.name = decode(name)?;
            }
            [plural, name, subresource, rest @ ..] => {
                target.plural = decode(plural)?;
                target.name = decode(name)?;
                target.subresource = decode(subresource)?;
                if target.subresource == "proxy" {
                    target.rest = proxied(path, rest);
                } else if !rest.is_empty() {
                    return Err(ApiError::no_such_path());
                }
            }
            [] => return Err(ApiError::no_such_path()),
        }
        Ok(Self::Resource(target))
    }
}

/// The part of the path behind `/proxy`, trailing slash included.
fn proxied(path: &str, rest: &[&str]) -> String {
    let tail = if path.ends_with('/') && !rest.is_empty() { "/" } else { "" };
    format!("/{}{tail}", rest.join("/"))
}

fn decode(segment: &str) -> Result<String, ApiError> {
    let decoded = percent_decode(segment, false)?;
    let harmless = !decoded.contains(['/', '\0', '%']) && decoded != "." && decoded != "..";
    harmless.then_some(decoded).ok_or_else(ApiError::no_such_path)
}

fn percent_decode(text: &str, plus_is_space: bool) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte.unwrap_or_default()).to_digit(16);
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let value =
                    high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                bytes.push(value.ok_or_else(|| ApiError::bad_request("invalid URL escape"))?);
            }
            b'+' if plus_is_space => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::bad_request("the URL is not UTF-8"))
}

/// Query parameters, decoded, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// From the text after `?`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((percent_decode(key, true)?, percent_decode(value, true)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The first value of a parameter, or an empty text.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter says yes, as Go reads booleans: a bare `watch` is yes.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.0.iter().find(|(name, _)| name == key).is_some_and(|(_, value)| {
            !matches!(value.as_str(), "false" | "0" | "f" | "F" | "False")
        })
    }

    /// A parameter as a number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        match self.text(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!("invalid value `{text}` of parameter `{key}`"))
            }),
        }
    }

    /// Whether nothing is to be stored.
    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.text("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(ApiError::bad_request(format!(
                "invalid value `{other}` of parameter `dryRun`: supported is `All`"
            ))),
        }
    }
}

/// The verb of a request, as authorization and discovery name it.
pub(crate) fn verb(method: &Method, path: &ResourcePath, query: &Query) -> Option<&'static str> {
    let collection = path.name.is_empty();
    Some(match (method.as_str(), collection) {
        ("GET" | "HEAD", _) if query.flag("watch") && path.subresource.is_empty() => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", false) => "update",
        ("PATCH", false) => "patch",
        ("DELETE", false) => "delete",
        ("DELETE", true) => "deletecollection",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourcePath {
        match Target::parse(path).unwrap() {
            Target::Resource(resource) => resource,
            Target::Path(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_mean_what_kubernetes_says() {
        let cases = [
            ("/api/v1/pods", "|v1||pods|||"),
            ("/api/v1/namespaces", "|v1||namespaces|||"),
            ("/api/v1/namespaces/a", "|v1||namespaces|a||"),
            ("/api/v1/namespaces/a/status", "|v1||namespaces|a|status|"),
            ("/api/v1/namespaces/a/pods", "|v1|a|pods|||"),
            ("/apis/apps/v1/namespaces/a/deployments/b/scale", "apps|v1|a|deployments|b|scale|"),
            ("/api/v1/namespaces/a/pods/b/log", "|v1|a|pods|b|log|"),
            ("/api/v1/namespaces/a/services/b:80/proxy", "|v1|a|services|b:80|proxy|/"),
            ("/api/v1/namespaces/a/services/b:80/proxy/", "|v1|a|services|b:80|proxy|/"),
            ("/api/v1/namespaces/a/services/b/proxy/x%2Fy/", "|v1|a|services|b|proxy|/x%2Fy/"),
            ("/apis/g/v1/namespaces/a/things/status", "g|v1|a|things|status||"),
        ];
        for (path, wanted) in cases {
            let p = resource(path);
            let parts = [p.group, p.version, p.namespace, p.plural, p.name, p.subresource, p.rest];
            assert_eq!(parts.join("|"), wanted, "{path}");
        }
        assert_eq!(
            Target::parse("/apis/apps/v1").unwrap(),
            Target::Path(["apis", "apps", "v1"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn names_cannot_climb_out_of_their_place() {
        for path in [
            "/api/v1/namespaces/a/pods/%2e%2e",
            "/api/v1/namespaces/a%2fb/pods",
            "/api/v1/namespaces/a/pods/b%00",
            "/api/v1/namespaces/a/pods/b%252fc",
            "/api/v1/namespaces/a/pods/b%zz",
            "/api/v1/namespaces/a/pods/b/log/c",
        ] {
            assert!(Target::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn query_parameters_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&watch&x=1+2&force=false").unwrap();
        assert_eq!(query.text("labelSelector"), "a=b,c");
        assert_eq!(query.text("x"), "1 2");
        assert!(query.flag("watch") && !query.flag("force") && !query.flag("other"));
    }
}
