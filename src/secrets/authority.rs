//! How certificate authorities and the certificates that they sign are made.
//!
//! ECDSA P-256 throughout: with Ed25519, libpq cannot bind SCRAM to the channel.

use std::net::{IpAddr, Ipv4Addr};

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

use crate::{
    error::{Error, Result},
    model::{Authority, Certificate, ClusterName, HostName, InstanceKey, Purpose, Secret},
};

const AUTHORITY_YEARS: i64 = 10;
const LEAF_YEARS: i64 = 2;

/// A certificate and its private key, both PEM; the key is PKCS #8.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    pub certificate: String,
    pub key: Secret,
}

/// Whom a node's certificates are made out to.
pub(super) struct Holder<'a> {
    pub(super) key: &'a InstanceKey,
    pub(super) hostname: &'a HostName,
    pub(super) address: Ipv4Addr,
}

/// A new authority.
pub(super) fn generate(cluster: &ClusterName, authority: Authority, now: Timestamp) -> Result<Leaf> {
    let what = authority.subject;
    let make = || -> Result<Leaf, Problem> {
        let mut params = params(cluster, &format!("{what} authority"), now, AUTHORITY_YEARS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = false;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Leaf { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
    };
    make().map_err(|problem| problem.error(&format!("{what} authority of"), cluster))
}

/// The certificate of one instance.
pub(super) fn sign_instance(
    authority: &Leaf,
    cluster: &ClusterName,
    certificate: Certificate,
    to: &Holder<'_>,
    now: Timestamp,
) -> Result<Leaf> {
    let params =
        params(cluster, &format!("{} {}", to.key, certificate.name), now, LEAF_YEARS).and_then(|mut params| {
            params.subject_alt_names = names(to)
                .into_iter()
                .map(|name| match name {
                    Name::Dns(name) => name.as_str().try_into().map(SanType::DnsName),
                    Name::Ip(address) => Ok(SanType::IpAddress(address)),
                })
                .collect::<Result<_, _>>()
                .map_err(Problem::from)?;
            params.extended_key_usages = usages(certificate.purpose);
            Ok(params)
        });
    params
        .and_then(|params| sign(params, authority))
        .map_err(|problem| problem.error(&format!("{} certificate of", certificate.name), to.key))
}

/// The controller's certificate.
pub(super) fn sign_client(
    authority: &Leaf,
    cluster: &ClusterName,
    certificate: Certificate,
    now: Timestamp,
) -> Result<Leaf> {
    params(cluster, certificate.name, now, LEAF_YEARS)
        .and_then(|mut params| {
            params.extended_key_usages = usages(certificate.purpose);
            sign(params, authority)
        })
        .map_err(|problem| problem.error("client certificate of", cluster))
}

fn usages(purpose: Purpose) -> Vec<ExtendedKeyUsagePurpose> {
    match purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::ServerAndClient => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Controller => vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn params(cluster: &ClusterName, what: &str, now: Timestamp, years: i64) -> Result<CertificateParams, Problem> {
    let mut params = CertificateParams::default();
    // No common name: etcd takes one in a client certificate for a user, and answers 400 to its own
    // gateway's requests when its users are switched on.
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, format!("hactl {cluster}"));
    subject.push(DnType::OrganizationalUnitName, what);
    params.distinguished_name = subject;
    // A day back: clocks of fresh machines are often behind.
    let (year, month, day_of_month) = day(now, Span::new().days(-1))?;
    params.not_before = date_time_ymd(year, month, day_of_month);
    let (year, month, day_of_month) = day(now, Span::new().years(years))?;
    params.not_after = date_time_ymd(year, month, day_of_month);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Strict checkers, such as Python from 3.13 on, want the signer's key named.
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Year, month and day: certificates here begin and end at midnight.
fn day(now: Timestamp, plus: Span) -> Result<(i32, u8, u8), Problem> {
    let date = now.to_zoned(TimeZone::UTC).date().checked_add(plus)?;
    Ok((date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs()))
}

fn sign(params: CertificateParams, authority: &Leaf) -> Result<Leaf, Problem> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(authority.key.expose())?)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Leaf { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
}

#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
enum Name {
    Dns(String),
    Ip(IpAddr),
}

fn names(holder: &Holder<'_>) -> Vec<Name> {
    let mut names = vec![
        Name::Dns(holder.hostname.to_string()),
        Name::Dns("localhost".to_owned()),
        Name::Ip(holder.address.into()),
        Name::Ip(Ipv4Addr::LOCALHOST.into()),
    ];
    names.sort();
    names.dedup();
    names
}

impl Leaf {
    /// Whether a new certificate is due: less than a third of its time left, not valid yet, or not readable.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let Ok((_, pem)) = parse_x509_pem(self.certificate.as_bytes()) else { return true };
        let Ok(certificate) = pem.parse_x509() else { return true };
        let (from, until) =
            (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        let now = now.as_second();
        now < from || until - now < (until - from) / 3
    }

    /// Whether the certificate names exactly this node.
    pub(super) fn is_for(&self, holder: &Holder<'_>) -> bool {
        let Ok((_, pem)) = parse_x509_pem(self.certificate.as_bytes()) else { return false };
        let Ok(certificate) = pem.parse_x509() else { return false };
        let Ok(Some(extension)) = certificate.subject_alternative_name() else { return false };
        let mut held: Vec<_> = extension.value.general_names.iter().filter_map(name_of).collect();
        held.sort();
        held == names(holder)
    }
}

fn name_of(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(name) => Some(Name::Dns((*name).to_owned())),
        GeneralName::IPAddress(bytes) => {
            <[u8; 4]>::try_from(*bytes).ok().map(|bytes| Name::Ip(Ipv4Addr::from(bytes).into()))
        }
        _ => None,
    }
}

/// What can go wrong when a certificate is made.
enum Problem {
    Certificate(rcgen::Error),
    Date(jiff::Error),
}

impl Problem {
    fn error(&self, what: &str, object: impl std::fmt::Display) -> Error {
        let error = Error::failed("certificate", format!("make the {what}"), object);
        match self {
            Self::Certificate(cause) => error.source(cause),
            Self::Date(cause) => error.source(cause).hint("Set the clock of this machine"),
        }
    }
}

impl From<rcgen::Error> for Problem {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error)
    }
}

impl From<jiff::Error> for Problem {
    fn from(error: jiff::Error) -> Self {
        Self::Date(error)
    }
}
