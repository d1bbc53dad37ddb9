//! The cluster off machines that stay: its services are stopped and disabled, and its data goes only when that was asked.

use std::{fmt::Write as _, time::Duration};

use futures_util::future::join_all;

use super::{
    enroll, own_module,
    ownership::{MARK, Mark},
};
use crate::{
    context::Context,
    context::RunContext,
    deployment::{Cluster, Deployment, lock::ClusterLock, ssh_keys},
    error::{Error, Result},
    event::Stage,
    fleet::{Fleet, FleetNode, Outputs},
    model::{InstanceKey, Platform},
    platform::hosts,
    secrets::Vault,
    ssh::Remote,
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
    /// Machines that stay as they are, since they do not answer any more.
    pub leave: Vec<InstanceKey>,
}

/// How long a machine may take to let hactl in.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);

/// How long a step may take there: PostgreSQL writes its last checkpoint.
const STOPS_WITHIN: Duration = Duration::from_secs(180);

/// Stops units that are there, in this order, and for good.
const STOP: &str = r#"
stop() {
  for unit; do
    systemctl cat "$unit" >/dev/null 2>&1 || continue
    systemctl disable --quiet --now "$unit" || exit 1
  done
}
data=$(sed -n 's/^ *data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml 2>/dev/null)
"#;

/// What beside Patroni acts on PostgreSQL or etcd; then the replicas, so that no other one is promoted.
const REPLICAS: &str = r#"
stop hactl-etcd-leader-away.timer hactl-lease-guard.service
if [ -n "$data" ] && [ -e "$data/standby.signal" ]; then stop patroni.service; fi
"#;

/// The primary; and a PostgreSQL whose Patroni was gone before.
const PRIMARY: &str = r#"
stop patroni.service
if [ -n "$data" ] && [ -e "$data/postmaster.pid" ]; then
  bin=$(sed -n 's/^ *bin_dir: "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/patroni/patroni.yml)
  if runuser -u postgres -- "$bin/pg_ctl" -D "$data" status >/dev/null; then
    runuser -u postgres -- "$bin/pg_ctl" -D "$data" -m fast -w -t 120 stop >/dev/null || exit 1
  fi
fi
"#;

/// The mark stays as long as the data does; the digest would say that all is well.
const ETCD: &str = r#"
stop etcd.service
rm -f /etc/hactl/digest
for unit in patroni etcd hactl-lease-guard; do
  if systemctl --quiet is-active "$unit"; then echo "$unit is still active" >&2; exit 1; fi
done
"#;

/// Everything that hactl has put there, but for packages and programs. The mark goes last, and only with all the rest: a
/// directory whose file system is its own stays, without what was in it.
const WIPE: &str = r#"
set -e
empty() {
  if [ -d "$1" ]; then find "$1/" -mindepth 1 -delete; fi
  mountpoint -q "$1" || rm -rf -- "$1"
}
etcd=$(sed -n 's/^data-dir: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/etcd/etcd.conf.yml 2>/dev/null || true)
case $data in /?*/?*) empty "$data"; rm -rf -- "$data".unfinished-* ;; esac
case $etcd in /?*/?*) rm -rf -- "$etcd/member" ;; esac
rm -rf /etc/patroni /etc/etcd
rm -f /etc/systemd/system/patroni.service /etc/systemd/system/etcd.service \
  /etc/systemd/system/hactl-lease-guard.service /etc/systemd/system/hactl-etcd-leader-away.service \
  /etc/systemd/system/hactl-etcd-leader-away.timer
systemctl daemon-reload
rm -f @MARK@
rmdir /etc/hactl 2>/dev/null || true
"#;

/// The machines that the cluster is taken off, as the last run left them; where that is not known here, as the file or the
/// module tells of them.
///
/// # Errors
/// When the record of the machines cannot be read, or the module does not tell.
pub(crate) async fn machines(context: &Context, deployment: &mut Deployment) -> Result<Fleet> {
    if let Some(fleet) = deployment.known.fleet_if_any()? {
        return Ok(fleet.clone());
    }
    let outputs = match deployment.cluster.plan.platform.clone() {
        Platform::Hosts(machines) => hosts::as_written(&machines),
        Platform::Terraform(module) => {
            let (_server, module) = own_module::open_module(context, deployment, &module).await?;
            module.outputs(context, &deployment.cluster.plan).await?
        }
        Platform::Local(_) | Platform::Proxmox(_) | Platform::Adopted(_) => Outputs::new(),
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
        let remote = Remote::connect(node.key(), &node.ssh, &keys, ARRIVES_WITHIN).await?;
        let said =
            enroll::output_as_root(node, &remote, &format!("cat {MARK} 2>/dev/null || true"), ARRIVES_WITHIN).await?;
        // Another's, or none: there is nothing of this cluster.
        let mark = serde_json::from_str::<Mark>(&said).ok();
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
        let error = Error::failed("machine-silent", "take the cluster off all machines of", cluster.name());
        let error = errors
            .iter()
            .map(|error| format!("{}: {}", error.object, error.causes.join("; ")))
            .fold(error, Error::cause);
        let leave = errors.iter().map(|error| format!(" --leave {}", error.object)).collect::<String>();
        return Err(error.hint(format!(
            "nothing was stopped yet. `hactl down {}{leave}{}` leaves as it is what is gone for good",
            cluster.name(),
            if request.wipe_data { " --wipe-data" } else { "" }
        )));
    }
    let step = async |words: &str, script: &str| {
        context.events.step(Stage::Destroy, None, words).await;
        let script = whole(script);
        let acted = join_all(machines.iter().map(async |(node, remote)| act(node, remote, &script).await));
        let acted = async { acted.await.into_iter().collect::<Result<()>>() };
        // Also before the step: what stops this run may have come while no step waited for it.
        context.interruptible("take the cluster off the machines of", cluster.name(), acted).await
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
    format!("{STOP}{step}").replace("@MARK@", MARK)
}

async fn act(node: &FleetNode, remote: &Remote, script: &str) -> Result<()> {
    let done = remote.run(script, b"", STOPS_WITHIN).await?;
    if done.status == 0 {
        return Ok(());
    }
    Err(Error::failed("machine-release", "take the cluster off", node.key())
        .cause(done.stderr.trim())
        .hint("`systemctl status patroni etcd` there says more; the same command carries on"))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn the_mark_stays_until_the_data_is_gone() {
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
            assert!(
                mark.exists() && path("etc/patroni/patroni.yml").exists(),
                "{busy}: nobody knows of the data any more"
            );
        }
        for _ in 0..2 {
            let done = run("nothing");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let left = |dir: &str| fs::read_dir(path(dir)).map(Iterator::count).ok();
        assert_eq!((left("pg"), left("etcd"), left("etc")), (Some(0), Some(0), Some(0)));
    }
}
