//! Certificates of a mesh that exists for one run: its own authority, and whoever it is asked for.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::conformance::Chain;

/// Two authorities, of which the mesh trusts the first, and what they have signed.
pub(crate) struct Certificates {
    trusted: Authority,
    foreign: Authority,
    issued: HashMap<(Vec<String>, Option<Chain>), Arc<Credential>>,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key.
pub(crate) struct Credential {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    key: Vec<u8>,
}

impl Credential {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

impl Certificates {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            trusted: authority("mesh")?,
            foreign: authority("foreign")?,
            issued: HashMap::new(),
        })
    }

    /// What the mesh trusts.
    pub(crate) fn roots_pem(&self) -> &str {
        &self.trusted.pem
    }

    /// A certificate with these URI SANs, made once.
    pub(crate) fn issue(
        &mut self,
        sans: &[String],
        chain: Chain,
    ) -> anyhow::Result<Arc<Credential>> {
        let key = (sans.to_vec(), Some(chain));
        if let Some(issued) = self.issued.get(&key) {
            return Ok(Arc::clone(issued));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for san in sans {
            params.subject_alt_names.push(SanType::URI(san.as_str().try_into()?));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let now = std::time::SystemTime::now();
        params.not_before = (now - HOUR * 2).into();
        params.not_after =
            if chain == Chain::Expired { (now - HOUR).into() } else { (now + HOUR * 24).into() };
        let authority = if chain == Chain::Foreign { &self.foreign } else { &self.trusted };
        let pair = KeyPair::generate().context("generate a key")?;
        let certificate = params.signed_by(&pair, &authority.issuer).context("sign")?;
        let issued = Arc::new(Credential {
            certificate_pem: certificate.pem(),
            chain: vec![certificate.into()],
            key_pem: pair.serialize_pem(),
            key: pair.serialize_der(),
        });
        self.issued.insert(key, Arc::clone(&issued));
        Ok(issued)
    }
}

fn authority(name: &str) -> anyhow::Result<Authority> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().context("generate a key")?;
    let pem = params.self_signed(&key).context("sign")?.pem();
    Ok(Authority { issuer: Issuer::new(params, key), pem })
}

const HOUR: Duration = Duration::from_secs(3600);
