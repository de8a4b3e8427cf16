//! One rule, compiled for requests or for TCP connections.
//!
//! Source: Istio `pilot/pkg/security/authz/model/model.go`. What is wrong with a value narrows an ALLOW
//! rule (it disappears) and widens any other (the value or condition is left out). A `when` key that
//! nobody knows removes any rule, as in Istio; validation is what keeps such rules away.

use std::slice;

use palisade_manifest::{Action, Condition, Operation, Rule, Source};
use palisade_types::{IpBlock, Mesh};

use super::{
    aliases,
    attribute::Attribute,
    claims::{Claim, RequestPrincipal, claim_path, name_in_brackets},
    guard::{Frequencies, Key},
    identity::{Namespace, Principals, ServiceAccount, TrustDomainPattern},
    place::{Part, Place},
    test::{HeaderName, Sense, Test, Values, View},
    values::{Hosts, Paths, Patterns},
};

/// What a rule is compiled for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Layer {
    /// Requests.
    Http,
    /// Connections, which lack what only requests have.
    Tcp,
}

/// What the meaning of a rule depends on, besides itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) mesh: &'a Mesh,
    /// Namespace of the policy.
    pub(super) namespace: &'a str,
    pub(super) action: Action,
    pub(super) layer: Layer,
}

/// (any of `from`) and (any of `to`) and (all of `when`).
#[derive(Clone, Debug)]
pub(super) struct CompiledRule {
    when: AllOf,
    to: AnyOf,
    from: AnyOf,
}

/// Tests that must all hold.
#[derive(Clone, Debug, Default)]
struct AllOf(Box<[Test]>);

/// Alternatives, of which one must hold.
#[derive(Clone, Debug)]
enum AnyOf {
    /// There is no condition.
    Always,
    /// None at all: never.
    These(Box<[AllOf]>),
}

/// Where the condition stands for which a rule must not be used.
pub(super) struct Dropped(pub(super) Place);

impl CompiledRule {
    /// An error if the rule is not used at this layer.
    pub(super) fn compile(rule: &Rule, context: Context<'_>) -> Result<Self, Dropped> {
        let when = context.when(&rule.when)?;
        let from = context.alternatives(Part::From, &rule.from, |from, place| match &from.source {
            Some(source) => context.source(source, place),
            None => Ok(AllOf::default()),
        });
        let to = context.alternatives(Part::To, &rule.to, |to, place| match &to.operation {
            Some(operation) => context.operation(operation, place),
            None => Ok(AllOf::default()),
        });
        Ok(Self { when, to: to?, from: from? })
    }

    /// All its tests.
    pub(super) fn tests(&self) -> impl Iterator<Item = &Test> {
        self.needs().into_iter().flatten().flatten().flat_map(|one| &one.0)
    }

    /// Keys of which a request must have one for the rule to match; none if it can match others.
    pub(super) fn guard<'a>(&'a self, frequencies: &Frequencies<'a>) -> Option<Vec<Key<'a>>> {
        let guards = self.needs().into_iter().flatten().filter_map(|alternatives| {
            let of = |one: &'a AllOf| frequencies.best(&one.0);
            let keys: Option<Vec<_>> = alternatives.iter().map(of).collect();
            Some(keys?.concat())
        });
        guards.min_by_key(|keys| frequencies.cost(keys))
    }

    /// Lists of alternatives; of each one must hold.
    fn needs(&self) -> [Option<&[AllOf]>; 3] {
        [self.from.these(), self.to.these(), Some(slice::from_ref(&self.when))]
    }

    pub(super) fn matches(&self, view: &View<'_>) -> bool {
        self.to.holds(view) && self.from.holds(view) && self.when.holds(view)
    }

    /// How many conditions there are; alternatives of which one has none count as none.
    pub(super) fn conditions(&self) -> usize {
        let of = |any: &AnyOf| match any {
            AnyOf::Always => 0,
            AnyOf::These(all) => all.iter().map(|one| one.0.len()).sum(),
        };
        of(&self.from) + of(&self.to) + self.when.0.len()
    }

    /// The conditions that decide, in the order of writing: of several alternatives those of the one
    /// of which the fewest fail. None if no alternative is usable, so that the rule never matches.
    pub(super) fn nearest_tests(&self, view: &View<'_>) -> Option<Vec<&Test>> {
        let from = self.from.nearest(view)?;
        let to = self.to.nearest(view)?;
        Some(from.iter().chain(to).chain(&self.when.0).collect())
    }
}

impl AllOf {
    fn new(mut tests: Vec<Test>) -> Self {
        tests.sort_by_key(Test::cost);
        Self(tests.into())
    }

    fn holds(&self, view: &View<'_>) -> bool {
        self.0.iter().all(|test| test.holds(view))
    }
}

impl AnyOf {
    /// The alternatives, if there is a condition.
    fn these(&self) -> Option<&[AllOf]> {
        match self {
            Self::Always => None,
            Self::These(alternatives) => Some(alternatives),
        }
    }

    fn holds(&self, view: &View<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::These(alternatives) => alternatives.iter().any(|one| one.holds(view)),
        }
    }

    fn nearest(&self, view: &View<'_>) -> Option<&[Test]> {
        let failures = |one: &&AllOf| one.0.iter().filter(|test| !test.holds(view)).count();
        match self {
            Self::Always => Some(&[]),
            Self::These(alternatives) => Some(&alternatives.iter().min_by_key(failures)?.0),
        }
    }
}

impl Context<'_> {
    /// Absent is true. A null entry, which validation refuses, matches nothing in an ALLOW rule and
    /// anything in others.
    fn alternatives<T>(
        &self,
        part: Part,
        entries: &[Option<T>],
        compile: impl Fn(&T, Place) -> Result<AllOf, Dropped>,
    ) -> Result<AnyOf, Dropped> {
        if entries.is_empty() {
            return Ok(AnyOf::Always);
        }
        let mut alternatives = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match entry {
                Some(entry) => alternatives.push(compile(entry, Place { part, entry: index })?),
                None if self.narrows() => {}
                None => alternatives.push(AllOf::default()),
            }
        }
        let always = alternatives.iter().any(|one| one.0.is_empty());
        Ok(if always { AnyOf::Always } else { AnyOf::These(alternatives.into()) })
    }

    fn when(&self, conditions: &[Option<Condition>]) -> Result<AllOf, Dropped> {
        let mut tests = Vec::new();
        for (entry, condition) in conditions.iter().enumerate() {
            let place = Place { part: Part::When, entry };
            let Some(condition) = condition else {
                self.skip(place)?;
                continue;
            };
            let attribute = Attribute::of_key(&condition.key).ok_or(Dropped(place))?;
            self.field(&mut tests, place, attribute, &condition.values, &condition.not_values)?;
        }
        Ok(AllOf::new(tests))
    }

    fn source(&self, source: &Source, place: Place) -> Result<AllOf, Dropped> {
        let s = source;
        let mut tests = Vec::new();
        for (attribute, values, not_values) in [
            (Attribute::Principal, &s.principals, &s.not_principals),
            (Attribute::RequestPrincipal, &s.request_principals, &s.not_request_principals),
            (Attribute::Namespace, &s.namespaces, &s.not_namespaces),
            (Attribute::ServiceAccount, &s.service_accounts, &s.not_service_accounts),
            (Attribute::TrustDomain, &s.trust_domains, &s.not_trust_domains),
            (Attribute::SourceIp, &s.ip_blocks, &s.not_ip_blocks),
            (Attribute::RemoteIp, &s.remote_ip_blocks, &s.not_remote_ip_blocks),
        ] {
            self.field(&mut tests, place, attribute, values, not_values)?;
        }
        Ok(AllOf::new(tests))
    }

    fn operation(&self, operation: &Operation, place: Place) -> Result<AllOf, Dropped> {
        let o = operation;
        let mut tests = Vec::new();
        for (attribute, values, not_values) in [
            (Attribute::Host, &o.hosts, &o.not_hosts),
            (Attribute::DestinationPort, &o.ports, &o.not_ports),
            (Attribute::Method, &o.methods, &o.not_methods),
            (Attribute::Path, &o.paths, &o.not_paths),
        ] {
            self.field(&mut tests, place, attribute, values, not_values)?;
        }
        Ok(AllOf::new(tests))
    }

    fn field(
        &self,
        tests: &mut Vec<Test>,
        place: Place,
        attribute: Attribute<'_>,
        values: &[String],
        not_values: &[String],
    ) -> Result<(), Dropped> {
        for (sense, values) in [(Sense::OneOf, values), (Sense::NoneOf, not_values)] {
            if values.is_empty() {
                continue;
            }
            if attribute.is_http_only() && self.layer == Layer::Tcp {
                self.skip(place)?;
                continue;
            }
            if let Some(values) = self.values(place, attribute, values)? {
                tests.push(Test { values, sense, place });
            }
        }
        Ok(())
    }

    /// None if no value is usable.
    fn values(
        &self,
        place: Place,
        attribute: Attribute<'_>,
        values: &[String],
    ) -> Result<Option<Values>, Dropped> {
        let patterns = || Patterns::new(values.iter().map(String::as_str));
        Ok(Some(match attribute {
            Attribute::Principal => {
                let values = aliases::expand_principals(values, self.mesh);
                Values::Principals(Principals::new(&values))
            }
            Attribute::Namespace => {
                Values::Namespaces(values.iter().map(|value| Namespace::new(value)).collect())
            }
            Attribute::ServiceAccount => Values::ServiceAccounts(
                values.iter().map(|value| ServiceAccount::new(value, self.namespace)).collect(),
            ),
            Attribute::TrustDomain => {
                let values = aliases::expand_trust_domains(values, self.mesh);
                let patterns = values.iter().map(|value| TrustDomainPattern::new(value));
                Values::TrustDomains(patterns.collect())
            }
            Attribute::SourceIp => return self.ip_blocks(place, values, Values::SourceIps),
            Attribute::RemoteIp => return self.ip_blocks(place, values, Values::RemoteIps),
            Attribute::DestinationIp => {
                return self.ip_blocks(place, values, Values::DestinationIps);
            }
            Attribute::DestinationPort => {
                return self.usable(place, values, port, Values::DestinationPorts);
            }
            Attribute::Sni => Values::Sni(patterns()),
            Attribute::RequestPrincipal => Values::RequestPrincipals(
                values.iter().map(|value| RequestPrincipal::new(value)).collect(),
            ),
            Attribute::Audience => claim(["aud".into()].into(), patterns()),
            Attribute::Presenter => claim(["azp".into()].into(), patterns()),
            Attribute::Claim(brackets) => match claim_path(brackets) {
                Some(path) => claim(path, patterns()),
                None => return self.skip(place).map(|()| None),
            },
            Attribute::Header(brackets) => match name_in_brackets(brackets).map(HeaderName::new) {
                Some(Some(name)) => Values::Header(name, patterns()),
                Some(None) => Values::Nothing,
                None => return self.skip(place).map(|()| None),
            },
            Attribute::Host => Values::Hosts(Hosts::new(values)),
            Attribute::Method => Values::Methods(patterns()),
            Attribute::Path => Values::Paths(Paths::new(values)),
            Attribute::EnvoyFilter(key) if key.contains('[') => Values::Nothing,
            Attribute::EnvoyFilter(_) => return self.skip(place).map(|()| None),
        }))
    }

    fn ip_blocks(
        &self,
        place: Place,
        values: &[String],
        wrap: fn(Box<[IpBlock]>) -> Values,
    ) -> Result<Option<Values>, Dropped> {
        self.usable(place, values, |value| value.parse().ok(), wrap)
    }

    fn usable<T>(
        &self,
        place: Place,
        values: &[String],
        parse: impl Fn(&str) -> Option<T>,
        wrap: fn(Box<[T]>) -> Values,
    ) -> Result<Option<Values>, Dropped> {
        let mut usable = Vec::with_capacity(values.len());
        for value in values {
            match parse(value) {
                Some(value) => usable.push(value),
                None => self.skip(place)?,
            }
        }
        Ok((!usable.is_empty()).then(|| wrap(usable.into())))
    }

    /// Leaves something out, which an ALLOW rule does not survive.
    fn skip(&self, place: Place) -> Result<(), Dropped> {
        if self.narrows() { Err(Dropped(place)) } else { Ok(()) }
    }

    fn narrows(&self) -> bool {
        self.action == Action::Allow
    }
}

fn claim(path: Box<[Box<str>]>, values: Patterns) -> Values {
    Values::Claim(Claim { path, values })
}

/// Decimal, 0 to 65535, leading zeros allowed, no sign.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
