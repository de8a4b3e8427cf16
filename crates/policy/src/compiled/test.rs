//! One test on the attributes of a request: a list of values on one attribute, of which one must match,
//! or none.

use palisade_types::IpBlock;

use super::{
    claims::{Claim, RequestPrincipal},
    identity::{Namespace, Principals, ServiceAccount, TrustDomainPattern},
    place::Place,
    values::{Hosts, Paths, Patterns},
};
use crate::{Attributes, Http};

/// A list of values, and whether one of them has to match or none may.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub(super) values: Values,
    pub(super) sense: Sense,
    /// Where it was written.
    pub(super) place: Place,
}

/// The field (`principals`) or its negation (`notPrincipals`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sense {
    OneOf,
    NoneOf,
}

/// Values of one attribute, compiled.
#[derive(Clone, Debug)]
pub(super) enum Values {
    Principals(Principals),
    Namespaces(Box<[Namespace]>),
    ServiceAccounts(Box<[ServiceAccount]>),
    TrustDomains(Box<[TrustDomainPattern]>),
    SourceIps(Box<[IpBlock]>),
    RemoteIps(Box<[IpBlock]>),
    DestinationIps(Box<[IpBlock]>),
    DestinationPorts(Box<[u16]>),
    Sni(Patterns),
    RequestPrincipals(Box<[RequestPrincipal]>),
    Claim(Claim),
    Header(HeaderName, Patterns),
    Hosts(Hosts),
    Methods(Patterns),
    Paths(Paths),
    /// Of an attribute that nothing ever has.
    Nothing,
}

/// A header field or what stands for one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum HeaderName {
    Authority,
    Method,
    /// With its query.
    Path,
    Scheme,
    Field(Box<str>),
}

/// The attributes with what several tests would have to take apart again.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) attributes: &'a Attributes<'a>,
    /// Path without query.
    pub(super) path: Option<&'a [u8]>,
}

impl<'a> View<'a> {
    pub(super) fn new(attributes: &'a Attributes<'a>) -> Self {
        let path = attributes.http.and_then(|http| http.path);
        let path = path.map(|path| path.split_once('?').map_or(path, |(path, _)| path).as_bytes());
        Self { attributes, path }
    }
}

impl Test {
    pub(super) fn holds(&self, view: &View<'_>) -> bool {
        self.values.match_one(view) == (self.sense == Sense::OneOf)
    }

    /// What it costs to evaluate, roughly; cheap tests go first.
    pub(super) fn cost(&self) -> u8 {
        match &self.values {
            Values::Nothing | Values::DestinationPorts(_) => 0,
            Values::SourceIps(_) | Values::RemoteIps(_) | Values::DestinationIps(_) => 1,
            Values::Methods(_) | Values::Sni(_) => 2,
            Values::Paths(_) | Values::Hosts(_) | Values::Principals(_) => 3,
            Values::Namespaces(_) | Values::ServiceAccounts(_) | Values::TrustDomains(_) => 4,
            Values::Header(..) | Values::RequestPrincipals(_) | Values::Claim(_) => 5,
        }
    }
}

impl Values {
    fn match_one(&self, view: &View<'_>) -> bool {
        let attributes = view.attributes;
        let identity = |matches: &dyn Fn(&str) -> bool| {
            attributes.identities.iter().any(|identity| matches(identity))
        };
        let http =
            |matches: &dyn Fn(&Http<'_>) -> bool| attributes.http.as_ref().is_some_and(matches);
        match self {
            Self::Principals(principals) => identity(&|id| principals.matches(id)),
            Self::Namespaces(all) => identity(&|id| all.iter().any(|one| one.matches(id))),
            Self::ServiceAccounts(all) => identity(&|id| all.iter().any(|one| one.matches(id))),
            Self::TrustDomains(all) => identity(&|id| all.iter().any(|one| one.matches(id))),
            Self::SourceIps(blocks) => blocks.iter().any(|one| one.contains(attributes.source_ip)),
            Self::RemoteIps(blocks) => blocks.iter().any(|one| one.contains(attributes.remote_ip)),
            Self::DestinationIps(blocks) => {
                blocks.iter().any(|one| one.contains(attributes.destination_ip))
            }
            Self::DestinationPorts(ports) => ports.contains(&attributes.destination_port),
            Self::Sni(patterns) => patterns.matches(attributes.sni.as_bytes()),
            Self::RequestPrincipals(principals) => http(&|http| {
                http.claims.is_some_and(|claims| principals.iter().any(|one| one.matches(claims)))
            }),
            Self::Claim(claim) => {
                http(&|http| http.claims.is_some_and(|claims| claim.matches(claims)))
            }
            Self::Header(name, patterns) => http(&|http| name.match_one(http, patterns)),
            Self::Hosts(hosts) => http(&|http| hosts.matches(http.authority.as_bytes())),
            Self::Methods(patterns) => {
                http(&|http| patterns.matches_present(http.method.as_bytes()))
            }
            Self::Paths(paths) => view.path.is_some_and(|path| paths.matches(path)),
            Self::Nothing => false,
        }
    }
}

impl HeaderName {
    /// None for a pseudo-header that no request has.
    pub(super) fn new(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "host" | ":authority" => Self::Authority,
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":scheme" => Self::Scheme,
            "" => return None,
            pseudo if pseudo.starts_with(':') => return None,
            field => Self::Field(field.into()),
        })
    }

    /// Fields of one name are matched one by one, never joined.
    fn match_one(&self, http: &Http<'_>, patterns: &Patterns) -> bool {
        match self {
            Self::Authority => patterns.matches_present(http.authority.as_bytes()),
            Self::Method => patterns.matches_present(http.method.as_bytes()),
            Self::Path => http.path.is_some_and(|path| patterns.matches_present(path.as_bytes())),
            Self::Scheme => patterns.matches_present(http.scheme.as_bytes()),
            Self::Field(name) => {
                http.headers.values(name).any(|value| patterns.matches_present(value))
            }
        }
    }
}
