//! The archive of the pod's container, for a controller that moves its processes as well: from where
//! kubelet put it into the checkpoint's store, once the annotation names it.
//!
//! Only archives of the captured pod are taken (see [`crate::archive`]), one for each checkpoint. The
//! file on the node goes then: it holds the memory of a process, and kubelet never removes it.

use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::events::EventType;

use super::course;
use super::record::{self, News, RecordError};
use super::removal::prefix;
use crate::api::{ARCHIVE, ArchiveStatus, ConditionType, NetCheckpoint, Reason, find, is_true};
use crate::archive::{self, Owner};
use crate::controller::{Agent, StorageError};
use crate::store;

/// Longest time of one removal.
const REMOVAL: Duration = Duration::from_secs(10);

/// Why an archive was not stored.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error("{0}")]
    Storage(#[from] Box<StorageError>),
    #[error("the thread that read it broke off: {0}")]
    Thread(String),
}

/// Stores the archive that the annotation names, unless that was done.
///
/// # Errors
/// When the API server does not take what became of it. That the archive is not stored is no error
/// here: the condition tells.
pub(super) async fn ship(agent: &Agent, checkpoint: &NetCheckpoint) -> Result<(), RecordError> {
    let conditions = checkpoint.status.as_ref().map(|status| status.conditions.as_slice());
    let conditions = conditions.unwrap_or_default();
    let Some(name) = checkpoint.annotations().get(ARCHIVE) else { return Ok(()) };
    let is_ready = is_true(conditions, ConditionType::Ready);
    if !is_ready || is_true(conditions, ConditionType::Archived) {
        return Ok(());
    }
    let start = Instant::now();
    let outcome = stored(agent, checkpoint, name).await;
    let (told, kind) = match &outcome {
        Ok(archive) => (Ok((archive.clone(), start.elapsed())), EventType::Normal),
        Err(error) => (Err(error.to_string()), EventType::Warning),
    };
    let told = told.as_ref().map_err(String::as_str).cloned();
    let status = course::archived(checkpoint, told, Timestamp::now());
    let now = find(&status.conditions, ConditionType::Archived);
    if now == find(conditions, ConditionType::Archived) {
        return Ok(());
    }
    record::step(agent, checkpoint, &status).await?;
    if outcome.is_ok() {
        forget(&agent.checkpoints_dir.join(name)).await;
    }
    let message = now.map(|condition| condition.message.as_str()).unwrap_or_default();
    tracing::info!(checkpoint = %record::shown(checkpoint), what = message, "archive");
    let reason = if outcome.is_ok() { Reason::ArchiveStored } else { Reason::ArchiveRefused };
    record::tell(agent, checkpoint, None, News { action: "Archive", kind, reason, message }).await;
    Ok(())
}

async fn stored(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    name: &str,
) -> Result<ArchiveStatus, ArchiveError> {
    let namespace = checkpoint.namespace().unwrap_or_default();
    archive::named(name, &namespace, &checkpoint.spec.source_pod_name)?;
    let path = agent.checkpoints_dir.join(name);
    let uid = checkpoint.status.as_ref().and_then(|status| status.source_pod_uid.clone());
    let uid = uid.unwrap_or_default();
    let read = tokio::task::spawn_blocking(move || archive::read(&path, &uid)).await;
    let (content, Owner { container, .. }) =
        read.map_err(|panic| ArchiveError::Thread(panic.to_string()))??;
    let image = checkpoint.status.as_ref().and_then(|status| status.image.as_ref());
    // Beside the image: that storage is known to take it.
    let storage = image.map(|image| image.storage_name.as_str());
    let storage = agent.storages.open(storage).await.map_err(Box::new)?;
    let put = storage.store().put_archive(&prefix(checkpoint), content).await;
    let stored = put.map_err(|error| Box::new(storage.failed(error)))?;
    Ok(ArchiveStatus {
        storage_name: storage.name,
        key: stored.key,
        digest: stored.digest,
        size_bytes: i64::try_from(stored.size).unwrap_or(i64::MAX),
        container_name: container,
    })
}

/// Removes the file on the node.
async fn forget(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await {
        let path = path.display();
        tracing::warn!(%path, %error, "a checkpoint archive could not be removed; it holds a process's memory");
    }
}

/// Removes an archive that was named and came to no store: the move has failed, and nobody else knows
/// of the file.
pub(super) async fn give_up(agent: &Agent, checkpoint: &NetCheckpoint) {
    let Some(status) = &checkpoint.status else { return };
    let Some(name) = checkpoint.annotations().get(ARCHIVE) else { return };
    let namespace = checkpoint.namespace().unwrap_or_default();
    let is_named = archive::named(name, &namespace, &checkpoint.spec.source_pod_name).is_ok();
    if !is_named || is_true(&status.conditions, ConditionType::Archived) {
        return;
    }
    let path = agent.checkpoints_dir.join(name);
    let (file, uid) = (path.clone(), status.source_pod_uid.clone().unwrap_or_default());
    let read = tokio::task::spawn_blocking(move || archive::read(&file, &uid)).await;
    if matches!(read, Ok(Ok(_))) {
        forget(&path).await;
    }
}

/// Removes the archive from the store. It serves one move and nothing after, whatever becomes of the
/// network's image.
///
/// # Errors
/// [`StorageError`].
pub(super) async fn remove(agent: &Agent, checkpoint: &NetCheckpoint) -> Result<(), StorageError> {
    let Some(archive) = checkpoint.status.as_ref().and_then(|status| status.archive.as_ref())
    else {
        return Ok(());
    };
    let storage = agent.storages.open(Some(&archive.storage_name)).await?;
    match tokio::time::timeout(REMOVAL, storage.store().delete(&archive.key)).await {
        Ok(outcome) => outcome.map_err(|error| storage.failed(error)),
        Err(_) => {
            let (at, what) = (storage.name.clone(), "delete".to_owned());
            let slow = store::Error::Slow { at, what, seconds: REMOVAL.as_secs() };
            Err(storage.failed(slow))
        }
    }
}
