//! Readiness as a drop guard: whoever must be ready first holds a [`NotYet`], and dropping it says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What the agent is still waiting for. Ready when that is nothing.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Readiness {
    /// Makes the agent not ready until the guard is dropped.
    #[must_use]
    pub fn wait_for(&self, name: &'static str) -> NotYet {
        *self.lock().entry(name).or_default() += 1;
        NotYet { name, of: self.clone() }
    }

    /// Names, in alphabetical order.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, usize>> {
        // A count is right after any panic: each change is one statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing that isn't ready.
#[derive(Debug)]
pub struct NotYet {
    name: &'static str,
    of: Readiness,
}

impl Drop for NotYet {
    fn drop(&mut self) {
        let mut waiting = self.of.lock();
        if let Some(count) = waiting.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(self.name);
                tracing::debug!(part = self.name, "no longer waited for");
            }
        }
    }
}
