//! What this hactl pins: module files of etcd, requirement files of Python, by version.

use super::{go_module::GoModule, sum::Sum};
use crate::model::{Arch, EtcdVersion, PythonVersion};

/// The Patroni that the requirement files below pin.
pub(super) const PATRONI: &str = "4.1.5";

/// What is published as source only, for every Python.
pub(super) const SOURCES: &str = include_str!("python/sources.txt");

/// The requirement files that `python/lock.py` made for one Python.
pub(super) struct Pinned {
    pub(super) python: PythonVersion,
    /// For the nodes.
    pub(super) patroni: &'static str,
    /// For the controller: the newest ansible-core that this Python runs, and Mitogen.
    pub(super) ansible: &'static str,
}

macro_rules! pinned {
    ($minor:literal) => {
        Pinned {
            python: PythonVersion { major: 3, minor: $minor },
            patroni: include_str!(concat!("python/patroni-py3", $minor, ".txt")),
            ansible: include_str!(concat!("python/ansible-py3", $minor, ".txt")),
        }
    };
}

/// Ubuntu 22.04, Debian 12, Ubuntu 24.04 and Debian 13, in this order.
pub(super) static PINNED: [Pinned; 4] = [pinned!(10), pinned!(11), pinned!(12), pinned!(13)];

pub(super) fn pinned(python: PythonVersion) -> Option<&'static Pinned> {
    PINNED.iter().find(|pinned| pinned.python == python)
}

/// The texts of a [`GoModule`].
struct EtcdModule {
    version: EtcdVersion,
    go_mod: &'static str,
    go_sum: &'static str,
}

macro_rules! etcd_module {
    ($major:literal, $minor:literal, $patch:literal) => {
        EtcdModule {
            version: EtcdVersion { major: $major, minor: $minor, patch: $patch },
            go_mod: include_str!(concat!("etcd/", $major, ".", $minor, ".", $patch, "/go.mod")),
            go_sum: include_str!(concat!("etcd/", $major, ".", $minor, ".", $patch, "/go.sum")),
        }
    };
}

static ETCD_MODULES: [EtcdModule; 3] = [etcd_module!(3, 6, 16), etcd_module!(3, 5, 35), etcd_module!(3, 5, 11)];

pub(super) fn etcd_module(version: EtcdVersion) -> Option<GoModule> {
    let pinned = ETCD_MODULES.iter().find(|module| module.version == version)?;
    Some(GoModule { go_mod: pinned.go_mod.to_owned(), go_sum: pinned.go_sum.to_owned() })
}

/// SHA-256 of `etcd-vVERSION-linux-ARCH.tar.gz` as the project released it. Empty until the
/// sums of a release have been checked independently: without an entry they come from the release's SHA256SUMS.
const ETCD_RELEASES: [(EtcdVersion, Arch, &str); 0] = [];

pub(super) fn etcd_release(version: EtcdVersion, arch: Arch) -> Option<Sum> {
    ETCD_RELEASES.iter().find(|(known, on, _)| *known == version && *on == arch)?.2.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_requirement_has_a_hash() {
        for text in PINNED.iter().flat_map(|pinned| [pinned.patroni, pinned.ansible]).chain([SOURCES]) {
            let logical = text.replace("\\\n", " ");
            let lines: Vec<_> = logical.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(!lines.is_empty());
            for line in lines {
                assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
            }
        }
    }

    #[test]
    fn requirement_files_pin_the_documented_versions() {
        for release in crate::model::Distribution::ALL {
            assert!(pinned(release.python()).is_some(), "no wheels are pinned for {release}");
        }
        for pinned in &PINNED {
            assert!(pinned.patroni.contains(&format!("\npatroni=={PATRONI} ")), "{}", pinned.python);
            let core = if pinned.python.minor == 10 { "2.17." } else { "2.19." };
            assert!(pinned.ansible.contains(&format!("\nansible-core=={core}")), "{}", pinned.python);
            assert!(pinned.ansible.contains("\nmitogen==0.3.54 "), "{}", pinned.python);
        }
        for module in &ETCD_MODULES {
            let (major, minor, patch) = (module.version.major, module.version.minor, module.version.patch);
            for part in ["server", "etcdctl", "etcdutl"] {
                let line = format!("go.etcd.io/etcd/{part}/v3 v{major}.{minor}.{patch}");
                assert!(module.go_mod.contains(&line) && module.go_sum.contains(&format!("{line} h1:")), "{line}");
            }
        }
    }
}
