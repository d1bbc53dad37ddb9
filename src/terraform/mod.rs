//! Plan -> Outputs: Terraform's working directory, init, plan, guard, apply, output, destroy.
//!
//! ```text
//! Plan + image + UUID + key -> [workspace] files -> [terraform] plan -> [changes] -> [guard] -> apply -> Outputs
//! ```
//!
//! On `platform: terraform` the directory is the user's own [module], and its output `vms` is held to the [contract].
//!
//! Terraform is driven by its JSON alone, and exactly the plan that was read is applied. What it
//! does on the way becomes events; what it says becomes events too, and the causes of the error.

mod backend;
mod binary;
mod changes;
mod contract;
mod environment;
mod guard;
pub mod import;
mod messages;
mod module;
mod orphans;
mod outputs;
pub mod provider;
mod run;
mod workspace;

pub use backend::{Pulled, force_unlock, pull, state};
pub use binary::{LOWEST_VERSION, Terraform, terraform_binary, terraform_version};
pub use changes::{Action, Changes, GoneRecords, ResourceChange};
pub use guard::{Consent, Refusal, guard, voters_gone};
pub use module::{Module, OTHER_STATE, module_dir, pull_module};
pub use outputs::{Machine, Outputs};
pub use run::{Destroyed, Planned, Provisioned, apply, begun, destroy, keep_record, plan, recorded};
pub use workspace::{Machines, variables};
