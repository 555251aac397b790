//! The end of the agent: told once, seen by every task.

use std::future::Future;

use tokio::sync::watch;

/// Tells that the agent is to end. Dropping it tells the same.
#[derive(Debug)]
pub struct End(watch::Sender<bool>);

/// Waits for the agent's end; cloned into every task.
#[derive(Debug, Clone)]
pub struct Ending(watch::Receiver<bool>);

/// Both ends.
#[must_use]
pub fn ending() -> (End, Ending) {
    let (sender, receiver) = watch::channel(false);
    (End(sender), Ending(receiver))
}

impl End {
    /// No new work is taken from now on.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Ending {
    /// Ends when the agent is to end.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + Sync + 'static + use<> {
        let mut receiver = self.0.clone();
        async move {
            // The sender's loss is an end, too.
            let _ = receiver.wait_for(|ended| *ended).await;
        }
    }

    /// Whether it is.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_task_sees_the_end() {
        let (end, ending) = ending();
        assert!(!ending.has_begun());
        let (first, second) = (ending.begun(), ending.clone().begun());
        end.begin();
        first.await;
        second.await;
        assert!(ending.has_begun());
    }

    #[tokio::test]
    async fn a_lost_sender_ends_too() {
        let (end, ending) = ending();
        drop(end);
        ending.begun().await;
        assert!(ending.has_begun());
    }
}
