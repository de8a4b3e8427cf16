//! What is no HTTP: Redis, mail, whose server speaks first, and TLS that is the application's own.

use palisade_testkit::Mesh;

use super::{CALLER, STRANGER, exec, files::Files};

pub(crate) fn stores_in_redis(mesh: &Mesh) {
    let redis = |by: &str, words: &[&str]| {
        exec(mesh, by, &[&["redis-cli", "-h", "server.apps"], words].concat())
    };
    assert_eq!(redis(CALLER, &["set", "a", "1"]).ok(), "OK\n");
    assert_eq!(redis(CALLER, &["incrby", "a", "41"]).ok(), "42\n");
    let large = "return #redis.call('get', KEYS[1])";
    let store = "redis.call('set', KEYS[1], string.rep('x', 5000000)) return 1";
    assert_eq!(redis(CALLER, &["eval", store, "1", "b"]).ok(), "1\n");
    assert_eq!(redis(CALLER, &["get", "b"]).ok().len(), 5_000_001);
    assert_eq!(redis(CALLER, &["eval", large, "1", "b"]).ok(), "5000000\n");
    let refused = redis(STRANGER, &["get", "a"]);
    assert!(refused.code != 0 && !refused.stdout.contains("42"), "{refused}");
}

pub(crate) fn sends_mail(mesh: &Mesh) {
    let send = |by: &str| mesh.python(by, include_str!("send.py"), &[]);
    assert_eq!(send(CALLER), "{}\n");
    let refused = send(STRANGER);
    assert!(refused.starts_with("SMTPServerDisconnected"), "no word of the server: {refused}");
}

/// Within the mesh sidecars carry it in mTLS of theirs; to a host outside it is known by its server name.
pub(crate) fn brings_its_own_tls(mesh: &Mesh, files: &Files) {
    let authority = files.path("certificate.pem");
    let ask = |by: &str, more: &[&str]| {
        let curl = ["curl", "-sS", "-m", "10", "--cacert", &authority];
        exec(mesh, by, &[&curl, more].concat())
    };
    let inside = ["https://server.apps/"];
    assert_eq!(ask(CALLER, &inside).ok(), "server.apps");
    assert_ne!(ask(STRANGER, &inside).code, 0);
    let somewhere = |host: &str| format!("{host}:443:203.0.113.7");
    let registered = somewhere("secure.example.com");
    let outside = ["--resolve", &registered, "https://secure.example.com/"];
    assert_eq!(ask(CALLER, &outside).ok(), "secure.example.com");
    let other = somewhere("other.example.com");
    let unknown = ["-k", "--resolve", &other, "https://other.example.com/"];
    assert_ne!(ask(CALLER, &unknown).code, 0);
}
