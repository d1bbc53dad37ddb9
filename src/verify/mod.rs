//! Healthy -> Verdict: real faults while clients write, and what became of the writes.
//!
//! ```text
//! catalogue  the drills, one row each: fault, effect, undo, expectation
//! fault/     injects a fault, checks its effect, reverts it; the undo is armed first
//! clients    write unique rows; every attempt goes into the history
//! sampler    asks every node for its state, several times a second
//! history    what happened in a round
//! oracle     History + rows found afterwards -> Judgement; pure
//! timings    History -> write gap, phases, rate; pure
//! expectation  Drill, History, Judgement -> every reason why the round fails; pure
//! cost       Plan -> what a drill may interrupt, before the user confirms; pure
//! drills     the chosen drills, one after the other; a soak
//! self_test  the positive control
//! session    what comes before the first round and after the last
//! drill      one drill, all of its rounds
//! round      one drill, once
//! libpq      psql with the printed connection string
//! pooled     what clients of the poolers saw -> reasons, in drills of the entry point; pure
//! load       how hard the clients write
//! journals   what the services said in a round that failed
//! verdict    the contract's report.json
//! history_file  history.jsonl: the histories beside it
//! reference  the catalogue -> docs/drills.md
//! ```

pub mod catalogue;
mod clients;
mod cost;
mod drill;
mod drills;
pub mod expectation;
pub mod fault;
#[cfg(test)]
mod fixture;
pub mod history;
pub mod history_file;
mod journals;
mod libpq;
mod load;
pub mod oracle;
mod pooled;
pub mod reference;
mod round;
mod sampler;
mod self_test;
mod session;
mod table;
pub mod timings;
pub mod verdict;

pub use catalogue::{CATALOGUE, Drill, Tier, choose};
pub use cost::{Cost, costs};
pub use drills::{Choice, Soak, verify};
pub use expectation::bound_ms;
pub use fault::FaultTarget;
pub use libpq::PrintedString;
pub use load::Load;
pub use self_test::self_test;
pub use session::{Heading, Verification};
pub use verdict::Verdict;
