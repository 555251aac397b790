//! Progress of what may take longer than a second.

use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Says on standard error what is being waited for, once a second has gone by and then each five
/// seconds; says nothing about what is quick. Ends when dropped.
pub(super) struct Progress {
    // Dropping the sender is what ends the thread.
    _done: mpsc::SyncSender<()>,
}

impl Progress {
    pub(super) fn start(what: &str) -> Self {
        let (done, waits) = mpsc::sync_channel(0);
        let what = what.to_owned();
        std::thread::spawn(move || {
            let start = Instant::now();
            let mut pause = Duration::from_secs(1);
            while waits.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what}: {} s", start.elapsed().as_secs());
                pause = Duration::from_secs(5);
            }
        });
        Self { _done: done }
    }
}
