//! Adding machines that exist on Proxmox to Terraform's state, instead of creating them.
//!
//! ```text
//! KEY=ID, old states, old outputs -> [existing] candidates -> [decide] with the map -> Imports -> import blocks in a file
//! ```
//!
//! hactl writes import blocks instead of running `terraform import`, because Terraform plans the blocks, and the guard
//! checks the plan before Terraform applies it. Nothing here starts Terraform or contacts a machine.

mod decide;
mod existing;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

pub use decide::{ImportRequest, ImportTarget, decide};
pub use existing::{Candidate, machines, read};

pub use super::names::IMPORT_FILE;
use super::names::MAKE_ROOM;
use crate::{
    context::ClusterDir,
    error::{Error, Result},
    file,
    model::{InstanceKey, ProxmoxKind},
};

/// Where the import blocks of a cluster are: beside the stack that makes its machines.
#[must_use]
pub fn path(dir: &ClusterDir, kind: ProxmoxKind) -> PathBuf {
    dir.terraform().join("stacks").join(kind.stack()).join(IMPORT_FILE)
}

/// The resource of machines of a kind, in their stack.
const fn resource(kind: ProxmoxKind) -> &'static str {
    match kind {
        ProxmoxKind::Vm => "module.machines.proxmox_virtual_environment_vm.this",
        ProxmoxKind::Lxc => "module.machines.proxmox_virtual_environment_container.this",
    }
}

/// The hypervisor of a machine and its number there: Proxmox's name for the machine, and the provider's import ID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MachineId {
    #[serde(rename = "node")]
    pub hypervisor: String,
    pub vmid: u32,
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hypervisor, self.vmid)
    }
}

/// What `up` will import, and what the user should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imports {
    pub kind: ProxmoxKind,
    /// The machines by their keys.
    pub machines: BTreeMap<InstanceKey, MachineId>,
    /// The existing pool.
    pub pool: Option<String>,
    /// The import ids of the machines' records, by the machines' keys.
    pub records: BTreeMap<InstanceKey, String>,
    /// Messages about what the import changes or leaves out.
    pub notes: Vec<String>,
    /// Instances of the map without a machine: Terraform will create them.
    pub missing: Vec<InstanceKey>,
}

impl Imports {
    /// The file's text.
    #[must_use]
    pub fn blocks(&self) -> String {
        let mut text = String::from(
            "# Written by `hactl import`: machines that exist are taken into the state, and none is made for them.\n\
             # The next `hactl up` that succeeds removes this file.\n",
        );
        if let Some(pool) = &self.pool {
            block(&mut text, "module.pool[0].proxmox_virtual_environment_pool.this", pool);
        }
        for (key, id) in &self.machines {
            block(&mut text, &address(self.kind, key), &id.to_string());
        }
        for (key, id) in &self.records {
            block(&mut text, &format!("module.dns[0].hactl_dns_record_set.this[\"{key}\"]"), id);
        }
        text
    }
}

/// The address of the machine `key` in its stack.
pub(super) fn address(kind: ProxmoxKind, key: &InstanceKey) -> String {
    format!("{}[\"{key}\"]", resource(kind))
}

/// Writes one import block. Keys and hypervisors are DNS labels: nothing in them needs quoting.
pub(super) fn block(text: &mut String, to: &str, id: &str) {
    let _ = write!(text, "\nimport {{\n  to = {to}\n  id = \"{id}\"\n}}\n");
}

/// Writes the import blocks to `path`, all of them or none.
///
/// # Errors
/// When the file cannot be written; its former content then stays.
pub fn write(path: &Path, imports: &Imports) -> Result<()> {
    file::replace(path, imports.blocks().as_bytes()).map_err(|error| {
        Error::failed("import-write", "write the import blocks to", path.display()).source(&error).hint(MAKE_ROOM)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn imports(kind: ProxmoxKind) -> Imports {
        let id = |hypervisor: &str, vmid| MachineId { hypervisor: hypervisor.to_owned(), vmid };
        Imports {
            kind,
            machines: BTreeMap::from([
                ("node2".parse().unwrap(), id("pve2", 101)),
                ("node1".parse().unwrap(), id("pve1", 100)),
            ]),
            pool: None,
            records: BTreeMap::new(),
            notes: Vec::new(),
            missing: Vec::new(),
        }
    }

    #[test]
    fn import_blocks_have_stack_addresses_and_provider_ids() {
        let blocks = |imports: &Imports| imports.blocks().split_once("\n\n").unwrap().1.to_owned();
        let expected = r#"import {
  to = module.machines.proxmox_virtual_environment_vm.this["node1"]
  id = "pve1/100"
}

import {
  to = module.machines.proxmox_virtual_environment_vm.this["node2"]
  id = "pve2/101"
}
"#;
        assert_eq!(blocks(&imports(ProxmoxKind::Vm)), expected);
        let lxc = blocks(&Imports { pool: Some("pg-pool".to_owned()), ..imports(ProxmoxKind::Lxc) });
        let pool = "import {\n  to = module.pool[0].proxmox_virtual_environment_pool.this\n  id = \"pg-pool\"\n}\n";
        let containers = expected.replace("environment_vm", "environment_container");
        assert_eq!(lxc, format!("{pool}\n{containers}"));
        let id = "192.168.1.13/hmac-sha256:ddnskey./home.sflab.io./pg-prod-node1";
        let records = BTreeMap::from([("node1".parse().unwrap(), id.to_owned())]);
        let text = blocks(&Imports { records, ..imports(ProxmoxKind::Vm) });
        let record =
            format!("import {{\n  to = module.dns[0].hactl_dns_record_set.this[\"node1\"]\n  id = \"{id}\"\n}}\n");
        assert_eq!(text, format!("{expected}\n{record}"));
    }

    #[test]
    fn import_file_is_written_completely_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stack").join(IMPORT_FILE);
        write(&path, &imports(ProxmoxKind::Vm)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), imports(ProxmoxKind::Vm).blocks());
        fs::remove_file(&path).unwrap();
        // A directory in its place: refused, and nothing is left beside it.
        fs::create_dir(&path).unwrap();
        assert_eq!(write(&path, &imports(ProxmoxKind::Vm)).unwrap_err().code, "import-write");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
