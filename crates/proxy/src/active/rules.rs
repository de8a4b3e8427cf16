//! How the requests of a service are treated: the routes of a VirtualService, of which the first that matches decides.

use std::{sync::Arc, time::Duration};

use palisade_http::{RequestHead, normalize::normalize};
use palisade_model::{HttpMatch, HttpRoute, StringMatch, regex};
use palisade_types::{PathNormalization, RetryPolicy};
use regex::bytes::Regex;

/// The routes of a service's port.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    /// What holds without any.
    otherwise: Arc<Budget>,
}

/// How long a request may take, and when it is sent again.
#[derive(Debug)]
pub(crate) struct Budget {
    /// From when all of it has come until all of the answer is passed on.
    pub(crate) timeout: Option<Duration>,
    /// When it is sent again.
    pub(crate) retries: RetryPolicy,
}

#[derive(Debug)]
struct Rule {
    matchers: Vec<Matcher>,
    port: Option<u16>,
    budget: Arc<Budget>,
}

/// What was found for a request: its budget, and the port that it goes to if it is another.
pub(crate) type Found<'a> = (&'a Arc<Budget>, Option<u16>);

impl Rules {
    /// Compiles routes; those that say nothing of retries have the mesh's.
    pub(super) fn new(routes: &[HttpRoute], mesh: Option<&RetryPolicy>) -> Self {
        let usual = || mesh.cloned().unwrap_or_default();
        let rule = |route: &HttpRoute| Rule {
            matchers: route.matches.iter().map(Matcher::new).collect(),
            port: route.port,
            budget: Arc::new(Budget {
                timeout: route.timeout,
                retries: route.retries.clone().unwrap_or_else(usual),
            }),
        };
        let otherwise = Arc::new(Budget { timeout: None, retries: usual() });
        Self { rules: routes.iter().map(rule).collect(), otherwise }
    }

    /// The ports that requests may have to go to.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.rules.iter().filter_map(|rule| rule.port)
    }

    /// The rule for a request; none where there are rules, and none of them is for it.
    pub(super) fn find(
        &self,
        request: (&RequestHead, &[u8]),
        mode: PathNormalization,
    ) -> Option<Found<'_>> {
        if self.rules.is_empty() {
            return Some((&self.otherwise, None));
        }
        let target = request.0.path(request.1).unwrap_or_default();
        let path = normalize(target, mode).unwrap_or_else(|_| target.into());
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let fits = |rule: &&Rule| {
            rule.matchers.is_empty() || rule.matchers.iter().any(|it| it.fits(request, path))
        };
        self.rules.iter().find(fits).map(|rule| (&rule.budget, rule.port))
    }
}

/// An entry of `match`.
#[derive(Debug)]
struct Matcher {
    path: Option<Pattern>,
    /// Whether the path is compared in lower case.
    folds: bool,
    method: Option<Pattern>,
    /// By names in lower case; no pattern: there has to be one.
    headers: Vec<(String, Option<Pattern>)>,
}

impl Matcher {
    fn new(from: &HttpMatch) -> Self {
        let text = |it: &StringMatch| Pattern::new(it, false);
        let folds = from.ignore_uri_case;
        Self {
            path: from.uri.as_ref().and_then(|it| Pattern::new(it, folds)),
            folds: folds && from.uri.as_ref().is_some_and(|it| it.regex.is_none()),
            method: from.method.as_ref().and_then(text),
            headers: from
                .headers
                .iter()
                .map(|(name, it)| (name.to_ascii_lowercase(), text(it)))
                .collect(),
        }
    }

    fn fits(&self, (head, received): (&RequestHead, &[u8]), path: &str) -> bool {
        let is = |pattern: &Option<Pattern>, text: &[u8]| {
            pattern.as_ref().is_none_or(|pattern| pattern.fits(text))
        };
        let path_fits = match self.folds {
            true => is(&self.path, path.to_ascii_lowercase().as_bytes()),
            false => is(&self.path, path.as_bytes()),
        };
        path_fits
            && is(&self.method, head.method().as_str().as_bytes())
            && self.headers.iter().all(|(name, pattern)| {
                value(head, received, name).is_some_and(|value| is(pattern, &value))
            })
    }
}

/// The values of a field as one, as Envoy compares them.
fn value(head: &RequestHead, received: &[u8], name: &str) -> Option<Vec<u8>> {
    let named = head.fields(received).filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let values: Vec<&[u8]> = named.map(|(_, value)| value).collect();
    (!values.is_empty()).then(|| values.join(&b","[..]))
}

#[derive(Debug)]
enum Pattern {
    Exact(String),
    Prefix(String),
    Regex(Regex),
    /// An expression that validation would have refused.
    Nothing,
}

impl Pattern {
    /// None where anything will do, as in Istio: nothing is said, or `*`.
    fn new(from: &StringMatch, folds: bool) -> Option<Self> {
        let fold = |text: &str| if folds { text.to_ascii_lowercase() } else { text.to_owned() };
        match (&from.exact, &from.prefix, from.regex.as_deref()) {
            (Some(text), _, _) => Some(Self::Exact(fold(text))),
            (None, Some(text), _) => Some(Self::Prefix(fold(text))),
            (None, None, None | Some("*")) => None,
            (None, None, Some(text)) => Some(regex(text).map_or(Self::Nothing, Self::Regex)),
        }
    }

    fn fits(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => text == exact.as_bytes(),
            Self::Prefix(prefix) => text.starts_with(prefix.as_bytes()),
            Self::Regex(regex) => regex.is_match(text),
            Self::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use palisade_http::Limits;
    use serde_json::{Value, json};

    use super::*;

    /// The place of the route that is taken, by its timeout in seconds; 0 if none is.
    fn taken(routes: &[Value], request: &str) -> u64 {
        let routes: Vec<HttpRoute> = routes
            .iter()
            .zip(1_u64..)
            .map(|(matches, number)| {
                let timeout = json!({"secs": number, "nanos": 0});
                let matches = json!({"matches": matches, "timeout": timeout});
                serde_json::from_value(matches).unwrap()
            })
            .collect();
        let rules = Rules::new(&routes, None);
        let mut head = RequestHead::default();
        head.parse(request.as_bytes(), Limits::default()).unwrap().unwrap();
        let found = rules.find((&head, request.as_bytes()), PathNormalization::Base);
        found.map_or(0, |(budget, _)| budget.timeout.unwrap().as_secs())
    }

    #[test]
    fn the_first_route_that_matches_is_taken() {
        let uri = |way: &str, text: &str| json!([{"uri": {way: text}}]);
        let routes = [
            uri("exact", "/exact"),
            uri("prefix", "/pre"),
            uri("regex", "/re[0-9]+"),
            json!([{"uri": {"exact": "/Any"}, "ignoreUriCase": true}]),
            json!([{"method": {"exact": "POST"}, "headers": {"X-Tier": {"exact": "gold"}}}]),
            json!([{"headers": {"x-any": {}}}, {"headers": {"x-star": {"regex": "*"}}}]),
            json!([{"headers": {"x-list": {"regex": "a,b+"}}}]),
        ];
        for (request, expected) in [
            ("GET /exact?query", 1),
            ("GET /exact/", 0),
            ("GET /Exact", 0),
            ("GET /x/../exact", 1),
            ("GET /prefixed/more", 2),
            ("GET /re12", 3),
            ("GET /re12x", 0),
            ("GET /x/re12", 0),
            ("GET /aNY", 4),
            ("POST /|x-tier: gold", 5),
            ("GET /|x-tier: gold", 0),
            ("POST /|x-tier: golden", 0),
            ("GET /|x-any: 1", 6),
            ("GET /|X-Star:", 6),
            ("GET /|x-list: a|x-list: bb", 7),
            ("GET /|x-list: a", 0),
        ] {
            let mut lines = request.split('|');
            let line = lines.next().unwrap();
            let fields: String = lines.map(|field| format!("{field}\r\n")).collect();
            let text = format!("{line} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
            assert_eq!(taken(&routes, &text), expected, "{request}");
        }
        assert_eq!(taken(&[json!([])], "GET /any HTTP/1.1\r\nhost: a\r\n\r\n"), 1, "all");
    }
}
