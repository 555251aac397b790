//! Captures that stand by ([`crate::capture::Standing`]) from an early checkpoint of a pod on, until the
//! pod is held: then only what has changed since is read while it is silent.
//!
//! They are a gain of time and nothing else. One that is lost, with its agent or for the bounds here, is
//! made up for by reading all.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::capture::Standing;
use crate::netns::Id;

/// Captures at most that stand by on a node; each holds its image in memory.
const MOST: usize = 8;
/// How long one stands by: a successor that is prepared waits no longer.
const PATIENCE: Duration = Duration::from_secs(150);

/// Which one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Of {
    /// UID of the early checkpoint.
    pub(super) checkpoint: String,
    pub(super) pod_uid: String,
    pub(super) netns: Id,
}

struct Kept {
    of: Of,
    since: Instant,
    standing: Standing,
}

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// What is guarded is a list; a panic leaves it whole.
fn kept() -> MutexGuard<'static, Vec<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets one stand by. The oldest goes where there are too many; all go in time. Blocks for as long as
/// the end of such a thread takes.
pub(super) fn keep(of: Of, standing: Standing) {
    let mut all = kept();
    let over = all.len().saturating_sub(MOST - 1);
    let gone: Vec<_> = all.drain(..over).collect();
    all.push(Kept { of, since: Instant::now(), standing });
    drop(all);
    drop(gone);
}

/// Takes the last one of a pod's namespace.
pub(super) fn take(pod_uid: &str, netns: Id) -> Option<Standing> {
    let mut all = kept();
    let is_its = |one: &Kept| one.of.pod_uid == pod_uid && one.of.netns == netns;
    let place = all.iter().rposition(is_its)?;
    Some(all.remove(place).standing)
}

/// Ends those of a checkpoint. Blocks as [`keep`] does.
pub(super) fn forget(checkpoint: &str) {
    end(|one| one.of.checkpoint == checkpoint);
}

fn end(which: impl Fn(&Kept) -> bool) {
    let gone: Vec<_> = kept().extract_if(.., |one| which(one)).collect();
    drop(gone);
}

/// Ends those whose time is over, until the agent ends.
pub(super) async fn run(ending: impl Future<Output = ()>) {
    /// Pause between two rounds.
    const ROUND: Duration = Duration::from_secs(10);
    let mut ending = std::pin::pin!(ending);
    let mut all = false;
    while !all {
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = &mut ending => all = true,
        }
        let over = tokio::task::spawn_blocking(move || {
            end(|one| all || one.since.elapsed() > PATIENCE);
        });
        if let Err(panic) = over.await {
            tracing::warn!(%panic, "a capture that stood by");
        }
    }
}
