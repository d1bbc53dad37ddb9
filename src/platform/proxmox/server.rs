//! The server that hactl asks: its address, the token, the trusted CA, and how long an answer may take.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use reqwest::Url;

use super::{ENDPOINT_VARIABLE, Token};
use crate::error::{Error, Result};

/// A server that does not take the connection by then will not do so later.
pub(super) const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

/// How long one answer may take. Proxmox holds back a refused login for 3 s.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// The API that is asked, for requests and for errors about them.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) endpoint: ApiEndpoint,
    pub(super) token: Token,
    /// The file of the CA that is trusted beside those of this machine.
    pub(super) ca_cert: Option<PathBuf>,
}

/// Where the API is: `https://pve1:8006/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiEndpoint(Url);

impl ApiEndpoint {
    /// The cluster file's, or that of the environment as given.
    ///
    /// # Errors
    /// When there is none, and when it is not the `https` address of a server.
    pub fn find(given: Option<&str>, env: &BTreeMap<String, String>) -> Result<Self> {
        let set = env.get(ENDPOINT_VARIABLE).map(|text| text.trim()).filter(|text| !text.is_empty());
        let text = given.or(set).ok_or_else(|| {
            Error::missing("proxmox-endpoint-missing", "find", "the API of Proxmox")
                .cause(format!("the cluster file has no endpoint, and {ENDPOINT_VARIABLE} is not set"))
                .hint(
                    "Set `endpoint` under `platform.proxmox` to the address of a hypervisor, such as \
                     https://pve1:8006/",
                )
        })?;
        Self::parse(text).map_err(|wrong| {
            Error::usage("proxmox-endpoint", "use the endpoint", text)
                .cause(wrong)
                .hint("Set `endpoint` to https://NODE:8006/, with the name or address of a hypervisor")
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.scheme() != "https" {
            return Err(format!("the API of Proxmox uses https, not {}", url.scheme()));
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
    pub(super) fn method(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
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

    /// The host alone.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether it was given with a port.
    pub(super) fn has_port(&self) -> bool {
        self.0.port().is_some()
    }
}

impl fmt::Display for ApiEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(ENDPOINT_VARIABLE.to_owned(), value.to_owned())])
    }

    #[test]
    fn endpoint_in_the_file_overrides_the_environment() {
        let endpoint = ApiEndpoint::find(Some("https://pve1:8006"), &env("https://pve2:8006/")).unwrap();
        assert_eq!(endpoint.to_string(), "https://pve1:8006/");
        let endpoint = ApiEndpoint::find(None, &env(" https://pve2:8006/api2/json?x ")).unwrap();
        assert_eq!(endpoint.to_string(), "https://pve2:8006/");
        assert_eq!(ApiEndpoint::find(None, &env(" ")).unwrap_err().code, "proxmox-endpoint-missing");
    }

    #[test]
    fn endpoint_that_is_not_an_https_server_address_is_refused() {
        for bad in ["http://pve1:8006/", "pve1:8006", "pve1", "https://", "https://root:x@pve1:8006/", ""] {
            let error = ApiEndpoint::find(Some(bad), &BTreeMap::new()).unwrap_err();
            assert_eq!((error.code, error.kind.exit_code()), ("proxmox-endpoint", 2), "{bad}");
        }
    }

    #[test]
    fn names_in_api_path_and_query_are_escaped() {
        let endpoint = ApiEndpoint::parse("https://[::1]:8006/x/").unwrap();
        let url = endpoint.method(&["nodes", "pve/1", "storage"], &[("path", "/vms/1 2")]);
        assert_eq!(url.as_str(), "https://[::1]:8006/api2/json/nodes/pve%2F1/storage?path=%2Fvms%2F1+2");
        assert_eq!((endpoint.address().as_str(), endpoint.has_port()), ("[::1]:8006", true));
        assert_eq!(ApiEndpoint::parse("https://pve1/").unwrap().address(), "pve1:443");
    }
}
