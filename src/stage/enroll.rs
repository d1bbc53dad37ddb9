//! Fleet -> the same machines, each known by its host key, past its first boot, and open to hactl.
//!
//! A host key is given by the platform, or recorded at first contact; then it is pinned in `NAME.secrets.age`, so that
//! another runner knows it too. It is forgotten before Terraform makes its machine anew, and by `hactl secrets NAME
//! host-keys forget`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::{
    context::{Context, RunContext},
    deployment::Cluster,
    error::{Error, Result},
    event::Stage,
    fleet::{Fleet, FleetNode, Hop, SshTarget},
    model::{ClusterName, Platform, SshKeySource},
    secrets::{ClientFiles, HostKeys, SshIdentities, Vault},
    ssh::{self, Finished, PrivateKey, Remote, SshKeys},
};

/// How long a machine may take from Terraform's word until it lets hactl in.
const ARRIVES_WITHIN: Duration = Duration::from_secs(180);

/// The same for one that was met before, and may be starting again.
const ANSWERS_AT_LAST: Duration = Duration::from_secs(30);

/// The same for one that was there before anybody asked it: what the file says of it may be wrong.
const ANSWERS_AT_FIRST: Duration = Duration::from_secs(10);

/// How long cloud-init may take from there.
const FIRST_BOOT_WITHIN: Duration = Duration::from_secs(600);

/// What is known of machines that were not met before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// They were made just now: their first boot may go on, and nobody knows them.
    New,
    /// They were there: what does not let in now will not, and the user may know them.
    There,
}

/// The pause before a machine that ended a session is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a small question may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What opens the machines of a cluster.
///
/// # Errors
/// When the user's key cannot be read.
pub(crate) fn keys(context: &Context, platform: &Platform, vault: &Vault) -> Result<SshKeys> {
    let key = users_key(context, platform)?.unwrap_or_else(|| vault.ssh_key().private.clone().into());
    Ok(SshKeys::new(key, &context.env))
}

/// The user's key that opens the machines; none where that is hactl's own.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn users_key(context: &Context, platform: &Platform) -> Result<Option<PrivateKey>> {
    Ok(Some(match platform.ssh().key {
        SshKeySource::Vault => return Ok(None),
        SshKeySource::User => PrivateKey::of_the_user(&context.env)?,
        SshKeySource::Agent => PrivateKey::Agent,
        SshKeySource::File(path) => PrivateKey::read(&ssh::expanded(&path, &context.env))?,
    }))
}

/// The same for programs that read files.
pub(crate) fn identities(context: &Context, cluster: &Cluster) -> SshIdentities {
    let machine = match cluster.plan.platform.ssh().key {
        SshKeySource::Vault => Some(cluster.dir().client().join(ClientFiles::SSH_KEY)),
        SshKeySource::User | SshKeySource::Agent => None,
        SshKeySource::File(path) => Some(ssh::expanded(&path, &context.env)),
    };
    SshIdentities { machine, bastion: ssh::user_key_files(&context.env) }
}

/// The public keys that new machines let in: hactl's own, and those by which the file says that it comes.
///
/// # Errors
/// When the user's key cannot be read, or the agent has none.
pub(crate) fn authorized_keys(context: &Context, platform: &Platform, vault: &Vault) -> Result<Vec<String>> {
    let mut authorized = vec![vault.ssh_key().public.clone()];
    // Machines that exist let somebody in already.
    if !matches!(platform, Platform::Hosts(_))
        && let Some(key) = users_key(context, platform)?
    {
        authorized.extend(key.public()?);
    }
    Ok(authorized)
}

/// Waits until every machine that has a role lets hactl in, and records what was learnt of them. The platform of local
/// nodes has done all that already.
///
/// # Errors
/// With every machine that does not, and what was last seen of it.
pub(crate) async fn reach(run: &RunContext, cluster: &Cluster, vault: &mut Vault, fleet: Fleet) -> Result<Fleet> {
    let platform = &cluster.plan.platform;
    if matches!(platform, Platform::Local(_)) {
        return Ok(fleet);
    }
    let context = &run.context;
    let keys = keys(context, platform, vault)?;
    let origin = if matches!(platform, Platform::Hosts(_)) { Origin::There } else { Origin::New };
    let mut known = vault.host_keys().clone();
    let reached = tokio::select! {
        reached = meet(context, fleet, &mut known, &keys, origin) => reached,
        () = context.stop.cancelled() => Err(Error::interrupted("reach the machines of", cluster.name())),
    };
    // Also where one of them did not let us in: the others are known from now on.
    vault.pin_host_keys(known)?;
    reached
}

/// Meets every machine of `fleet` at once, but those without a role: what becomes of them is not hactl's business.
///
/// # Errors
/// With every machine that does not let hactl in.
async fn meet(
    context: &Context,
    mut fleet: Fleet,
    known: &mut HostKeys,
    keys: &SshKeys,
    origin: Origin,
) -> Result<Fleet> {
    known.machines.retain(|key, _| fleet.nodes.contains_key(key));
    bastions(context, &mut fleet, known).await?;
    let met = join_all(fleet.nodes.values().filter(|node| !node.node.roles.is_empty()).map(async |node| {
        let arrived = known.machines.get(node.key()).filter(|pinned| {
            // A platform that knows the key goes first: another one is another machine.
            node.ssh.host_key.as_ref().is_none_or(|given| same(given, pinned))
        });
        (node.key().clone(), arrive(context, &fleet.cluster, node, arrived.cloned(), keys, origin).await)
    }))
    .await;
    let mut errors = Vec::new();
    for (key, arrived) in met {
        match arrived {
            Ok(host_key) => {
                if let Some(node) = fleet.nodes.get_mut(&key) {
                    node.ssh.host_key = Some(host_key.clone());
                }
                known.forgotten.remove(key.as_str());
                known.machines.insert(key, host_key);
            }
            Err(error) => errors.push(error),
        }
    }
    match errors.len() {
        0 => Ok(fleet),
        1 => Err(errors.remove(0)),
        count => {
            let all = Error::failed("ssh", "reach by SSH", format!("{count} machines of {}", fleet.cluster));
            let mut hints: Vec<String> = errors.iter().filter_map(|error| error.hint.clone()).collect();
            hints.sort();
            hints.dedup();
            let said = |error: &Error| format!("{}: {}", error.object, error.causes.join("; "));
            Err(errors.iter().map(said).fold(all, Error::cause).hint(hints.join("\n")))
        }
    }
}

/// Records the host keys of bastions. Those are the user's own machines, whose file of known hosts may have them.
async fn bastions(context: &Context, fleet: &mut Fleet, known: &mut HostKeys) -> Result<()> {
    let user_hosts = ssh::home(&context.env).join(".ssh/known_hosts");
    let mut used = BTreeMap::new();
    let met = fleet.nodes.values_mut().filter(|node| !node.node.roles.is_empty());
    for hop in met.filter_map(|node| node.ssh.bastion.as_mut()) {
        let place = format!("{}:{}", hop.host, hop.port);
        let key = match used.get(&place).or_else(|| known.bastions.get(&place)) {
            Some(key) => key.clone(),
            None => first_contact(context, hop, &place, &user_hosts).await?,
        };
        hop.host_key = Some(key.clone());
        used.insert(place, key);
    }
    known.forgotten.retain(|name, _| !used.contains_key(name));
    known.bastions = used;
    Ok(())
}

async fn first_contact(context: &Context, hop: &Hop, place: &str, user_hosts: &std::path::Path) -> Result<String> {
    let shown = ssh::first_contact(&hop.host, hop.port, user_hosts).await?;
    if !shown.known {
        let step = format!("bastion {place}: host key recorded at first contact: {}", shown.fingerprint);
        context.events.step(Stage::Provision, None, step).await;
    }
    Ok(shown.key)
}

/// Waits until a machine lets hactl in; gives its host key. One that was not met before is waited for until its first
/// boot is over and sudo works there, so that one whose key is recorded needs none of that any more.
async fn arrive(
    context: &Context,
    cluster: &ClusterName,
    node: &FleetNode,
    met: Option<String>,
    keys: &SshKeys,
    origin: Origin,
) -> Result<String> {
    let began = Instant::now();
    let key = node.key();
    let mut target = node.ssh.clone();
    target.host_key = met.clone().or(target.host_key);
    if origin == Origin::There && target.host_key.is_none() && target.bastion.is_none() {
        target.host_key = known_to_the_user(context, &target).await?;
    }
    let (patience, fresh) = match (origin, &met) {
        (Origin::New, _) => (ARRIVES_WITHIN, met.is_none()),
        (Origin::There, Some(_)) => (ANSWERS_AT_LAST, false),
        (Origin::There, None) => (ANSWERS_AT_FIRST.saturating_sub(began.elapsed()), false),
    };
    let saw = async |seen: &str| context.events.step(Stage::Provision, Some(key), format!("waiting: {seen}")).await;
    let arrived = Remote::arrive(key, &target, keys, patience, fresh, saw).await;
    let (remote, shown) = arrived.map_err(|error| match origin {
        Origin::There => not_let_in(strange(error, cluster, node), node),
        Origin::New => strange(error, cluster, node),
    })?;
    if met.is_some() {
        return Ok(shown);
    }
    let remote = first_boot(context, node, remote, keys).await?;
    may_become_root(node, &remote).await?;
    let shown = match target.host_key {
        Some(_) => shown,
        None => settled(node, &remote, shown, keys).await?,
    };
    let fingerprint = ssh::fingerprint(&shown);
    context.events.step(Stage::Provision, Some(key), format!("host key recorded: {fingerprint}")).await;
    Ok(shown)
}

/// The host key of a machine that the user's own file of known hosts has. One that does not answer is waited for later.
async fn known_to_the_user(context: &Context, target: &SshTarget) -> Result<Option<String>> {
    let user_hosts = ssh::home(&context.env).join(".ssh/known_hosts");
    match ssh::first_contact(&target.host, target.port, &user_hosts).await {
        Ok(shown) => Ok(shown.known.then_some(shown.key)),
        Err(error) if error.code == ssh::OTHER_HOST_KEY => Err(error),
        Err(_) => Ok(None),
    }
}

/// Adds what to do about a host key that is not the pinned one.
fn strange(error: Error, cluster: &ClusterName, node: &FleetNode) -> Error {
    if error.code != ssh::OTHER_HOST_KEY {
        return error;
    }
    let bastion = node.ssh.bastion.as_ref().map(|hop| format!("{}:{}", hop.host, hop.port));
    let bastion =
        bastion.filter(|place| error.causes.iter().any(|cause| cause.starts_with(&format!("bastion {place} "))));
    let name = bastion.unwrap_or_else(|| node.key().to_string());
    let why = error.hint.clone().unwrap_or_default();
    error.hint(format!(
        "{why}. If you made it anew: `hactl secrets {cluster} host-keys forget {name}`, and `hactl up {cluster}`"
    ))
}

/// Adds what to do where a machine that was there does not know the user or the key.
fn not_let_in(error: Error, node: &FleetNode) -> Error {
    let by_bastion = error.causes.iter().any(|cause| cause.starts_with("bastion "));
    if error.code != ssh::KEY_REFUSED || by_bastion {
        return error;
    }
    let user = &node.ssh.user;
    error.hint(format!(
        "`ssh` of the platform in the cluster file has `user` and `key`: the key's public side must be in \
         ~/.ssh/authorized_keys of user {user}. `ssh -v -i KEY {user}@ADDRESS` shows what ssh itself does"
    ))
}

/// Waits for cloud-init, where there is one, also beyond a restart that belongs to it. What it complains of is a
/// warning: what is really needed shows later.
async fn first_boot(context: &Context, node: &FleetNode, mut remote: Remote, keys: &SshKeys) -> Result<Remote> {
    const WAIT: &str = "cloud-init status --wait >/dev/null 2>&1;";
    let status = async |remote: &Remote, wait: &str, patience| {
        let script = format!(
            "command -v cloud-init >/dev/null || exit 0; {wait} cloud-init status --long; \
             cloud-init status >/dev/null 2>&1"
        );
        remote.run_as_user(&script, b"", patience).await
    };
    context.events.step(Stage::Provision, Some(node.key()), "let in; waiting for its first boot to end").await;
    let deadline = Instant::now() + FIRST_BOOT_WITHIN;
    let done = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match status(&remote, WAIT, left).await {
            Ok(done) => break done,
            // The session ended: the machine restarts, or its network does.
            Err(_) if Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
                let left = ARRIVES_WITHIN.min(deadline.saturating_duration_since(Instant::now()));
                (remote, _) = Remote::arrive(node.key(), &node.ssh, keys, left, true, async |_| ()).await?;
            }
            Err(error) => {
                let last = status(&remote, "", ANSWERS_WITHIN).await;
                let last = last.map_or_else(|_| error.causes.join("; "), |done| one_line(&done));
                return Err(Error::failed("cloud-init", "see the first boot end of", node.key())
                    .cause(format!("cloud-init was not done within {} s", FIRST_BOOT_WITHIN.as_secs()))
                    .cause(format!("last seen: {last}"))
                    .hint("/var/log/cloud-init-output.log there says what it waits for; the same command carries on"));
            }
        }
    };
    if done.status != 0 {
        let hint = "/var/log/cloud-init-output.log there says more".to_owned();
        let message = format!("{}: cloud-init is not content: {}", node.key(), one_line(&done));
        context.events.warn("cloud-init", message, Some(hint)).await;
    }
    Ok(remote)
}

fn one_line(done: &Finished) -> String {
    let words: Vec<&str> = done.stdout.split_whitespace().chain(done.stderr.split_whitespace()).collect();
    words.join(" ")
}

/// Whether commands can be run as root there.
async fn may_become_root(node: &FleetNode, remote: &Remote) -> Result<()> {
    let uid = asked_as_root(node, remote, "id -u", ANSWERS_WITHIN).await?;
    if uid.trim() == "0" { Ok(()) } else { Err(no_root(node, &uid)) }
}

/// What a script prints as root there, which fails only where nobody becomes root.
pub(crate) async fn asked_as_root(
    node: &FleetNode,
    remote: &Remote,
    script: &str,
    patience: Duration,
) -> Result<String> {
    let done = remote.run(script, b"", patience).await?;
    if done.status == 0 { Ok(done.stdout) } else { Err(no_root(node, &one_line(&done))) }
}

fn no_root(node: &FleetNode, said: &str) -> Error {
    let user = &node.ssh.user;
    Error::failed("sudo", "become root on", node.key())
        .cause(format!("`sudo -n` as user {user}: {}", said.trim()))
        .hint(format!(
            "user {user} needs sudo without a password: a line `{user} ALL=(ALL) NOPASSWD:ALL` in /etc/sudoers.d, \
             as cloud images have it for their own user"
        ))
}

/// The host key as it is after the first boot, which may have made it anew since it was shown.
async fn settled(node: &FleetNode, remote: &Remote, shown: String, keys: &SshKeys) -> Result<String> {
    let done = remote.run_as_user("cat /etc/ssh/ssh_host_*_key.pub", b"", ANSWERS_WITHIN).await?;
    let own = |shown: &str| done.stdout.lines().any(|line| same(line, shown));
    if done.stdout.trim().is_empty() || own(&shown) {
        return Ok(shown);
    }
    let (_, again) = Remote::arrive(node.key(), &node.ssh, keys, ANSWERS_WITHIN, true, async |_| ()).await?;
    // One that stays as it was is kept elsewhere.
    if own(&again) || again == shown {
        return Ok(again);
    }
    Err(Error::failed("host-key", "learn the host key of", node.key())
        .cause("its sshd shows another key each time, and none that the files in /etc/ssh hold")
        .hint("restart sshd there, and run the same command again"))
}

/// Whether two lines are the same public key, whatever comments they carry.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().take(2).eq(other.split_whitespace().take(2))
}

#[cfg(test)]
mod tests {
    //! Against sshd on loopback, as the machine that it is.

    use std::{
        fs,
        net::{Ipv4Addr, TcpListener},
        os::unix::fs::PermissionsExt,
        process::{Child, Command, Stdio},
    };

    use super::*;
    use crate::{
        context::Dirs,
        event::{Event, Events},
        model::{InstanceKey, Secret},
        plan::Node,
    };

    struct Sshd {
        child: Child,
        port: u16,
        dir: tempfile::TempDir,
    }

    impl Drop for Sshd {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn keygen(path: &std::path::Path) {
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
        assert!(made.unwrap().success());
    }

    /// Lets `key` in, and finds programs in its own directory first.
    fn sshd(key: &std::path::Path, port: Option<u16>) -> Sshd {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("host"));
        let port = port.unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {1}.pub\nStrictModes no\n\
             UsePAM no\nPidFile none\nSetEnv PATH={0}:/usr/bin:/bin\n",
            dir.path().display(),
            key.display()
        );
        fs::write(dir.path().join("config"), config).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(dir.path().join("config")).stderr(Stdio::null());
        let sshd = Sshd { child: command.spawn().expect("openssh-server is installed"), port, dir };
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        sshd
    }

    impl Sshd {
        fn program(&self, name: &str, script: &str) {
            let path = self.dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn me() -> String {
        nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name
    }

    fn fleet(machines: &[(&str, &Sshd)], bastion: Option<&Sshd>) -> Fleet {
        let nodes = machines.iter().map(|(name, sshd)| {
            let key = InstanceKey::new(*name).unwrap();
            let node = Node {
                key: key.clone(),
                hostname: crate::model::HostName::new(format!("pg-{name}")).unwrap(),
                roles: [crate::model::Role::Patroni].into(),
                memory_mib: 1,
                cores: 1,
                disk_gb: None,
                address_index: 10,
            };
            let hop = |sshd: &Sshd| Hop { user: me(), host: "127.0.0.1".into(), port: sshd.port, host_key: None };
            let ssh = SshTarget {
                host: "127.0.0.1".into(),
                port: sshd.port,
                user: me(),
                sudo: false,
                host_key: None,
                bastion: bastion.map(hop),
            };
            (key, FleetNode { node, address: Ipv4Addr::LOCALHOST, machine_id: None, ssh, found: None })
        });
        Fleet { cluster: ClusterName::new("pg").unwrap(), nodes: nodes.collect() }
    }

    struct Site {
        dir: tempfile::TempDir,
        keys: SshKeys,
        known: HostKeys,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            keygen(&dir.path().join("id"));
            let keys = SshKeys::from(Secret::new(fs::read_to_string(dir.path().join("id")).unwrap()));
            Self { dir, keys, known: HostKeys::default() }
        }

        fn id(&self) -> std::path::PathBuf {
            self.dir.path().join("id")
        }

        /// What became of it, and what was said meanwhile.
        async fn meet(&mut self, fleet: Fleet) -> (Result<Fleet>, String) {
            self.meet_from(fleet, Origin::New).await
        }

        async fn meet_from(&mut self, fleet: Fleet, origin: Origin) -> (Result<Fleet>, String) {
            let (events, mut receiver) = Events::channel();
            let env = BTreeMap::from([("HOME".to_owned(), self.dir.path().display().to_string())]);
            let context = Context { dirs: Dirs::new(self.dir.path(), &env), env, events, stop: Default::default() };
            let listening = tokio::spawn(async move {
                let mut said = String::new();
                while let Some(event) = receiver.recv().await {
                    if let Event::Step { step: text, .. } | Event::Warning { message: text, .. } = &event {
                        said.push_str(text);
                        said.push('\n');
                    }
                }
                said
            });
            let met = meet(&context, fleet, &mut self.known, &self.keys, origin).await;
            drop(context);
            (met, listening.await.unwrap())
        }
    }

    #[tokio::test]
    async fn machines_are_met_once_and_known_from_then_on() {
        let mut site = Site::new();
        let (one, two, bastion) = (sshd(&site.id(), None), sshd(&site.id(), None), sshd(&site.id(), None));
        // As cloud-init speaks, which is not done when SSH first answers.
        one.program(
            "cloud-init",
            "if [ \"$2\" = --wait ]; then sleep 1; [ -e \"$0.cut\" ] || { touch \"$0.cut\"; kill $(ps -o ppid= $PPID); }; \
             touch \"$0.done\"; fi\n\
             if [ -e \"$0.done\" ]; then echo 'status: done'; else echo 'status: running'; fi",
        );
        two.program("cloud-init", "echo 'status: error'; echo 'detail: no such package'; exit 1");
        let machines = [("one", &one), ("two", &two)];
        let (met, said) = site.meet(fleet(&machines, Some(&bastion))).await;
        let met = met.unwrap();
        assert!(one.dir.path().join("cloud-init.done").exists(), "{said}");
        assert!(said.contains("two: cloud-init is not content: status: error detail: no such package"), "{said}");
        assert!(said.contains("host key recorded at first contact: SHA256:"), "{said}");
        assert_eq!((site.known.machines.len(), site.known.bastions.len()), (2, 1));
        for node in met.nodes.values() {
            assert_eq!(node.ssh.host_key.as_ref(), site.known.machines.get(node.key()));
            assert!(node.ssh.bastion.as_ref().unwrap().host_key.is_some());
        }

        // Known ones are asked nothing more.
        fs::remove_file(one.dir.path().join("cloud-init.done")).unwrap();
        let known = site.known.clone();
        let (again, said) = site.meet(fleet(&machines, Some(&bastion))).await;
        assert_eq!((again.unwrap(), &site.known, said.as_str()), (met, &known, ""));
        assert!(!one.dir.path().join("cloud-init.done").exists());

        // Another machine at the same address is refused, until it is known to be meant.
        let port = two.port;
        drop(two);
        let two = sshd(&site.id(), Some(port));
        let machines = [("one", &one), ("two", &two)];
        let (refused, _) = site.meet(fleet(&machines, Some(&bastion))).await;
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("another host key") && error.contains("`hactl secrets pg host-keys forget two`"),
            "{error}"
        );
        assert_eq!(site.known, known);
        assert!(site.known.forget("two"));
        let (met, said) = site.meet(fleet(&machines, Some(&bastion))).await;
        assert!(met.is_ok() && said.contains("host key recorded"), "{said}");
        assert_ne!(site.known, known);

        // Nobody waits for one without a role.
        let mut plain = fleet(&[("one", &one), ("two", &two)], Some(&bastion));
        drop(two);
        plain.nodes.values_mut().last().unwrap().node.roles.clear();
        let (met, _) = site.meet(plain).await;
        assert!(met.unwrap().nodes.values().last().unwrap().ssh.host_key.is_none());

        // A machine that is gone is forgotten, and so is a bastion that is not used any more.
        let (met, _) = site.meet(fleet(&[("one", &one)], None)).await;
        assert!(met.is_ok());
        assert_eq!((site.known.machines.len(), site.known.bastions.len()), (1, 0));
    }

    #[tokio::test]
    async fn a_key_that_the_platform_gives_goes_before_the_one_that_was_recorded() {
        let mut site = Site::new();
        let one = sshd(&site.id(), None);
        let shown = fs::read_to_string(one.dir.path().join("host.pub")).unwrap();
        let mut fleet = fleet(&[("one", &one)], None);
        let key = InstanceKey::new("one").unwrap();
        fleet.nodes.get_mut(&key).unwrap().ssh.host_key = Some(shown.clone());
        site.known.machines.insert(key.clone(), "ssh-ed25519 AAAA".to_owned());
        let (met, said) = site.meet(fleet.clone()).await;
        assert!(met.is_ok() && same(&site.known.machines[&key], &shown), "{said}");

        // And what the platform says must be so.
        fleet.nodes.get_mut(&key).unwrap().ssh.host_key =
            Some("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f".to_owned());
        let (refused, _) = site.meet(fleet).await;
        assert!(refused.unwrap_err().to_string().contains("another host key"));
    }

    #[tokio::test]
    async fn the_bastion_of_a_user_is_known_to_their_own_ssh() {
        let mut site = Site::new();
        let (one, bastion) = (sshd(&site.id(), None), sshd(&site.id(), None));
        fs::create_dir(site.dir.path().join(".ssh")).unwrap();
        let other = fs::read_to_string(one.dir.path().join("host.pub")).unwrap();
        let line = format!("[127.0.0.1]:{} {other}", bastion.port);
        fs::write(site.dir.path().join(".ssh/known_hosts"), line).unwrap();
        let (met, _) = site.meet(fleet(&[("one", &one)], Some(&bastion))).await;
        let error = met.unwrap_err().to_string();
        assert!(error.contains("another host key") && error.contains("known_hosts"), "{error}");
    }

    #[tokio::test]
    async fn a_machine_that_was_there_is_known_to_the_user_and_lets_in_at_once_or_not_at_all() {
        let mut site = Site::new();
        let one = sshd(&site.id(), None);
        let shown = fs::read_to_string(one.dir.path().join("host.pub")).unwrap();
        fs::create_dir(site.dir.path().join(".ssh")).unwrap();
        let known_hosts = site.dir.path().join(".ssh/known_hosts");
        fs::write(&known_hosts, format!("[127.0.0.1]:{} {shown}", one.port)).unwrap();
        let (met, said) = site.meet_from(fleet(&[("one", &one)], None), Origin::There).await;
        assert!(met.is_ok() && site.known.machines.len() == 1, "{said}");

        // Another key than the user knows is refused; a machine that was just made has no place in that file.
        site.known = HostKeys::default();
        fs::remove_file(site.id().with_extension("pub")).unwrap();
        keygen(&site.dir.path().join("other"));
        let other = fs::read_to_string(site.dir.path().join("other.pub")).unwrap();
        fs::write(&known_hosts, format!("[127.0.0.1]:{} {other}", one.port)).unwrap();
        let (met, _) = site.meet_from(fleet(&[("one", &one)], None), Origin::There).await;
        let error = met.unwrap_err();
        assert!(error.code == ssh::OTHER_HOST_KEY && error.to_string().contains("known_hosts"), "{error}");

        // No first boot will bring a key that it does not let in now.
        fs::remove_file(&known_hosts).unwrap();
        let began = Instant::now();
        let (met, _) = site.meet_from(fleet(&[("one", &one)], None), Origin::There).await;
        assert!(met.unwrap_err().to_string().contains("refused the key") && began.elapsed().as_secs() < 10);
    }
}
