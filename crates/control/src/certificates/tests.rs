use palisade_pki::{CertificateFacts, PrivateKey, certificates_from_pem, signing_request};
use palisade_wire::ca::IstioCertificateServiceClient;
use tonic::Code;

use super::*;
use crate::{
    index::Source,
    kubernetes::Change,
    testing::{Control, from},
};

fn request(id: &str, seconds: i64) -> IstioCertificateRequest {
    let csr = signing_request(&PrivateKey::generate().unwrap(), &id.parse().unwrap()).unwrap();
    IstioCertificateRequest { csr, validity_duration: seconds, metadata: None }
}

const PODS: &[(&str, &str)] = &[("web-1", "web"), ("web-2", "web")];
const OWN: &str = "spiffe://cluster.local/ns/shop/sa/web";

#[tokio::test]
async fn a_certificate_is_for_the_account_of_the_token() {
    let control = Control::start(PODS).await;
    let mut client = IstioCertificateServiceClient::new(control.grpc.clone());
    for (seconds, lifetime) in [(0, 3600), (600, 600)] {
        let answer = client.create_certificate(from("web", "web-1", request(OWN, seconds))).await;
        let chain = answer.unwrap().into_inner().cert_chain;
        assert_eq!(chain.last().unwrap(), &control.ca.now().bundle().to_pem());
        let leaf = certificates_from_pem(chain.first().unwrap()).unwrap();
        let facts = CertificateFacts::from_der(leaf.first().unwrap()).unwrap();
        assert_eq!(facts.uris, [OWN]);
        let left = facts.not_after.duration_since(Timestamp::now()).as_secs();
        assert!((lifetime - 60..=lifetime).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn nobody_gets_a_certificate_for_somebody_else_or_for_too_long() {
    let control = Control::start(PODS).await;
    let mut client = IstioCertificateServiceClient::new(control.grpc.clone());
    let other = "spiffe://cluster.local/ns/shop/sa/db";
    let foreign = "spiffe://evil.example/ns/shop/sa/web";
    let year = 365 * 24 * 3600;
    let mut impersonating = request(OWN, 0);
    let fields = [("ImpersonatedIdentity".to_owned(), Default::default())].into();
    impersonating.metadata = Some(prost_types::Struct { fields });
    let garbage =
        IstioCertificateRequest { csr: "x".to_owned(), ..IstioCertificateRequest::default() };
    for (request, code) in [
        (request(other, 0), Code::PermissionDenied),
        (request(foreign, 0), Code::PermissionDenied),
        (impersonating, Code::PermissionDenied),
        (request(OWN, year), Code::InvalidArgument),
        (garbage, Code::InvalidArgument),
    ] {
        let status = client.create_certificate(from("web", "web-1", request)).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
    let status = client.create_certificate(Request::new(request(OWN, 0))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn one_pod_cannot_ask_for_ever_nor_fill_the_log() {
    let mut control = Control::start(PODS).await;
    let mut client = IstioCertificateServiceClient::new(control.grpc.clone());
    let request = request(OWN, 0);
    let mut codes = Vec::new();
    for _ in 0..25 {
        let answer = client.create_certificate(from("web", "web-1", request.clone())).await;
        codes.extend(answer.err().map(|status| status.code()));
    }
    assert!(codes.contains(&Code::ResourceExhausted), "{codes:?}");
    assert!(client.create_certificate(from("web", "web-2", request.clone())).await.is_ok());
    let mut refused = 0;
    for _ in 0..60 {
        let answer = client.create_certificate(from("web", "web-1", request.clone())).await;
        if let Err(status) = answer {
            assert_eq!(status.code(), Code::ResourceExhausted);
            refused += 1;
        }
    }
    assert!(refused > 30, "a request is admitted now and then, in so many seconds: {refused}");
    let mut told = 0;
    while control.warnings.try_recv().is_ok() {
        told += 1;
    }
    assert!((1..30).contains(&told), "{told} refusals were told");
}

#[tokio::test]
async fn a_token_is_good_only_at_its_pods_address_and_the_pod_that_tried_is_told() {
    let mut control = Control::start(PODS).await;
    let other = serde_json::json!({
        "metadata": {"name": "db-1", "namespace": "shop", "uid": "db", "resourceVersion": "2"},
        "spec": {"containers": [], "serviceAccountName": "db"},
        "status": {"phase": "Running", "podIP": "10.0.0.9"},
    });
    let pods = Source::Objects(palisade_model::Kind::Pod);
    control.change(pods, Change::Apply(other)).await;
    control.wait(|mesh| mesh.pods.len() == 3).await;
    let mut client = IstioCertificateServiceClient::new(control.grpc.clone());
    let stolen = request("spiffe://cluster.local/ns/shop/sa/db", 0);
    let status = client.create_certificate(from("db", "db-1", stolen.clone())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "token refused"));
    let told = control.warnings.recv().await.unwrap();
    assert_eq!((told.namespace.as_str(), told.name.as_str()), ("shop", "web-1"));
    let reason = "the token is bound to pod `db-1.shop` at 10.0.0.9, and came from elsewhere";
    assert!(told.message.ends_with(reason), "{}", told.message);
    // Who keeps trying is not even looked at.
    let mut codes = Vec::new();
    for _ in 0..25 {
        let answer = client.create_certificate(from("db", "db-1", stolen.clone())).await;
        codes.extend(answer.err().map(|status| status.code()));
    }
    assert_eq!(codes.last(), Some(&Code::ResourceExhausted), "{codes:?}");
}
