use clap::Args;

use std::{
    fs, io,
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
    let (name, text) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), io::read_to_string(io::stdin()))
    } else {
        (path.display().to_string(), fs::read_to_string(work.join(path)))
    };
    let text = text.map_err(|error| {
        Error::usage("import-from", "read", &name)
            .source(&error)
            .hint("Give the JSON of `terraform show -json` or `terraform output -json`, or a state file")
    })?;
    Ok((name, text))
}
