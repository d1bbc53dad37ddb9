//! Commands of the user that print a secret.

use zeroize::Zeroizing;

use crate::{
    context::Context,
    error::{Error, Result},
    exec::{self, Command, Stream},
};

/// What `command` prints, with the user's whole environment. `failed` is the error of one that fails;
/// only what it said on stderr is added to it, since stdout may hold the secret.
pub(super) async fn output(
    context: &Context,
    command: Command,
    failed: impl FnOnce() -> Error,
) -> Result<Zeroizing<String>> {
    let mut stderr = Vec::new();
    let done = command
        .pass_prefix("")
        .run(context, |line| {
            if line.stream == Stream::Stderr {
                stderr.push(line.text.clone());
            }
        })
        .await?;
    let output = Zeroizing::new(done.stdout);
    if done.status.success() {
        return Ok(output);
    }
    let error = failed();
    let causes = [exec::describe_end(done.status), stderr.join("\n")];
    Err(causes.iter().filter(|cause| !cause.is_empty()).fold(error, |error, cause| error.cause(cause)))
}
