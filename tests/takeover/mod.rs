//! A cluster that the release before made, taken over by this one: by its files alone, and on real nodes.

mod engine;
mod files;
mod machines;
