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
    /// The cluster's name; the file is NAME.yaml
    pub(crate) name: String,
    /// A file for a Patroni cluster that runs already, to be looked at and drilled
    #[arg(long, conflicts_with = "platform")]
    pub(crate) adopted: bool,
    /// Where the machines of the new cluster come from
    #[arg(long, value_enum, default_value_t)]
    pub(crate) platform: spec::Template,
}

pub(crate) fn run(session: &Session, args: &InitArgs) -> Result<u8> {
    let name = ClusterName::new(args.name.as_str())
        .map_err(|error| Error::usage("cluster-name", "write a cluster file for", &args.name).cause(error))
        .map_err(|error| error.hint("`hactl init pg-dev` writes pg-dev.yaml"))?;
    let template = if args.adopted { spec::Template::Adopted } else { args.platform };
    let text = spec::init_text(&name, template);
    let path = session.dirs.work.join(format!("{name}.yaml"));
    let failed = |error: std::io::Error| Error::failed("init", "write", path.display()).source(&error);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| {
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = failed(error);
        error.hint(if exists {
            "it is kept as it is; choose another name, or move it away"
        } else {
            "run the command in a directory that you can write to"
        })
    })?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half a cluster file would be worse than none.
        let _ = std::fs::remove_file(&path);
        return Err(failed(error).hint("is the disk full?"));
    }
    report::print(&format!("wrote {name}.yaml\n\nNext:\n  {}", template.next(&name)));
    Ok(0)
}
