//! What openssl, as a real peer, says about the certificates, and what is made of its requests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use jiff::Timestamp;
use palisade_types::SpiffeId;

use crate::{
    Authority, AuthorityError, AuthorityFiles, CertificateFacts, Csr, CsrError, IssueError,
    PathError, PrivateKey, Subject, certificates_from_pem, issuer_of, signing_request,
};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_workload_certificate_says_what_istio_says() {
    let authority = authority(now());
    let issued = authority.issue(&csr(), &id(), DAY, now()).unwrap();
    let scratch = Scratch::new();
    let leaf = scratch.write("leaf.pem", &issued.chain_pem[0]);
    let text = openssl(&["x509", "-noout", "-text", "-in", &leaf]);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (line, next) in [
        ("X509v3 Subject Alternative Name: critical", "URI:spiffe://cluster.local/ns/a/sa/b"),
        ("X509v3 Key Usage: critical", "Digital Signature, Key Encipherment"),
        (
            "X509v3 Extended Key Usage:",
            "TLS Web Server Authentication, TLS Web Client Authentication",
        ),
        ("X509v3 Basic Constraints: critical", "CA:FALSE"),
    ] {
        let at = lines.iter().position(|found| *found == line);
        assert_eq!(at.and_then(|at| lines.get(at + 1)), Some(&next), "{line}\n{text}");
    }
    assert!(lines.contains(&"Subject:"), "the subject is empty\n{text}");
    for part in ["Issuer: O = cluster.local", "ecdsa-with-SHA256", "NIST CURVE: P-256"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let identifier = |name| openssl(&["x509", "-noout", "-ext", name, "-in", &leaf]);
    assert!(identifier("subjectKeyIdentifier").contains(':'));
    assert!(identifier("authorityKeyIdentifier").contains(':'));
}

#[test]
fn openssl_verifies_every_kind_of_leaf_strictly() {
    let authority = authority(now());
    let workload = authority.issue(&csr(), &id(), DAY, now()).unwrap();
    let server = authority
        .server_credential(
            &["istiod.istio-system.svc"],
            &["10.96.0.1".parse().unwrap()],
            DAY,
            now(),
        )
        .unwrap();
    let user = Subject { common_name: text("admin"), organization: text("system:masters") };
    let client = authority.client_credential(&user, DAY, now()).unwrap();
    let scratch = Scratch::new();
    let root = scratch.write("root.pem", &authority.root_pem());
    for (name, pem, purpose) in [
        ("workload", &workload.chain_pem[0], "sslserver"),
        ("workload", &workload.chain_pem[0], "sslclient"),
        ("server", &server.certificate_pem, "sslserver"),
        ("client", &client.certificate_pem, "sslclient"),
    ] {
        let leaf = scratch.write(name, pem);
        openssl(&["verify", "-x509_strict", "-CAfile", &root, "-purpose", purpose, &leaf]);
    }
    let server_leaf = scratch.path("server");
    let names = openssl(&["x509", "-noout", "-ext", "subjectAltName", "-in", &server_leaf]);
    assert!(names.contains("DNS:istiod.istio-system.svc, IP Address:10.96.0.1"), "{names}");
    let subject = openssl(&["x509", "-noout", "-subject", "-in", &scratch.path("client")]);
    assert_eq!(subject.trim(), "subject=O = system:masters, CN = admin");
    assert_eq!(client.facts.common_names, ["admin"]);
    assert_eq!(client.facts.organizations, ["system:masters"]);
}

#[test]
fn a_request_decides_nothing_but_the_key() {
    let scratch = Scratch::new();
    for (algorithm, accepted) in [
        ("EC -pkeyopt ec_paramgen_curve:P-256", true),
        ("EC -pkeyopt ec_paramgen_curve:P-384", true),
        ("EC -pkeyopt ec_paramgen_curve:P-224", false),
        ("RSA -pkeyopt rsa_keygen_bits:2048", true),
        ("RSA -pkeyopt rsa_keygen_bits:1024", false),
        ("ED25519", true),
        ("ED448", false),
    ] {
        let request = openssl_request(&scratch, algorithm, &[]);
        match Csr::from_pem(&request) {
            Ok(csr) => {
                assert!(accepted, "{algorithm}");
                let issued = authority(now()).issue(&csr, &id(), DAY, now()).unwrap();
                assert_eq!(issued.facts.uris, [id().to_string()], "{algorithm}");
                assert!(issued.facts.dns_names.is_empty(), "{algorithm}");
                assert!(issued.facts.common_names.is_empty(), "{algorithm}");
                assert!(!issued.facts.is_authority, "{algorithm}");
            }
            Err(error) => assert!(!accepted, "{algorithm}: {error}"),
        }
    }
}

#[test]
fn a_request_signed_with_sha1_is_refused() {
    let scratch = Scratch::new();
    let request = openssl_request(&scratch, "RSA -pkeyopt rsa_keygen_bits:2048", &["-sha1"]);
    assert!(matches!(Csr::from_pem(&request), Err(CsrError::Signature)));
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let start = now();
    let authority = authority(start);
    let root_end = authority.facts().not_after;
    let late = root_end - Duration::from_secs(60);
    let issued = authority.issue(&csr(), &id(), DAY, late).unwrap();
    assert_eq!(issued.facts.not_after, root_end);
    assert_eq!(issued.facts.not_before, late - Duration::from_secs(120));
    let issued = authority.issue(&csr(), &id(), DAY, start).unwrap();
    assert_eq!(issued.facts.not_after, start + DAY);
    assert_eq!(issued.facts.half_life(), start + DAY / 2 - Duration::from_secs(60));
    assert!(matches!(
        authority.issue(&csr(), &id(), DAY, root_end),
        Err(IssueError::AuthorityExpired(end)) if end == root_end
    ));
    assert!(matches!(
        authority.issue(&csr(), &id(), Duration::MAX, start),
        Err(IssueError::Lifetime(_))
    ));
}

#[test]
fn serial_numbers_do_not_repeat() {
    let authority = authority(now());
    let serials: std::collections::BTreeSet<String> =
        (0..50).map(|_| authority.issue(&csr(), &id(), DAY, now()).unwrap().facts.serial).collect();
    assert_eq!(serials.len(), 50);
    assert!(serials.iter().all(|serial| serial.len() <= 32));
}

#[test]
fn an_authority_survives_its_files() {
    let first = authority(now());
    let again = Authority::from_pem(&first.chain_pem(), &first.key_pem()).unwrap();
    let issued = again.issue(&csr(), &id(), DAY, now()).unwrap();
    let scratch = Scratch::new();
    let root = scratch.write("root.pem", &first.root_pem());
    let leaf = scratch.write("leaf.pem", &issued.chain_pem[0]);
    openssl(&["verify", "-x509_strict", "-CAfile", &root, &leaf]);
    assert_eq!(issued.chain_pem.last(), Some(&first.root_pem()));
}

#[test]
fn an_intermediate_authority_sends_its_chain_with_the_root_last() {
    let scratch = Scratch::new();
    let (root, chain, key) = openssl_intermediate(&scratch);
    let authority = Authority::from_pem(&chain, &key).unwrap();
    let issued = authority.issue(&csr(), &id(), DAY, now()).unwrap();
    assert_eq!(issued.chain_pem.len(), 3);
    let same = |a: &str, b: &str| {
        assert_eq!(certificates_from_pem(a).unwrap(), certificates_from_pem(b).unwrap());
    };
    same(&issued.chain_pem[2], &root);
    let leaf = scratch.write("leaf.pem", &issued.chain_pem[0]);
    let between = scratch.write("between.pem", &issued.chain_pem[1]);
    let root = scratch.write("only-root.pem", &root);
    openssl(&["verify", "-x509_strict", "-CAfile", &root, "-untrusted", &between, &leaf]);
    let server = authority.server_credential(&["a"], &[], DAY, now()).unwrap();
    assert_eq!(certificates_from_pem(&server.certificate_pem).unwrap().len(), 2);
}

#[test]
fn what_cannot_sign_is_no_authority() {
    let first = authority(now());
    let other = authority(now());
    assert!(matches!(
        Authority::from_pem(&first.chain_pem(), &other.key_pem()),
        Err(AuthorityError::KeyMismatch)
    ));
    let leaf = first.server_credential(&["a"], &[], DAY, now()).unwrap();
    assert!(matches!(
        Authority::from_pem(&leaf.certificate_pem, &leaf.key_pem),
        Err(AuthorityError::NoAuthority)
    ));
    assert!(matches!(Authority::from_pem("", &first.key_pem()), Err(AuthorityError::Pem(_))));
    assert!(matches!(Authority::from_pem(&first.chain_pem(), ""), Err(AuthorityError::Key(_))));
}

#[test]
fn an_authority_that_somebody_brings_must_lead_to_its_root_and_be_valid() {
    let scratch = Scratch::new();
    let (root, chain, key) = openssl_intermediate(&scratch);
    let (other_root, other) = (authority(now()), authority(now()));
    let leaf = other.server_credential(&["a"], &[], DAY, now()).unwrap();
    let files = AuthorityFiles { certificate: &chain, key: &key, roots: &root, chain: "" };
    let (good, bundle) = Authority::from_files(files, now()).unwrap();
    let issued = good.issue(&csr(), &id(), DAY, now()).unwrap();
    assert_eq!(issued.chain_pem.len(), 3);
    assert_eq!(bundle.roots(), certificates_from_pem(&root).unwrap());
    let all = certificates_from_pem(&issued.chain_pem.concat()).unwrap();
    assert_eq!(issuer_of(&all[0], &all), Some(&all[1]));
    assert_eq!(issuer_of(&all[1], &all), Some(&all[2]));

    let (signer, _) = chain.split_once("-----END CERTIFICATE-----\n").unwrap();
    let signer = format!("{signer}-----END CERTIFICATE-----\n");
    let both = other_root.root_pem() + &root;
    let (_, bundle) = Authority::from_files(
        AuthorityFiles { certificate: &signer, chain: &root, roots: &both, ..files },
        now(),
    )
    .unwrap();
    assert_eq!(bundle.roots()[0], certificates_from_pem(&root).unwrap()[0], "its own is first");
    let later = now() + 400 * DAY;
    for (name, files, at, expected) in [
        (
            "no way to the root",
            AuthorityFiles { certificate: &signer, roots: &other.root_pem(), ..files },
            now(),
            "nothing leads from `O=Mesh, CN=ca 1` to a root: its issuer `O=Root` is neither",
        ),
        ("another key", AuthorityFiles { key: &other.key_pem(), ..files }, now(), "key does not"),
        ("expired", files, later, "expired at"),
        ("early", files, now() - 10 * DAY, "is not valid before"),
        (
            "a leaf",
            AuthorityFiles {
                certificate: &leaf.certificate_pem,
                key: &leaf.key_pem,
                roots: &other.root_pem(),
                chain: "",
            },
            now(),
            "may not sign certificates",
        ),
        ("no root", AuthorityFiles { roots: "", ..files }, now(), "trust bundle: no certificate"),
        ("no certificate", AuthorityFiles { certificate: "", ..files }, now(), "no certificate"),
        ("no key", AuthorityFiles { key: "", ..files }, now(), "no private key"),
    ] {
        let error = Authority::from_files(files, at).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn an_authority_below_one_that_allows_none_is_too_deep() {
    let scratch = Scratch::new();
    let (root, chain, key) = openssl_intermediate(&scratch);
    let signer = Authority::from_pem(&chain, &key).unwrap();
    let below = authority(now());
    let deep = [below.root_pem(), signer.chain_pem()].concat();
    let deep = Authority::from_pem(&deep, &below.key_pem()).unwrap();
    let error = deep.check(now()).unwrap_err();
    assert!(
        matches!(&error, AuthorityError::Path(PathError::TooDeep { allowed: 0, below: 1, .. })),
        "{error}"
    );
    drop(root);
}

#[test]
fn facts_of_a_cut_certificate_are_an_error_and_never_a_panic() {
    let authority = authority(now());
    let der = certificates_from_pem(&authority.root_pem()).unwrap().remove(0);
    for length in 0..der.len() {
        assert!(CertificateFacts::from_der(&der[..length].into()).is_err(), "{length}");
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn id() -> SpiffeId {
    "spiffe://cluster.local/ns/a/sa/b".parse().unwrap()
}

fn csr() -> Csr {
    let id = "spiffe://cluster.local/ns/evil/sa/other".parse().unwrap();
    Csr::from_pem(&signing_request(&PrivateKey::generate().unwrap(), &id).unwrap()).unwrap()
}

fn authority(now: Timestamp) -> Authority {
    let subject = Subject { organization: text("cluster.local"), common_name: None };
    Authority::generate(&subject, now).unwrap()
}

/// A request that asks for more than it will get.
fn openssl_request(scratch: &Scratch, algorithm: &str, more: &[&str]) -> String {
    let key = scratch.path("key.pem");
    let mut command = vec!["genpkey", "-out", &key, "-algorithm"];
    command.extend(algorithm.split(' '));
    openssl(&command);
    let mut command = vec!["req", "-new", "-key", &key, "-subj", "/CN=root", "-addext"];
    command.push("subjectAltName=DNS:istiod,URI:spiffe://cluster.local/ns/kube-system/sa/admin");
    command.extend(["-addext", "basicConstraints=critical,CA:TRUE"]);
    command.extend(more);
    openssl(&command)
}

/// Root, chain (signer first) and key of an intermediate RSA authority.
fn openssl_intermediate(scratch: &Scratch) -> (String, String, String) {
    let path = |name: &str| scratch.path(name);
    openssl(&["genpkey", "-algorithm", "RSA", "-out", &path("root.key")]);
    openssl(&["genpkey", "-algorithm", "RSA", "-out", &path("ca.key")]);
    openssl(&[
        "req",
        "-x509",
        "-new",
        "-key",
        &path("root.key"),
        "-subj",
        "/O=Root",
        "-out",
        &path("root.crt"),
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ]);
    openssl(&[
        "req",
        "-new",
        "-key",
        &path("ca.key"),
        "-subj",
        "/O=Mesh/CN=ca 1",
        "-out",
        &path("ca.csr"),
    ]);
    let extensions = scratch.write(
        "ca.ext",
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n\
         subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    );
    openssl(&[
        "x509",
        "-req",
        "-in",
        &path("ca.csr"),
        "-CA",
        &path("root.crt"),
        "-CAkey",
        &path("root.key"),
        "-set_serial",
        "7",
        "-out",
        &path("ca.crt"),
        "-extfile",
        &extensions,
    ]);
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    (read("root.crt"), read("ca.crt") + &read("root.crt"), read("ca.key"))
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}\n{error}");
    String::from_utf8(output.stdout).unwrap()
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = Path::new(self.0.path()).join(name);
        path.to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}
