//! `hactl schema`: the JSON Schemas of the cluster file and of everything in `--output json` and the run record,
//! derived from the types. docs/json.md comes from the same schemas.

use clap::{Args, ValueEnum};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{doctor::Doctor, secrets, version::Versions};
use crate::{
    component::pgbackrest::Backups,
    error::Error,
    health::Status,
    operation::Planned,
    platform::local::ImageInfo,
    report::{self, Stamped},
    spec,
    verify::{catalogue::Drill, history_file, verdict::Verdict},
};

#[derive(Args, Debug)]
pub(crate) struct SchemaArgs {
    /// The JSON to describe
    #[arg(value_enum, default_value_t)]
    pub(crate) of: Shape,
}

/// What hactl reads or writes as JSON.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Shape {
    /// The cluster file
    #[default]
    ClusterFile,
    /// `hactl status`
    Status,
    /// `hactl plan`
    Plan,
    /// A line of a command that acts, and of a run's events.jsonl
    Event,
    /// A run's report.json
    Report,
    /// A line of a run's history.jsonl
    History,
    /// The error of a query that failed
    Error,
    /// `hactl verify --list`
    Drills,
    /// `hactl doctor`
    Doctor,
    /// `hactl version`
    Version,
    /// `hactl image list`
    Images,
    /// `hactl backup list`
    Backups,
    /// `hactl secrets NAME recipients`
    Recipients,
    /// `hactl secrets NAME host-keys`
    HostKeys,
}

pub(crate) fn run(shape: Shape) -> u8 {
    report::print_json(&schema(shape));
    0
}

/// The schema of one shape.
fn schema(shape: Shape) -> Value {
    let (mut schema, name) = match shape {
        Shape::ClusterFile => return spec::schema(),
        Shape::Status => (written::<Status>(), "status"),
        Shape::Plan => (written::<Planned>(), "plan"),
        Shape::Event => (written::<Stamped<'_>>(), "event"),
        Shape::Report => (written::<Verdict>(), "report"),
        Shape::History => (written::<history_file::Line<'_>>(), "history"),
        Shape::Error => (written::<Error>(), "error"),
        Shape::Drills => (written::<Vec<Drill>>(), "drills"),
        Shape::Doctor => (written::<Doctor>(), "doctor"),
        Shape::Version => (written::<Versions>(), "version"),
        Shape::Images => (written::<Vec<ImageInfo>>(), "images"),
        Shape::Backups => (written::<Backups>(), "backups"),
        Shape::Recipients => (written::<secrets::List>(), "recipients"),
        Shape::HostKeys => (written::<secrets::HostKeyList>(), "host-keys"),
    };
    schema["$id"] = format!("https://github.com/hactl/hactl/{name}.schema.json").into();
    schema
}

/// The schema of what is written of `T`.
fn written<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// The shapes in the order of docs/json.md: what writes them, and notes on them.
#[cfg(test)]
const PAGE: &[(Shape, &str, &str, &str)] = &[
    (
        Shape::Status,
        "Status",
        "`hactl status NAME --output json`",
        "One object; with `--watch` one every 2 s. Exit code 0 when `healthy`, else 1.",
    ),
    (
        Shape::Plan,
        "Plan",
        "`hactl plan NAME --output json`",
        "With `--detailed-exitcode`, the exit code tells whether something would change.",
    ),
    (
        Shape::Event,
        "Events",
        "`hactl up NAME --output json`, every other command that changes or drills a cluster, and `events.jsonl` of each run",
        "One object per line, the last of type `summary`, also when the command failed. The tools' own output is not \
         among the events: it is in `terraform.log`, `ansible.log` and so on, beside `events.jsonl`.",
    ),
    (
        Shape::Report,
        "Report",
        "`report.json` of a run with drills, and `hactl report NAME --format json`",
        "Times are milliseconds, counts are rows. [Verify](verify.md#the-oracle) defines the words.",
    ),
    (
        Shape::History,
        "History",
        "`history.jsonl` of a run with drills",
        "One object per line. Nodes are named by their keys. Times are in microseconds since the round began, on one \
         monotonic clock. If hactl was killed, the file is valid up to its last `round-ended`. To judge a round \
         yourself: the acknowledged pairs of `client` and `seq` that no `found` line of `primary` covers are lost.",
    ),
    (
        Shape::Error,
        "Error",
        "any command that fails with `--output json`",
        "A query prints this object instead of its result; an event of type `error` has it in the field `error`. \
         [Troubleshooting](troubleshooting.md) lists the codes.",
    ),
    (Shape::Drills, "Drills", "`hactl verify --list --output json`", "[The drills](drills.md) describes each drill."),
    (Shape::Doctor, "Doctor", "`hactl doctor --output json`", "Exit code 0 when `ok`, else 3."),
    (Shape::Version, "Version", "`hactl version --output json`", ""),
    (Shape::Images, "Images", "`hactl image list --output json`", ""),
    (
        Shape::Backups,
        "Backups",
        "`hactl backup list NAME --output json`",
        "[Backups](backup.md) describes the commands.",
    ),
    (Shape::Recipients, "Recipients", "`hactl secrets NAME recipients --output json`", ""),
    (Shape::HostKeys, "Host keys", "`hactl secrets NAME host-keys --output json`", ""),
];

#[cfg(test)]
mod reference;
