//! A pod of a network of one's own, its programs with the ids of a cluster's containers, and what its sidecar
//! is started with.

use std::{
    fs,
    net::Ipv4Addr,
    os::{
        fd::AsFd,
        unix::{fs::PermissionsExt, process::CommandExt},
    },
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use palisade_net::{Fabric, Redirect};
use palisade_sys::namespace::{PodNamespaces, in_network};
use palisade_testkit::eventually;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair,
    SanType,
};
use serde_json::json;
use tempfile::TempDir;

pub(crate) const PALISADE: &str = env!("CARGO_BIN_EXE_palisade");
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 3);
pub(crate) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 20);

/// User and group.
type Ids = (u32, u32);
pub(crate) const SIDECAR: Ids = (1337, 1337);
pub(crate) const APPLICATION: Ids = (1000, 1000);

/// Its programs end with it.
pub(crate) struct Pod {
    namespaces: PodNamespaces,
    running: Vec<Child>,
}

impl Pod {
    pub(crate) fn add(fabric: &Fabric, ip: Ipv4Addr) -> Self {
        let namespaces = PodNamespaces::create("test").unwrap();
        fabric.add_pod(ip, namespaces.net.as_fd(), Redirect::None).unwrap();
        Self { namespaces, running: Vec::new() }
    }

    /// A program with these ids; it has capabilities only if it is root's.
    pub(crate) fn spawn(&self, (user, group): Ids, words: &[&str], output: fn() -> Stdio) -> Child {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).uid(user).gid(group).stdout(output()).stderr(output());
        in_network(self.namespaces.net.as_fd(), || command.spawn()).unwrap().unwrap()
    }

    pub(crate) fn start(&mut self, ids: Ids, words: &[&str]) {
        let child = self.spawn(ids, words, Stdio::inherit);
        self.running.push(child);
    }

    pub(crate) fn run(&self, ids: Ids, words: &[&str]) -> Output {
        self.spawn(ids, words, Stdio::piped).wait_with_output().unwrap()
    }

    /// Body and status of what is answered, if it is.
    pub(crate) fn get(&self, ids: Ids, url: &str) -> String {
        let output = self.run(ids, &["curl", "-s", "-m", "5", "-w", " %{http_code}", url]);
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn until_answered(&self, ids: Ids, url: &str) {
        eventually(url, Duration::from_secs(30), || {
            let answer = self.get(ids, url);
            if answer.ends_with(" 200") { Ok(()) } else { Err(answer) }
        });
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A directory that every user can read, with `bootstrap.json` of a sidecar that lets its own identity in, and
/// the certificate that it names.
pub(crate) fn files() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&key).unwrap().pem();
    let authority = Issuer::new(authority, key);
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI(IDENTITY.try_into().unwrap())];
    leaf.extended_key_usages = vec![Usage::ClientAuth, Usage::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap().pem();
    let bootstrap = json!({
        "workers": 1,
        "proxyConfig": config(),
        "identity": {
            "cert": write("leaf.pem", &leaf),
            "key": write("key.pem", &key.serialize_pem()),
            "roots": write("roots.pem", &root),
        },
    });
    write("bootstrap.json", &bootstrap.to_string());
    directory
}

const IDENTITY: &str = "spiffe://cluster.local/ns/shop/sa/server";

fn config() -> serde_json::Value {
    let service = json!({"host": "server.shop.svc", "name": "server", "namespace": "shop"});
    let metadata = json!({
        "workload": "server", "namespace": "shop", "app": "server", "version": "v1",
        "canonicalService": "server", "canonicalRevision": "v1",
    });
    let endpoint = json!({"address": SERVER, "port": 8080, "mtls": true, "metadata": metadata});
    let own = json!({"source": {"principals": ["cluster.local/ns/shop/sa/server"]}});
    json!({
        "generation": 1,
        "mesh": {
            "rootNamespace": "istio-system",
            "trustDomain": "cluster.local",
            "outboundTrafficPolicy": "REGISTRY_ONLY",
        },
        "workload": {
            "name": "server", "namespace": "shop", "labels": {}, "identity": IDENTITY,
            "metadata": metadata,
        },
        "inbound": {
            "mtls": {"default": "PERMISSIVE"},
            "ports": [{"port": 8080, "protocol": "HTTP", "service": service}],
            "policies": [{
                "metadata": {"name": "itself", "namespace": "shop"},
                "spec": {"rules": [{"from": [own]}]},
            }],
        },
        "outbound": {"ports": [{
            "service": service, "addresses": [SERVICE], "port": 80, "protocol": "HTTP",
            "sni": "outbound_.80_._.server.shop.svc", "identities": [IDENTITY],
            "endpoints": [endpoint],
        }]},
    })
}
