//! The credentials of a cluster: keys and logins, the SSH sessions that use them, and TLS settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use tokio_postgres::config::SslMode;

use crate::{
    error::{Error, Result},
    fleet::FleetNode,
    model::{InstanceKey, Secret},
    ssh::{Remote, SshKeys},
};

/// The longest time that one probe may take; three of them fit into the 10 s that `status` has.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// A role's name and password.
pub type Login = (String, Secret);

/// Who logs in to which database.
#[derive(Clone)]
pub struct DatabaseLogin {
    pub database: String,
    pub user: String,
    pub password: Secret,
}

/// The credentials of a cluster.
#[derive(Clone)]
pub struct Keys {
    pub ssh: SshKeys,
    /// For Patroni's REST API, with a client certificate where there is one.
    pub patroni_tls: Arc<ClientConfig>,
    pub etcd_tls: Arc<ClientConfig>,
    /// For PostgreSQL through a node's SSH session, and for clients that connect directly.
    pub postgres_tls: Arc<ClientConfig>,
    pub clients_tls: Arc<ClientConfig>,
    /// Whether PostgreSQL is asked by TLS only, or also where it serves none.
    pub postgres_ssl: SslMode,
    pub superuser: Login,
    /// The login for changes by Patroni's REST API.
    pub restapi: Option<Login>,
}

/// One attempt to connect to a machine.
type Attempt = BoxFuture<'static, Result<Remote>>;

/// What there is of a machine's SSH session.
#[derive(Default)]
struct Session {
    /// The last one that was made.
    kept: Option<Remote>,
    /// The attempt that callers wait for now. It ends when the last of them stops waiting.
    attempt: Option<WeakShared<Attempt>>,
}

/// Keys, and the SSH sessions that they have opened: those are kept, so that asking again is cheap.
pub struct Access {
    pub keys: Keys,
    sessions: Mutex<BTreeMap<InstanceKey, Session>>,
}

impl Access {
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self { keys, sessions: Mutex::default() }
    }

    /// The same keys with sessions of their own: one caller does not wait for another's probes.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::new(self.keys.clone())
    }

    /// The same with other keys, and the sessions that are open.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    /// The session to `node`, made when there is none or when the kept one is broken. Callers that ask at the same time share
    /// one attempt and its result; a call after a failed attempt makes a new one.
    ///
    /// # Errors
    /// Those of [`Remote::connect`].
    pub async fn connect(&self, node: &FleetNode) -> Result<Remote> {
        let result = self.attempt(node).await;
        if let Ok(remote) = &result {
            self.sessions().entry(node.key().clone()).or_default().kept = Some(remote.clone());
        }
        result
    }

    /// The attempt that runs, or a new one.
    fn attempt(&self, node: &FleetNode) -> Shared<Attempt> {
        let mut sessions = self.sessions();
        let session = sessions.entry(node.key().clone()).or_default();
        let running = session.attempt.as_ref().and_then(WeakShared::upgrade);
        if let Some(running) = running.filter(|attempt| attempt.peek().is_none()) {
            return running;
        }
        let (kept, key, target, keys) =
            (session.kept.clone(), node.key().clone(), node.ssh.clone(), self.keys.ssh.clone());
        let connected = async move {
            match kept {
                Some(remote) if remote.is_alive(PATIENCE).await => Ok(remote),
                _ => Ok(Remote::connect(key, &target, &keys, PATIENCE).await?),
            }
        };
        let attempt = connected.boxed().shared();
        session.attempt = attempt.downgrade();
        attempt
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<InstanceKey, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TLS settings that trust one CA and, with an identity (certificate and key in PEM), show a client certificate.
///
/// # Errors
/// When a PEM text is broken.
pub fn client_config(ca: &str, identity: Option<(&str, &Secret<String>)>) -> Result<Arc<ClientConfig>> {
    let bad = |what: &str, error: &dyn std::fmt::Display| {
        Error::failed("certificate", "read", what)
            .cause(error)
            .hint("Check that NAME.secrets.age belongs to this cluster")
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|error| bad("a CA's certificate", &error))?;
        roots.add(certificate).map_err(|error| bad("a CA's certificate", &error))?;
    }
    let builder = builder().map_err(|error| bad("the TLS versions", &error))?.with_root_certificates(roots);
    with_identity(builder, identity).map_err(|error| bad("the controller's certificate or key", &error))
}

fn builder() -> std::result::Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// Certificate and key in PEM, if there are any.
fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<(&str, &Secret<String>)>,
) -> std::result::Result<Arc<ClientConfig>, String> {
    let Some((certificate, key)) = identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate: {error}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|error| format!("the private key: {error}"))?;
    builder.with_client_auth_cert(chain, key).map(Arc::new).map_err(|error| error.to_string())
}

/// The certificates that an adopted cluster's nodes have shown through their own SSH sessions. SSH has
/// authenticated the nodes, so hactl trusts these certificates, whatever names and signers they have.
#[derive(Debug)]
pub struct Shown {
    seen: Mutex<BTreeSet<Vec<u8>>>,
    provider: CryptoProvider,
}

impl Default for Shown {
    fn default() -> Self {
        Self { seen: Mutex::default(), provider: rustls::crypto::ring::default_provider() }
    }
}

impl Shown {
    /// TLS settings for what is reached through a node's own SSH session: the certificate is remembered. A client
    /// certificate is shown where there is one.
    ///
    /// # Errors
    /// When a PEM text is broken.
    pub fn remember(self: &Arc<Self>, identity: Option<(&str, &Secret<String>)>) -> Result<Arc<ClientConfig>> {
        self.config(true, identity)
    }

    /// TLS settings that trust exactly what was remembered.
    ///
    /// # Errors
    /// When TLS itself cannot be set up.
    pub fn only_these(self: &Arc<Self>) -> Result<Arc<ClientConfig>> {
        self.config(false, None)
    }

    fn config(
        self: &Arc<Self>,
        remembers: bool,
        identity: Option<(&str, &Secret<String>)>,
    ) -> Result<Arc<ClientConfig>> {
        let failed = |error: String| {
            Error::failed("certificate", "read", "the client certificate that Patroni's configuration names")
                .cause(error)
        };
        let verifier = Arc::new(Verifier { shown: Arc::clone(self), remembers });
        let builder = builder().map_err(|error| failed(error.to_string()))?;
        with_identity(builder.dangerous().with_custom_certificate_verifier(verifier), identity).map_err(failed)
    }
}

/// Compares certificates instead of asking an authority, and still checks that the server has the key.
#[derive(Debug)]
struct Verifier {
    shown: Arc<Shown>,
    remembers: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let mut seen = self.shown.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.remembers {
            seen.insert(certificate.to_vec());
        }
        match seen.contains(certificate.as_ref()) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General(
                "the certificate is not the one that the machine showed through its own SSH session".to_owned(),
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.shown.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.shown.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.shown.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::TlsConnector;

    use super::*;

    type Server = (Arc<rustls::ServerConfig>, CertificateDer<'static>);

    fn server() -> Server {
        let made = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
        (Arc::new(config), certificate)
    }

    async fn handshake(server: &Server, client: Arc<ClientConfig>) -> std::io::Result<()> {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let accept = tokio_rustls::TlsAcceptor::from(Arc::clone(&server.0)).accept(far);
        let name = ServerName::try_from("10.0.0.1").unwrap();
        let connected = TlsConnector::from(client).connect(name, near);
        tokio::join!(accept, connected).1.map(drop)
    }

    #[tokio::test]
    async fn certificate_not_read_over_ssh_is_rejected() {
        let shown = Arc::new(Shown::default());
        let (own, other) = (server(), server());
        let strict = || shown.only_these().unwrap();
        assert!(handshake(&own, strict()).await.is_err());
        handshake(&own, shown.remember(None).unwrap()).await.unwrap();
        handshake(&own, strict()).await.unwrap();
        let error = handshake(&other, strict()).await.unwrap_err().to_string();
        assert!(error.contains("not the one that the machine showed"), "{error}");
    }
}
