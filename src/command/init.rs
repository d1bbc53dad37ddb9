use clap::{Args, ValueEnum};

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
    pub(crate) platform: InitPlatform,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum InitPlatform {
    /// Containers on this machine
    #[default]
    Local,
    /// Machines of Proxmox VE
    Proxmox,
    /// Machines that exist
    Hosts,
    /// Machines of a Terraform root module of your own
    Terraform,
}

pub(crate) fn run(session: &Session, args: &InitArgs) -> Result<u8> {
    let name = ClusterName::new(args.name.as_str())
        .map_err(|error| Error::usage("cluster-name", "write a cluster file for", &args.name).cause(error))
        .map_err(|error| error.hint("`hactl init pg-dev` writes pg-dev.yaml"))?;
    let template = match (args.adopted, args.platform) {
        (true, _) => spec::Template::Adopted,
        (false, InitPlatform::Proxmox) => spec::Template::Proxmox,
        (false, InitPlatform::Hosts) => spec::Template::Hosts,
        (false, InitPlatform::Terraform) => spec::Template::Terraform,
        (false, InitPlatform::Local) => spec::Template::Local,
    };
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
    let next = match template {
        spec::Template::Adopted => {
            format!("put your machines' addresses into it, then\n  hactl status {name}\n  hactl verify {name}")
        }
        spec::Template::Proxmox => format!(
            "put your hypervisors, addresses and template into it, export PROXMOX_VE_API_TOKEN, then\n  hactl plan {name}\n  \
             hactl up {name}"
        ),
        spec::Template::Hosts => {
            format!("put your machines' addresses into it, then\n  hactl plan {name}\n  hactl up {name}")
        }
        spec::Template::Terraform => {
            format!(
                "put your module's directory and its machines into it, then\n  hactl plan {name}\n  hactl up {name}"
            )
        }
        spec::Template::Local => format!("hactl plan {name}\n  hactl up {name}"),
    };
    report::print(&format!("wrote {name}.yaml\n\nNext:\n  {next}"));
    Ok(0)
}
