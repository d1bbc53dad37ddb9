//! What the machines refused of the cluster file -> an error with its places.

use crate::{ansible::Refusal, deployment::Cluster, error::Error};

/// The error of parameters that the machines refused: each with its place in the cluster file, where the file has it.
pub(super) fn parameters_refused(cluster: &Cluster, refused: &[Refusal]) -> Error {
    let what = format!("`postgres.parameters` of {}", cluster.source.file);
    let mut error = Error::failed("parameter-refused", "use", what);
    let mut locations = Vec::new();
    for Refusal { parameter, cause, meant } in refused {
        // A change of several parameters may fail as a whole.
        for name in parameter.split(", ") {
            let problem = cluster.source.problem(&["postgres", "parameters", name], cause, meant.clone());
            error = error.cause(&problem);
            locations.push(problem.location());
        }
    }
    error.locations = locations.into();
    error.hint("Correct the cluster file and run the same command again. The cluster keeps the parameters that it had")
}
