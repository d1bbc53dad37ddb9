//! The provider as a plugin that Terraform starts by itself: `hactl terraform-provider`.
//!
//! In comes go-plugin's handshake in the environment, out goes one line on stdout with the socket and the certificate;
//! [`super::grpc`] does the rest. Terraform starts several of these processes per command, so each one reads and
//! connects only when a request needs it.

use std::{
    collections::BTreeMap, fs::Permissions, io::Write, os::unix::fs::PermissionsExt, path::Path, sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use nix::unistd::getppid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport};

use super::{grpc, resource::Platform, resources, service::Provider};
use crate::{
    env,
    error::{Error, Result},
    event::Events,
};

const COOKIE: &str = env::TF_PLUGIN_MAGIC_COOKIE;
const COOKIE_VALUE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";
const PROTOCOL: &str = "6";

/// The interval at which the plugin checks that Terraform still runs.
const PARENT_WATCH: Duration = Duration::from_millis(500);

/// How long a pending answer may take to reach Terraform after Terraform has asked the plugin to end; go-plugin kills
/// it after two seconds.
const LAST_ANSWER: Duration = Duration::from_millis(200);

/// Serves the provider to the Terraform that started this process, until that asks for the end or
/// goes away. `env` is the environment; children of this process are handed parts of it only by
/// [`crate::exec::Command`], so the cookie reaches none of them.
///
/// # Errors
/// When Terraform did not start this process, or the socket cannot be created.
pub async fn main(env: BTreeMap<String, String>) -> Result<()> {
    if env.get(COOKIE).map(String::as_str) != Some(COOKIE_VALUE) {
        return Err(Error::usage("not-a-plugin-host", "serve", "the Terraform provider")
            .cause("only Terraform starts this command")
            .hint("Run `hactl terraform install` once, then use Terraform as usual"));
    }
    let offered = env.get(env::PLUGIN_PROTOCOL_VERSIONS).map_or("", String::as_str);
    if !offered.split(',').any(|version| version.trim() == PROTOCOL) {
        return Err(Error::missing("plugin-protocol", "serve", "the Terraform provider")
            .cause(format!("this Terraform supports the plugin protocols {offered}; hactl needs protocol {PROTOCOL}"))
            .hint("Install Terraform 1.9 or newer"));
    }
    let failed = |error: &dyn std::error::Error| {
        Error::failed("provider-socket", "serve", "the Terraform provider").cause(error.to_string())
    };
    let parent = env.get(env::TMPDIR).filter(|dir| !dir.is_empty() && dir.len() < 60).map_or("/tmp", String::as_str);
    let dir = tempfile::Builder::new()
        .prefix("hactl-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(Path::new(parent))
        .map_err(|error| failed(&error))?;
    let socket = dir.path().join("plugin");
    let listener = UnixListener::bind(&socket).map_err(|error| failed(&error))?;
    let tls = if env.contains_key("PLUGIN_CLIENT_CERT") { Some(Tls::new()?) } else { None };
    // Ctrl-C reaches the whole process group; Terraform decides, and sends Stop.
    let _ignored = signal(SignalKind::interrupt()).map_err(|error| failed(&error))?;
    let certificate = tls.as_ref().map_or(String::new(), |tls| STANDARD_NO_PAD.encode(&tls.certificate));
    let mut stdout = std::io::stdout();
    writeln!(stdout, "1|{PROTOCOL}|unix|{}|grpc|{certificate}", socket.display()).map_err(|error| failed(&error))?;
    stdout.flush().map_err(|error| failed(&error))?;

    let run = CancellationToken::new();
    let shutdown = CancellationToken::new();
    // The events have no receiver: a plugin cannot show its progress to Terraform's user.
    let (events, _) = Events::channel();
    let provider = Provider::new(resources(), Platform::from_env(env), events, run.clone());
    let routes = grpc::routes(Arc::new(provider), shutdown.clone());
    tokio::select! {
        () = serve(listener, tls, routes) => {}
        () = shutdown.cancelled() => {}
        () = parent_gone() => {}
    }
    run.cancel();
    tokio::time::sleep(LAST_ANSWER).await;
    Ok(())
}

/// Returns when the parent is another process than before: Terraform was killed.
async fn parent_gone() {
    let parent = getppid();
    while getppid() == parent {
        tokio::time::sleep(PARENT_WATCH).await;
    }
}

async fn serve(listener: UnixListener, tls: Option<Tls>, routes: Routes) {
    let server = transport::Server::builder();
    // A broken connection ends by itself; an error of the listener cannot be reported, because Terraform has no
    // connection.
    let _ = match tls {
        None => server.serve_with_incoming(routes, UnixListenerStream::new(listener)).await,
        Some(tls) => server.serve_with_incoming(routes, tls.incoming(listener)).await,
    };
}

/// The plugin's own certificate, made for this one process.
///
/// The plugin does not ask for Terraform's client certificate: it uses P-521, which ring cannot check, and the mode of
/// the socket's directory keeps other users out. Terraform does check the plugin's certificate.
struct Tls {
    certificate: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

impl Tls {
    fn new() -> Result<Self> {
        let failed = |error: &dyn std::error::Error| {
            Error::failed("provider-tls", "create a certificate for", "the Terraform provider").cause(error.to_string())
        };
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| failed(&error))?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .map_err(|error| failed(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { certificate, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Connections after their handshake, each as the near end of a pipe to the decrypted stream.
    fn incoming(self, listener: UnixListener) -> ReceiverStream<std::io::Result<tokio::io::DuplexStream>> {
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, sender) = (self.acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let (near, mut far) = tokio::io::duplex(64 * 1024);
                    if sender.send(Ok(near)).await.is_ok() {
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
                    }
                });
            }
        });
        ReceiverStream::new(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plugin_without_the_terraform_cookie_fails_with_a_hint() {
        let error = main(BTreeMap::new()).await.unwrap_err();
        assert!(error.hint.unwrap().contains("hactl terraform install"));
    }

    #[tokio::test]
    async fn terraform_without_protocol_6_is_refused() {
        let env = BTreeMap::from([
            (COOKIE.to_owned(), COOKIE_VALUE.to_owned()),
            ("PLUGIN_PROTOCOL_VERSIONS".to_owned(), "4,5".to_owned()),
        ]);
        assert_eq!(main(env).await.unwrap_err().code, "plugin-protocol");
    }
}
