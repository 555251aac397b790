//! Who shares the cluster: most tests run beside each other, and some need it for themselves.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A place on the cluster, given back on drop.
pub struct Turn {
    alone: bool,
}

struct Taken {
    /// Places of tests that run beside others. One test may have several.
    shared: u32,
    alone: bool,
}

static TAKEN: Mutex<Taken> = Mutex::new(Taken { shared: 0, alone: false });
static CHANGED: Condvar = Condvar::new();

fn taken() -> MutexGuard<'static, Taken> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(until: impl Fn(&Taken) -> bool) -> MutexGuard<'static, Taken> {
    let waited = CHANGED.wait_while(taken(), |taken| !until(taken));
    waited.unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    /// Beside others, but not beside one that is alone. It never waits for one that waits: a test that
    /// takes a second place must get it.
    pub fn shared() -> Self {
        wait(|taken| !taken.alone).shared += 1;
        Self { alone: false }
    }

    /// For a test that breaks what all share. It must have no other place.
    pub fn alone() -> Self {
        wait(|taken| !taken.alone && taken.shared == 0).alone = true;
        Self { alone: true }
    }

    pub fn is_alone(&self) -> bool {
        self.alone
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = taken();
        match self.alone {
            true => taken.alone = false,
            false => taken.shared -= 1,
        }
        CHANGED.notify_all();
    }
}
