//! A request to a pod, and what becomes of it.

use std::net::IpAddr;

use palisade_manifest::{Action, Pod};
use palisade_policy::{
    Attributes, CompiledPolicies, EffectiveMtls, HeaderFields, Http, TokenRules, Verdict,
    explain::{Explanation, Question},
};
use palisade_types::Protocol;
use serde_json::Value;

use super::World;
use crate::{ProxyConfig, applications};

/// What holds for requests to a pod, worked out once.
#[derive(Debug)]
pub struct Arrival<'a> {
    world: &'a World,
    pod: &'a Pod,
    /// None without a sidecar.
    config: Option<ProxyConfig>,
    compiled: CompiledPolicies,
    mtls: EffectiveMtls,
}

/// A connection, or a request on it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who makes it (`spiffe://…`); empty: plaintext.
    pub identities: Vec<String>,
    /// The caller's address.
    pub source_ip: IpAddr,
    /// The workload's port.
    pub port: u16,
    /// The request; none for a connection that is not HTTP.
    pub request: Option<Request>,
    /// Seconds since 1970, to verify tokens at; none: they are not verified.
    pub now: Option<u64>,
    /// What the external authorizer says, if it is asked; none: nobody knows.
    pub authorizer: Option<Verdict>,
}

/// A request as a client sends it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// `Host`.
    pub host: String,
    /// Other header fields.
    pub headers: Vec<(String, String)>,
    /// Claims of a token that counts as valid.
    pub claims: Option<Value>,
}

impl<'a> Arrival<'a> {
    pub(super) fn new(world: &'a World, pod: &'a Pod, config: Option<ProxyConfig>) -> Self {
        let policies = config.iter().flat_map(|config| &config.inbound.policies);
        let compiled = CompiledPolicies::compile(policies, world.scope(pod));
        let mtls = world.mtls(pod);
        Self { world, pod, config, compiled, mtls }
    }

    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        self.pod
    }

    /// The policies that apply.
    #[must_use]
    pub fn compiled(&self) -> &CompiledPolicies {
        &self.compiled
    }

    /// The modes of its ports.
    #[must_use]
    pub fn mtls(&self) -> &EffectiveMtls {
        &self.mtls
    }

    /// Whether it has a sidecar.
    #[must_use]
    pub fn has_sidecar(&self) -> bool {
        self.config.is_some()
    }

    /// Whether tokens are looked at.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        self.config.iter().any(|config| !config.inbound.request_authentications.is_empty())
    }

    /// Whether the same tokens are accepted as at another arrival.
    #[must_use]
    pub fn authenticates_as(&self, other: &Self) -> bool {
        let tokens = |arrival: &Self| {
            let config = arrival.config.as_ref();
            config.map_or_else(Vec::new, |it| it.inbound.request_authentications.clone())
        };
        tokens(self) == tokens(other)
    }

    /// Whether an external authorizer decides about some requests.
    #[must_use]
    pub fn asks_others(&self) -> bool {
        self.compiled.applied().any(|applied| applied.action == Action::Custom)
    }

    /// Whether the same is enforced as at another arrival.
    #[must_use]
    pub fn enforces_as(&self, other: &Self) -> bool {
        let inbound = |arrival: &Self| arrival.config.as_ref().map(|it| it.inbound.clone());
        inbound(self) == inbound(other)
    }

    /// Puts a token into a request where the workload looks for it.
    pub fn carry(&self, token: &str, request: &mut Request) {
        let rules = self.config.iter().flat_map(|config| &config.inbound.request_authentications);
        TokenRules::compile(rules).carry(token, &mut request.headers, &mut request.path);
    }

    /// What a port speaks, if a service declares it.
    #[must_use]
    pub fn protocol(&self, port: u16) -> Option<Protocol> {
        let mut ports = self.config.iter().flat_map(|config| &config.inbound.ports);
        ports.find(|it| it.port == port).map(|it| it.protocol)
    }

    /// The ports that services declare, else those of its containers.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let declared: Vec<u16> = self
            .config
            .iter()
            .flat_map(|config| &config.inbound.ports)
            .map(|port| port.port)
            .collect();
        if !declared.is_empty() {
            return declared;
        }
        let ports = applications(self.pod).flat_map(|container| &container.ports);
        ports.map(|port| port.container_port).collect()
    }

    /// Explains what becomes of a call.
    #[must_use]
    pub fn explain(&self, call: &Call) -> Explanation {
        let request = call.request.as_ref();
        let fields: Vec<(&str, &[u8])> = request
            .iter()
            .flat_map(|request| &request.headers)
            .map(|(name, value)| (name.as_str(), value.trim().as_bytes()))
            .collect();
        let http = request.map(|request| Http {
            method: &request.method,
            path: (request.method != "CONNECT").then_some(request.path.as_str()),
            authority: &request.host,
            scheme: if call.identities.is_empty() { "http" } else { "https" },
            headers: HeaderFields(&fields),
            claims: request.claims.as_ref(),
        });
        let attributes = Attributes {
            identities: &call.identities,
            source_ip: call.source_ip,
            remote_ip: call.source_ip,
            destination_ip: self.pod.status.pod_ip.unwrap_or(call.source_ip),
            destination_port: call.port,
            sni: "",
            http,
        };
        let inbound = self.config.as_ref().map(|config| &config.inbound);
        Question {
            scope: self.world.scope(self.pod),
            has_sidecar: self.config.is_some(),
            policies: &self.world.policies,
            compiled: &self.compiled,
            authentications: inbound.map_or(&[], |inbound| &inbound.request_authentications),
            unusable: inbound.map_or(&[], |inbound| &inbound.unusable),
            mode: self.mtls.at(call.port),
            mode_from: &self.mtls.applied,
            protocol: self.protocol(call.port).unwrap_or(Protocol::Auto),
            now: call.now,
            authorizer: call.authorizer,
            attributes,
        }
        .explain()
    }
}
