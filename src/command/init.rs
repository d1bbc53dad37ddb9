use clap::Args;

use std::{fs::OpenOptions, io::Write};

use super::Session;
use crate::{
    error::{Error, Result},
    model::ClusterName,
    report, spec,
};

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The cluster's name; the file becomes NAME.yaml
    pub(crate) name: String,
    /// Write a file for an existing Patroni cluster, which hactl observes and drills but never changes
    #[arg(long, conflicts_with = "platform")]
    pub(crate) adopted: bool,
    /// Where the machines of the new cluster come from
    #[arg(long, value_enum, default_value_t)]
    pub(crate) platform: spec::Template,
}

pub(crate) fn run(session: &Session, args: &InitArgs) -> Result<u8> {
    let name = ClusterName::new(args.name.as_str())
        .map_err(|error| Error::usage("cluster-name", "write a cluster file for", &args.name).cause(error))
        .map_err(|error| error.hint("Choose another name; for example, `hactl init pg-dev` writes pg-dev.yaml"))?;
    let template = if args.adopted { spec::Template::Adopted } else { args.platform };
    let text = spec::init_text(&name, template);
    let path = session.dirs.work.join(format!("{name}.yaml"));
    let failed = |error: std::io::Error| Error::failed("init", "write", path.display()).source(&error);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| {
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = failed(error);
        error.hint(if exists {
            "Choose another name, or move the file away: `hactl init` does not overwrite it"
        } else {
            "Run the command in a directory that you can write to"
        })
    })?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // A truncated cluster file could pass for a whole one.
        let _ = std::fs::remove_file(&path);
        return Err(failed(error).hint("Check that the disk has free space"));
    }
    report::print(&format!("wrote {name}.yaml\n\nNext:\n  {}", template.next(&name)));
    Ok(0)
}
