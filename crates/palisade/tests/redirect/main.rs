//! `internal redirect` as `istio-init` runs it: in a pod's network, with NET_ADMIN and without; and a sidecar
//! beside it that is known by its ids and has no capability.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::{
    io::{BufRead, BufReader},
    os::fd::AsFd,
    path::Path,
    process::{Command, Output, Stdio},
};

use palisade_net::{Fabric, egress::Egress};
use palisade_sys::{
    namespace::{create_network, in_network},
    privilege::has_many_ids,
    testing::in_sandbox,
};

use pod::{APPLICATION, PALISADE, Pod, SIDECAR};

const REDIRECT: [&str; 3] = [PALISADE, "internal", "redirect"];
/// As a container whose capabilities don't have NET_ADMIN: being root does not help.
const CONFINED: [&str; 3] = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];

#[test]
fn a_pod_redirects_itself_once_or_again_and_says_what_it_lacks() {
    in_sandbox("a_pod_redirects_itself_once_or_again_and_says_what_it_lacks", || {
        let pod = create_network().unwrap();
        let run = |words: &[&str]| -> Output {
            let command = || Command::new(words[0]).args(&words[1..]).output();
            in_network(pod.as_fd(), command).unwrap().unwrap()
        };
        let rules = || String::from_utf8(run(&["nft", "list", "ruleset"]).stdout).unwrap();

        let refused = run(&[CONFINED, REDIRECT].concat());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("does not have the capability NET_ADMIN"), "{said}");
        assert_eq!(rules(), "");

        let first = run(&REDIRECT);
        assert!(first.status.success(), "{first:?}");
        let once = rules();
        assert!(once.contains("meta l4proto tcp redirect to :15001"), "{once}");
        assert!(once.contains("meta skuid 1337 meta skgid 1337"), "{once}");
        assert!(run(&REDIRECT).status.success());
        assert_eq!(rules(), once, "again is once");
    });
}

#[test]
fn a_sidecar_without_capabilities_takes_its_pods_connections() {
    in_sandbox("a_sidecar_without_capabilities_takes_its_pods_connections", || {
        if !has_many_ids() {
            // One user has one id, and no program can have another.
            return;
        }
        let fabric = Fabric::create(Egress::Refused).unwrap();
        let stranger = Pod::add(&fabric, pod::STRANGER);
        let mut server = Pod::add(&fabric, pod::SERVER);
        assert!(server.run((0, 0), &REDIRECT).status.success());
        let directory = pod::files();
        let bootstrap = directory.path().join("bootstrap.json").display().to_string();
        server.start(SIDECAR, &[PALISADE, "proxy", "sidecar", "--bootstrap", &bootstrap]);
        let waited = server.run(SIDECAR, &[PALISADE, "internal", "wait"]);
        assert!(waited.status.success(), "{waited:?}");
        server.start(APPLICATION, &["/usr/bin/python3", "-c", include_str!("application.py")]);

        let own = format!("http://{}:8080/", pod::SERVER);
        server.until_answered(APPLICATION, &own);
        let itself = server.get(APPLICATION, &format!("http://{}/", pod::SERVICE));
        assert_eq!(itself, "127.0.0.6 200", "by both sides of its sidecar, with mTLS");
        assert_eq!(stranger.get(APPLICATION, &own), "RBAC: access denied 403", "in plaintext");
        let outside = server.get(APPLICATION, "http://192.0.2.1/");
        assert!(outside.ends_with("502"), "the sidecar is asked, and refuses: {outside}");
        let metrics = server.get(SIDECAR, "http://127.0.0.1:15000/stats/prometheus");
        assert!(metrics.contains("connection_security_policy=\"mutual_tls\""), "{metrics}");
        asks_until_there_is_a_name_server(&stranger, directory.path());
        let ready = own.replace("8080/", "15021/healthz/ready");
        assert_eq!(stranger.get(APPLICATION, &ready), "LIVE\n 200", "for the kubelet");
    });
}

/// A sidecar as the injector starts it, in a pod whose name server does not answer.
fn asks_until_there_is_a_name_server(pod: &Pod, directory: &Path) {
    let variables = [
        ("POD_NAME", "one"),
        ("POD_NAMESPACE", "shop"),
        ("SERVICE_ACCOUNT", "server"),
        ("INSTANCE_IP", "10.244.0.3"),
        ("HOST_IP", "192.0.2.7"),
        ("CA_ADDR", "istiod.istio-system.svc:15012"),
    ];
    let mut words: Vec<String> = vec!["env".to_owned()];
    words.extend(variables.map(|(name, value)| format!("{name}={value}")));
    for (name, file) in [("ROOT_CA_FILE", "roots.pem"), ("TOKEN_FILE", "leaf.pem")] {
        words.push(format!("{name}={}", directory.join(file).display()));
    }
    words.extend([PALISADE, "proxy", "sidecar"].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut sidecar = pod.spawn(SIDECAR, &words, Stdio::piped);
    let log = BufReader::new(sidecar.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut tries =
        log.filter(|line| line.contains("can't connect to `istiod.istio-system.svc:15012`"));
    assert_eq!(tries.by_ref().take(3).count(), 3, "it goes on");
    let ready = pod.get(SIDECAR, "http://127.0.0.1:15021/healthz/ready");
    assert_eq!(ready, "not ready\n 503");
    assert!(sidecar.try_wait().unwrap().is_none());
    sidecar.kill().unwrap();
    sidecar.wait().unwrap();
}
