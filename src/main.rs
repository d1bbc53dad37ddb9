//! Arguments in, exit code out. Everything else is in the library.

use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments != ["terraform-provider"] {
        return ExitCode::from(hactl::error::Kind::Usage.exit_code());
    }
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| hactl::error::Error::failed("runtime", "start", "hactl").source(&error))
        .and_then(|runtime| runtime.block_on(hactl::provider::plugin::main(std::env::vars().collect())));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            error.exit_code()
        }
    }
}
