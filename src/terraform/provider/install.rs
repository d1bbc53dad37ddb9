//! Registers the provider with plain Terraform: a shim in Terraform's own plugin directory.
//!
//! In come the user's data directory and where hactl is, out go the files written. The shim is a
//! script with the same bytes on every machine and for every build of hactl, so its hash in
//! `.terraform.lock.hcl` stays valid; it finds hactl through a link beside it.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::{ADDRESS, VERSION};
use crate::{
    env,
    error::{Error, Result},
};

const SHIM: &str = r#"#!/bin/sh
# Terraform starts this as the provider hactl.local/hactl/hactl. Written by `hactl terraform install`.
hactl="${XDG_DATA_HOME:-$HOME/.local/share}/hactl/bin/hactl"
[ -x "$hactl" ] || hactl=hactl
exec "$hactl" terraform-provider
"#;

/// The user's directory for data: `XDG_DATA_HOME`, or `~/.local/share`.
#[must_use]
pub fn data_home(env: &BTreeMap<String, String>) -> PathBuf {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(env::XDG_DATA_HOME).unwrap_or_else(|| set(env::HOME).unwrap_or_else(|| PathBuf::from("/")).join(".local/share"))
}

/// Writes the shim and the link to `program`, the hactl that is to serve.
///
/// # Errors
/// When a file cannot be written.
pub fn install(data_home: &Path, program: &Path) -> Result<Vec<PathBuf>> {
    let shim = plugin_dir(data_home).join(format!("terraform-provider-hactl_v{VERSION}"));
    let link = data_home.join("hactl/bin/hactl");
    let failed =
        |path: &Path, error: &io::Error| Error::failed("terraform-install", "write", path.display()).source(error);
    write_shim(&shim).map_err(|error| failed(&shim, &error))?;
    write_link(&link, program).map_err(|error| failed(&link, &error))?;
    Ok(vec![shim, link])
}

/// The block to add if the user's CLI configuration has a `provider_installation` block: Terraform then does not search
/// its own plugin directories.
#[must_use]
pub fn advice(env: &BTreeMap<String, String>, data_home: &Path) -> Option<String> {
    let file = env.get(env::TF_CLI_CONFIG_FILE).filter(|file| !file.is_empty()).map_or_else(
        || PathBuf::from(env.get(env::HOME).map_or("/", String::as_str)).join(".terraformrc"),
        PathBuf::from,
    );
    let text = fs::read_to_string(&file).ok()?;
    if !text.contains("provider_installation") || text.contains("hactl.local/") {
        return None;
    }
    let plugins = data_home.join("terraform/plugins");
    Some(format!(
        "{} has a provider_installation block; add to that block:\n\n  filesystem_mirror {{\n    path    = \"{}\"\n    \
         include = [\"hactl.local/*/*\"]\n  }}\n\nand exclude = [\"hactl.local/*/*\"] to its other methods.",
        file.display(),
        plugins.display()
    ))
}

fn plugin_dir(data_home: &Path) -> PathBuf {
    let os = std::env::consts::OS;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    data_home.join("terraform/plugins").join(ADDRESS).join(VERSION).join(format!("{os}_{arch}"))
}

fn write_shim(path: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir)?;
    let file = tempfile::NamedTempFile::new_in(dir)?;
    fs::write(file.path(), SHIM)?;
    fs::set_permissions(file.path(), Permissions::from_mode(0o755))?;
    file.persist(path)?;
    Ok(())
}

fn write_link(path: &Path, program: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir)?;
    // Created under another name and renamed, so that the link always exists.
    let aside = tempfile::tempdir_in(dir)?;
    let new = aside.path().join("hactl");
    symlink(program, &new)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_shim_is_on_the_plugin_path_and_reinstalled_in_place() {
        let home = tempfile::tempdir().unwrap();
        let first = install(home.path(), Path::new("/opt/a/hactl")).unwrap();
        let second = install(home.path(), Path::new("/opt/b/hactl")).unwrap();
        assert_eq!(first, second);
        let shim = first[0].strip_prefix(home.path()).unwrap().display().to_string();
        assert!(shim.starts_with("terraform/plugins/hactl.local/hactl/hactl/0.1.0/linux_"), "{shim}");
        assert!(shim.ends_with("/terraform-provider-hactl_v0.1.0"), "{shim}");
        assert_eq!(fs::read_to_string(&first[0]).unwrap(), SHIM);
        assert_eq!(fs::metadata(&first[0]).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(&first[1]).unwrap(), Path::new("/opt/b/hactl"));
        // Nothing else in the plugin's directory: Terraform hashes all of it.
        assert_eq!(fs::read_dir(first[0].parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn advice_is_given_only_if_the_configuration_excludes_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("HOME".to_owned(), home.path().display().to_string())]);
        assert_eq!(advice(&env, home.path()), None);
        fs::write(home.path().join(".terraformrc"), "provider_installation {\n  direct {}\n}\n").unwrap();
        assert!(advice(&env, home.path()).unwrap().contains("filesystem_mirror"));
    }
}
