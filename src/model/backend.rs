//! Where Terraform keeps the state of a cluster that several machines run: one of Terraform's own backends.

use crate::env;
use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Terraform's backends that hold a lock during an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    Pg,
    S3,
    Http,
    Consul,
}

/// The names of the backends.
pub const BACKENDS: [&str; 4] = ["pg", "s3", "http", "consul"];

/// Settings of backends that are secrets, each with the environment variable that gives it.
const SECRETS: [(BackendKind, &str, &str); 11] = [
    (BackendKind::Pg, "password", env::PGPASSWORD),
    (BackendKind::S3, "access_key", env::AWS_ACCESS_KEY_ID),
    (BackendKind::S3, "secret_key", env::AWS_SECRET_ACCESS_KEY),
    (BackendKind::S3, "token", env::AWS_SESSION_TOKEN),
    (BackendKind::S3, "sse_customer_key", env::AWS_SSE_CUSTOMER_KEY),
    (BackendKind::Http, "password", env::TF_HTTP_PASSWORD),
    (BackendKind::Http, "client_private_key_pem", env::TF_HTTP_CLIENT_PRIVATE_KEY_PEM),
    (BackendKind::Consul, "access_token", env::CONSUL_HTTP_TOKEN),
    (BackendKind::Consul, "token", env::CONSUL_HTTP_TOKEN),
    (BackendKind::Consul, "http_auth", env::CONSUL_HTTP_AUTH),
    (BackendKind::Consul, "key_file", env::CONSUL_CLIENT_KEY),
];

/// Where PostgreSQL's connection string comes from when the file does not say.
const CONN_STR: &str = env::PG_CONN_STR;

impl BackendKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pg => "pg",
            Self::S3 => "s3",
            Self::Http => "http",
            Self::Consul => "consul",
        }
    }

    /// The environment variable that gives a secret which the cluster file must not hold.
    #[must_use]
    pub fn secret_variable(kind: &str, setting: &str) -> Option<&'static str> {
        SECRETS.iter().find(|(of, name, _)| of.as_str() == kind && *name == setting).map(|(.., variable)| *variable)
    }

    /// The user's variables that Terraform gets for the backend.
    #[must_use]
    pub const fn passed(self) -> &'static [&'static str] {
        match self {
            Self::Pg => &[
                CONN_STR,
                env::PGHOST,
                env::PGPORT,
                env::PGDATABASE,
                env::PGUSER,
                env::PGPASSWORD,
                env::PGPASSFILE,
                env::PGSSLMODE,
                env::PGSSLCERT,
                env::PGSSLKEY,
                env::PGSSLROOTCERT,
                env::PGCONNECT_TIMEOUT,
            ],
            Self::S3 => &[],
            Self::Http => &[
                env::TF_HTTP_USERNAME,
                env::TF_HTTP_PASSWORD,
                env::TF_HTTP_CLIENT_CA_CERTIFICATE_PEM,
                env::TF_HTTP_CLIENT_CERTIFICATE_PEM,
                env::TF_HTTP_CLIENT_PRIVATE_KEY_PEM,
            ],
            Self::Consul => &[
                env::CONSUL_HTTP_ADDR,
                env::CONSUL_HTTP_TOKEN,
                env::CONSUL_HTTP_TOKEN_FILE,
                env::CONSUL_HTTP_AUTH,
                env::CONSUL_HTTP_SSL,
                env::CONSUL_CACERT,
                env::CONSUL_CLIENT_CERT,
                env::CONSUL_CLIENT_KEY,
                env::CONSUL_TLS_SERVER_NAME,
            ],
        }
    }

    /// The same, by the start of their names.
    #[must_use]
    pub const fn passed_prefix(self) -> Option<&'static str> {
        match self {
            Self::S3 => Some(env::AWS_),
            Self::Pg | Self::Http | Self::Consul => None,
        }
    }

    /// The variables with its credentials, for messages.
    #[must_use]
    pub const fn credentials(self) -> &'static str {
        match self {
            Self::Pg => "PG_CONN_STR, or PGHOST, PGUSER, PGPASSWORD and PGDATABASE",
            Self::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            Self::Http => "TF_HTTP_USERNAME and TF_HTTP_PASSWORD",
            Self::Consul => "CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN",
        }
    }
}

/// One of Terraform's own backends and its settings, by Terraform's names. No secret is among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    pub kind: BackendKind,
    pub settings: Map<String, Value>,
}

impl Backend {
    /// The text of `backend.tf.json`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}\n", json!({"terraform": {"backend": {self.kind.as_str(): self.settings}}}))
    }

    /// Reads what [`Backend::text`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let (kind, settings) = value["terraform"]["backend"].as_object()?.iter().next()?;
        let kind = serde_json::from_value(Value::String(kind.clone())).ok()?;
        Some(Self { kind, settings: settings.as_object()?.clone() })
    }

    /// A setting that is a text.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name)?.as_str()
    }

    /// The hosts that hold the state, as the file or the environment names them; none if neither does.
    #[must_use]
    pub fn hosts(&self, env: &BTreeMap<String, String>) -> Vec<String> {
        let var = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
        match self.kind {
            BackendKind::Pg => {
                let text = self.setting("conn_str").or_else(|| var(CONN_STR)).unwrap_or_default();
                let hosts = ConnStr::parse(text).hosts;
                let given = var(env::PGHOST).into_iter().flat_map(|text| text.split(',')).map(str::to_owned);
                if hosts.is_empty() { given.collect() } else { hosts }
            }
            BackendKind::S3 => {
                let endpoint = self.settings.get("endpoints").and_then(|all| all["s3"].as_str());
                let endpoint = endpoint
                    .or_else(|| var(env::AWS_ENDPOINT_URL_S3))
                    .or_else(|| var(env::AWS_ENDPOINT_URL))
                    .map(host_of);
                endpoint.into_iter().collect()
            }
            BackendKind::Http => self.setting("address").map(host_of).into_iter().collect(),
            BackendKind::Consul => {
                self.setting("address").or_else(|| var(env::CONSUL_HTTP_ADDR)).map(host_of).into_iter().collect()
            }
        }
    }

    /// The values of the user's secrets for it, so that they can be kept out of what is shown.
    #[must_use]
    pub fn secrets(&self, env: &BTreeMap<String, String>) -> Vec<String> {
        let named = SECRETS.iter().filter(|(kind, ..)| *kind == self.kind).filter_map(|(.., name)| env.get(*name));
        let password = env.get(CONN_STR).filter(|_| self.kind == BackendKind::Pg);
        let password = password.and_then(|text| ConnStr::parse(text).password);
        named.cloned().chain(password).filter(|value| !value.is_empty()).collect()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name| self.setting(name).unwrap_or_default();
        match self.kind {
            BackendKind::Pg => write!(f, "backend pg, schema {}", text("schema_name")),
            BackendKind::S3 => write!(f, "backend s3, {}/{}", text("bucket"), text("key")),
            BackendKind::Http => write!(f, "backend http, {}", text("address")),
            BackendKind::Consul => write!(f, "backend consul, {}", text("path")),
        }
    }
}

/// The host of an address with or without a scheme, port and path.
fn host_of(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    without_port(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

fn without_port(host: &str) -> String {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default().to_owned(),
        None => host.split(':').next().unwrap_or_default().to_owned(),
    }
}

/// The parts of a connection string that hactl needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConnStr {
    pub hosts: Vec<String>,
    pub password: Option<String>,
}

impl ConnStr {
    /// Reads a `postgres://` address or a list of `key=value`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let url = ["postgres://", "postgresql://"].iter().find_map(|start| text.strip_prefix(start));
        let Some(rest) = url else {
            for (key, value) in pairs(text) {
                found.take(&key, value);
            }
            return found;
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may contain characters that end an authority elsewhere.
        let (login, place) = place.rsplit_once('@').unwrap_or(("", place));
        found.password = login.split_once(':').map(|(_, password)| password.to_owned());
        found.take("host", place.split('/').next().unwrap_or_default().to_owned());
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            found.take(key, value.to_owned());
        }
        found.password.take_if(|password| password.is_empty());
        found
    }

    fn take(&mut self, key: &str, value: String) {
        match key {
            "host" | "hostaddr" => {
                self.hosts.extend(value.split(',').filter(|host| !host.is_empty()).map(without_port));
            }
            "password" | "sslpassword" => self.password = Some(value),
            _ => {}
        }
    }
}

/// `key=value` separated by spaces, a value with spaces in single quotes.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap_or((quoted, "")),
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        found.push((key.trim().to_owned(), value.to_owned()));
        rest = left.trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_string_in_either_form_gives_hosts_and_password() {
        let parsed = |text: &str| {
            let ConnStr { hosts, password } = ConnStr::parse(text);
            (hosts.join(" "), password)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parsed("postgres://tf@db1:5433,db2/state?sslmode=require"), ("db1 db2".to_owned(), None));
        assert_eq!(parsed("postgresql://tf:a@b/c@[fd00::1]:5432/x"), ("fd00::1".to_owned(), some("a@b/c")));
        assert_eq!(parsed("postgres://tf@/x?host=db3&password=p"), ("db3".to_owned(), some("p")));
        assert_eq!(parsed("host=db1,db2 password = 'a b' user=tf"), ("db1 db2".to_owned(), some("a b")));
        assert_eq!(parsed("postgres://tf:@db1/x"), ("db1".to_owned(), None));
        assert_eq!(parsed(""), (String::new(), None));
    }

    #[test]
    fn backend_hosts_come_from_the_file_or_else_from_the_environment() {
        let env = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let backend = |kind, settings: Value| Backend { kind, settings: settings.as_object().unwrap().clone() };
        let pg = backend(BackendKind::Pg, json!({"schema_name": "s"}));
        assert_eq!(pg.hosts(&env(&[("PG_CONN_STR", "postgres://tf@db1/x"), ("PGHOST", "db2")])), ["db1"]);
        assert_eq!(pg.hosts(&env(&[("PGHOST", "db2")])), ["db2"]);
        assert!(pg.hosts(&env(&[])).is_empty());
        assert_eq!(
            pg.secrets(&env(&[("PG_CONN_STR", "postgres://tf:pw1@db1/x"), ("PGPASSWORD", "pw2")])),
            ["pw2", "pw1"]
        );
        let consul = backend(BackendKind::Consul, json!({"path": "p", "address": "10.0.0.1:8500"}));
        assert_eq!(consul.hosts(&env(&[])), ["10.0.0.1"]);
        let http = backend(BackendKind::Http, json!({"address": "https://git.example.org:8443/api/v4"}));
        assert_eq!(http.hosts(&env(&[])), ["git.example.org"]);
        let s3 = backend(BackendKind::S3, json!({"endpoints": {"s3": "http://minio:9000"}}));
        assert_eq!(s3.hosts(&env(&[])), ["minio"]);
    }

    #[test]
    fn backend_read_back_from_its_text_is_equal() {
        let settings = json!({"schema_name": "hactl_pg"}).as_object().unwrap().clone();
        let backend = Backend { kind: BackendKind::Pg, settings };
        assert_eq!(Backend::parse(&backend.text()), Some(backend));
        assert_eq!(Backend::parse("{}"), None);
    }
}
