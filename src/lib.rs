//! hactl turns a map of instances into a PostgreSQL HA cluster that has proved it can fail over.
//!
//! Data flows from left to right. Between the brackets are modules, and each arrow is one type:
//!
//! ```text
//! file -> [spec] -Spec-> [plan] -Plan-> [terraform] -Outputs-> [fleet] -Fleet-> [ansible::inventory] -Inventory->
//!         [ansible] -Configured-> [health] -Healthy-> [verify] -Verdict-> [report]
//! ```
//!
//! Code that decides (spec, plan, fleet, the inventory) is pure and synchronous; code that acts is small. What happens on
//! the way is an [`event::Event`] on one bounded channel, which only the reporters turn into words.
//!
//! [`event::Stage`] lists the stages, and `ORDER` in tests/structure lists the modules. docs/how-it-works.md describes both.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod access;
pub mod ansible;
mod app;
pub mod assets;
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
pub mod firewall;
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

// Fixtures in tests/ name this crate as other crates do.
#[cfg(test)]
extern crate self as hactl;
