//! What a cluster that runs cannot be changed to.

/// What the cluster file asks for and the cluster cannot get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    /// What the file asks for, after "could not".
    pub what: &'static str,
    /// The field of the cluster file.
    pub field: Vec<String>,
    pub message: String,
    pub hint: String,
}

/// The path of a field in the cluster file.
pub(super) fn field<const LENGTH: usize>(path: [&str; LENGTH]) -> Vec<String> {
    path.map(str::to_owned).to_vec()
}
