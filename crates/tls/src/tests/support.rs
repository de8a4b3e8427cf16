//! A mesh in a test: an authority, certificates good and bad, and ends without our checks.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use palisade_pki::{Authority, Csr, Subject};
use palisade_types::{SpiffeId, TrustDomain};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType,
};
use rustls::{
    ClientConfig, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::{
    Generation, HandshakeError, KeyExchange, Offer, Peer, PendingIdentity, Settings, TlsStream,
    https::unverified::Anyone, provider::provider,
};

pub(super) const SNI: &str = "outbound_.80_._.backend.poc.svc.cluster.local";

pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) type Ended = Result<(TlsStream<DuplexStream>, Peer), HandshakeError>;

pub(super) struct Mesh {
    pub(super) authority: Authority,
}

impl Mesh {
    pub(super) fn new(organization: &str) -> Self {
        let subject = Subject { organization: Some(organization.to_owned()), common_name: None };
        Self { authority: Authority::generate(&subject, Timestamp::now()).unwrap() }
    }

    /// The generation of an account, through a signing request as in production.
    pub(super) fn generation(&self, account: &str) -> Generation {
        self.generation_with(account, settings())
    }

    pub(super) fn generation_with(&self, account: &str, settings: Settings) -> Generation {
        let pending = PendingIdentity::generate(&id(account)).unwrap();
        let chain = self.chain(&pending, account);
        pending.complete(&chain, settings).unwrap()
    }

    /// The authority's answer to a request, for whichever account.
    pub(super) fn chain(&self, pending: &PendingIdentity, account: &str) -> Vec<String> {
        let csr = Csr::from_pem(pending.csr_pem()).unwrap();
        self.authority.issue(&csr, &id(account), DAY, Timestamp::now()).unwrap().chain_pem
    }

    /// A certificate as [`Leaf`] says, and its key.
    pub(super) fn sign(&self, leaf: &Leaf) -> (String, String) {
        self.sign_for(leaf, &KeyPair::generate().unwrap())
    }

    /// The same for an RSA key, which Istio's agent makes by default.
    pub(super) fn sign_rsa(&self, leaf: &Leaf) -> (String, String) {
        self.sign_for(leaf, &KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap())
    }

    fn sign_for(&self, leaf: &Leaf, key: &KeyPair) -> (String, String) {
        let signer = KeyPair::from_pem(&self.authority.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.authority.root_pem(), signer).unwrap();
        (leaf.params().signed_by(key, &issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A certificate that need not be a good one.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) uris: Vec<&'static str>,
    pub(super) usages: Vec<ExtendedKeyUsagePurpose>,
    /// Seconds from now.
    pub(super) valid: (i64, i64),
}

impl Leaf {
    /// A good one.
    pub(super) fn of(uri: &'static str) -> Self {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Self { uris: vec![uri], usages, valid: (-60, 3600) }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.subject_alt_names.push(SanType::DnsName("a.example".try_into().unwrap()));
        params.extended_key_usages = self.usages.clone();
        let at = |seconds: i64| {
            let since = u64::try_from(Timestamp::now().as_second() + seconds).unwrap();
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since)
        };
        (params.not_before, params.not_after) = (at(self.valid.0), at(self.valid.1));
        params
    }
}

pub(super) fn id(account: &str) -> SpiffeId {
    SpiffeId::new(TrustDomain::default(), "poc", account).unwrap()
}

pub(super) fn settings() -> Settings {
    let key_exchange = KeyExchange::Classic;
    Settings { key_exchange, ..Settings::new(vec![TrustDomain::default()]) }
}

/// Both ends of a handshake with each other.
pub(super) async fn handshake(
    client: &Generation,
    server: &Generation,
    offer: Offer,
    expected: &[SpiffeId],
) -> (Ended, Ended) {
    let (near, far) = duplex(64 * 1024);
    tokio::join!(client.connect(near, SNI, offer, expected), server.accept(far, &[]))
}

/// A handshake and a round trip of bytes, after which session tickets have arrived.
pub(super) async fn round_trip(
    client: &Generation,
    server: &Generation,
    expected: &[SpiffeId],
) -> (Peer, Peer) {
    let (near, far) = handshake(client, server, Offer::Http1, expected).await;
    let ((mut near, to), (mut far, from)) = (near.unwrap(), far.unwrap());
    let mut buffer = [0; 4];
    near.write_all(b"ping").await.unwrap();
    far.read_exact(&mut buffer).await.unwrap();
    far.write_all(b"pong").await.unwrap();
    near.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"pong");
    (to, from)
}

/// A client that believes everything, with any certificate or none.
pub(super) fn careless_client(certificate: Option<&(String, String)>) -> ClientConfig {
    careless_client_of(&[&TLS13, &TLS12], certificate)
}

pub(super) fn careless_client_of(
    versions: &[&'static SupportedProtocolVersion],
    certificate: Option<&(String, String)>,
) -> ClientConfig {
    let provider = provider(KeyExchange::Classic);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    match certificate {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(ders(chain), key_der(key)).unwrap(),
    }
}

/// A server that asks for no client certificate and has any certificate.
pub(super) fn careless_server(certificate: &(String, String)) -> ServerConfig {
    ServerConfig::builder_with_provider(provider(KeyExchange::Classic))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(ders(&certificate.0), key_der(&certificate.1))
        .unwrap()
}

fn ders(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

fn key_der(pem: &str) -> rustls::pki_types::PrivateKeyDer<'static> {
    PemObject::from_pem_slice(pem.as_bytes()).unwrap()
}
