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
//! expectation  Drill + History + Judgement -> why the round fails; pure
//! round      one drill, once
//! verdict    the contract's report.json
//! ```

pub mod catalogue;
pub mod expectation;
pub mod history;
pub mod oracle;
pub mod timings;
pub mod verdict;
