use clap::Args;

use super::{Session, prompt};
use crate::{
    deployment::{Cluster, Deployment},
    error::{Error, Result},
    model::{ClusterName, nearest},
    operation::{self, Work},
    report::{self, Output},
    verify::{self, Choice, Cost, Drill, Load, Soak, Verdict, verdict::DrillOutcome},
};

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// A cluster file, the NAME of NAME.yaml, a cluster recorded in .hactl, or a built-in blueprint
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The drill to run, with or without its variant; `all`; or `soak`, which picks drills at random. Can be given
    /// several times. By default the drills of the cluster file
    #[arg(long, value_name = "DRILL")]
    pub(crate) drill: Vec<String>,
    /// Number of rounds of each drill; 20 or more give percentiles. 1 by default; for a soak, as many as its duration
    /// allows
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: Option<u32>,
    /// Duration of a soak, for example `45m` or `2h`; one hour by default
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<jiff::SignedDuration>,
    /// Prove that hactl detects lost commits: the same fault must lose rows under `async`, and none under the cluster's
    /// own durability
    #[arg(long, conflicts_with_all = ["drill", "rounds", "duration", "max_interruption"])]
    pub(crate) self_test: bool,
    /// List the drills without running them
    #[arg(long)]
    pub(crate) list: bool,
    /// Skip the confirmation, which disposable clusters never need
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Skip drills whose bound is longer than this number of seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_interruption: Option<f64>,
    /// Number of clients that connect as an application does
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) clients: u16,
    /// Number of further clients pinned to each machine with PostgreSQL
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) pinned: u16,
    /// Maximum number of writes per second of all clients together
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Seed of the random choices; the report prints it
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// The word that selects drills at random.
const SOAK: &str = "soak";

pub(crate) async fn run(session: &Session, args: VerifyArgs) -> Result<u8> {
    if args.list {
        match session.output {
            Output::Json => report::print_json(&verify::CATALOGUE),
            Output::Text => report::print(&report::catalogue_text(verify::CATALOGUE)),
        }
        return Ok(0);
    }
    let Some(name) = args.name.clone() else {
        return Err(Error::usage("name-missing", "verify", "a cluster")
            .cause("the argument NAME is missing")
            .hint("Run `hactl verify NAME`, or `hactl verify --list` to list the drills"));
    };
    let chosen = async {
        let mut deployment = Deployment::open(session.cluster(&name)?);
        session.query(async |context| deployment.plan_as_it_runs(context).await).await?;
        let cluster = &deployment.cluster;
        if args.self_test { self_test(cluster, &args) } else { drills(session, cluster, &args).await }
    };
    let chosen = chosen.await;
    let work = match chosen {
        Ok(work) => work,
        Err(error) if session.by_events() => return Ok(session.not_begun("verify", &name, error).await),
        Err(error) => return Err(error),
    };
    let seed = args.seed.unwrap_or_else(rand::random);
    let mut by_name: Vec<String> = args.drill.iter().filter(|word| *word != "all").cloned().collect();
    if args.self_test {
        by_name.push(verify::catalogue::SELF_TEST.name.to_owned());
    }
    session
        .act(&operation::VERIFY, &name, async |run, deployment| {
            let name = deployment.cluster.name().clone();
            let (summary, verdict) = operation::verify(run, deployment, &work, seed).await?;
            if session.output == Output::Text {
                report::print(&report::verify::text(&verdict));
            }
            if let Some(error) = operation::unproved(&name, &verdict) {
                return Err(error);
            }
            refused_by_name(&name, &by_name, &verdict)?;
            Ok(summary)
        })
        .await
}

/// The positive control loses rows on purpose.
fn self_test(cluster: &Cluster, args: &VerifyArgs) -> Result<Work> {
    if cluster.plan.disposable {
        return Ok(Work::SelfTest(load(args)));
    }
    Err(Error::failed("drill-refused", "run the self-test on", cluster.name())
        .cause("the self-test loses acknowledged rows on purpose, and the cluster file does not set `disposable: true`")
        .hint(
            "Run it on a cluster of its own: `hactl up patroni-3node`, then `hactl verify patroni-3node --self-test`",
        ))
}

fn load(args: &VerifyArgs) -> Load {
    Load { clients: args.clients, pinned: args.pinned, rate: args.rate }
}

/// The chosen drills, after the user has seen and accepted their cost.
async fn drills(session: &Session, cluster: &Cluster, args: &VerifyArgs) -> Result<Work> {
    let soaks = args.drill.iter().any(|word| word == SOAK);
    if args.duration.is_some() && !soaks {
        return Err(Error::usage("drill-duration", "verify", cluster.name())
            .cause("--duration applies only to `--drill soak`")
            .hint("Set the number of rounds with --rounds"));
    }
    let mut words: Vec<String> = args.drill.iter().filter(|word| *word != SOAK).cloned().collect();
    if soaks && words.is_empty() {
        words.push("all".to_owned());
    }
    let words = if words.is_empty() { &cluster.plan.drills } else { &words };
    let costs = verify::costs(&cluster.plan, &choose(words)?);
    let (costs, left_out) = within(costs, args.max_interruption);
    refuse(cluster, &args.drill, &left_out)?;
    let rounds = args.rounds.unwrap_or(if soaks { u32::MAX } else { 1 });
    if !args.yes && !cluster.plan.disposable {
        report::message(&report::costs_text(&costs, (!soaks).then_some(rounds)));
        confirm(session, cluster.name().as_str()).await?;
    }
    let hour = jiff::SignedDuration::from_hours(1);
    let at_most = args.duration.unwrap_or(if args.rounds.is_some() { hour * 24 } else { hour }).unsigned_abs();
    let soak = soaks.then_some(Soak { at_most });
    let left_out = left_out.into_iter().map(|cost| (cost.drill, too_long(&cost))).collect();
    Ok(Work::Drills(Choice {
        drills: costs.iter().map(|cost| cost.drill).collect(),
        rounds,
        load: load(args),
        left_out,
        soak,
    }))
}

fn choose(words: &[String]) -> Result<Vec<&'static Drill>> {
    verify::choose(words).map_err(|word| {
        let titles: Vec<String> = verify::CATALOGUE.iter().map(Drill::title).collect();
        let known = titles.iter().map(String::as_str).chain(["all", "soak"]);
        let hint = nearest(&word, known).map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        Error::usage("drill-unknown", "find drill", &word)
            .cause(format!("the drills are {}, `all` and `soak`", titles.join(", ")))
            .hint(format!("Run `hactl verify --list` to see what each drill does{hint}"))
    })
}

fn too_long(cost: &Cost) -> String {
    match cost.gap {
        Some(gap) => format!("the drill may interrupt writes for {gap:.0} s, more than --max-interruption"),
        None => "this cluster's timers give no bound for the drill, and --max-interruption is set".to_owned(),
    }
}

/// Separates the drills that keep to the allowed interruption from the others.
fn within(costs: Vec<Cost>, most: Option<f64>) -> (Vec<Cost>, Vec<Cost>) {
    costs.into_iter().partition(|cost| most.is_none_or(|most| cost.gap.is_some_and(|gap| gap <= most)))
}

/// Fails, before any fault, when a drill asked for by name may interrupt writes for too long.
fn refuse(cluster: &Cluster, asked: &[String], left_out: &[Cost]) -> Result<()> {
    let named = left_out.iter().find(|cost| is_named(asked, cost.drill));
    match named {
        None => Ok(()),
        Some(cost) => {
            Err(Error::failed("drill-refused", format!("run drill {} on", cost.drill.title()), cluster.name())
                .cause(too_long(cost))
                .hint("Raise --max-interruption, or leave the drill out"))
        }
    }
}

fn is_named(asked: &[String], drill: &Drill) -> bool {
    asked.iter().any(|word| word == drill.name || *word == drill.title())
}

fn refused_by_name(cluster: &ClusterName, asked: &[String], verdict: &Verdict) -> Result<()> {
    let refused = verdict.drills.iter().find(|drill| {
        drill.outcome == DrillOutcome::Refused && asked.iter().any(|word| word.split('/').next() == Some(&drill.name))
    });
    match refused {
        None => Ok(()),
        Some(drill) => Err(Error::failed("drill-refused", format!("run drill {} on", drill.name), cluster)
            .cause(drill.reason.as_deref().unwrap_or("this cluster does not allow the drill"))
            .hint("Run `hactl verify --list` to see what each drill needs")),
    }
}

async fn confirm(session: &Session, name: &str) -> Result<()> {
    let refused = |cause: &str| {
        Error::failed("not-confirmed", "drill", name)
            .cause(cause)
            .hint(format!("Run `hactl verify {name} --yes` to skip the confirmation"))
    };
    prompt::confirm(session, name, refused).await
}
