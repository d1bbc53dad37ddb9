//! The one place that talks to machines: SSH sessions and tunnels.
