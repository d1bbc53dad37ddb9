//! Names of the files in `.hactl/NAME/terraform`: runs of other versions know them, too.

/// The state of a cluster without a backend, in its stack.
pub(super) const STATE: &str = "terraform.tfstate";

/// The values of a stack's variables.
pub(super) const VALUES: &str = "terraform.tfvars.json";

/// The moves of machines that got another key. The stacks look for them there.
pub(super) const RENAMED_FILE: &str = "renamed.tf.json";

/// Notes that all of what earlier runs made is gone.
pub(super) const NEW_START: &str = "new-start";

/// Tells Terraform where the state is; beside the stacks, for which place they were last initialised.
pub(super) const BACKEND_FILE: &str = "backend.tf.json";

/// The import blocks within a stack.
pub const IMPORT_FILE: &str = "import.tf";

/// Notes that the machines are those of a module of the user's own, and of which.
pub(super) const MODULE_NOTE: &str = "root-module";

/// The values that the file asks to pass to a module of the user's own.
pub(super) const PASSED_FILE: &str = "passed.tfvars.json";

/// The plan that was read and is then applied.
pub(super) const PLAN_FILE: &str = "plan.tfplan";

/// The certificates that providers trust, where the cluster file names one.
pub(super) const CA_BUNDLE: &str = "ca-bundle.pem";
