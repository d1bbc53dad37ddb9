use schemars::JsonSchema;
use serde::Serialize;

use super::Session;
use crate::{
    ansible,
    context::Context,
    error::{Error, Result},
    exec::Command,
    fetch,
    platform::local::Engine,
    report::{self, Output},
    terraform,
};

/// What hactl found on this machine.
#[derive(JsonSchema, Serialize)]
pub(super) struct Doctor {
    /// Whether every check of something that hactl needs passed.
    ok: bool,
    /// The checks.
    checks: Vec<Check>,
}

/// The check of one thing that hactl needs or can use.
#[derive(JsonSchema, Serialize)]
struct Check {
    /// What the check looks for.
    name: &'static str,
    /// Whether the check passed.
    ok: bool,
    /// Whether hactl cannot work without it.
    needed: bool,
    /// The version found, or why the check failed.
    found: String,
    /// What to do about a failed check.
    hint: Option<String>,
}

impl Check {
    fn new(name: &'static str, needed: bool, result: Result<String>) -> Self {
        match result {
            Ok(found) => Self { name, ok: true, needed, found, hint: None },
            Err(error) => Self { name, ok: false, needed, found: error.causes.join("; "), hint: error.hint },
        }
    }
}

pub(crate) async fn run(session: &Session) -> Result<u8> {
    let checks = session.query(async |context| Ok(checks(context).await)).await?;
    let doctor = Doctor { ok: checks.iter().all(|check| check.ok || !check.needed), checks };
    match session.output {
        Output::Json => report::print_json(&doctor),
        Output::Text => {
            for check in &doctor.checks {
                let mark = match (check.ok, check.needed) {
                    (true, _) => "ok     ",
                    (false, true) => "MISSING",
                    (false, false) => "absent ",
                };
                report::print(&format!("{mark}  {:<18} {}", check.name, check.found));
                if let Some(hint) = &check.hint {
                    report::print(&format!("         {:<18} hint: {hint}", ""));
                }
            }
        }
    }
    Ok(if doctor.ok { 0 } else { 3 })
}

async fn checks(context: &Context) -> Vec<Check> {
    let engine = async {
        let info = Engine::connect(&context.env).await?.info().await?;
        Ok(format!(
            "version {}, cgroup {:?}, {} cores, {} MiB",
            info.version,
            info.cgroup,
            info.cores,
            info.memory_bytes >> 20
        ))
    };
    let (engine, terraform) = tokio::join!(engine, terraform::terraform_version(context));
    vec![
        Check::new("container engine", true, engine),
        Check::new("Terraform", true, terraform),
        Check::new("Python", true, fetch::controller_python(context).await.map(|python| python.to_string())),
        Check::new("ssh", true, ansible::ssh_version(context).await),
        program(
            context,
            "psql",
            ["psql", "--version"],
            "Run `apt-get install postgresql-client`: `hactl psql` needs it",
        )
        .await,
        program(
            context,
            "mmdebstrap",
            ["mmdebstrap", "--version"],
            "Run `apt-get install mmdebstrap` if this machine cannot reach an image registry",
        )
        .await,
        program(
            context,
            "Go",
            ["go", "version"],
            "Install Go if this machine cannot download etcd's release: hactl then builds etcd from source",
        )
        .await,
        Check::new("directory", true, writable(context)),
    ]
}

/// Checks an optional program, which prints its version in its first line.
async fn program(context: &Context, name: &'static str, [program, option]: [&str; 2], hint: &'static str) -> Check {
    let found = Command::new(program).arg(option).succeed(context, |_| ()).await;
    let line = found.map(|finished| finished.tail.first().cloned().unwrap_or_default());
    Check::new(name, false, line.map_err(|error| error.hint(hint)))
}

fn writable(context: &Context) -> Result<String> {
    let dir = &context.dirs.hactl;
    let failed = |error: std::io::Error| Error::failed("directory", "write to", dir.display()).source(&error);
    std::fs::create_dir_all(dir).map_err(failed)?;
    tempfile::tempfile_in(dir).map_err(failed)?;
    Ok(dir.display().to_string())
}
