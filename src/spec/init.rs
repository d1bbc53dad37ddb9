//! The text that `hactl init NAME` writes: a commented cluster file that works as it is.

use clap::ValueEnum;

use crate::model::ClusterName;

/// What a new cluster file is for; the platforms are the values of `hactl init --platform`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Containers on this machine
    #[default]
    Local,
    /// Virtual machines or containers on Proxmox VE
    Proxmox,
    /// Existing machines, reached by SSH
    Hosts,
    /// Machines of your own Terraform root module
    Terraform,
    /// An existing Patroni cluster
    #[value(skip)]
    Adopted,
}

impl Template {
    /// What to do next with the new file.
    #[must_use]
    pub fn next(self, name: &ClusterName) -> String {
        let up = format!("hactl plan {name}\n  hactl up {name}");
        match self {
            Self::Local => up,
            Self::Proxmox => format!(
                "enter your hypervisors, addresses and template in the file, export PROXMOX_VE_API_TOKEN, then\n  {up}"
            ),
            Self::Hosts => format!("enter your machines' addresses in the file, then\n  {up}"),
            Self::Terraform => format!("enter your module's directory and its machines in the file, then\n  {up}"),
            Self::Adopted => {
                format!(
                    "enter your machines' addresses in the file, then\n  hactl status {name}\n  hactl verify {name}"
                )
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
