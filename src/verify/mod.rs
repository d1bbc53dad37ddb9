//! Healthy -> Verdict: faults that strike for real while clients write, and what became of the writes.
//!
//! ```text
//! catalogue  the drills, one row each: fault, effect, undo, expectation
//! fault/     strikes, sees the effect, takes it back; the undo is armed first
//! clients    write unique rows; every attempt goes into the history
//! sampler    asks every node what it is, several times a second
//! history    what happened in a round
//! oracle     History + rows found afterwards -> Judgement; pure
//! timings    History -> write gap, phases, rate; pure
//! expectation  Drill, History, Judgement -> every reason why the round fails; pure
//! cost       Plan -> what a drill may interrupt, before anybody agrees to it; pure
//! round      one drill, once
//! journals   what the services said in a round that failed
//! verdict    the contract's report.json
//! archive    history.jsonl: the histories beside it
//! reference  the catalogue -> docs/drills.md
//! ```

pub mod catalogue;
mod clients;
mod cost;
mod drills;
pub mod expectation;
pub mod fault;
#[cfg(test)]
mod fixture;
pub mod history;
pub mod history_file;
mod journals;
pub mod oracle;
pub mod reference;
mod round;
mod sampler;
mod table;
pub mod timings;
pub mod verdict;

pub use catalogue::{CATALOGUE, Drill, Tier, choose};
pub use cost::{Cost, costs};
pub use drills::{Choice, Ended, Heading, Soak, self_test, verify};
pub use expectation::bound_ms;
pub use fault::Ground;
pub use round::Load;
pub use verdict::Verdict;
