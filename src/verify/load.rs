//! The load of a round: how many clients write, and how often.

/// How hard the clients write.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients on the application's path.
    pub clients: u16,
    /// Clients that stay on one node, for each node.
    pub pinned: u16,
    /// Attempts per second of all clients together, at most.
    pub rate: u32,
}

impl Default for Load {
    /// Enough that a window of a few milliseconds holds rows, and little enough that two cores with
    /// three nodes on them are not starved.
    fn default() -> Self {
        Self { clients: 16, pinned: 1, rate: 2000 }
    }
}
