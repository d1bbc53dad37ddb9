//! Questions to the API, over HTTPS whose certificate is verified. There is no way to turn that off.

use std::{collections::BTreeMap, fs, io, path::Path};

use reqwest::{
    Certificate, Client, Method, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    redirect,
};
use serde_json::Value;

use super::{
    Token,
    server::{ANSWERED_WITHIN, ApiEndpoint, CONNECTED_WITHIN, Server},
    trouble::Trouble,
};
use crate::error::{Error, Result};

/// The API of one Proxmox, with what opens it.
#[derive(Clone, Debug)]
pub struct Api {
    pub(super) server: Server,
    client: Client,
    authorization: HeaderValue,
}

impl Api {
    /// The API at the cluster file's endpoint, or the environment's, with the environment's token.
    ///
    /// # Errors
    /// Those of [`ApiEndpoint::find`], [`Token::from_env`] and [`Api::new`].
    pub fn find(endpoint: Option<&str>, ca_cert: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Self> {
        Self::new(ApiEndpoint::find(endpoint, env)?, Token::from_env(env)?, ca_cert)
    }

    /// Asks nothing yet.
    ///
    /// # Errors
    /// When `ca_cert` cannot be read, or holds no certificate that could sign another.
    pub fn new(endpoint: ApiEndpoint, token: Token, ca_cert: Option<&Path>) -> Result<Self> {
        // Another caller may have set one already: both are the same.
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
                    .hint("Run `apt-get install ca-certificates`, or set `ca_cert` under `platform.proxmox`"),
            })?;
        let mut authorization = HeaderValue::from_str(token.header().expose()).map_err(|_| {
            Error::missing("proxmox-token-malformed", "use the API token", &token)
                .cause("it has a character that HTTP headers do not allow")
        })?;
        authorization.set_sensitive(true);
        let server = Server { endpoint, token, ca_cert: ca_cert.map(Path::to_owned) };
        Ok(Self { server, client, authorization })
    }

    /// The `data` of one answer.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Trouble> {
        data(self.ask(Method::GET, path, query).await?)
    }

    /// The `data` of the answer to a request that changes something.
    pub(super) async fn post(&self, path: &[&str]) -> Result<Value, Trouble> {
        data(self.ask(Method::POST, path, &[]).await?)
    }

    /// Changes settings of a guest that Proxmox applies at once.
    pub(super) async fn set(&self, path: &[&str], values: &[(&str, &str)]) -> Result<(), Trouble> {
        // The query of an address has the form of such a body.
        let form = self.server.endpoint.method(path, values).query().unwrap_or_default().to_owned();
        let url = self.server.endpoint.method(path, &[]);
        let request = self.client.put(url).header(AUTHORIZATION, self.authorization.clone());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        data(Answer::read(request.send().await).await?).map(drop)
    }

    /// Whether no machine has this number. Proxmox says it to every token, also of machines that the token may not see.
    pub(super) async fn is_free(&self, vmid: u32) -> Result<bool, Trouble> {
        let (path, id) = (["cluster", "nextid"], vmid.to_string());
        let query = [("vmid", id.as_str())];
        match self.ask(Method::GET, &path, &query).await? {
            // A wrong parameter: that the number is taken is the only thing that can be wrong about it.
            Answer { status: StatusCode::BAD_REQUEST, json: Some(_), .. } => Ok(false),
            answer => data(answer).map(|_| true),
        }
    }

    async fn ask(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Trouble> {
        let url = self.server.endpoint.method(path, query);
        Answer::read(self.client.request(method, url).header(AUTHORIZATION, self.authorization.clone()).send().await)
            .await
    }
}

/// An answer as it came.
struct Answer {
    status: StatusCode,
    reason: String,
    /// None where the body is something else.
    json: Option<Value>,
}

impl Answer {
    async fn read(response: reqwest::Result<Response>) -> Result<Self, Trouble> {
        let response = response.map_err(|error| Trouble::of(&error))?;
        let (status, reason) = (response.status(), reason(&response));
        let body = response.bytes().await.map_err(|error| Trouble::of(&error))?;
        // Refusals of Proxmox have no body, or one of JSON; its words are in the status line.
        let json = if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&body).ok() };
        Ok(Self { status, reason, json })
    }
}

/// The `data` of an answer.
fn data(answer: Answer) -> Result<Value, Trouble> {
    let Answer { status, reason, json } = answer;
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

/// The words of the status line: that is where Proxmox says what is wrong.
fn reason(response: &Response) -> String {
    let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let phrase = phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).trim().to_owned());
    phrase.or_else(|| response.status().canonical_reason().map(str::to_owned)).unwrap_or_default()
}

/// The same with the errors in the body: which parameter, and why.
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
        return Err(bad_authority(path).cause("the file has no PEM certificate"));
    }
    Ok(found)
}

fn bad_authority(path: &Path) -> Error {
    Error::usage("proxmox-ca-cert", "use ca_cert", path.display())
        .hint("Copy /etc/pve/pve-root-ca.pem from a hypervisor, and set `ca_cert` to the path of the copy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_ca_file_is_refused_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([(
            crate::platform::proxmox::TOKEN_VARIABLE.to_owned(),
            "a@pve!b=4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11".to_owned(),
        )]);
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let path = dir.path().join("ca.pem");
            fs::write(&path, text).unwrap();
            let endpoint = ApiEndpoint::parse("https://pve1:8006/").unwrap();
            let error = Api::new(endpoint, Token::from_env(&env).unwrap(), Some(&path)).unwrap_err();
            assert_eq!(error.code, "proxmox-ca-cert", "{text}");
            assert!(error.to_string().contains("ca.pem") && error.hint.is_some(), "{error}");
        }
    }
}
