//! hactl turns a map of instances into a PostgreSQL HA cluster that has proved it can fail over.
//!
//! Data flows left to right, each arrow one type, each stage one function:
//!
//! ```text
//! file -> [spec] -Spec-> [plan] -Plan-> [provision] -Outputs-> [fleet] -Fleet-> [inventory] -Inventory->
//!         [configure] -Configured-> [health] -Healthy-> [verify] -Verdict-> report
//! ```
//!
//! Deciding (spec, plan, fleet, inventory) is pure and synchronous; acting is small. What happens on
//! the way is an [`event::Event`] on one bounded channel, which only the reporters turn into words.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod access;
pub mod ansible;
mod app;
pub mod assets;
mod cli;
mod command;
pub mod component;
pub mod context;
pub mod deployment;
pub mod dns;
pub mod env;
pub mod error;
pub mod event;
pub mod exec;
pub mod fetch;
mod file;
pub mod fleet;
pub mod health;
pub mod model;
pub mod operation;
pub mod plan;
pub mod platform;
pub mod query;
pub mod report;
pub mod secrets;
pub mod spec;
pub mod ssh;
pub mod stage;
pub mod terraform;
pub mod verify;

pub use app::run;

// Fixtures in tests/ name this crate as everyone else does.
#[cfg(test)]
extern crate self as hactl;
