//! The text that `hactl init NAME` writes: a commented cluster file that works as it is.

use crate::model::ClusterName;

/// What a new cluster file is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Template {
    /// Containers on this machine.
    #[default]
    Local,
    /// Machines of Proxmox VE.
    Proxmox,
    /// Machines that exist.
    Hosts,
    /// Machines of a Terraform module of the user's own.
    Terraform,
    /// A cluster that runs already.
    Adopted,
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
