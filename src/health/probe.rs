//! One HTTPS request through a tunnel, and the TLS settings for it.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Bytes, header::AUTHORIZATION};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio_rustls::TlsConnector;

use super::postgres::Login;
use crate::{
    error::{Error, Result},
    model::Secret,
    remote::Remote,
};

/// The longest time that one probe may take; three of them fit into the 10 s that `status` has.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// TLS settings that trust one CA and, with an identity (certificate and key in PEM), show a client certificate.
///
/// # Errors
/// When a PEM text is broken.
pub fn client_config(ca: &str, identity: Option<(&str, &Secret<String>)>) -> Result<Arc<ClientConfig>> {
    let bad = |what: &str, error: &dyn std::fmt::Display| {
        Error::failed("certificate", "read", what).cause(error).hint("is NAME.secrets.age the one of this cluster?")
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|error| bad("a CA's certificate", &error))?;
        roots.add(certificate).map_err(|error| bad("a CA's certificate", &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("the TLS versions", &error))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| bad("the controller's certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|error| bad("the controller's private key", &error))?;
    let config =
        builder.with_client_auth_cert(chain, key).map_err(|error| bad("the controller's certificate", &error))?;
    Ok(Arc::new(config))
}

/// What is asked: method, path and body, and who asks, where that matters.
pub(super) struct Question<'a> {
    method: Method,
    path: &'a str,
    body: String,
    login: Option<&'a Login>,
}

impl<'a> Question<'a> {
    pub(super) const fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: String::new(), login: None }
    }

    pub(super) fn post(path: &'a str, body: impl Into<String>) -> Self {
        Self { method: Method::POST, path, body: body.into(), login: None }
    }

    pub(super) fn by(self, login: &'a Login) -> Self {
        Self { login: Some(login), ..self }
    }

    fn request(self, host: &str, port: u16) -> hyper::http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header("host", format!("{host}:{port}"))
            .header("content-type", "application/json");
        if let Some((user, password)) = self.login {
            let login = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
            request = request.header(AUTHORIZATION, format!("Basic {login}"));
        }
        request.body(Full::new(Bytes::from(self.body)))
    }
}

/// An answer: status and body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Asks `https://host:port` through the node's own SSH session. The text of an error says what was seen.
pub(super) async fn https(
    remote: &Remote,
    tls: &Arc<ClientConfig>,
    host: &str,
    port: u16,
    question: Question<'_>,
) -> std::result::Result<Answer, String> {
    let ask = async {
        let stream = remote.tunnel(host, port, PATIENCE).await.map_err(|error| error.causes.join(": "))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| format!("TLS on {host}:{port}: {error}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let driver = tokio::spawn(connection);
        let request = question.request(host, port).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| format!("{host}:{port}: {error}"))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes().to_vec();
        driver.abort();
        Ok(Answer { status, body })
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{host}:{port} did not answer within {} s", PATIENCE.as_secs())),
    }
}
