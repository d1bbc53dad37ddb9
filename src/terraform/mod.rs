//! Plan -> Outputs: Terraform's working directory, init, plan, guard, apply, output, destroy.
//!
//! ```text
//! Plan + image + UUID + key -> [workspace] files -> [run] plan -> [changes] -> [guard] -> apply -> Outputs
//! ```
//!
//! On `platform: terraform` the directory is the user's own [module], and its output `vms` must follow the [contract].
//!
//! hactl reads Terraform's JSON, and applies exactly the plan that it has read. Resources and diagnostics become
//! events; errors become the causes of hactl's error.

mod asked;
mod backend;
mod binary;
mod changes;
mod consent;
mod contract;
mod diagnosis;
mod diff;
mod environment;
#[cfg(test)]
mod fixture;
mod guard;
mod guard_module;
pub mod import;
mod messages;
mod module;
mod module_dir;
mod moved;
mod names;
mod orphans;
mod outcome;
mod outputs;
mod program;
pub mod provider;
mod recorded;
mod roll;
mod run;
mod shown;
mod updates;
mod voters;
mod workspace;
mod zones;

pub use backend::{force_unlock, pull, state};
pub use binary::{Terraform, terraform_version};
pub use changes::{Action, Changes, GoneRecords, ResourceChange};
pub use consent::Consent;
pub use diff::{AttributeChange, Cost};
pub use guard::guard;
pub use module::{Module, OTHER_STATE, pull_module};
pub use module_dir::module_dir;
pub use outcome::{Destroyed, Planned, Provisioned, Pulled};
pub use program::{LOWEST_VERSION, terraform_binary};
pub use recorded::{begun, recorded};
pub use run::{apply, destroy, keep_record, plan};
pub use updates::{PlannedDisk, VmDisks};
pub use voters::{Refusal, voters_gone};
