//! How certificate authorities and the certificates that they sign are made.
//!
//! ECDSA P-256 throughout: with Ed25519, libpq cannot bind SCRAM to the channel.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use serde::{Deserialize, Serialize};
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

use super::validity::{Validity, days_earlier};
use crate::{
    error::{Error, Result},
    model::{Authority, Certificate, ClusterName, HostName, InstanceKey, Purpose, Secret},
};

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
        let mut params = params(cluster, &format!("{what} authority"), Validity::of_authority(now)?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = false;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Leaf { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
    };
    make().map_err(|problem| problem.error(&format!("{what} authority of"), cluster))
}

/// When a certificate is made, and the position of its node among all.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub(super) now: Timestamp,
    pub(super) position: usize,
}

impl Made {
    fn validity(self, authority: &Leaf) -> Result<Validity, Problem> {
        validity(authority, self.now, days_earlier(self.position))
    }
}

/// From when to when a certificate of `authority` is valid.
fn validity(authority: &Leaf, now: Timestamp, days_earlier: i64) -> Result<Validity, Problem> {
    let ends = authority.not_after().ok_or(Problem::Unreadable)?;
    let validity = Validity::of_leaf(now, days_earlier, ends)?;
    if validity.is_over(now) { Err(Problem::Ended(ends)) } else { Ok(validity) }
}

/// The certificate of one instance.
pub(super) fn sign_instance(
    authority: &Leaf,
    cluster: &ClusterName,
    certificate: Certificate,
    to: &Holder<'_>,
    made: Made,
) -> Result<Leaf> {
    let signed = made.validity(authority).and_then(|validity| sign_for(authority, cluster, certificate, to, validity));
    signed.map_err(|problem| problem.error(&format!("{} certificate of", certificate.name), to.key))
}

/// The same for a drill: it ends at `end`.
pub(super) fn sign_short(
    authority: &Leaf,
    cluster: &ClusterName,
    certificate: Certificate,
    to: &Holder<'_>,
    [now, end]: [Timestamp; 2],
) -> Result<Leaf> {
    let signed = Validity::short(now, end)
        .map_err(Problem::from)
        .and_then(|validity| sign_for(authority, cluster, certificate, to, validity));
    signed.map_err(|problem| problem.error(&format!("short-lived {} certificate of", certificate.name), to.key))
}

fn sign_for(
    authority: &Leaf,
    cluster: &ClusterName,
    certificate: Certificate,
    to: &Holder<'_>,
    validity: Validity,
) -> Result<Leaf, Problem> {
    let mut params = params(cluster, &format!("{} {}", to.key, certificate.name), validity);
    params.subject_alt_names = names(to)
        .into_iter()
        .map(|name| match name {
            Name::Dns(name) => name.as_str().try_into().map(SanType::DnsName),
            Name::Ip(address) => Ok(SanType::IpAddress(address)),
        })
        .collect::<Result<_, _>>()?;
    params.extended_key_usages = usages(certificate.purpose);
    sign(params, authority)
}

/// The controller's certificate.
pub(super) fn sign_client(
    authority: &Leaf,
    cluster: &ClusterName,
    certificate: Certificate,
    now: Timestamp,
) -> Result<Leaf> {
    let signed = validity(authority, now, 0).and_then(|validity| {
        let mut params = params(cluster, certificate.name, validity);
        params.extended_key_usages = usages(certificate.purpose);
        sign(params, authority)
    });
    signed.map_err(|problem| problem.error("client certificate of", cluster))
}

fn usages(purpose: Purpose) -> Vec<ExtendedKeyUsagePurpose> {
    match purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::ServerAndClient => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Controller => vec![ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn params(cluster: &ClusterName, what: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    // No common name: etcd takes one in a client certificate for a user, and answers 400 to its own
    // gateway's requests when its users are switched on.
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, format!("hactl {cluster}"));
    subject.push(DnType::OrganizationalUnitName, what);
    params.distinguished_name = subject;
    validity.apply(&mut params);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Strict checkers, such as Python from 3.13 on, want the signer's key named.
    params.use_authority_key_identifier_extension = true;
    params
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
    /// From when to when the certificate is valid; none if it is not readable.
    #[must_use]
    pub fn validity(&self) -> Option<[Timestamp; 2]> {
        let (_, pem) = parse_x509_pem(self.certificate.as_bytes()).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let validity = certificate.validity();
        let at = |seconds: i64| Timestamp::from_second(seconds).ok();
        Some([at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?])
    }

    /// When the certificate ends; none if it is not readable.
    #[must_use]
    pub fn not_after(&self) -> Option<Timestamp> {
        self.validity().map(|[_, until]| until)
    }

    /// Whether a new certificate is due: less than a third of its time left, not valid yet, or not readable.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let Some([from, until]) = self.validity() else { return true };
        let [from, until, now] = [from, until, now].map(Timestamp::as_second);
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
    /// The authority's own certificate.
    Unreadable,
    /// The authority's own certificate has ended.
    Ended(Timestamp),
}

impl Problem {
    fn error(&self, what: &str, object: impl std::fmt::Display) -> Error {
        let error = Error::failed("certificate", format!("make the {what}"), object);
        match self {
            Self::Certificate(cause) => error.source(cause),
            Self::Date(cause) => error.source(cause).hint("Set the clock of this machine"),
            Self::Unreadable => error.cause("could not read the certificate of its CA"),
            Self::Ended(end) => error
                .cause(format!("its CA expired at {end}"))
                .hint("Check the clock of this machine. If it is right, create a new cluster and move the data to it"),
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
