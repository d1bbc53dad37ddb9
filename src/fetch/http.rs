//! Files of an HTTP server, into files of this machine.

use std::{fs, io::Write, time::Duration};

use futures_util::StreamExt;
use reqwest::Client;
use tempfile::NamedTempFile;

use crate::{
    context::Context,
    error::{Error, Result, codes},
};

/// A server that does not take the connection by then will not do so later.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

/// How long a server may send nothing in the middle of a file.
const SILENCE: Duration = Duration::from_secs(20);

/// How long a small text may take in all.
const TEXT_WITHIN: Duration = Duration::from_secs(5);

/// The file at `url`.
pub(super) async fn download(context: &Context, url: &str) -> Result<NamedTempFile> {
    tokio::select! {
        file = receive(url) => file,
        () = context.stop.cancelled() => Err(Error::interrupted("download", url)),
    }
}

/// The text at `url`.
pub(super) async fn text(context: &Context, url: &str) -> Result<String> {
    let file = tokio::time::timeout(TEXT_WITHIN, download(context, url))
        .await
        .map_err(|_| failed(url).cause(format!("the download took longer than {} s", TEXT_WITHIN.as_secs())))??;
    fs::read_to_string(file.path()).map_err(|error| failed(url).source(&error))
}

async fn receive(url: &str) -> Result<NamedTempFile> {
    let broken = |error: reqwest::Error| failed(url).source(&error.without_url());
    // Another caller may have set one already: both are the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().connect_timeout(CONNECTED_WITHIN).read_timeout(SILENCE).build().map_err(broken)?;
    let response = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let mut stream = response.map_err(broken)?.bytes_stream();
    let mut file = NamedTempFile::new().map_err(|error| failed(url).source(&error))?;
    while let Some(chunk) = stream.next().await {
        file.write_all(&chunk.map_err(broken)?).map_err(|error| failed(url).source(&error))?;
    }
    Ok(file)
}

fn failed(url: &str) -> Error {
    Error::failed(codes::FETCH, "download", url)
        .hint("Check the network and its proxy settings, then run the same command again")
}
