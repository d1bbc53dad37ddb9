//! Asking a service: what came of it, and one HTTP request through a tunnel.

use std::{fmt, io, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Bytes, header::AUTHORIZATION};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    access::{Access, Login, PATIENCE},
    fleet::{Fleet, FleetNode},
    model::Endpoint,
    ssh::{Remote, SshFailure},
};

/// What was asked and what was seen: an answer, or why there is none.
pub type Observed<T> = Result<T, ProbeError>;

/// Why a probe has no answer, each with the words of what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// A certificate was not accepted, or TLS failed otherwise.
    Tls(String),
    /// The name or the password was not accepted.
    Login(String),
    /// Nothing listens there.
    Refused(String),
    /// The machine's SSH server does not forward connections there.
    Forwarding(String),
    /// No answer came in time.
    Timeout(String),
    /// Anything else, such as an answer that makes no sense.
    Other(String),
}

impl ProbeError {
    /// Any error that is not about certificates or logins.
    pub(super) fn other(error: impl fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Tls(words)
        | Self::Login(words)
        | Self::Refused(words)
        | Self::Forwarding(words)
        | Self::Timeout(words)
        | Self::Other(words)) = self;
        f.write_str(words)
    }
}

impl From<ProbeError> for String {
    fn from(error: ProbeError) -> Self {
        error.to_string()
    }
}

/// The SSH session to `node`.
pub(crate) async fn reach(access: &Access, node: &FleetNode) -> Observed<Remote> {
    access.connect(node).await.map_err(|error| ProbeError::Other(error.causes.join("; ")))
}

/// A machine that SSH has let in, on which components are asked.
#[derive(Clone, Copy)]
pub(crate) struct Reached<'a> {
    pub(crate) remote: &'a Remote,
    pub(crate) access: &'a Access,
    pub(crate) fleet: &'a Fleet,
    pub(crate) node: &'a FleetNode,
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

    fn request(self, endpoint: &Endpoint) -> hyper::http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header("host", endpoint.to_string())
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

/// A byte stream to `endpoint` through the node's own SSH session.
pub(super) async fn tunnel(remote: &Remote, endpoint: &Endpoint) -> Observed<UnixStream> {
    remote.tunnel(&endpoint.host, endpoint.port, PATIENCE).await.map_err(|error| {
        let words = error.causes().join(": ");
        match error.failure {
            SshFailure::ChannelRefused => ProbeError::Refused(words),
            SshFailure::TunnelProhibited => ProbeError::Forwarding(words),
            SshFailure::TimedOut => ProbeError::Timeout(words),
            _ => ProbeError::Other(words),
        }
    })
}

/// Asks what is behind `endpoint` through the node's own SSH session.
pub(super) async fn http(
    remote: &Remote,
    tls: &Arc<ClientConfig>,
    endpoint: &Endpoint,
    question: Question<'_>,
) -> Observed<Answer> {
    let ask = async {
        let stream = tunnel(remote, endpoint).await?;
        if !endpoint.tls {
            return exchange(stream, endpoint, question).await;
        }
        exchange(secured(stream, tls, endpoint).await?, endpoint, question).await
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(answer) => answer,
        Err(_) => Err(ProbeError::Timeout(format!("{endpoint} did not answer within {} s", PATIENCE.as_secs()))),
    }
}

/// TLS over `stream`. A connection that ends during the handshake says nothing about certificates.
async fn secured<S>(stream: S, tls: &Arc<ClientConfig>, endpoint: &Endpoint) -> Observed<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(endpoint.host.clone()).map_err(ProbeError::other)?;
    TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(|error| match is_of_tls(&error) {
        true => ProbeError::Tls(format!("TLS on {endpoint} failed: {error}")),
        false => ProbeError::Other(format!("the connection to {endpoint} ended during the TLS handshake: {error}")),
    })
}

/// Whether TLS failed: a connection passes on the error of rustls as an error of input and output.
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>())
}

async fn exchange<S>(stream: S, endpoint: &Endpoint, question: Question<'_>) -> Observed<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(ProbeError::other)?;
    let driver = tokio::spawn(connection);
    let request = question.request(endpoint).map_err(ProbeError::other)?;
    let answer =
        sender.send_request(request).await.map_err(|error| ProbeError::Other(format!("{endpoint}: {error}")))?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(ProbeError::other)?.to_bytes().to_vec();
    driver.abort();
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What a probe sees of a server that answers the handshake with `answer`, or ends the connection without one.
    async fn seen(answer: &[u8]) -> ProbeError {
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(answer).await.unwrap();
        let _open = (!answer.is_empty()).then_some(far);
        let endpoint = Endpoint { host: "10.0.0.1".to_owned(), port: 2379, tls: true };
        secured(near, &Arc::new(tls), &endpoint).await.err().unwrap()
    }

    #[tokio::test]
    async fn connection_that_ends_during_the_handshake_is_not_a_tls_error() {
        let error = seen(b"").await;
        assert!(
            matches!(&error, ProbeError::Other(said) if said.contains("ended during the TLS handshake")),
            "{error:?}"
        );
        let error = seen(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
        assert!(matches!(&error, ProbeError::Tls(said) if said.contains("failed")), "{error:?}");
    }
}
