//! Reporters: the only place that prints.
