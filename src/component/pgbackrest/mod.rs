//! pgBackRest: backups of the data, and the archive of the WAL.

mod diagnose;
mod gaps;
mod info;
mod origin;
mod status;
mod vars;

pub use gaps::Gap;
pub use info::{BackupView, Backups, Seen};
pub(crate) use info::{ask, look};
pub use origin::{LONGEST_LOOK, Lsn, Origin, Target, looks_apart};
pub use status::StatusBackup;

use super::{definition::Component, postgres};
use crate::model::Role;

/// The group of the machines that it runs on.
pub(crate) const GROUP: &str = "pgbackrest";

pub(super) const COMPONENT: Component = Component {
    name: "pgbackrest",
    title: "pgBackRest",
    role: Role::Patroni,
    // Its stop and its wipe hold for a cluster that had backups, too. The inventory's group depends on the plan.
    is_on: |_| true,
    group: None,
    // The package of the distribution; the node image depends on whether it is installed.
    version: |plan| if plan.backup.is_some() { "installed".to_owned() } else { String::new() },
    download: None,
    variables: vars::VARIABLES,
    certificates: &[],
    doors: |_| Vec::new(),
    ports: |_| Vec::new(),
    // It listens nowhere: PostgreSQL starts it.
    endpoint: postgres::endpoint,
    unit: None,
    helpers: &[],
    ask: None,
    complete: |_, _| {},
    is_plain: |_, _| false,
    diagnose: diagnose::diagnose,
    diagnose_adopted: |_, _, _| {},
    may_be_foreign: false,
    detect: include_str!("detect.sh"),
    stop: include_str!("stop.sh"),
    wipe: include_str!("wipe.sh"),
};
