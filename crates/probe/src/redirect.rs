//! Where an answer sends its client, as far as a probe follows: `Location` (RFC 9110, section
//! 10.2.2), resolved against the URL that was asked (RFC 3986, section 5).

use http::{StatusCode, Uri};

use crate::Scheme;

/// A URL in parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
}

/// Whether a status sends its client elsewhere, if it says where.
pub(crate) fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether a location names a host.
pub(crate) fn is_absolute(location: &str) -> bool {
    location.starts_with("//") || scheme_of(location).is_some()
}

impl Place {
    /// The place that a location means for who asked at this one; none if it means nothing that
    /// HTTP can ask for.
    pub(crate) fn resolve(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme.name()));
        }
        if scheme_of(location).is_some() {
            return Self::parse(location);
        }
        let here = self.path.split('?').next().unwrap_or_default();
        let path = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') || location.is_empty() {
            format!("{here}{location}")
        } else {
            let directory = here.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{directory}/{location}")
        };
        Some(Self { path: normal(&path), ..self.clone() })
    }

    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Self {
            scheme,
            host: uri.host()?.to_owned(),
            port: uri.port_u16().unwrap_or(if scheme == Scheme::Http { 80 } else { 443 }),
            path: normal(path),
        })
    }
}

fn scheme_of(location: &str) -> Option<&str> {
    let (scheme, _) = location.split_once(':')?;
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let goes_on = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (begins && scheme.chars().all(goes_on)).then_some(scheme)
}

/// The path without `.` and `..`; a query stays as it is.
fn normal(path: &str) -> String {
    let (path, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    format!("/{}{query}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_mean_what_they_mean_in_a_browser() {
        let base = Place {
            scheme: Scheme::Http,
            host: "10.0.0.1".to_owned(),
            port: 8080,
            path: "/a/b?x=1".to_owned(),
        };
        for (location, expected) in [
            ("/login", "http 10.0.0.1 8080 /login"),
            ("c", "http 10.0.0.1 8080 /a/c"),
            ("../c?y=/../z", "http 10.0.0.1 8080 /c?y=/../z"),
            ("../../../c/./d/..", "http 10.0.0.1 8080 /c/"),
            ("?y", "http 10.0.0.1 8080 /a/b?y"),
            ("/x#part", "http 10.0.0.1 8080 /x"),
            ("//other:81/x", "http other 81 /x"),
            ("https://10.0.0.1", "https 10.0.0.1 443 /"),
            ("https://10.0.0.1:8443/y?z", "https 10.0.0.1 8443 /y?z"),
            ("http://app.example/y", "http app.example 80 /y"),
            ("ftp://10.0.0.1/x", "-"),
            ("mailto:somebody", "-"),
            ("http://", "-"),
        ] {
            let found = base.resolve(location).map_or("-".to_owned(), |place| {
                format!("{} {} {} {}", place.scheme.name(), place.host, place.port, place.path)
            });
            assert_eq!(found, expected, "{location}");
        }
    }
}
