//! Certificates of every kind, at the port of a STRICT workload.

use std::{fs, time::Duration};

use jiff::Timestamp;
use palisade_testkit::{Mesh, eventually};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose as Usage, IsCa,
    Issuer, KeyPair, SanType,
};

use crate::of_pod;

/// Why callers are refused, each once.
const REASONS: [&str; 8] = [
    "unknown_authority",
    "foreign_trust_domain",
    "expired",
    "not_yet_valid",
    "several_identities",
    "no_identity",
    "bad_usage",
    "no_certificate",
];
const FRONTEND: &str = "spiffe://cluster.local/ns/poc-mesh/sa/frontend-sa";

struct Leaf {
    uris: Vec<&'static str>,
    usages: Vec<Usage>,
    /// Seconds from now.
    valid: (i64, i64),
}

impl Leaf {
    fn of(uris: &[&'static str]) -> Self {
        let usages = vec![Usage::ServerAuth, Usage::ClientAuth];
        Self { uris: uris.to_vec(), usages, valid: (-60, 3600) }
    }
}

pub(crate) fn let_in_or_not(mesh: &Mesh) {
    let ca = mesh.state().join("ca");
    let read = |name: &str| fs::read_to_string(ca.join(name)).unwrap();
    let (chain, key) = (read("ca-cert.pem"), read("ca-key.pem"));
    let ours = Issuer::from_ca_cert_pem(&chain, KeyPair::from_pem(&key).unwrap()).unwrap();
    let stranger = stranger();
    let good = || Leaf::of(&[FRONTEND]);
    let address = of_pod(mesh, "backend", "status.podIP");
    for (name, presented, reason) in [
        ("good", Some(sign(&ours, &good())), None),
        ("another root", Some(sign(&stranger, &good())), Some("unknown_authority")),
        (
            "another trust domain",
            Some(sign(&ours, &Leaf::of(&["spiffe://evil.example/ns/poc-mesh/sa/frontend-sa"]))),
            Some("foreign_trust_domain"),
        ),
        ("expired", Some(sign(&ours, &Leaf { valid: (-60, -1), ..good() })), Some("expired")),
        ("early", Some(sign(&ours, &Leaf { valid: (600, 900), ..good() })), Some("not_yet_valid")),
        (
            "two names",
            Some(sign(&ours, &Leaf::of(&[FRONTEND, "spiffe://cluster.local/ns/poc-mesh/sa/b"]))),
            Some("several_identities"),
        ),
        ("a DNS name only", Some(sign(&ours, &Leaf::of(&[]))), Some("no_identity")),
        (
            "for servers only",
            Some(sign(&ours, &Leaf { usages: vec![Usage::ServerAuth], ..good() })),
            Some("bad_usage"),
        ),
        ("none", None, Some("no_certificate")),
    ] {
        let before = reason.map(|reason| counted(mesh, reason));
        let args = [vec![address.clone()], presented.map_or(vec![], |it| vec![it])].concat();
        let heard = mesh.python("intruder.poc-mesh", include_str!("call.py"), &args);
        match reason {
            None => assert_eq!(heard.trim(), "200", "{name}"),
            Some(reason) => {
                assert!(heard.starts_with("refused: "), "{name}: {heard}");
                eventually(name, Duration::from_secs(10), || {
                    let now = counted(mesh, reason);
                    if Some(now) > before { Ok(()) } else { Err(format!("{reason}: {now}")) }
                });
            }
        }
    }
    let log = mesh.palisade(&["logs", "deploy/backend.poc-mesh", "-c", "istio-proxy"]).ok();
    let from =
        mesh.kubectl(&["get", "pod/intruder", "-n", "poc-mesh", "-o", "jsonpath={.status.podIP}"]);
    let from = from.ok();
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("handshake refused") && line.contains(&from))
        .collect();
    assert_eq!(told.len(), REASONS.len(), "{log}");
    for reason in REASONS {
        assert!(told.iter().any(|line| line.contains(reason)), "{reason}: {log}");
    }
}

/// How often the backend's sidecar has refused a handshake for a reason.
fn counted(mesh: &Mesh, reason: &str) -> u64 {
    let metrics = mesh.sidecar("deploy/backend.poc-mesh", "stats/prometheus");
    let series = format!("palisade_handshakes_rejected_total{{reason=\"{reason}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Certificate and key as PEM.
fn sign(issuer: &Issuer<'_, KeyPair>, leaf: &Leaf) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::DnsName("backend.poc-mesh".try_into().unwrap())];
    let uris = leaf.uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
    params.subject_alt_names.extend(uris);
    params.extended_key_usages.clone_from(&leaf.usages);
    let at = |seconds: i64| {
        let since = u64::try_from(Timestamp::now().as_second() + seconds).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since)
    };
    (params.not_before, params.not_after) = (at(leaf.valid.0), at(leaf.valid.1));
    params.signed_by(&key, issuer).unwrap().pem() + &key.serialize_pem()
}

/// Another authority.
fn stranger() -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Issuer::new(params, KeyPair::generate().unwrap())
}
