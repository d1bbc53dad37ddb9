//! Prints the circles of the import graph and the counts of files: see `.ci/structure`.

#[path = "mod.rs"]
mod structure;

use std::{env, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let root = env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    match structure::Checkout::read(&root) {
        Ok(checkout) => {
            print!("{}", structure::page(&checkout));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("could not read the source tree: {error}");
            ExitCode::FAILURE
        }
    }
}
