//! Where a root module of the user's own is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    context::Context,
    error::{Error, Result},
    model::RootModule,
};

/// The module's directory, which has a configuration.
///
/// # Errors
/// When there is no such directory, or no configuration in it.
pub fn module_dir(context: &Context, module: &RootModule) -> Result<PathBuf> {
    let dir = context.dirs.work.join(context.at_home(&module.dir));
    has_configuration(&dir).map(|()| dir)
}

fn has_configuration(dir: &Path) -> Result<()> {
    let missing = |cause: String| {
        Error::usage("terraform-module", "find the Terraform module in", dir.display())
            .cause(cause)
            .hint("Set `dir` under `platform.terraform` to the module's directory, relative to the cluster file")
    };
    let entries = fs::read_dir(dir).map_err(|error| missing(error.to_string()))?;
    let is_configuration =
        |name: &str| [".tf", ".tf.json", ".tofu", ".tofu.json"].iter().any(|end| name.ends_with(end));
    match entries.flatten().any(|entry| is_configuration(&entry.file_name().to_string_lossy())) {
        true => Ok(()),
        false => Err(missing("the directory has no .tf file".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_without_terraform_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = has_configuration(dir.path()).unwrap_err();
        assert_eq!((error.kind.exit_code(), error.code), (2, "terraform-module"));
        assert!(has_configuration(&dir.path().join("none")).is_err());
        fs::write(dir.path().join("main.tf"), "").unwrap();
        assert!(has_configuration(dir.path()).is_ok());
    }
}
