//! A checkpoint is being deleted: its image goes, unless it is retained, and then the finalizer.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;

use super::archive;
use super::holding::{self, Kept};
use super::record::{self, News, RecordError};
use super::spool::{Spool, Unconfirmed};
use super::standing;
use crate::api::{DeletionPolicy, FINALIZER, NetCheckpoint, Reason};
use crate::controller::{Agent, StorageError};
use crate::store;

/// Pause before the store is asked again. There is no last time: an image must not be forgotten in
/// silence, and `deletionPolicy: Retain` lets the object go.
const AGAIN: Duration = Duration::from_secs(10);

/// Longest time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(10);

/// An image in a store.
struct Stored {
    storage: String,
    key: String,
    /// Whether the status names it. The other kind is one whose upload was begun and never confirmed.
    is_named: bool,
}

pub(super) async fn reconcile(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
) -> Result<Action, RecordError> {
    if !checkpoint.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    let mut seen = checkpoint.clone();
    let kept = holding::keep(agent, &mut seen).await?;
    let checkpoint = &seen;
    if let Kept::Again(pause) = kept
        && holding::needs(checkpoint)
        && !is_late(checkpoint)
    {
        return Ok(Action::requeue(pause));
    }
    let uid = checkpoint.uid().unwrap_or_default();
    let of = uid.clone();
    if let Err(panic) = tokio::task::spawn_blocking(move || standing::forget(&of)).await {
        tracing::warn!(%panic, "a capture that stood by");
    }
    archive::give_up(agent, checkpoint).await;
    let spool = Spool::new(&agent.state_dir);
    let removed = match archive::remove(agent, checkpoint).await {
        Ok(()) => remove_image(agent, checkpoint, &spool, &uid).await,
        failed => failed,
    };
    if let Err(error) = removed {
        return retained_by(agent, checkpoint, &error).await;
    }
    if let Err(error) = spool.drop(&uid).await {
        tracing::warn!(%error, "a captured image could not be removed; it goes with the next start");
    }
    record::finalizer(agent, checkpoint, false).await?;
    tracing::info!(checkpoint = %record::shown(checkpoint), "deleted");
    Ok(Action::await_change())
}

/// Whether nobody who needs the object for its hold's sake can be waited for any longer.
fn is_late(checkpoint: &NetCheckpoint) -> bool {
    let seconds = i64::from(checkpoint.spec.hold_timeout_seconds);
    let since = checkpoint.metadata.deletion_timestamp.as_ref();
    since.is_some_and(|since| Timestamp::now().duration_since(since.0).as_secs() > seconds)
}

async fn remove_image(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    spool: &Spool,
    uid: &str,
) -> Result<(), StorageError> {
    let Some(stored) = image_of(agent, checkpoint, spool, uid).await else { return Ok(()) };
    let (key, name) = (&stored.key, &stored.storage);
    match delete(agent, &stored).await {
        Ok(()) => tracing::info!(key, storage = name, "image deleted"),
        // Most likely it never came there, and nobody is to wait for it past the checkpoint's time.
        Err(error) if !stored.is_named && record::time_left(checkpoint).is_none() => {
            tracing::warn!(key, storage = name, %error, "an unconfirmed upload may have stayed");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn delete(agent: &Agent, stored: &Stored) -> Result<(), StorageError> {
    let storage = agent.storages.open(Some(&stored.storage)).await?;
    match tokio::time::timeout(ATTEMPT, storage.store().delete(&stored.key)).await {
        Ok(outcome) => outcome.map_err(|error| storage.failed(error)),
        Err(_) => {
            let (at, what) = (storage.name.clone(), "delete".to_owned());
            let slow = store::Error::Slow { at, what, seconds: ATTEMPT.as_secs() };
            Err(storage.failed(slow))
        }
    }
}

/// The image to delete: the one of the status, or one whose upload was begun and never confirmed.
async fn image_of(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    spool: &Spool,
    uid: &str,
) -> Option<Stored> {
    if let Some(image) = checkpoint.status.as_ref().and_then(|status| status.image.as_ref()) {
        let is_kept = checkpoint.spec.deletion_policy == DeletionPolicy::Retain;
        let (storage, key) = (image.storage_name.clone(), image.key.clone());
        return (!is_kept).then_some(Stored { storage, key, is_named: true });
    }
    // Nothing names this one, so it goes whatever the policy is.
    let found = unconfirmed(agent, checkpoint, spool, uid).await?;
    Some(Stored { storage: found.storage, key: found.key, is_named: false })
}

/// Where an image may have come to whose upload was not confirmed.
pub(super) async fn unconfirmed(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    spool: &Spool,
    uid: &str,
) -> Option<Unconfirmed> {
    if let Some(known) = spool.given_up(uid).await.ok().flatten() {
        return Some(known);
    }
    let spooled = spool.kept(uid).await.ok().flatten()?;
    let storage = agent.storages.open(checkpoint.spec.storage_name.as_deref()).await.ok()?;
    let key = store::key(&prefix(checkpoint), &store::digest(&spooled.bytes).await);
    Some(Unconfirmed { storage: storage.name, key })
}

/// Where a checkpoint's images are in a store.
pub(super) fn prefix(checkpoint: &NetCheckpoint) -> String {
    let namespace = checkpoint.namespace().unwrap_or_default();
    store::prefix(&namespace, &checkpoint.name_any(), &checkpoint.uid().unwrap_or_default())
}

async fn retained_by(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    error: &StorageError,
) -> Result<Action, RecordError> {
    let message = format!(
        "the image can't be deleted: {error}; it is tried again every {} s, and \
         deletionPolicy: Retain lets the object go without its image",
        AGAIN.as_secs()
    );
    let reason = Reason::Deleting;
    if record::waiting(agent, checkpoint, reason, &message).await? {
        let kind = EventType::Warning;
        let news = News { action: "Delete", kind, reason, message: &message };
        record::tell(agent, checkpoint, None, news).await;
    }
    Ok(Action::requeue(AGAIN))
}
