//! A container engine that answers as the real one did when the fixture was made, and changes nothing.

use std::{collections::BTreeMap, convert::Infallible, fs, path::Path, sync::Arc};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::UnixListener, runtime::Runtime};

pub(super) struct Engine {
    dir: tempfile::TempDir,
    runtime: Option<Runtime>,
}

impl Engine {
    /// Serves the answers of the file `recorded`, by their paths.
    pub(super) fn start(recorded: &Path) -> Self {
        let answers: BTreeMap<String, Value> = serde_json::from_slice(&fs::read(recorded).unwrap()).unwrap();
        let answers = Arc::new(answers);
        let dir = tempfile::Builder::new().prefix("hactl-engine-").tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let guard = runtime.enter();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        drop(guard);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let answer = answer(&answers, request.method(), request.uri().path());
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { dir, runtime: Some(runtime) }
    }

    /// The value of `DOCKER_HOST` that leads to it.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("socket").display())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn answer(answers: &BTreeMap<String, Value>, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let (status, body) = match (method, answers.get(path)) {
        (&Method::GET, Some(body)) => (StatusCode::OK, body.to_string()),
        (&Method::GET, None) if path == "/_ping" => (StatusCode::OK, "OK".to_owned()),
        (&Method::GET, None) => {
            (StatusCode::NOT_FOUND, json!({"message": format!("no such object: {path}")}).to_string())
        }
        _ => (
            StatusCode::FORBIDDEN,
            json!({"message": format!("{method} {path}: this engine changes nothing")}).to_string(),
        ),
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(body))).unwrap()
}
