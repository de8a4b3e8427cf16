//! What the certificates that Palisade makes look like: one function per kind.

use std::{net::IpAddr, time::Duration};

use aws_lc_rs::rand;
use jiff::Timestamp;
use palisade_types::SpiffeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};

use crate::Subject;

/// Clocks of the mesh's machines differ a little: certificates are valid from so long ago.
pub(crate) const BACKDATE: Duration = Duration::from_secs(2 * 60);

/// From when until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// A self-signed root that signs leaves only.
pub(crate) fn root(
    subject: &Subject,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = base(validity)?;
    params.distinguished_name = name(subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// A workload: no subject, and so its only name, the URI, is critical.
pub(crate) fn workload(
    id: &SpiffeId,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = leaf(validity)?;
    params.subject_alt_names = vec![SanType::URI(id.to_string().try_into()?)];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// An HTTPS server.
pub(crate) fn server(
    dns: &[&str],
    addresses: &[IpAddr],
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = leaf(validity)?;
    for dns_name in dns {
        params.subject_alt_names.push(SanType::DnsName((*dns_name).try_into()?));
    }
    params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// A user of an API server.
pub(crate) fn client(
    subject: &Subject,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = leaf(validity)?;
    params.distinguished_name = name(subject);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn leaf(validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = base(validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn base(validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial()?);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(validity.not_before);
    params.not_after = epoch + since_epoch(validity.not_after);
    Ok(params)
}

fn name(subject: &Subject) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = &subject.organization {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    if let Some(common_name) = &subject.common_name {
        name.push(DnType::CommonName, common_name.as_str());
    }
    name
}

/// 128 random bits.
fn serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    Ok(SerialNumber::from_slice(&bytes))
}

fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
}
