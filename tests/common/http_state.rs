//! A server of Terraform's state by HTTP on loopback, as GitLab is one: the state at an address, its lock at `ADDRESS/lock`
//! by POST and DELETE, and a user with a password.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::AUTHORIZATION,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime};

pub(crate) const USER: &str = "gitlab-ci-token";
pub(crate) const PASSWORD: &str = "7d2ehttppassword";

/// One state of the server.
#[derive(Default)]
struct Kept {
    state: Option<Bytes>,
    lock: Option<Value>,
}

type States = Arc<Mutex<BTreeMap<String, Kept>>>;

pub(crate) struct HttpState {
    port: u16,
    states: States,
    runtime: Option<Runtime>,
}

impl HttpState {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let states = States::default();
        let served = Arc::clone(&states);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let states = Arc::clone(&served);
                tokio::spawn(async move {
                    let service = service_fn(move |request| serve(Arc::clone(&states), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, states, runtime: Some(runtime) }
    }

    /// The address of the state of a name.
    pub(crate) fn address(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}{}", self.port, path(name))
    }

    /// Has a state under a name that somebody wrote before.
    pub(crate) fn keep(&self, name: &str, state: Vec<u8>) {
        self.states.lock().unwrap().entry(path(name)).or_default().state = Some(state.into());
    }

    /// Locks the state of a name as a run does that then dies.
    pub(crate) fn lock(&self, name: &str, id: &str) {
        let mut states = self.states.lock().unwrap();
        states.entry(path(name)).or_default().lock = Some(serde_json::json!({"ID": id}));
    }

    pub(crate) fn is_locked(&self, name: &str) -> bool {
        self.states.lock().unwrap().get(&path(name)).is_some_and(|kept| kept.lock.is_some())
    }
}

fn path(name: &str) -> String {
    format!("/api/v4/projects/7/terraform/state/{name}")
}

impl Drop for HttpState {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(states: States, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let login = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let (status, body) = if parts.headers.get(AUTHORIZATION).is_none_or(|given| *given != *login) {
        (StatusCode::UNAUTHORIZED, Bytes::from("{\"message\":\"401 Unauthorized\"}"))
    } else {
        let path = parts.uri.path();
        let (address, of_lock) = path.strip_suffix("/lock").map_or((path, false), |address| (address, true));
        let mut states = states.lock().unwrap();
        let kept = states.entry(address.to_owned()).or_default();
        match of_lock {
            true => lock(kept, &parts.method, &body),
            false => state(kept, &parts.method, id_of(parts.uri.query()), body),
        }
    };
    Ok(Response::builder().status(status).body(Full::new(body)).unwrap())
}

/// The lock's id that comes with a state.
fn id_of(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("ID="))
}

fn state(kept: &mut Kept, method: &Method, id: Option<&str>, body: Bytes) -> (StatusCode, Bytes) {
    let holds = kept.lock.as_ref().is_none_or(|lock| lock["ID"].as_str() == id);
    match *method {
        Method::GET => {
            kept.state.clone().map_or((StatusCode::NO_CONTENT, Bytes::new()), |state| (StatusCode::OK, state))
        }
        // Nobody writes past a lock.
        _ if !holds => (StatusCode::CONFLICT, Bytes::new()),
        Method::POST => {
            kept.state = Some(body);
            (StatusCode::OK, Bytes::new())
        }
        Method::DELETE => {
            kept.state = None;
            (StatusCode::OK, Bytes::new())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
    }
}

fn lock(kept: &mut Kept, method: &Method, body: &Bytes) -> (StatusCode, Bytes) {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    match (&kept.lock, method) {
        (Some(held), &Method::POST) => (StatusCode::LOCKED, Bytes::from(held.to_string())),
        (None, &Method::POST) => {
            kept.lock = Some(asked);
            (StatusCode::OK, Bytes::new())
        }
        // As GitLab has it: with no id the lock is given back whoever holds it.
        (Some(held), &Method::DELETE) if asked["ID"].is_string() && asked["ID"] != held["ID"] => {
            (StatusCode::CONFLICT, Bytes::from(held.to_string()))
        }
        (_, &Method::DELETE) => {
            kept.lock = None;
            (StatusCode::OK, Bytes::new())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
    }
}
