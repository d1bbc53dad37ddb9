//! `hactl restore NAME --to NEW`: a new cluster that begins with the backups of another one. It has its own machines, secrets
//! and stanza, and only reads the repository of the other. `hactl clone` is the same with all that the other has now.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    backup::{archived, configured, look, primary},
    frame::{LockUse, Operation, Preflight, SecretsUse, perform},
    up::{UpRequest, converge},
};
use crate::{
    component::{
        pgbackrest::{self, Backups, Gap, Origin, Target, looks_apart},
        postgres,
    },
    context::{Context, RunContext},
    deployment::Deployment,
    error::{Error, Result},
    event::{Stage, Summary},
    health,
    model::{Account, Backup, RepositorySecret},
    terraform::Consent,
};

const RESTORE: Operation = Operation {
    command: "restore",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Announced,
    secrets: SecretsUse::Create,
    locks: LockUse::IfKnown,
};

const CLONE: Operation = Operation { command: "clone", ..RESTORE };

/// What is restored.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// How far; none for what the other cluster has now, which `hactl clone` makes.
    pub target: Option<Target>,
    /// Whether Ansible runs with Mitogen.
    pub mitogen: bool,
}

impl RestoreRequest {
    /// The command that makes it.
    #[must_use]
    pub const fn operation(&self) -> &'static Operation {
        match self.target {
            Some(_) => &RESTORE,
            None => &CLONE,
        }
    }
}

/// Makes the cluster of `deployment` from the backups of `source`.
///
/// # Errors
/// When the new cluster exists, the two do not fit, or the target is not in the backups: nothing was made then. Those of `up`.
pub async fn restore(
    run: &RunContext,
    deployment: Deployment,
    mut source: Deployment,
    RestoreRequest { target, mitogen }: RestoreRequest,
) -> Result<Summary> {
    let operation = RestoreRequest { target: target.clone(), mitogen }.operation();
    let done = perform(run, deployment, operation, async |acting| {
        let context = &run.context;
        fits(context, &mut acting.deployment, &mut source).await?;
        let seen = ask_source(context, &mut source).await?;
        let target = match target {
            Some(target) => target,
            None => run.stage(Stage::Backup, now(run, &mut source)).await?,
        };
        is_restorable(context, &source, &target, seen.as_ref()).await?;
        if let (Target::Time(_), Some(_)) = (&target, &seen) {
            pass_the_moment(run, &mut source).await;
        }
        let what = target.to_string();
        let origin = origin(context, &mut source, target, false).await?;
        let up = UpRequest {
            agreed: Consent::default(),
            mitogen,
            proof: false,
            may_interrupt: true,
            saved: None,
            origin: Some(origin),
        };
        let (mut outcome, _) = converge(acting, &up, async |_| Ok(true)).await?;
        let (name, from) = (acting.deployment.cluster.name(), source.cluster.name());
        outcome.message = format!(
            "{}\nIt has the data of {from} at {what}. Subscriptions in it are disabled and have no slot.",
            outcome.message
        );
        outcome.next.insert(0, format!("hactl backup now {name}"));
        Ok((outcome, ()))
    });
    Ok(done.await?.0)
}

/// Refuses what cannot become the new cluster, with every reason.
async fn fits(context: &Context, new: &mut Deployment, source: &mut Deployment) -> Result<()> {
    let uuids = (new.vault(context).await?.uuid(), source.vault(context).await?.uuid());
    let (name, from) = (new.cluster.name().clone(), source.cluster.name().clone());
    let mut causes = Vec::new();
    let (plan, other) = (&new.cluster.plan, &source.cluster.plan);
    if name == from {
        causes.push(format!(
            "{name} cannot be restored to itself: the new cluster needs a cluster file with another name"
        ));
    }
    if other.backup.is_none() {
        causes.push(format!("the cluster file of {from} has no `backup`"));
    }
    if plan.backup.is_none() {
        causes
            .push(format!("the cluster file of {name} has no `backup`: a restored cluster archives to its own stanza"));
    }
    if plan.postgres.major != other.postgres.major {
        let (new, old) = (plan.postgres.major, other.postgres.major);
        causes.push(format!("{name} has PostgreSQL {new}, and the backups are of PostgreSQL {old}"));
    }
    // A restored cluster has the system identifier of its source, so pgBackRest would take the WAL of both.
    if let (Some(own), Some(its)) = (&plan.backup, &other.backup) {
        let (own, its) = (own.places(&name, uuids.0), its.places(&from, uuids.1));
        if let Some((bucket, path, stanza)) = own.iter().find(|place| its.contains(place)) {
            causes.push(format!(
                "{name} and {from} would both write to the stanza {stanza} in {path} of the bucket {bucket}: set \
                 `backup.stanza` of {name} to another name"
            ));
        }
    }
    // A variable counts for every cluster that has such an account, and the passphrase of a repository cannot change.
    if let (Some(own), Some(its)) = (&plan.backup, &other.backup) {
        causes.extend(shared_passphrases(own, its, &context.env).map(|variable| {
            format!(
                "{variable} counts for {from} and for {name}, and each has a passphrase of its own: unset it, and keep the \
                 passphrases in the secrets files or give them by `secrets` in the cluster files"
            )
        }));
    }
    // Its machines generate the locale of their own file only.
    if let (Some(own), Some(its)) = (&plan.postgres.locale, &other.postgres.locale)
        && own.name != its.name
    {
        causes.push(format!("{name} has the locale {}, and the backups have {}", own.name, its.name));
    }
    if new.known.fleet_if_any()?.is_some() {
        let cluster = new.running(context).await?;
        let looked = async { Ok(health::observe(&cluster.fleet, &cluster.access).await) };
        let seen = context.interruptible("inspect the machines of", &name, looked).await?;
        if !health::with_data(&seen).is_empty() {
            causes.push(format!("{name} exists and has data: hactl restores only to a new cluster"));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let error = Error::failed("restore-refused", "restore", format!("{from} to {name}"));
    Err(causes.into_iter().fold(error, |error, cause| error.cause(cause)).hint(format!(
        "Write a cluster file for the new cluster, for example a copy of that of {from} with another `name`"
    )))
}

/// The variables that give the repositories of two clusters one passphrase.
fn shared_passphrases(own: &Backup, its: &Backup, env: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    let passphrases = |backup: &Backup| -> Vec<String> {
        let accounts = backup.accounts();
        let accounts = accounts.filter(|one| matches!(one, Account::Repository(_, RepositorySecret::Passphrase)));
        accounts.map(|account| account.variable()).collect()
    };
    let its = passphrases(its);
    passphrases(own).into_iter().filter(move |variable| its.contains(variable) && env.contains_key(variable))
}

/// What opens the repository of `source`.
pub(super) async fn origin(context: &Context, source: &mut Deployment, target: Target, own: bool) -> Result<Origin> {
    source.vault_with_given(context).await?;
    let (cluster, _, vault) = source.parts(context).await?;
    let backup = configured(&cluster.plan, "restore")?;
    let Some((name, repository)) = backup.repositories.iter().next() else {
        return Err(Error::failed("restore-refused", "restore", cluster.name()).cause("it has no repository"));
    };
    let secret = |what| vault.password(&Account::Repository(name.clone(), what)).cloned();
    Ok(Origin {
        stanza: backup.stanza_of(cluster.name(), vault.uuid()),
        repository: repository.clone(),
        key: secret(RepositorySecret::Key)?,
        key_secret: secret(RepositorySecret::Secret)?,
        passphrase: secret(RepositorySecret::Passphrase)?,
        target,
        own,
        looks_apart: cluster.plan.postgres.parameters.get("archive_timeout").and_then(looks_apart),
    })
}

/// Writes a commit on the primary of `source`, and waits until it is in the repository: PostgreSQL's recovery reaches a moment only
/// with a commit after it, and `source` may have been quiet since. Where that fails, the repository may have one.
async fn pass_the_moment(run: &RunContext, source: &mut Deployment) {
    if let Err(error) = now(run, source).await {
        let (name, causes) = (source.cluster.name(), error.causes.join(": "));
        let message = format!("could not write a commit after the requested time on {name}: {causes}");
        let hint = "If the restore finds no commit after that time, run it again without `--at`";
        run.context.events.warn("restore-quiet", message, Some(hint.to_owned())).await;
    }
}

/// All that `source` has acknowledged when this begins: waits until it is in the repository.
async fn now(run: &RunContext, source: &mut Deployment) -> Result<(Target, Option<String>)> {
    let (context, name) = (&run.context, source.cluster.name().clone());
    let failed = || Error::failed("clone-failed", "clone", &name);
    let cluster = source.running(context).await?;
    let health = look(run, &cluster).await?;
    let node = primary(&cluster, &health, "clone")?;
    let client = postgres::superuser(&cluster.access, node, "postgres").await;
    let client = client.map_err(|said| failed().cause(format!("{}: {said}", node.key())))?;
    // The record that follows the restore point, which the recovery waits for, is the end of the segment.
    let query = "SELECT pg_create_restore_point($1)::text";
    let asked = async {
        let point = format!("hactl-clone-{:032x}", rand::random::<u128>());
        // A transaction with a number, whose commit is in the WAL.
        client.query_one("SELECT txid_current()", &[]).await?;
        let row = client.query_one(query, &[&point]).await?;
        let segment = client.query_one("SELECT pg_walfile_name(pg_switch_wal())", &[]).await?;
        Ok((row.get::<_, String>(0), segment.get::<_, String>(0)))
    };
    let asked = async { asked.await.map_err(|error: tokio_postgres::Error| failed().cause(error.to_string())) };
    let (lsn, segment) = context.interruptible("write a restore point on", node.key(), asked).await?;
    let words = format!("waiting until segment {segment} is in the repository");
    context.events.step(Stage::Backup, Some(node.key()), words).await;
    context.interruptible("wait for the archive of", &name, archived(&client, &segment, &failed)).await?;
    let lsn = lsn.parse().map_err(|said: String| failed().cause(format!("{lsn}: {said}")))?;
    Ok((Target::Lsn(lsn), Some(format!("all WAL of {name} to {segment} is in the repository"))))
}

/// What the machines of `source` say of its backups; none where none of them answers.
///
/// # Errors
/// When machines answer, and none can read the repository.
async fn ask_source(context: &Context, source: &mut Deployment) -> Result<Option<Backups>> {
    if source.known.fleet_if_any()?.is_none() {
        return Ok(None);
    }
    let cluster = source.running(context).await?;
    let mut unread = None;
    for node in cluster.fleet.data_nodes() {
        // One that does not answer says nothing about the repository.
        let asked = async {
            match cluster.access.connect(node).await {
                Ok(remote) => Ok(Some(pgbackrest::ask(&remote).await)),
                Err(_) => Ok(None),
            }
        };
        match context.interruptible("read the backups from", node.key(), asked).await? {
            Some(Ok(seen)) => return Ok(Some(seen)),
            Some(Err(error)) => unread = Some(error),
            None => {}
        }
    }
    unread.map_or(Ok(None), Err)
}

/// Refuses a target that the backups do not reach.
async fn is_restorable(context: &Context, source: &Deployment, target: &Target, seen: Option<&Backups>) -> Result<()> {
    let name = source.cluster.name();
    let Some(seen) = seen else {
        let step = format!("no machine of {name} answers: its backups are not known before they are restored");
        context.events.step(Stage::Plan, None, step).await;
        return Ok(());
    };
    if let (None, Some(message)) = (&seen.gaps, unchecked(target)) {
        let hint = format!("Run `hactl backup list {name}`, which shows the gaps if the store answers faster");
        context.events.warn("restore-unchecked", message, Some(hint)).await;
    }
    reaches(seen, target, Timestamp::now()).map_err(|(cause, hint)| {
        Error::failed("restore-refused", "restore", name).cause(cause).hint(hint.replace("NAME", name.as_str()))
    })
}

/// What may become of a restore to `target` when nothing is known of gaps in the archive. A backup needs no other WAL than its own.
fn unchecked(target: &Target) -> Option<String> {
    let then = match target {
        Target::Backup(_) => return None,
        Target::Newest => "the restore would end at it without an error",
        Target::Time(_) | Target::Lsn(_) => "the restore would fail at it",
    };
    Some(format!("the archive could not be listed in time: if it lacks WAL before {target}, {then}"))
}

/// Whether the backups reach `target`: otherwise why not, and what to do.
fn reaches(seen: &Backups, target: &Target, now: Timestamp) -> Result<(), (String, String)> {
    let Some(from) = seen.restorable_from else {
        return Err(("its repository has no backup".to_owned(), "Run `hactl backup now NAME`".to_owned()));
    };
    let stops = || seen.backups.iter().filter_map(|backup| backup.stop_lsn.as_ref()?.parse().ok());
    let in_gap = |gap: &&Gap| match target {
        Target::Newest => gap.from.is_none(),
        Target::Time(at) => gap.has(*at),
        Target::Lsn(lsn) => gap.has_position(*lsn, stops()),
        Target::Backup(_) => false,
    };
    if let Some(gap) = seen.gaps.iter().flatten().find(in_gap) {
        return Err(misses(gap, target));
    }
    match target {
        Target::Newest => Ok(()),
        Target::Time(at) if *at < from => Err((
            format!("{at} is before {from}, the second after the end of its oldest backup"),
            format!("Set `--at` to {from} or later"),
        )),
        Target::Time(at) if *at > now => {
            Err((format!("{at} is in the future"), "Set `--at` to a time in the past".to_owned()))
        }
        Target::Time(_) => Ok(()),
        Target::Lsn(lsn) => match stops().min() {
            Some(first) if *lsn < first => Err((
                format!("{lsn} is before {first}, the end of its oldest backup"),
                format!("Set `--lsn` to {first} or later"),
            )),
            _ => Ok(()),
        },
        Target::Backup(label) if seen.backups.iter().any(|backup| backup.label == label.as_str()) => Ok(()),
        Target::Backup(label) => Err((
            format!("its repository has no backup {label}"),
            "Set `--backup` to a name that `hactl backup list NAME` shows".to_owned(),
        )),
    }
}

/// Why a target in a gap of the archive is not reached, and the nearest ones that are.
fn misses(gap: &Gap, target: &Target) -> (String, String) {
    let Gap { until, from, .. } = gap;
    let cause = format!("the archive lacks {}, which a restore to {target} needs", gap.segments());
    // A restore to a moment needs a commit after it, and the last one before the gap is not known.
    let before = format!("Set `--at` to a time some seconds before {until}, when the segment before the gap arrived");
    let hint = match (target, from) {
        (Target::Lsn(_), _) => {
            format!("{before}, or `--backup` the name of a backup that `hactl backup list NAME` shows")
        }
        (_, Some(from)) => format!("{before}, or to {from} or later"),
        (_, None) => {
            format!(
                "{before}. To make later times restorable, run `hactl backup now NAME --type full` on the cluster, if it runs"
            )
        }
    };
    (cause, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        component::pgbackrest::BackupView,
        model::{Retention, S3Repository},
    };

    #[test]
    fn passphrase_that_a_variable_would_give_to_source_and_copy_is_found() {
        let backup = |name: &str| {
            let s3 = S3Repository {
                bucket: "b".into(),
                host: "h".into(),
                port: 443,
                region: "r".into(),
                path: "/p".into(),
                path_style: true,
                ca: None,
            };
            let repositories = [(name.parse().unwrap(), s3)].into();
            Backup { stanza: None, repositories, retention: Retention { full: 1, days: 1 }, schedule: None }
        };
        let found = |own: &str, variable: &str| {
            let env = [(variable.to_owned(), "p".to_owned())].into();
            shared_passphrases(&backup(own), &backup("main"), &env).collect::<Vec<_>>()
        };
        let variable = "HACTL_SECRET_BACKUP_MAIN_PASSPHRASE";
        assert_eq!(found("main", variable), [variable]);
        assert_eq!(found("other", variable), [""; 0]);
        // One access key may open both.
        assert_eq!(found("main", "HACTL_SECRET_BACKUP_MAIN_KEY"), [""; 0]);
    }

    fn seen(backups: &[(&str, &str, &str)]) -> Backups {
        let view = |(label, ended, lsn): &(&str, &str, &str)| BackupView {
            stop_lsn: Some((*lsn).to_owned()),
            ..BackupView::sample(label, ended.parse().unwrap())
        };
        let backups: Vec<BackupView> = backups.iter().map(view).collect();
        let restorable_from = backups.iter().map(|backup| backup.ended).min();
        Backups::sample(backups, restorable_from)
    }

    #[test]
    fn target_in_a_gap_of_the_archive_is_refused_with_the_nearest_moments() {
        let mut two = seen(&[
            ("20261130-022015F", "2026-11-30T02:20:16Z", "0/5000158"),
            ("20261201-022015F", "2026-12-01T02:20:16Z", "0/9000158"),
        ]);
        let gap = Gap {
            first: "000000010000000000000006".to_owned(),
            last: "000000010000000000000007".to_owned(),
            until: "2026-11-30T03:00:00Z".parse().unwrap(),
            from: Some("2026-12-01T02:20:16Z".parse().unwrap()),
        };
        two.gaps = Some(vec![gap.clone()]);
        let now = "2026-12-02T00:00:00Z".parse().unwrap();
        let at = |text: &str| Target::Time(text.parse().unwrap());
        let lsn = |text: &str| Target::Lsn(text.parse().unwrap());
        for good in
            [at("2026-11-30T03:00:00Z"), at("2026-12-01T02:20:16Z"), lsn("0/5FFFFFF"), lsn("0/9000158"), Target::Newest]
        {
            assert_eq!(reaches(&two, &good, now), Ok(()), "{good}");
        }
        for bad in [at("2026-11-30T12:00:00Z"), lsn("0/6000000"), lsn("0/9000157")] {
            let (cause, hint) = reaches(&two, &bad, now).unwrap_err();
            assert!(cause.contains("000000010000000000000006 to 000000010000000000000007"), "{cause}");
            assert!(hint.contains("before 2026-11-30T03:00:00Z"), "{hint}");
        }
        two.gaps = Some(vec![Gap { from: None, ..gap }]);
        let (_, hint) = reaches(&two, &Target::Newest, now).unwrap_err();
        assert!(hint.contains("backup now"), "{hint}");
        two.gaps = None;
        assert_eq!(reaches(&two, &Target::Newest, now), Ok(()));
        assert!(unchecked(&Target::Newest).unwrap().ends_with("would end at it without an error"));
        assert!(unchecked(&at("2026-11-30T12:00:00Z")).unwrap().ends_with("would fail at it"));
        assert_eq!(unchecked(&Target::Backup("20261130-022015F".parse().unwrap())), None);
    }

    #[test]
    fn target_outside_the_backups_is_refused_with_what_they_reach() {
        let two = seen(&[
            ("20261130-022015F", "2026-11-30T02:20:16Z", "0/FE000158"),
            ("20261201-022015F", "2026-12-01T02:20:16Z", "1/158"),
        ]);
        let now = "2026-12-02T00:00:00Z".parse().unwrap();
        let lsn = |text: &str| Target::Lsn(text.parse().unwrap());
        let at = |text: &str| Target::Time(text.parse().unwrap());
        let backup = |text: &str| Target::Backup(text.parse().unwrap());
        for good in [
            Target::Newest,
            at("2026-11-30T02:20:16Z"),
            at("2026-12-01T23:59:59Z"),
            lsn("0/FE000158"),
            lsn("2/0"),
            backup("20261201-022015F"),
        ] {
            assert_eq!(reaches(&two, &good, now), Ok(()), "{good}");
            let (cause, hint) = reaches(&seen(&[]), &good, now).unwrap_err();
            assert!(cause.contains("no backup") && hint.contains("backup now"), "{cause} {hint}");
        }
        for (bad, expected) in [
            (at("2026-11-30T02:20:15Z"), "to 2026-11-30T02:20:16Z or later"),
            (at("2026-12-02T00:00:01Z"), "in the past"),
            (lsn("0/FE000157"), "to 0/FE000158 or later"),
            (backup("20261201-022016F"), "backup list"),
        ] {
            let (_, hint) = reaches(&two, &bad, now).unwrap_err();
            assert!(hint.contains(expected), "{bad}: {hint}");
        }
    }
}
