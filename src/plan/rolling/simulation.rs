//! Rolling restarts on a small simulated cluster, with faults between steps and within them. What `next_restart` answers
//! is what happens, as in the operation: each stop is judged by the true state of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Ticks that a server takes to start, to stream, and to count again.
const START: u32 = 2;
const STREAM: u32 = 1;
const COUNT: u32 = 2;

/// Ticks without a primary before the members vote.
const VOTE: u32 = 2;

/// Ticks after which a request to Patroni without an effect is made again. No request takes effect as late as that.
const ASKED_FOR: u32 = 6;

/// Ticks within which a run must end once the faults have ended.
const END_WITHIN: u32 = 120;

/// What goes wrong at a tick; a number says for how many ticks.
#[derive(Clone, Debug)]
enum Fault {
    Crash(usize),
    Away(usize, u32),
    Backup(usize, u32),
    /// One of [`Lasting`].
    Lasting(usize, u32),
    /// The next request has no effect.
    Lost,
    /// The next request takes effect later.
    Late(u32),
    /// hactl is killed, and started again.
    Killed(u32),
    /// The members lose their primary.
    Failover,
}

/// What forbids every stop while it lasts: a pause, a scheduled switchover, a bad etcd, a problem of the cluster.
type Lasting = [u32; 4];

#[derive(Clone, Debug, Default)]
struct Member {
    leads: bool,
    may_lead: bool,
    wanted: bool,
    /// Ticks until it runs, streams and counts.
    runs_in: u32,
    streams_in: u32,
    counts_in: u32,
    away: u32,
    backup: u32,
    /// The times that its server started.
    starts: u32,
    /// The times that hactl stopped it, and whether it is still down by that.
    stopped: u32,
    by_hand: bool,
}

impl Member {
    const fn serves(&self) -> bool {
        self.runs_in == 0 && (self.leads || self.streams_in == 0) && self.away == 0
    }

    fn stop(&mut self) {
        (self.runs_in, self.streams_in, self.counts_in) = (START, STREAM, COUNT);
    }
}

/// A request to Patroni.
#[derive(Clone, Debug)]
struct Request {
    step: RestartStep,
    /// Ticks until its effect; none if it has none.
    effect_in: Option<u32>,
    age: u32,
}

#[derive(Clone, Debug, Default)]
struct Simulation {
    members: BTreeMap<InstanceKey, Member>,
    synchronous: usize,
    lasting: Lasting,
    without_primary: u32,
    next_request: Option<Option<u32>>,
    request: Option<Request>,
    dead: u32,
    switchovers: u32,
    ended: bool,
    /// Whether the end is that no replica may lead.
    without_candidate: bool,
}

fn key(number: usize) -> InstanceKey {
    format!("node{}", number + 1).parse().unwrap()
}

impl Simulation {
    fn new(count: usize, synchronous: usize, unfit: &BTreeSet<usize>, wanted: &BTreeSet<usize>) -> Self {
        let member = |number| {
            let (leads, may_lead) = (number == 0, number == 0 || !unfit.contains(&number));
            Member { leads, may_lead, wanted: wanted.contains(&number), ..Member::default() }
        };
        let members = (0..count).map(|number| (key(number), member(number))).collect();
        Self { members, synchronous: synchronous.min(count - 1), ..Self::default() }
    }

    fn member(&mut self, key: &InstanceKey) -> &mut Member {
        self.members.get_mut(key).unwrap()
    }

    /// What a look sees.
    fn look(&self) -> Servers {
        let asked = self.request.as_ref().map(|request| request.step.member());
        let server = |(key, member): (&InstanceKey, &Member)| {
            let state = if member.away > 0 {
                ServerState::Away("SSH does not answer".to_owned())
            } else if member.runs_in > 0 {
                ServerState::Returns("PostgreSQL is starting".to_owned())
            } else if asked == Some(key) {
                ServerState::Returns("Patroni was asked to restart it".to_owned())
            } else if member.streams_in > 0 && !member.leads {
                ServerState::Runs("it does not stream".to_owned())
            } else {
                ServerState::Serves
            };
            let restart = match (member.wanted, member.starts) {
                (false, _) => Restart::NotAsked,
                (true, 0) => Restart::Due,
                (true, _) => Restart::Done,
            };
            let server = Server {
                state,
                leads: member.leads,
                acknowledges: member.serves() && member.counts_in == 0 && !member.leads,
                may_lead: member.may_lead,
                backup: (member.backup > 0).then_some(1),
                problems: Vec::new(),
                restart,
            };
            (key.clone(), server)
        };
        let [paused, scheduled, etcd, problem] = self.lasting.map(|ticks| ticks > 0);
        Servers {
            members: self.members.iter().map(server).collect(),
            synchronous: self.synchronous,
            etcd: etcd.then(|| "a voter is away".to_owned()),
            paused,
            scheduled: scheduled.then(|| "tonight".to_owned()),
            problems: problem.then(|| "seen".to_owned()).into_iter().collect(),
        }
    }

    fn happen(&mut self, fault: &Fault) {
        let count = self.members.len();
        match *fault {
            Fault::Crash(number) => self.member(&key(number % count)).stop(),
            Fault::Away(number, ticks) => {
                let member = self.member(&key(number % count));
                member.away = ticks;
                member.stop();
            }
            Fault::Backup(number, ticks) => self.member(&key(number % count)).backup = ticks,
            Fault::Lasting(number, ticks) => self.lasting[number % 4] = ticks,
            Fault::Lost => self.next_request = Some(None),
            Fault::Late(ticks) => self.next_request = Some(Some(ticks)),
            Fault::Killed(ticks) => self.dead = ticks,
            Fault::Failover => {
                for member in self.members.values_mut().filter(|member| member.leads) {
                    member.stop();
                }
            }
        }
    }

    /// Patroni and PostgreSQL go on.
    fn tick(&mut self) {
        for member in self.members.values_mut() {
            member.backup = member.backup.saturating_sub(1);
            if member.away > 0 {
                member.away -= 1;
            } else if member.runs_in > 0 {
                member.runs_in -= 1;
                member.starts += u32::from(member.runs_in == 0);
            } else if member.streams_in > 0 {
                member.streams_in -= 1;
            } else {
                member.counts_in = member.counts_in.saturating_sub(1);
            }
            member.by_hand &= !member.serves();
        }
        self.lasting = self.lasting.map(|ticks| ticks.saturating_sub(1));
        let leads = self.members.values().any(|member| member.leads && member.runs_in == 0 && member.away == 0);
        self.without_primary = if leads { 0 } else { self.without_primary + 1 };
        let [paused, ..] = self.lasting;
        if self.without_primary > VOTE && paused == 0 {
            self.vote();
        }
        if let Some(mut request) = self.request.take() {
            request.age += 1;
            match request.effect_in {
                Some(0) => self.take_effect(&request.step),
                Some(ticks) => {
                    request.effect_in = Some(ticks - 1);
                    self.request = Some(request);
                }
                None if request.age < ASKED_FOR => self.request = Some(request),
                None => {}
            }
        }
    }

    /// Another member leads, if one is fit.
    fn vote(&mut self) -> bool {
        let synchronous = self.synchronous > 0;
        let fit = |member: &Member| {
            member.serves() && member.may_lead && !member.leads && (member.counts_in == 0 || !synchronous)
        };
        let Some(successor) = self.members.iter().find(|(_, member)| fit(member)).map(|(key, _)| key.clone()) else {
            return false;
        };
        for (key, member) in &mut self.members {
            member.leads = *key == successor;
        }
        true
    }

    fn take_effect(&mut self, step: &RestartStep) {
        if matches!(step, RestartStep::HandOver(_)) {
            if !self.member(step.member()).leads || !self.vote() {
                return;
            }
            self.switchovers += 1;
        }
        let member = self.member(step.member());
        member.stop();
        member.stopped += 1;
        member.by_hand = true;
    }

    /// hactl looks, and takes the next step.
    fn act(&mut self) -> Result<(), TestCaseError> {
        if self.dead > 0 {
            self.dead -= 1;
            return Ok(());
        }
        match next_restart(&self.look()) {
            Next::Done => self.ended = true,
            Next::Refuse(found) if matches!(found[..], [Hindrance::NoCandidate(_)]) => {
                (self.ended, self.without_candidate) = (true, true);
            }
            Next::Wait(_) | Next::Refuse(_) => {}
            Next::Take(step) => {
                self.may(&step)?;
                let effect_in = self.next_request.take().unwrap_or(Some(0));
                self.request = Some(Request { step, effect_in, age: 0 });
            }
        }
        Ok(())
    }

    /// What must hold when a step is taken, by the true state.
    fn may(&self, step: &RestartStep) -> Result<(), TestCaseError> {
        let stops = step.member();
        let (own, others) = (&self.members[stops], || self.members.iter().filter(|(key, _)| *key != stops));
        prop_assert!(self.request.is_none(), "{step}: a request is on its way");
        prop_assert!(others().all(|(_, other)| other.serves()), "{step}: another member is down");
        prop_assert_eq!(self.lasting, [0; 4], "{}: forbidden for the cluster", step);
        prop_assert!(own.backup == 0 && own.runs_in == 0 && own.away == 0, "{step}: forbidden for the member");
        prop_assert!(own.wanted && own.starts == 0, "{step}: nothing was due");
        let candidates = self.members.iter().filter(|(_, member)| member.may_lead);
        let (all, down) = candidates
            .fold((0, 0), |(all, down), (key, member)| (all + 1, down + usize::from(key == stops || !member.serves())));
        prop_assert!(self.members.len() == 1 || down * 2 <= all, "{step}: a majority of candidates is down");
        let replicas = others().filter(|(_, other)| !other.leads);
        let (replicas, acknowledge) = replicas.fold((0, 0), |(replicas, acknowledge), (_, other)| {
            (replicas + 1, acknowledge + usize::from(other.counts_in == 0))
        });
        match step {
            RestartStep::Replica(_) => {
                prop_assert!(!own.leads, "{step}: it leads");
                prop_assert!(acknowledge >= self.synchronous.min(replicas), "{step}: commits wait");
            }
            RestartStep::HandOver(_) => {
                let fit = |member: &Member| member.may_lead && (member.counts_in == 0 || self.synchronous == 0);
                prop_assert!(own.leads && others().any(|(_, other)| fit(other)), "{step}: no candidate");
            }
            RestartStep::Alone(_) => prop_assert_eq!(self.members.len(), 1),
        }
        let due = self.members.values().filter(|member| member.wanted && member.starts == 0 && !member.leads).count();
        prop_assert!(!own.leads || due == 0, "{step}: the primary before a replica");
        Ok(())
    }

    /// Ticks until hactl has ended. Checks after each tick that hactl keeps one member down at most.
    fn run(&mut self, faults: &[Option<Fault>]) -> Result<(), TestCaseError> {
        let faults = faults.iter().map(Option::as_ref);
        let quiet = std::iter::repeat_n(None, END_WITHIN as usize);
        for fault in faults.chain(quiet) {
            if let Some(fault) = fault {
                self.happen(fault);
            }
            self.act()?;
            if self.ended {
                return Ok(());
            }
            self.tick();
            let by_hand = self.members.values().filter(|member| member.by_hand).count();
            prop_assert!(by_hand <= 1, "hactl keeps {by_hand} members down: {self:?}");
        }
        prop_assert!(false, "no end: {:?}: {self:?}", next_restart(&self.look()));
        Ok(())
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let (member, ticks) = (0..5_usize, 1..8_u32);
    prop_oneof![
        member.clone().prop_map(Fault::Crash),
        (member.clone(), ticks.clone()).prop_map(|(member, ticks)| Fault::Away(member, ticks)),
        (member.clone(), ticks.clone()).prop_map(|(member, ticks)| Fault::Backup(member, ticks)),
        (member, ticks.clone()).prop_map(|(which, ticks)| Fault::Lasting(which, ticks)),
        Just(Fault::Lost),
        (1..ASKED_FOR - 1).prop_map(Fault::Late),
        ticks.prop_map(Fault::Killed),
        Just(Fault::Failover),
    ]
}

/// The number of members, how many must have a commit, those that may not lead, and those that are to restart.
fn cluster() -> impl Strategy<Value = (usize, usize, BTreeSet<usize>, BTreeSet<usize>)> {
    let some = || proptest::collection::btree_set(0..5_usize, 0..5);
    (1..=5_usize, 0..=2_usize, some(), some()).prop_map(|(count, synchronous, unfit, wanted)| {
        let wanted = if wanted.is_empty() { (0..count).collect() } else { wanted };
        (count, synchronous, unfit, wanted)
    })
}

proptest! {
    #[test]
    fn restart_under_faults_keeps_all_but_one_member_up_and_ends(
        (count, synchronous, unfit, wanted) in cluster(),
        faults in proptest::collection::vec(proptest::option::weighted(0.3, fault()), 0..60),
    ) {
        let mut simulation = Simulation::new(count, synchronous, &unfit, &wanted);
        simulation.run(&faults)?;
        for (key, member) in &simulation.members {
            let restarted = member.starts > 0 && member.serves();
            let excused = simulation.without_candidate && member.leads;
            prop_assert!(!member.wanted || restarted || excused, "{key} has not restarted");
            prop_assert!(member.stopped <= u32::from(member.wanted), "{key} was stopped {} times", member.stopped);
        }
    }

    #[test]
    fn restart_without_faults_stops_each_member_once_and_takes_the_course_that_was_told(
        (count, synchronous, unfit, wanted) in cluster(),
    ) {
        let mut simulation = Simulation::new(count, synchronous, &unfit, &wanted);
        let (steps, found) = course(&simulation.look());
        simulation.run(&[])?;
        let stopped: u32 = simulation.members.values().map(|member| member.stopped).sum();
        prop_assert_eq!(stopped as usize, steps.len());
        let has_candidate = (1..count).any(|number| !unfit.contains(&number));
        let hands_over = count > 1 && wanted.contains(&0);
        prop_assert_eq!(found.is_empty(), has_candidate || !hands_over);
        prop_assert_eq!(simulation.switchovers, u32::from(hands_over && has_candidate));
        let must = |member: &Member| member.wanted && (!hands_over || has_candidate || !member.leads);
        let wrong = simulation.members.iter().find(|(_, member)| member.stopped != u32::from(must(member)));
        prop_assert!(wrong.is_none(), "{wrong:?}");
    }
}
