//! Verdict -> reports for people and programs. All modules but `files` are pure.
//!
//! ```text
//! words     the words and numbers that all forms share
//! summary   a terminal
//! markdown  the summary page of a CI system
//! junit     a CI system's list of tests
//! picture   History -> what the timeline of a round shows, bounded however long the history
//! html      the page for people: all of it, in one file
//! files     report.json, report.html, junit.xml and report.md in the run record
//! ```

mod files;
mod html;
mod junit;
mod markdown;
mod picture;
mod summary;
mod template;
#[cfg(test)]
mod tests;
mod words;

pub use files::{HISTORY, HTML, JSON, JUNIT, MARKDOWN, of_run, page, read, runs, write_all};
pub use junit::{RestoreCase, junit, junit_of_restore};
pub use markdown::markdown;
pub use summary::text;
pub use words::{headline, proof};
