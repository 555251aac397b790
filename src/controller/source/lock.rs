//! CRIU's lock in a held pod's namespace: it is there only while CRIU dumps.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;

use super::holding;
use super::record::{self, RecordError};
use crate::api::NetCheckpoint;
use crate::controller::SharedAgent;
use crate::hold::{self, Hold, Listed};
use crate::netns::Namespace;

/// Publishes the name of the lock that CRIU makes in the held pod's namespace, as soon as it is there,
/// until the hold has ended. One task for each checkpoint.
pub(super) fn watch(agent: &SharedAgent, checkpoint: &NetCheckpoint) {
    static WATCHED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let watched = || WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let uid = checkpoint.uid().unwrap_or_default();
    let Ok(hold) = holding::name(checkpoint) else { return };
    if !watched().insert(uid.clone()) {
        return;
    }
    let (agent, checkpoint) = (agent.clone(), checkpoint.clone());
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let publish = |lock: &hold::criu::Lock| {
            runtime.block_on(record::lock(&agent, &checkpoint, lock.as_str()))
        };
        if let Err(error) = locks(&hold, &|| agent.ending.has_begun(), &publish) {
            tracing::warn!(checkpoint = %record::shown(&checkpoint), %error, "CRIU's lock");
        }
        watched().remove(&uid);
    });
}

/// Looks for CRIU's lock until the hold is over.
fn locks(
    hold: &Hold,
    is_ending: &dyn Fn() -> bool,
    publish: &dyn Fn(&hold::criu::Lock) -> Result<(), RecordError>,
) -> Result<(), hold::Error> {
    /// How often the end of the hold is looked for.
    const PAUSE: Duration = Duration::from_millis(500);
    let node = Namespace::current()?;
    let listed = hold::all(&node)?.into_iter().find(|listed| listed.hold == *hold);
    let Some(pod) = listed.as_ref().and_then(Listed::pod) else { return Ok(()) };
    let mut watch = hold::criu::Watch::open(&pod)?;
    let mut told = None;
    loop {
        let lock = watch.lock()?;
        if lock.is_some() && lock != told {
            match lock.as_ref().map(publish) {
                Some(Err(error)) => {
                    tracing::warn!(%error, "CRIU's lock can't be told of; it is tried again");
                }
                _ => told = lock,
            }
        }
        let changed = watch.changed(PAUSE)?;
        let over = || -> Result<bool, hold::Error> {
            let standing = hold.read(None, &node)?;
            Ok(standing.is_none_or(|standing| !standing.element.is_there()))
        };
        if is_ending() || (!changed && over()?) {
            return Ok(());
        }
    }
}
