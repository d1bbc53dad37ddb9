use clap::Args;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{Session, arguments::ClusterArg};
use crate::{
    error::{Error, Result},
    operation::{self, ImportSelection},
};

#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// An instance's key and the machine's ID on its hypervisor: node1=100 or node1=pve1/100
    #[arg(value_name = "KEY=ID", group = "what")]
    pub(crate) ids: Vec<String>,
    /// Read the machines of an old Terraform configuration from this file: a state, or the JSON of `terraform show
    /// -json` or `terraform output -json`; `-` for standard input
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) from: Vec<std::path::PathBuf>,
    /// Also import the pool of the cluster file, which exists already
    #[arg(long, group = "what")]
    pub(crate) pool: bool,
    /// Also import the machines' DNS records, which exist already
    #[arg(long)]
    pub(crate) records: bool,
}

pub(crate) async fn run(session: &Session, args: ImportArgs) -> Result<u8> {
    let ImportArgs { name, ids, from, pool, records } = args;
    let old = from.iter().map(|path| read(&session.dirs.work, path)).collect::<Result<Vec<_>>>()?;
    let selection = ImportSelection { ids, old, pool, records };
    session
        .act(&operation::IMPORT, &name.name, async |run, deployment| {
            operation::import(run, deployment, &selection).await
        })
        .await
}

/// A file's name and text; `-` is standard input.
fn read(work: &Path, path: &PathBuf) -> Result<(String, String)> {
    let (name, bytes) = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        ("standard input".to_owned(), io::stdin().read_to_end(&mut bytes).map(|_| bytes))
    } else {
        (path.display().to_string(), fs::read(work.join(path)))
    };
    let text = bytes.and_then(|bytes| {
        decoded(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is neither UTF-8 nor UTF-16 text"))
    });
    let text = text.map_err(|error| {
        Error::usage("import-from", "read", &name)
            .source(&error)
            .hint("Give the JSON of `terraform show -json` or `terraform output -json`, or a state file")
    })?;
    Ok((name, text))
}

/// The text of a file in UTF-8 or, as PowerShell's `>` writes it, in UTF-16; without its byte order mark.
fn decoded(bytes: &[u8]) -> Option<String> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => str::from_utf8(rest).ok().map(str::to_owned),
        _ => str::from_utf8(bytes).ok().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_powershell_is_read_in_each_of_its_encodings() {
        let text = "{\"é\": \"𝄞\"}";
        let wide =
            |unit: fn(u16) -> [u8; 2]| ["\u{feff}", text].concat().encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        let files =
            [text.into(), ["\u{feff}", text].concat().into_bytes(), wide(u16::to_le_bytes), wide(u16::to_be_bytes)];
        for bytes in files {
            assert_eq!(decoded(&bytes).as_deref(), Some(text), "{bytes:?}");
        }
        for bytes in [&b"\xff"[..], b"\xff\xfe{", b"\xff\xfe\x00\xd8"] {
            assert_eq!(decoded(bytes), None, "{bytes:?}");
        }
    }
}
