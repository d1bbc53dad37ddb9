//! A cluster that the release before made, taken over by this one.

mod engine;
mod files;
