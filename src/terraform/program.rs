//! The `terraform` program: where it is, and whether hactl supports its version.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    context::Context,
    env,
    error::{Error, Kind, Result},
};

/// The lowest supported version of Terraform, and of OpenTofu.
pub const LOWEST_VERSION: (u32, u32) = (1, 9);

/// The program: `terraform`, else `tofu`, of the user's `PATH`.
///
/// # Errors
/// Of kind `Missing` when neither is installed.
pub fn terraform_binary(context: &Context) -> Result<PathBuf> {
    let path = context.env.get(env::PATH).map_or("", String::as_str);
    let dirs: Vec<PathBuf> = std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect();
    ["terraform", "tofu"]
        .into_iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)))
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| {
            Error::missing("terraform-missing", "find", "Terraform")
                .cause("no directory of PATH has `terraform` or `tofu`")
                .hint(format!(
                    "Install Terraform {}.{} or newer (https://developer.hashicorp.com/terraform/install) or OpenTofu \
                     (https://opentofu.org/docs/intro/install), then run the same command again",
                    LOWEST_VERSION.0, LOWEST_VERSION.1
                ))
        })
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

pub(super) fn major_and_minor(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

pub(super) fn check_version(program: &Path, json: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Version {
        terraform_version: String,
    }
    let found = serde_json::from_str::<Version>(json).map(|version| version.terraform_version).unwrap_or_default();
    if major_and_minor(&found) >= LOWEST_VERSION {
        return Ok(found);
    }
    let (major, minor) = LOWEST_VERSION;
    Err(Error::new(Kind::Missing, "terraform-too-old", "use", program.display())
        .cause(format!("its version is `{found}`, but hactl needs {major}.{minor} or newer"))
        .hint(format!("Install Terraform {major}.{minor} or newer: https://developer.hashicorp.com/terraform/install")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{context::Dirs, event::Events};

    #[test]
    fn missing_or_old_terraform_is_refused_with_a_hint() {
        let env = BTreeMap::from([("PATH".to_owned(), "/nonexistent".to_owned())]);
        let context = Context {
            dirs: Dirs::new(Path::new("/w"), &env),
            env,
            events: Events::channel().0,
            stop: Default::default(),
        };
        let error = terraform_binary(&context).unwrap_err();
        assert_eq!((error.kind.exit_code(), error.code), (3, "terraform-missing"));
        let program = Path::new("terraform");
        assert!(check_version(program, r#"{"terraform_version":"1.11.4"}"#).is_ok());
        assert!(check_version(program, r#"{"terraform_version":"2.0.0-rc1"}"#).is_ok());
        for bad in [r#"{"terraform_version":"1.8.5"}"#, "{}", "Terraform v0.11"] {
            assert_eq!(check_version(program, bad).unwrap_err().code, "terraform-too-old", "{bad}");
        }
    }
}
