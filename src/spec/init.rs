//! The text that `hactl init NAME` writes: a commented cluster file that works as it is.

use clap::ValueEnum;

use crate::model::ClusterName;

/// What a new cluster file is for; the platforms are the values of `hactl init --platform`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Containers on this machine
    #[default]
    Local,
    /// Machines of Proxmox VE
    Proxmox,
    /// Machines that exist
    Hosts,
    /// Machines of a Terraform root module of your own
    Terraform,
    /// A cluster that runs already
    #[value(skip)]
    Adopted,
}

impl Template {
    /// What is done next with the file that it has become.
    #[must_use]
    pub fn next(self, name: &ClusterName) -> String {
        let up = format!("hactl plan {name}\n  hactl up {name}");
        match self {
            Self::Local => up,
            Self::Proxmox => format!(
                "put your hypervisors, addresses and template into it, export PROXMOX_VE_API_TOKEN, then\n  {up}"
            ),
            Self::Hosts => format!("put your machines' addresses into it, then\n  {up}"),
            Self::Terraform => format!("put your module's directory and its machines into it, then\n  {up}"),
            Self::Adopted => {
                format!("put your machines' addresses into it, then\n  hactl status {name}\n  hactl verify {name}")
            }
        }
    }
}

/// A commented cluster file with all common fields, for a cluster called `name`.
#[must_use]
pub fn init_text(name: &ClusterName, template: Template) -> String {
    let text = match template {
        Template::Local => include_str!("init.yaml"),
        Template::Proxmox => include_str!("init-proxmox.yaml"),
        Template::Hosts => include_str!("init-hosts.yaml"),
        Template::Terraform => include_str!("init-terraform.yaml"),
        Template::Adopted => include_str!("init-adopted.yaml"),
    };
    text.replace("@NAME@", name.as_str())
}
