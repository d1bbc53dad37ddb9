//! The provider in hactl's own process: hactl gives Terraform the socket.
//!
//! In come the engine and the run's context, out goes the value of `TF_REATTACH_PROVIDERS`. This needs no installation,
//! lock entry or encryption: the socket is in a directory that only this user may enter, and the steps of a booting
//! node go directly to the run's event channel.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;
use tokio::{net::UnixListener, task::JoinHandle};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport;

use super::{ADDRESS, grpc, protocol::Answers, resource::Platform, resources, service::Provider};
use crate::{
    context::Context,
    env,
    error::{Error, Result},
    model,
    platform::local::Engine,
};

/// The longest path of a unix socket's address, without the byte that ends it.
const LONGEST_SOCKET_PATH: usize = 107;

/// The provider, served for the time of one Terraform run, and the variable by which it is found.
///
/// # Errors
/// When the container engine of local nodes does not answer, or the socket cannot be made.
pub async fn serve(context: &Context, platform: &model::Platform) -> Result<(Server, String)> {
    let engine = match platform.local() {
        Some(_) => Some(Engine::connect(&context.env).await?),
        None => None,
    };
    let server = Server::start(engine, context, &std::env::temp_dir())?;
    let reattach = server.reattach_env(context.env.get(env::TF_REATTACH_PROVIDERS).map(String::as_str))?;
    Ok((server, reattach))
}

/// A provider, served until dropped.
#[derive(Debug)]
pub struct Server {
    /// The provider's address in configurations.
    address: &'static str,
    dir: TempDir,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves hactl's own provider on a socket in a new directory below `parent`, which should be
    /// short: the system's directory for temporary files. The end of `context`'s run ends what
    /// resources are doing.
    ///
    /// # Errors
    /// When the directory or the socket cannot be made.
    pub fn start(engine: Option<Engine>, context: &Context, parent: &Path) -> Result<Self> {
        let platform = match engine {
            Some(engine) => Platform::connected(engine, context.env.clone()),
            // The first resource that needs an engine connects to it; DNS records need none.
            None => Platform::from_env(context.env.clone()),
        };
        let provider = Provider::new(resources(), platform, context.events.clone(), context.stop.clone());
        Self::serve(ADDRESS, Arc::new(provider), parent)
    }

    /// Serves a provider with this address in configurations.
    ///
    /// # Errors
    /// When the directory or the socket cannot be made.
    pub fn serve(address: &'static str, provider: Arc<dyn Answers>, parent: &Path) -> Result<Self> {
        let failed = |error: &std::io::Error| {
            Error::failed("provider-socket", "create a socket for the Terraform provider in", parent.display())
                .source(error)
                .hint("Set TMPDIR to a writable directory")
        };
        let dir = tempfile::Builder::new()
            .prefix("hactl-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(|error| failed(&error))?;
        let socket = socket(dir.path());
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(Error::failed("provider-socket", "use the socket path", socket.display())
                .cause(format!("the path of a socket may have at most {LONGEST_SOCKET_PATH} bytes"))
                .hint("Set TMPDIR to a shorter path, for example /tmp"));
        }
        let listener = UnixListener::bind(&socket).map_err(|error| failed(&error))?;
        // Only plugins with their own process use Shutdown; this one ends with the run.
        let routes = grpc::routes(provider, CancellationToken::new());
        let task = tokio::spawn(async move {
            let incoming = UnixListenerStream::new(listener);
            // A broken connection ends by itself; the listener fails only with the process.
            let _ = transport::Server::builder().serve_with_incoming(routes, incoming).await;
        });
        Ok(Self { address, dir, task })
    }

    /// The value of `TF_REATTACH_PROVIDERS`: this provider, and those that the user has there.
    ///
    /// # Errors
    /// When the user's value is not a JSON object.
    pub fn reattach_env(&self, existing: Option<&str>) -> Result<String> {
        reattach(self.address, existing, &socket(self.dir.path()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn socket(dir: &Path) -> std::path::PathBuf {
    dir.join("provider")
}

fn reattach(address: &str, existing: Option<&str>, socket: &Path) -> Result<String> {
    let mut providers: Map<String, Json> = match existing.filter(|text| !text.trim().is_empty()) {
        None => Map::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Error::usage("tf-reattach", "read the environment variable", env::TF_REATTACH_PROVIDERS)
                .source(&error)
                .hint("Unset TF_REATTACH_PROVIDERS, or set it to the JSON object that the other provider printed")
        })?,
    };
    providers.insert(
        address.to_owned(),
        json!({
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": std::process::id(),
            // Keeps Terraform from killing that process, which is this one.
            "Test": true,
            "Addr": {"Network": "unix", "String": socket},
        }),
    );
    Ok(Json::Object(providers).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reattach_variable_keeps_the_providers_of_the_user() {
        let text = reattach(ADDRESS, Some(r#"{"example.com/a/b":{"Pid":1}}"#), Path::new("/tmp/s")).unwrap();
        let value: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(value["example.com/a/b"]["Pid"], 1);
        assert_eq!(value[ADDRESS]["Addr"]["String"], "/tmp/s");
        assert_eq!(value[ADDRESS]["Test"], true);
        assert_eq!(reattach(ADDRESS, Some("x"), Path::new("/tmp/s")).unwrap_err().code, "tf-reattach");
        assert!(reattach(ADDRESS, Some(""), Path::new("/tmp/s")).is_ok());
    }
}
