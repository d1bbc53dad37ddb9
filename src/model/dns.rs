//! Where machines get DNS records: the zone, its server, and the key that may change it.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::name::{InvalidName, text};

/// Default number of seconds for which resolvers may cache a record.
pub const DEFAULT_TTL: u32 = 300;
pub const DEFAULT_PORT: u16 = 53;

/// A zone that takes updates (RFC 2136), as the cluster file gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    pub zone: DomainName,
    pub server: DnsServer,
    pub port: u16,
    pub ttl: u32,
    pub key_name: DomainName,
    pub key_algorithm: KeyAlgorithm,
}

impl Dns {
    /// The full name of the record `name`.
    #[must_use]
    pub fn fqdn(&self, name: &str) -> String {
        format!("{}.{}", name.to_ascii_lowercase(), self.zone)
    }

    /// The server as people write it: `192.168.1.13`, with the port where it is not DNS's own.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match (self.port, self.server.as_str()) {
            (DEFAULT_PORT, server) => server.to_owned(),
            (port, server) if server.contains(':') => format!("[{server}]:{port}"),
            (port, server) => format!("{server}:{port}"),
        }
    }
}

/// What a TSIG key signs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha384")]
    HmacSha384,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

impl KeyAlgorithm {
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or_else(|| InvalidName {
            kind: "TSIG algorithm",
            text: text.to_owned(),
            rule: "hmac-sha256, hmac-sha384 or hmac-sha512; older ones are not supported",
        })
    }
}

/// What [`DomainName::new`] takes, for the schema.
const DOMAIN_PATTERN: &str = r"^(?=.{1,253}\.?$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$";

/// A full domain name, kept in lower case with the dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

impl DomainName {
    pub const RULE: &'static str =
        "a domain name, for example home.sflab.io.: labels of at most 63 letters, digits, hyphens and underscores";

    /// Checks `text`, with or without the dot at its end.
    ///
    /// # Errors
    /// [`InvalidName`] with the rule.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
        let text = text.as_ref();
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() <= 253 && name.split('.').all(is_label) {
            Ok(Self(format!("{}.", name.to_ascii_lowercase())))
        } else {
            Err(InvalidName { kind: "domain name", text: text.to_owned(), rule: Self::RULE })
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A label as DNS servers accept it in zones and key names, including underscores.
fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// The server that holds a zone: an address, or a host name that this machine can resolve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsServer(String);

impl DnsServer {
    pub const RULE: &'static str =
        "an IP address or a host name, for example 192.168.1.13; a port other than 53 goes into `port`";

    /// Checks `text`.
    ///
    /// # Errors
    /// [`InvalidName`] with the rule.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        // A malformed address would be looked up as a name, and not be found.
        let numbers = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if text.parse::<IpAddr>().is_ok() || (!numbers && DomainName::new(&text).is_ok()) {
            Ok(Self(text))
        } else {
            Err(InvalidName { kind: "DNS server", text, rule: Self::RULE })
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text!(DomainName);
text!(DnsServer);

impl JsonSchema for DomainName {
    fn schema_name() -> Cow<'static, str> {
        "DomainName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // `patternErrorMessage` is what editors show, and what spec shows, instead of the pattern.
        json_schema!({"type": "string", "pattern": DOMAIN_PATTERN, "patternErrorMessage": Self::RULE})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_name_is_normalised_to_lower_case_with_a_final_dot() {
        for text in ["home.sflab.io", "home.sflab.io.", "Home.SFLAB.io."] {
            assert_eq!(DomainName::new(text).unwrap().as_str(), "home.sflab.io.");
        }
        assert_eq!(DomainName::new("_acme-challenge.example.").unwrap().as_str(), "_acme-challenge.example.");
        for bad in ["", ".", "a..b", "-a.b", "a b", &"a".repeat(64), &"a.".repeat(128), "a.b..", "a/b", "é.fr"] {
            assert!(DomainName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dns_server_is_an_address_or_a_name() {
        for good in ["192.168.1.13", "::1", "2001:db8::53", "ns1.home.lan", "localhost", "ns1.home.lan."] {
            assert!(DnsServer::new(good).is_ok(), "{good}");
        }
        for bad in ["", "192.168.1", "192.168.1.300", "192.168.1.13:53", "[::1]", "a b", "http://x"] {
            assert!(DnsServer::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domain_name_schema_accepts_the_same_texts_as_the_type() {
        let schema = serde_json::to_value(schemars::schema_for!(DomainName)).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        let texts =
            ["home.sflab.io", "a.", ".", "", "a..b", "-a.b", "a-", "_x.y", "192.168.1.13", "a b", &"a".repeat(64)];
        for text in texts {
            assert_eq!(schema.is_valid(&serde_json::json!(text)), DomainName::new(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn unsupported_key_algorithm_is_refused_with_its_name() {
        assert_eq!("hmac-sha384".parse::<KeyAlgorithm>().unwrap(), KeyAlgorithm::HmacSha384);
        for old in ["hmac-md5", "hmac-sha1", "hmac-sha224", "HMAC-SHA256"] {
            let error = old.parse::<KeyAlgorithm>().unwrap_err().to_string();
            assert!(error.contains(old) && error.contains("hmac-sha512"), "{error}");
        }
    }

    #[test]
    fn endpoint_shows_the_port_only_if_it_is_not_53() {
        let dns = |server: &str, port| Dns {
            zone: "a.b".parse().unwrap(),
            server: server.parse().unwrap(),
            port,
            ttl: DEFAULT_TTL,
            key_name: "k".parse().unwrap(),
            key_algorithm: KeyAlgorithm::default(),
        };
        assert_eq!(dns("10.0.0.1", 53).endpoint(), "10.0.0.1");
        assert_eq!(dns("::1", 5353).endpoint(), "[::1]:5353");
        assert_eq!(dns("ns", 5353).endpoint(), "ns:5353");
        assert_eq!(dns("ns", 53).fqdn("Node1"), "node1.a.b.");
    }
}
