//! `plan --out FILE` and `up --plan FILE`: what was planned, by digests, so that `up` does nothing else.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    assets::hexadecimal,
    context::Context,
    deployment::{Deployment, access},
    error::{Error, Result},
    health,
    model::InstanceKey,
    terraform::Changes,
};

/// The form of the file that this hactl writes and reads.
const VERSION: u32 = 1;

/// A plan that was saved. It has digests and no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPlan {
    version: u32,
    cluster: String,
    digests: Digests,
    /// Whether the plan interrupts writes: `up --plan` may then do it.
    pub interrupts_writes: bool,
}

/// What the plan was made from, each as a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Digests {
    file: String,
    records: String,
    software: String,
    machines: String,
    terraform: String,
}

/// The digest that each machine carries: it says what the last run left there.
async fn carried(context: &Context, deployment: &Deployment) -> Result<Vec<(InstanceKey, Option<String>)>> {
    let cluster = &deployment.cluster;
    let (Some(fleet), Some(vault)) = (deployment.known.fleet_if_any()?, deployment.opened()) else {
        return Ok(Vec::new());
    };
    let access = access(context, cluster, vault)?;
    let seen = async { Ok(health::observe(fleet, &access).await) };
    let seen = context.interruptible("inspect the machines of", cluster.name(), seen).await?;
    Ok(seen.into_iter().map(|(key, view)| (key, view.digest)).collect())
}

/// A digest of what `value` is as JSON.
fn digest(value: &impl Serialize) -> Result<String> {
    let text =
        serde_json::to_vec(value).map_err(|error| Error::failed("plan-file", "write", "a plan").source(&error))?;
    Ok(hexadecimal(&Sha256::digest(text)))
}

impl SavedPlan {
    /// The plan of `deployment`, from what Terraform and the machines say.
    ///
    /// # Errors
    /// When the record of the machines cannot be read.
    pub(crate) async fn new(
        context: &Context,
        deployment: &Deployment,
        changes: &Changes,
        interrupts_writes: bool,
    ) -> Result<Self> {
        let cluster = &deployment.cluster;
        let machines = carried(context, deployment).await?;
        Ok(Self {
            version: VERSION,
            cluster: cluster.name().to_string(),
            digests: Digests {
                file: hexadecimal(&Sha256::digest(cluster.source.text())),
                records: digest(&(&cluster.record.choices, deployment.known.fleet_if_any()?))?,
                software: crate::assets::digest(cluster.assets.software()),
                machines: digest(&machines)?,
                terraform: digest(changes)?,
            },
            interrupts_writes,
        })
    }

    /// Writes the plan with mode 0600.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let write = || -> io::Result<()> {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // Temporary files have mode 0600.
            let mut beside = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer_pretty(&mut beside, self)?;
            beside.write_all(b"\n")?;
            beside.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
            beside.persist(path)?;
            Ok(())
        };
        write().map_err(|error| {
            Error::failed("plan-file", "write", path.display()).source(&error).hint("Check that the directory exists")
        })
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// When the file is not a plan of this version.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = || {
            Error::usage("plan-file", "use the plan in", path.display())
                .hint("Run `hactl plan NAME --out FILE` to write a plan")
        };
        let text = fs::read(path).map_err(|error| failed().source(&error))?;
        let plan: Self = serde_json::from_slice(&text).map_err(|error| failed().source(&error))?;
        match plan.version {
            VERSION => Ok(plan),
            other => Err(failed().cause(format!("it has the version {other}; this hactl reads version {VERSION}"))),
        }
    }

    /// Checks that `now` was planned from the same.
    ///
    /// # Errors
    /// With what has changed since.
    pub(crate) fn still_fits(&self, now: &Self) -> Result<()> {
        let (then, seen) = (&self.digests, &now.digests);
        let changed = [
            (self.cluster == now.cluster, "the plan is for another cluster"),
            (then.file == seen.file, "the cluster file has changed"),
            (then.records == seen.records, "hactl's records of the machines have changed"),
            (then.software == seen.software, "the roles are those of another version of hactl"),
            (then.machines == seen.machines, "another run has configured the machines"),
            (then.terraform == seen.terraform, "Terraform plans other changes"),
        ];
        let changed: Vec<&str> = changed.into_iter().filter(|(same, _)| !same).map(|(_, what)| what).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let error = Error::failed("plan-outdated", "apply the saved plan for", &now.cluster);
        let error = changed.into_iter().fold(error, Error::cause);
        Err(error.hint(format!("Run `hactl plan {} --out FILE` again and read the new plan", now.cluster)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(file: &str) -> SavedPlan {
        let same = || "0".to_owned();
        let digests =
            Digests { file: file.into(), records: same(), software: same(), machines: same(), terraform: same() };
        SavedPlan { version: VERSION, cluster: "pg".into(), digests, interrupts_writes: true }
    }

    #[test]
    fn plan_of_another_file_is_refused_with_what_has_changed() {
        assert!(plan("1").still_fits(&plan("1")).is_ok());
        let error = plan("1").still_fits(&plan("2")).unwrap_err();
        assert_eq!(
            (error.code, error.causes.as_slice()),
            ("plan-outdated", &["the cluster file has changed".to_owned()][..])
        );
        let mut other = plan("1");
        (other.cluster, other.digests.terraform) = ("x".into(), "9".into());
        assert_eq!(plan("1").still_fits(&other).unwrap_err().causes.len(), 2);
    }

    #[test]
    fn plan_that_was_written_is_read_again_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        plan("1").write(&path).unwrap();
        assert_eq!(SavedPlan::read(&path).unwrap(), plan("1"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, r#"{"version": 2}"#).unwrap();
        assert_eq!(SavedPlan::read(&path).unwrap_err().code, "plan-file");
    }
}
