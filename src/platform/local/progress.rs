//! Where a long action on a node reports its steps.

use tokio::sync::mpsc;

/// Steps that wait for their reader; then the action waits.
const WAITING: usize = 16;

/// The sending side of the steps of one node. Its reader slows the action down: no step is lost.
#[derive(Clone, Debug)]
pub struct Progress(Option<mpsc::Sender<&'static str>>);

impl Progress {
    /// The sender and the reader of the steps.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<&'static str>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(Some(sender)), receiver)
    }

    /// Steps that are of no interest.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    pub(super) async fn report(&self, step: &'static str) {
        if let Some(sender) = &self.0 {
            // A reader that has gone needs no more steps.
            let _ = sender.send(step).await;
        }
    }
}
