//! The files that hactl works with: roles, playbooks, inventory templates, Terraform modules and stacks.
//!
//! They are embedded in the binary, so that one file installs hactl. `hactl eject` writes them out to be
//! changed, and a cluster file can name the directory with the changed ones. Either way they are read
//! once, and everything that follows from them (digests, the node image, the inventory, Terraform's
//! working directory) is made from this one value.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::error::{Error, Result, codes};

static ROLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/roles");
static PLAYBOOKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/playbooks");
static INVENTORY_TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/inventory-templates");
static TERRAFORM: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/terraform");
pub static BLUEPRINTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/spec/blueprints");

/// The directories that `eject` writes.
pub const TREES: [&str; 4] = ["roles", "playbooks", "inventory-templates", "terraform"];

/// What hactl itself names in them, and cannot do without.
const NEEDED: [&str; 10] = [
    "roles/common/tasks/main.yml",
    "roles/etcd/tasks/main.yml",
    "roles/patroni/tasks/main.yml",
    "playbooks/patroni-cluster.yml",
    "playbooks/node-image.yml",
    "playbooks/callback_plugins/hactl_events.py",
    "inventory-templates/patroni-cluster.ini.tera",
    "inventory-templates/patroni-cluster.yml.tera",
    "terraform/modules/local-node",
    "terraform/stacks/local",
];

/// How many files a message lists by name.
const NAMED: usize = 3;

type Files = BTreeMap<PathBuf, Cow<'static, [u8]>>;

static EMBEDDED: LazyLock<Assets> = LazyLock::new(|| {
    let mut files = Files::new();
    for (name, tree) in TREES.into_iter().zip([&ROLES, &PLAYBOOKS, &INVENTORY_TEMPLATES, &TERRAFORM]) {
        collect(tree, Path::new(name), &mut files);
    }
    Assets { dir: None, files: Arc::new(files) }
});

fn collect(tree: &'static Dir<'_>, name: &Path, files: &mut Files) {
    for dir in tree.dirs() {
        collect(dir, name, files);
    }
    for file in tree.files().filter(|file| file.path().file_name().is_some_and(is_asset)) {
        files.insert(name.join(file.path()), Cow::Borrowed(file.contents()));
    }
}

/// All files of one version of the trees, by their paths such as `roles/etcd/tasks/main.yml`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Assets {
    /// Where they were read; none for those of the binary.
    dir: Option<PathBuf>,
    files: Arc<Files>,
}

impl Assets {
    /// Those of the binary.
    #[must_use]
    pub fn embedded() -> Self {
        EMBEDDED.clone()
    }

    /// Those in `dir`, or those of the binary where there is none.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn open(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else { return Ok(Self::embedded()) };
        let mut files = Files::new();
        for tree in TREES {
            let found = files_in(&dir.join(tree)).map_err(|error| unreadable(dir, &error))?;
            for path in found {
                let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
                files.insert(path.strip_prefix(dir).unwrap_or(&path).to_owned(), Cow::Owned(bytes));
            }
        }
        Ok(Self { dir: Some(dir.to_owned()), files: Arc::new(files) })
    }

    /// A file's text.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.files.get(Path::new(path))?).ok()
    }

    /// Where a file lies, for messages.
    #[must_use]
    pub fn place(&self, path: &str) -> String {
        self.dir.as_ref().map_or_else(|| path.to_owned(), |dir| dir.join(path).display().to_string())
    }

    /// The files below `tree`, by their paths from there, sorted.
    pub fn below(&self, tree: &str) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().filter_map(move |(path, bytes)| Some((path.strip_prefix(tree).ok()?, bytes.as_ref())))
    }

    /// What Ansible runs, roles and playbooks, each by its path within its tree.
    pub fn software(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.below("roles").chain(self.below("playbooks"))
    }

    /// Writes `tree` under `target`, over what is there.
    ///
    /// # Errors
    /// When a directory or file cannot be written.
    pub fn write(&self, tree: &str, target: &Path) -> io::Result<()> {
        for (path, bytes) in self.below(tree) {
            let path = target.join(path);
            // Unchanged files keep their time, so that tools which look at it see no change.
            if fs::read(&path).ok().as_deref() != Some(bytes) {
                fs::create_dir_all(path.parent().unwrap_or(target))?;
                fs::write(&path, bytes)?;
            }
        }
        Ok(())
    }

    /// A note about assets that are not the built-in ones: where they are, and what differs.
    #[must_use]
    pub fn changed(&self) -> Option<String> {
        let dir = self.dir.as_ref()?.display();
        let mut differing = self.differing();
        let count = differing.len();
        differing.truncate(NAMED);
        let names: Vec<String> = differing.iter().map(|path| path.display().to_string()).collect();
        let more = if count > NAMED { ", ..." } else { "" };
        let difference = match count {
            0 => "all of them equal the built-in files".to_owned(),
            1 => format!("1 file differs from the built-in one: {}", names[0]),
            _ => format!("{count} files differ from the built-in ones: {}{more}", names.join(", ")),
        };
        Some(format!("using the roles, playbooks, templates and modules in {dir}; {difference}"))
    }

    /// Paths of files that were changed, added or removed.
    fn differing(&self) -> Vec<&Path> {
        let changed = self.files.iter().filter(|(path, bytes)| EMBEDDED.files.get(*path) != Some(*bytes));
        let removed = EMBEDDED.files.iter().filter(|(path, _)| !self.files.contains_key(*path));
        changed.chain(removed).map(|(path, _)| path.as_path()).collect()
    }
}

/// All that `dir` lacks to be a directory of assets.
#[must_use]
pub fn missing(dir: &Path) -> Vec<String> {
    if !dir.is_dir() {
        let what = if dir.exists() { "is not a directory" } else { "does not exist" };
        return vec![format!("{} {what}; run `hactl eject DIR` to create such a directory", dir.display())];
    }
    let (there, gone): (Vec<&str>, Vec<&str>) = TREES.into_iter().partition(|tree| dir.join(tree).is_dir());
    let needed = NEEDED.into_iter().filter(|path| there.contains(&path.split('/').next().unwrap_or_default()));
    gone.into_iter()
        .chain(needed.filter(|path| !dir.join(path).exists()))
        .map(|path| format!("{} is missing; run `hactl eject DIR` to write it", dir.join(path).display()))
        .collect()
}

/// The asset files below `dir`, with their whole paths.
///
/// # Errors
/// When a directory cannot be read.
pub fn files_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let walk = WalkDir::new(dir).follow_links(true).into_iter();
    walk.filter_entry(|entry| entry.depth() == 0 || is_asset(entry.file_name()))
        .filter(|entry| entry.as_ref().map_or(true, |entry| entry.file_type().is_file()))
        .map(|entry| Ok(entry?.into_path()))
        .collect()
}

/// Whether a file or directory is one of the assets, and not what tools and editors leave beside them:
/// least of all Terraform's state and values, which hactl has of its own.
fn is_asset(name: &OsStr) -> bool {
    const LEFT_BEHIND: [&str; 5] = ["~", ".pyc", ".tfplan", ".tfvars", ".tfvars.json"];
    let name = name.to_string_lossy();
    !name.starts_with('.')
        && name != "__pycache__"
        && !name.contains(".tfstate")
        && !LEFT_BEHIND.iter().any(|end| name.ends_with(end))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::failed(codes::ASSETS, "read the changed assets in", path.display()).source(error)
}

/// Feeds names and contents into `hash`, each with its length so that no two lists run into the same bytes.
pub fn hash<'a>(hash: &mut Sha256, files: impl IntoIterator<Item = (&'a Path, &'a [u8])>) {
    for (path, bytes) in files {
        for part in [path.as_os_str().as_encoded_bytes(), bytes] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
}

/// The SHA-256 of names and contents, in hexadecimal.
pub fn digest<'a>(files: impl IntoIterator<Item = (&'a Path, &'a [u8])>) -> String {
    let mut sum = Sha256::new();
    hash(&mut sum, files);
    hexadecimal(&sum.finalize())
}

#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory as `hactl eject` writes it.
    fn ejected() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for tree in TREES {
            Assets::embedded().write(tree, &dir.path().join(tree)).unwrap();
        }
        dir
    }

    #[test]
    fn unchanged_asset_directory_equals_the_embedded_assets() {
        let dir = ejected();
        assert_eq!(missing(dir.path()), Vec::<String>::new());
        for (name, text) in [
            ("roles/etcd/.git/config", "x"),
            ("roles/etcd/tasks/main.yml~", "x"),
            ("roles/patroni/library/__pycache__/a.pyc", "x"),
            ("terraform/stacks/local/terraform.tfstate", "{}"),
            ("terraform/stacks/local/terraform.tfvars.json", "{}"),
            ("README.md", "ours"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let assets = Assets::open(Some(dir.path())).unwrap();
        assert_eq!(assets.files, Assets::embedded().files);
        assert!(assets.changed().unwrap().ends_with("all of them equal the built-in files"));
        assert_eq!(Assets::embedded().changed(), None);
    }

    #[test]
    fn changed_asset_files_are_named() {
        let dir = ejected();
        fs::write(dir.path().join("roles/etcd/tasks/main.yml"), "---\n").unwrap();
        fs::write(dir.path().join("roles/etcd/tasks/own.yml"), "---\n").unwrap();
        fs::remove_file(dir.path().join("roles/etcd/tasks/retire.yml")).unwrap();
        let assets = Assets::open(Some(dir.path())).unwrap();
        let text = assets.changed().unwrap();
        for word in ["3 files", "etcd/tasks/main.yml", "etcd/tasks/own.yml", "etcd/tasks/retire.yml"] {
            assert!(text.contains(word), "{text}");
        }
        assert_ne!(digest(assets.software()), digest(Assets::embedded().software()));
        assert_eq!(digest(assets.below("terraform")), digest(Assets::embedded().below("terraform")));
    }

    #[test]
    fn missing_assets_are_all_named_together() {
        let dir = ejected();
        fs::remove_dir_all(dir.path().join("playbooks")).unwrap();
        fs::remove_file(dir.path().join("roles/etcd/tasks/main.yml")).unwrap();
        fs::remove_dir_all(dir.path().join("terraform/stacks")).unwrap();
        let found = missing(dir.path());
        assert_eq!(found.len(), 3, "{found:?}");
        for (text, word) in found.iter().zip(["/playbooks is", "/roles/etcd/tasks/main.yml is", "/stacks/local is"]) {
            assert!(text.contains(word), "{text}");
        }
        assert!(missing(&dir.path().join("none"))[0].contains("does not exist"));
    }
}
