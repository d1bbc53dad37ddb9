//! Questions to the API, over HTTPS whose certificate is verified. There is no way to turn that off.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{
    Certificate, Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue},
    redirect,
};
use serde_json::Value;

use super::{ENDPOINT_VARIABLE, Token, trouble::Trouble};
use crate::error::{Error, Result};

/// A server that does not take the connection by then will not do so later.
pub(super) const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

/// How long one answer may take. Proxmox holds back a refused login for 3 s.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Where the API is: `https://pve1:8006/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The cluster file's, or that of the environment as given.
    ///
    /// # Errors
    /// When there is none, and when it is not the `https` address of a server.
    pub fn find(given: Option<&str>, env: &BTreeMap<String, String>) -> Result<Self> {
        let set = env.get(ENDPOINT_VARIABLE).map(|text| text.trim()).filter(|text| !text.is_empty());
        let text = given.or(set).ok_or_else(|| {
            Error::missing("proxmox-endpoint-missing", "find", "the API of Proxmox")
                .cause(format!("the cluster file has no endpoint, and {ENDPOINT_VARIABLE} is not set"))
                .hint("set `endpoint` under `platform.proxmox` to the address of a node, such as https://pve1:8006/")
        })?;
        Self::parse(text).map_err(|wrong| {
            Error::usage("proxmox-endpoint", "use the endpoint", text)
                .cause(wrong)
                .hint("give it as https://NODE:8006/, by name or address")
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.scheme() != "https" {
            return Err(format!("Proxmox's API is served by https, not by {}", url.scheme()));
        }
        if url.host().is_none() || !url.username().is_empty() || url.password().is_some() {
            return Err("it must have a host and neither user nor password".to_owned());
        }
        // Terraform's provider does not look at a path either.
        url.set_path("/");
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The address of an API method.
    fn method(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        // Segments are escaped one by one: a name with a slash stays one name.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["api2", "json"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Host and port, as they are connected to.
    pub(super) fn address(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        format!("{host}:{}", self.0.port_or_known_default().unwrap_or_default())
    }

    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(super) fn has_port(&self) -> bool {
        self.0.port().is_some()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

/// The API of one Proxmox, with what opens it.
#[derive(Clone, Debug)]
pub struct Api {
    pub(super) endpoint: Endpoint,
    pub(super) token: Token,
    /// The file of the CA that is trusted beside those of this machine.
    pub(super) ca_cert: Option<PathBuf>,
    client: Client,
    authorization: HeaderValue,
}

impl Api {
    /// The API at the cluster file's endpoint, or the environment's, with the environment's token.
    ///
    /// # Errors
    /// Those of [`Endpoint::find`], [`Token::from_env`] and [`Api::new`].
    pub fn find(endpoint: Option<&str>, ca_cert: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Self> {
        Self::new(Endpoint::find(endpoint, env)?, Token::from_env(env)?, ca_cert)
    }

    /// Asks nothing yet.
    ///
    /// # Errors
    /// When `ca_cert` cannot be read, or holds no certificate that could sign another.
    pub fn new(endpoint: Endpoint, token: Token, ca_cert: Option<&Path>) -> Result<Self> {
        // Whoever was first has set one; both would be the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut authorities = Vec::new();
        if let Some(path) = ca_cert {
            authorities = read_authorities(path)?;
        }
        // A redirect would carry the token elsewhere; Proxmox makes none.
        let client = Client::builder()
            .tls_certs_merge(authorities)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECTED_WITHIN)
            .timeout(ANSWERED_WITHIN)
            .build()
            .map_err(|error| match ca_cert {
                Some(path) => bad_authority(path).source(&error),
                None => Error::missing("proxmox-certificates", "prepare HTTPS to", &endpoint)
                    .source(&error)
                    .hint("`apt-get install ca-certificates`, or give `ca_cert` under `platform.proxmox`"),
            })?;
        let mut authorization = HeaderValue::from_str(token.header().expose()).map_err(|_| {
            Error::missing("proxmox-token-malformed", "send the API token of", &token)
                .cause("it has a character that no HTTP header can have")
        })?;
        authorization.set_sensitive(true);
        Ok(Self { endpoint, token, ca_cert: ca_cert.map(Path::to_owned), client, authorization })
    }

    /// The `data` of one answer.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Trouble> {
        let url = self.endpoint.method(path, query);
        let response = self.client.get(url).header(AUTHORIZATION, self.authorization.clone()).send().await;
        let response = response.map_err(|error| Trouble::of(&error))?;
        let (status, reason) = (response.status(), reason(&response));
        let body = response.bytes().await.map_err(|error| Trouble::of(&error))?;
        // Refusals of Proxmox have no body, or one of JSON; its words are in the status line.
        let json: Option<Value> = if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&body).ok() };
        match (status, json) {
            (StatusCode::OK, Some(Value::Object(mut object))) if object.contains_key("data") => {
                Ok(object.remove("data").unwrap_or_default())
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => Err(Trouble::Unauthorized(reason)),
            (StatusCode::FORBIDDEN, Some(_)) => Err(Trouble::Forbidden(reason)),
            (status, Some(json)) if status.is_server_error() || status == StatusCode::BAD_REQUEST => {
                Err(Trouble::Failed(words(status, &reason, &json)))
            }
            (status, _) => Err(Trouble::NotProxmox(format!("HTTP {} {reason}", status.as_u16()).trim().to_owned())),
        }
    }
}

/// The words of the status line: that is where Proxmox says what is wrong.
fn reason(response: &Response) -> String {
    let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let phrase = phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).trim().to_owned());
    phrase.or_else(|| response.status().canonical_reason().map(str::to_owned)).unwrap_or_default()
}

/// The same with what stands in the body: which parameter, and why.
fn words(status: StatusCode, reason: &str, json: &Value) -> String {
    let mut words = if reason.is_empty() { format!("HTTP {}", status.as_u16()) } else { reason.to_owned() };
    for (key, error) in json["errors"].as_object().into_iter().flatten() {
        words += &format!("; {key}: {}", error.as_str().unwrap_or_default().trim());
    }
    words
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate>> {
    let text = fs::read(path).map_err(|error: io::Error| bad_authority(path).source(&error))?;
    let found = Certificate::from_pem_bundle(&text).map_err(|error| bad_authority(path).source(&error))?;
    if found.is_empty() {
        return Err(bad_authority(path).cause("there is no certificate in it (PEM)"));
    }
    Ok(found)
}

fn bad_authority(path: &Path) -> Error {
    Error::usage("proxmox-ca-cert", "use ca_cert", path.display())
        .hint("copy /etc/pve/pve-root-ca.pem from a Proxmox node, and give its path as `ca_cert`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(ENDPOINT_VARIABLE.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_files_endpoint_goes_before_the_environments() {
        let endpoint = Endpoint::find(Some("https://pve1:8006"), &env("https://pve2:8006/")).unwrap();
        assert_eq!(endpoint.to_string(), "https://pve1:8006/");
        let endpoint = Endpoint::find(None, &env(" https://pve2:8006/api2/json?x ")).unwrap();
        assert_eq!(endpoint.to_string(), "https://pve2:8006/");
        assert_eq!(Endpoint::find(None, &env(" ")).unwrap_err().code, "proxmox-endpoint-missing");
    }

    #[test]
    fn only_https_addresses_of_servers_are_endpoints() {
        for bad in ["http://pve1:8006/", "pve1:8006", "pve1", "https://", "https://root:x@pve1:8006/", ""] {
            let error = Endpoint::find(Some(bad), &BTreeMap::new()).unwrap_err();
            assert_eq!((error.code, error.kind.exit_code()), ("proxmox-endpoint", 2), "{bad}");
        }
    }

    #[test]
    fn names_are_escaped_within_the_path_and_the_query() {
        let endpoint = Endpoint::parse("https://[::1]:8006/x/").unwrap();
        let url = endpoint.method(&["nodes", "pve/1", "storage"], &[("path", "/vms/1 2")]);
        assert_eq!(url.as_str(), "https://[::1]:8006/api2/json/nodes/pve%2F1/storage?path=%2Fvms%2F1+2");
        assert_eq!((endpoint.address().as_str(), endpoint.has_port()), ("[::1]:8006", true));
        assert_eq!(Endpoint::parse("https://pve1/").unwrap().address(), "pve1:443");
    }

    #[test]
    fn a_ca_that_is_none_is_refused_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([(
            crate::platform::proxmox::TOKEN_VARIABLE.to_owned(),
            "a@pve!b=4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11".to_owned(),
        )]);
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let path = dir.path().join("ca.pem");
            fs::write(&path, text).unwrap();
            let endpoint = Endpoint::parse("https://pve1:8006/").unwrap();
            let error = Api::new(endpoint, Token::from_env(&env).unwrap(), Some(&path)).unwrap_err();
            assert_eq!(error.code, "proxmox-ca-cert", "{text}");
            assert!(error.to_string().contains("ca.pem") && error.hint.is_some(), "{error}");
        }
    }
}
