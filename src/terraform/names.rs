//! Names of the files in `.hactl/NAME/terraform`, which runs of other versions use as well.

/// The state of a cluster without a backend, in its stack.
pub(super) const STATE: &str = "terraform.tfstate";

/// The values of a stack's variables.
pub(super) const VALUES: &str = "terraform.tfvars.json";

/// The moves of machines whose key changed. The stacks read this file.
pub(super) const RENAMED_FILE: &str = "renamed.tf.json";

/// Notes that everything that earlier runs created is gone.
pub(super) const NEW_START: &str = "new-start";

/// In a stack, tells Terraform where the state is; beside the stacks, notes the place for which they were last
/// initialised.
pub(super) const BACKEND_FILE: &str = "backend.tf.json";

/// The import blocks within a stack.
pub const IMPORT_FILE: &str = "import.tf";

/// Notes which module of the user's own creates the machines.
pub(super) const MODULE_NOTE: &str = "root-module";

/// The values that the file asks to pass to a module of the user's own.
pub(super) const PASSED_FILE: &str = "passed.tfvars.json";

/// The plan that was read and is then applied.
pub(super) const PLAN_FILE: &str = "plan.tfplan";

/// The certificates that providers trust, where the cluster file names one.
pub(super) const CA_BUNDLE: &str = "ca-bundle.pem";

/// The hint of a file that cannot be written.
pub(super) const MAKE_ROOM: &str = "Free disk space or grant write access there, then run the same command again";
