//! Takes the cluster off machines that stay: stops and disables its services, and removes its data only on request.

use std::{fmt::Write as _, time::Duration};

use futures_util::future::join_all;

use super::{
    enroll, own_module,
    ownership::{MARK, OwnershipMarker},
};
use crate::{
    component::{self, COMPONENTS},
    context::Context,
    context::RunContext,
    deployment::{Cluster, Deployment, lock::ClusterLock, ssh_keys},
    error::{Error, Result},
    event::Stage,
    fleet::{Fleet, FleetNode, Outputs},
    model::InstanceKey,
    platform::hosts,
    secrets::Vault,
    ssh::{Remote, for_sh},
};

/// What is asked of a teardown.
#[derive(Clone, Debug, Default)]
pub struct TeardownRequest {
    /// Run records and the age key go, too.
    pub purge: bool,
    /// `NAME.secrets.age` goes, too.
    pub secrets: bool,
    /// Data goes from machines that stay.
    pub wipe_data: bool,
    /// Machines to leave as they are, because they no longer answer.
    pub leave: Vec<InstanceKey>,
}

/// How long an SSH login may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a step may take there: PostgreSQL writes its last checkpoint.
const STOPS_WITHIN: Duration = Duration::from_secs(180);

/// What beside Patroni acts on PostgreSQL or etcd; then the replicas, so that no other one is promoted.
const REPLICAS: &str = "replicas";

/// The primary, and a PostgreSQL whose Patroni ended before it.
const PRIMARY: &str = "primary";

/// etcd, and what says that the machine is configured.
const ETCD: &str = "dcs";

/// Everything that hactl has put there, except packages and programs. The mark goes last, and only with all the rest.
const WIPE: &str = "wipe";

/// The machines that the cluster is taken off, as the last run left them; where that is not known here, as the file or the
/// module tells of them.
///
/// # Errors
/// When the record of the machines cannot be read, or the module does not tell.
pub(crate) async fn machines(context: &Context, deployment: &mut Deployment) -> Result<Fleet> {
    if let Some(fleet) = deployment.known.fleet_if_any()? {
        return Ok(fleet.clone());
    }
    let platform = &deployment.cluster.plan.platform;
    let outputs = match (platform.hosts(), platform.own_module().cloned()) {
        (Some(machines), _) => hosts::as_written(machines),
        (None, Some(module)) => {
            let (_server, module) = own_module::open_module(context, deployment, &module).await?;
            module.outputs(context, &deployment.cluster.plan).await?
        }
        (None, None) => Outputs::new(),
    };
    let plan = &deployment.cluster.plan;
    let fleet = Fleet::known(plan, &plan.nodes, &outputs);
    Ok(deployment.opened().map_or_else(|| fleet.clone(), |vault| known(fleet.clone(), vault)))
}

/// The same machines with the host keys that were recorded. One that was never met carries nothing of this cluster.
fn known(mut fleet: Fleet, vault: &Vault) -> Fleet {
    vault.host_keys().tell(&mut fleet);
    fleet.nodes.retain(|_, node| node.ssh.host_key.is_some());
    fleet
}

/// What will be done on each machine, in words.
pub(crate) fn said(fleet: &Fleet, request: &TeardownRequest) -> Vec<String> {
    let with_roles = fleet.nodes.values().filter(|node| !node.node.roles.is_empty());
    with_roles
        .map(|node| {
            let mut line = format!("{} ({})", node.key(), node.address);
            let what = match (request.leave.contains(node.key()), request.wipe_data) {
                (true, _) => "left as it is",
                (false, true) => "services stopped and removed, with their configuration and all data",
                (false, false) => "services stopped and disabled; data and configuration stay",
            };
            let _ = write!(line, ": {what}");
            line
        })
        .collect()
}

/// Takes the cluster off its machines, but for those that are to be left as they are. Whether any carried it. `lock` is
/// that in etcd, which goes before etcd does.
///
/// # Errors
/// Before anything is stopped when a machine does not answer; then when a service does not stop.
pub(crate) async fn decommission(
    run: &RunContext,
    cluster: &Cluster,
    fleet: &Fleet,
    vault: &Vault,
    request: &TeardownRequest,
    lock: &mut Option<ClusterLock>,
) -> Result<bool> {
    let context = &run.context;
    let keys = ssh_keys::load(context, &cluster.plan.platform, vault)?;
    let wanted = fleet.nodes.values().filter(|node| !node.node.roles.is_empty() && !request.leave.contains(node.key()));
    let met = join_all(wanted.map(async |node| {
        let remote = Remote::connect(node.key(), &node.ssh, &keys, CONNECT_TIMEOUT).await?;
        let said =
            enroll::output_as_root(node, &remote, &format!("cat {MARK} 2>/dev/null || true"), CONNECT_TIMEOUT).await?;
        // No mark, or that of another cluster: nothing of this cluster is there.
        let mark = serde_json::from_str::<OwnershipMarker>(&said).ok();
        Ok::<_, Error>(mark.is_some_and(|mark| mark.uuid == vault.uuid()).then_some((node, remote)))
    }));
    let mut errors = Vec::new();
    let mut machines = Vec::new();
    for met in met.await {
        match met {
            Ok(met) => machines.extend(met),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        let error = Error::failed("machine-silent", "decommission the machines of", cluster.name());
        let error = errors
            .iter()
            .map(|error| format!("{}: {}", error.object, error.causes.join("; ")))
            .fold(error, Error::cause);
        let leave = errors.iter().map(|error| format!(" --leave {}", error.object)).collect::<String>();
        return Err(error.hint(format!(
            "Run `hactl down {}{leave}{}` if these machines are gone for good; nothing was stopped yet",
            cluster.name(),
            if request.wipe_data { " --wipe-data" } else { "" }
        )));
    }
    let step = async |words: &str, script: &str| {
        context.events.step(Stage::Destroy, None, words).await;
        let removes = script == WIPE;
        let script = whole(script);
        let acted = join_all(machines.iter().map(async |(node, remote)| act(node, remote, &script).await));
        let acted = async { acted.await.into_iter().collect::<Result<()>>() };
        // A removal that has begun continues on the machine without this run: the locks are held until it has ended.
        if removes && !context.stop.is_cancelled() {
            return acted.await;
        }
        // Also before the step: the run may have been stopped between two steps.
        context.interruptible("decommission the machines of", cluster.name(), acted).await
    };
    if machines.is_empty() {
        return Ok(false);
    }
    step("stopping the replicas", REPLICAS).await?;
    step("stopping the primary", PRIMARY).await?;
    // etcd keeps its data: a lock that is held when it stops is there when it starts again.
    ClusterLock::give_back(lock.take(), Ok(())).await?;
    step("stopping etcd", ETCD).await?;
    if request.wipe_data {
        step("removing configuration and data", WIPE).await?;
    }
    Ok(true)
}

/// A step as it is run on a machine.
fn whole(step: &str) -> String {
    let functions: String = COMPONENTS.iter().flat_map(|component| [component.stop, component.wipe]).collect();
    let mut names: Vec<&str> = COMPONENTS.iter().map(|component| component.name).collect();
    // Patroni is stopped before PostgreSQL, which it would start again; data goes while etcd still knows of it.
    if step == WIPE {
        names.reverse();
    }
    let script = include_str!("decommission.sh").replace("@STEP@", step).replace("@MARK@", MARK);
    functions + &script.replace("@COMPONENTS@", &names.join(" "))
}

async fn act(node: &FleetNode, remote: &Remote, script: &str) -> Result<()> {
    let done = remote.run(&for_sh(script), b"", STOPS_WITHIN).await?;
    if done.status == 0 {
        return Ok(());
    }
    let units: Vec<&str> = component::units(node).collect();
    let hint = format!(
        "Run `systemctl status {}` on the machine for details, then run the same command again",
        units.join(" ")
    );
    Err(Error::failed("machine-release", "decommission", node.key()).cause(done.stderr.trim()).hint(hint))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn decommission_steps_stop_their_units_and_patroni_before_postgresql() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        for dir in ["data", "etc/patroni", "etc/hactl"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        let config = format!("postgresql:\n  data_dir: \"{}\"\n  bin_dir: \"/pg/bin\"\n", data.display());
        fs::write(root.path().join("etc/patroni/patroni.yml"), config).unwrap();
        fs::write(root.path().join("etc/hactl/digest"), "d").unwrap();
        fs::write(data.join("postmaster.pid"), "1").unwrap();
        // Prints what is done. Asked whether a unit is active, it says no, but of the one in $active.
        let fakes = "systemctl() { case \"$1 $2\" in 'cat '*) ;; '--quiet is-active') [ \"$3\" = \"$active\" ] ;; \
                     *) echo \"$1 $4\" ;; esac; }\nrunuser() { shift 3; echo \"$1 $4 $5\" >&2; }\n";
        let run = |active: &str, step: &str| {
            let text = whole(step).replace("/etc/", &root.path().join("etc/").display().to_string());
            let done = Command::new("sh").args(["-c", &format!("active={active}\n{fakes}{text}")]).output().unwrap();
            let said = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
            (done.status.success(), said.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("; "))
        };
        let helpers = "disable hactl-etcd-leader-away.timer; disable hactl-lease-guard.service";
        let (done, said) = run("", REPLICAS);
        assert!(done && said.starts_with(helpers) && !said.contains("patroni.service"), "{said}");
        let primary = "disable patroni.service; /pg/bin/pg_ctl status; /pg/bin/pg_ctl -m fast";
        assert_eq!(run("", PRIMARY), (true, primary.to_owned()));
        fs::write(data.join("standby.signal"), "").unwrap();
        let (done, said) = run("", REPLICAS);
        assert!(done && said.starts_with(&format!("{helpers}; disable patroni.service")), "{said}");
        let etcd = "disable hactl-firewall.service; disable etcd.service";
        assert_eq!(run("patroni", ETCD), (false, format!("{etcd}; patroni is still active")));
        assert!(!root.path().join("etc/hactl/digest").exists());
        assert_eq!(run("", ETCD), (true, etcd.to_owned()));
    }

    #[test]
    fn keys_of_backups_are_removed_although_the_programs_were_never_written() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("pgbackrest");
        let template = include_str!("../../roles/pgbackrest/templates/pgbackrest.conf.j2");
        for (config, stays) in [(template, false), ("[global]\nrepo1-path=/mnt\n", true)] {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("pgbackrest.conf"), config).unwrap();
            let etc = format!("{}/", root.path().display());
            let script = include_str!("../component/pgbackrest/wipe.sh")
                .replace("/etc/", &etc)
                .replace("/usr/local/sbin/", &etc);
            let done = Command::new("sh").args(["-c", &format!("{script}\npgbackrest_wipe configuration")]).status();
            assert!(done.unwrap().success());
            assert_eq!(dir.exists(), stays, "{config}");
        }
    }

    #[test]
    fn ownership_mark_is_removed_after_the_data() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for dir in ["etc/patroni", "etc/etcd", "etc/hactl", "pg/data/base", "pg/data.unfinished-1", "etcd/member"] {
            fs::create_dir_all(path(dir)).unwrap();
        }
        let data = path("pg/data").display().to_string();
        fs::write(path("etc/patroni/patroni.yml"), format!("  data_dir: \"{data}\"\n")).unwrap();
        fs::write(path("etc/etcd/etcd.conf.yml"), format!("data-dir: {}\n", path("etcd").display())).unwrap();
        let mark = root.path().join(MARK.trim_start_matches('/'));
        fs::write(&mark, "{}").unwrap();
        let run = |busy: &str| {
            let etc = path("etc/").display().to_string();
            let fails =
                format!("rm() {{ case \"$*\" in *{busy}) echo busy >&2; return 1 ;; esac; command rm \"$@\"; }}");
            let script = format!("systemctl() {{ :; }}\n{fails}\n{}", whole(WIPE).replace("/etc/", &etc));
            Command::new("sh").args(["-c", &script]).output().unwrap()
        };
        for busy in [data.as_str(), "etcd/member"] {
            let done = run(busy);
            assert_eq!((done.status.success(), done.stderr.as_slice()), (false, b"busy\n".as_slice()), "{busy}");
            assert!(mark.exists() && path("etc/patroni/patroni.yml").exists(), "{busy}: the data is no longer known");
        }
        for _ in 0..2 {
            let done = run("nothing");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let left = |dir: &str| fs::read_dir(path(dir)).map(Iterator::count).ok();
        assert_eq!((left("pg"), left("etcd"), left("etc")), (Some(0), Some(0), Some(0)));
    }
}
