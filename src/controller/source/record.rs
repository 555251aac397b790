//! Writes what a checkpoint has come to: its status by server-side apply, its finalizer, its events.
//!
//! Every write is good only for the version of the object that it was made from. So of several
//! agents one wins a claim, and a reconcile that was begun from an outdated view does nothing.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::course::{self, Step};
use super::judge;
use crate::api::{ARCHIVE, FINALIZER, GROUP, NetCheckpoint, NetCheckpointStatus, Reason, VERSION};
use crate::controller::{Agent, reference};

/// Field manager of the source role's part of the status, the same for every agent: before a claim
/// any of them may write it.
const STATUS_MANAGER: &str = "netckpt-source";

/// Field manager of the lock's name.
const LOCK_MANAGER: &str = "netckpt-lock";

/// Field manager of the finalizer.
const FINALIZER_MANAGER: &str = "netckpt-finalizer";

/// Longest wait for the API server's answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// The API server did not take a write.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The object has changed meanwhile, is gone, or is being deleted: its watch tells what to do.
    #[error("the object has changed meanwhile")]
    Overtaken,
    #[error("the API server did not answer within {DEADLINE:?}")]
    Late,
    #[error("the API server: {0}")]
    Api(#[from] Box<kube::Error>),
}

/// Writes the status; answers the object as it is then.
///
/// # Errors
/// [`RecordError::Overtaken`] when somebody else was first, or the object is gone.
pub async fn status(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    status: &NetCheckpointStatus,
) -> Result<NetCheckpoint, RecordError> {
    let mut object = identity(checkpoint);
    object["status"] = serde_json::to_value(status).map_err(kube_error)?;
    let parameters = PatchParams::apply(STATUS_MANAGER).force();
    let name = checkpoint.name_any();
    let api = api(agent, checkpoint);
    answered(api.patch_status(&name, &parameters, &Patch::Apply(object))).await
}

/// As [`status`], and once more where only that has changed which others write beside: a successor's
/// entry, CRIU's lock. For steps that these don't touch; whose turn it is must be settled by [`status`].
///
/// # Errors
/// As [`status`].
pub async fn step(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    new: &NetCheckpointStatus,
) -> Result<NetCheckpoint, RecordError> {
    /// A pod that moves is written to a few times by others.
    const TRIES: u32 = 4;
    let mut seen = checkpoint.clone();
    for _ in 0..TRIES {
        match status(agent, &seen, new).await {
            Err(RecordError::Overtaken) => {}
            outcome => return outcome,
        }
        let name = checkpoint.name_any();
        let now = answered(api(agent, checkpoint).get(&name)).await?;
        if own(&now) != own(checkpoint) {
            break;
        }
        seen = now;
    }
    Err(RecordError::Overtaken)
}

/// What steps are taken from: all but what others write beside.
fn own(checkpoint: &NetCheckpoint) -> impl PartialEq + use<> {
    let mut status = checkpoint.status.clone().unwrap_or_default();
    status.restores.clear();
    status.criu_lock = None;
    let metadata = &checkpoint.metadata;
    let archive = checkpoint.annotations().get(ARCHIVE).cloned();
    let version = (metadata.uid.clone(), metadata.generation, metadata.deletion_timestamp.clone());
    (version, archive, status)
}

/// Tells CRIU's lock in the held pod's namespace, whatever else has changed meanwhile.
///
/// # Errors
/// [`RecordError::Overtaken`] when the object is gone.
pub async fn lock(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    lock: &str,
) -> Result<(), RecordError> {
    let mut object = identity(checkpoint);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    object["status"] = json!({"criuLock": lock});
    let parameters = PatchParams::apply(LOCK_MANAGER).force();
    let name = checkpoint.name_any();
    let api = api(agent, checkpoint);
    answered(api.patch_status(&name, &parameters, &Patch::Apply(object))).await.map(drop)
}

/// Adds or takes away the finalizer.
///
/// # Errors
/// [`RecordError::Overtaken`] when the object is gone or, for adding, being deleted.
pub async fn finalizer(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    wanted: bool,
) -> Result<NetCheckpoint, RecordError> {
    let mut object = identity(checkpoint);
    object["metadata"]["finalizers"] = if wanted { json!([FINALIZER]) } else { json!([]) };
    let parameters = PatchParams::apply(FINALIZER_MANAGER).force();
    let name = checkpoint.name_any();
    let api = api(agent, checkpoint);
    answered(api.patch(&name, &parameters, &Patch::Apply(object))).await
}

/// What names the object and its version. The UID keeps an apply from making a deleted object anew.
fn identity(checkpoint: &NetCheckpoint) -> serde_json::Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "NetCheckpoint",
        "metadata": {
            "name": checkpoint.name_any(),
            "namespace": checkpoint.namespace(),
            "uid": checkpoint.uid(),
            "resourceVersion": checkpoint.resource_version(),
        },
    })
}

fn api(agent: &Agent, checkpoint: &NetCheckpoint) -> Api<NetCheckpoint> {
    Api::namespaced(agent.client.clone(), &checkpoint.namespace().unwrap_or_default())
}

fn kube_error(error: serde_json::Error) -> Box<kube::Error> {
    Box::new(kube::Error::SerdeError(error))
}

async fn answered<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RecordError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            Err(RecordError::Overtaken)
        }
        // A finalizer can't be added to an object that is being deleted.
        Ok(Err(kube::Error::Api(status)))
            if status.code == 422 && status.message.contains("finalizers: Forbidden") =>
        {
            Err(RecordError::Overtaken)
        }
        Ok(Err(error)) => Err(RecordError::Api(Box::new(error))),
        Err(_) => Err(RecordError::Late),
    }
}

/// Writes that it still may become ready, unless that is what is written already; answers whether
/// it was news.
///
/// # Errors
/// As [`status`].
pub async fn waiting(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    reason: Reason,
    message: &str,
) -> Result<bool, RecordError> {
    let new = course::waiting(checkpoint, reason, message, Timestamp::now());
    let unchanged = checkpoint.status.as_ref().is_some_and(|old| old.conditions == new.conditions);
    if !unchanged {
        tracing::info!(checkpoint = %shown(checkpoint), %reason, why = message, "waiting");
        status(agent, checkpoint, &new).await?;
    }
    Ok(!unchanged)
}

/// Writes that it has ended without an image, and tells it on the checkpoint and its pod.
///
/// # Errors
/// As [`status`].
pub async fn failed(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    pod: Option<&Pod>,
    failure: Failure<'_>,
) -> Result<(), RecordError> {
    let Failure { at, reason, message } = failure;
    let new = course::failed(checkpoint, at, reason, message, Timestamp::now());
    status(agent, checkpoint, &new).await?;
    tracing::warn!(checkpoint = %shown(checkpoint), %reason, why = message, "failed");
    agent.metrics.captured(reason.as_str());
    let news = News { action: "Fail", kind: EventType::Warning, reason, message };
    tell(agent, checkpoint, pod, news).await;
    Ok(())
}

/// Why a checkpoint ended without an image.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    pub at: Step,
    pub reason: Reason,
    pub message: &'a str,
}

/// What is told in events.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    /// What the agent did: `Claim`, `Wait`, `Retry`, `Complete`, `Fail` or `Delete`.
    pub action: &'static str,
    pub kind: EventType,
    pub reason: Reason,
    pub message: &'a str,
}

/// Publishes an event on the checkpoint and on the pod.
pub async fn tell(agent: &Agent, checkpoint: &NetCheckpoint, pod: Option<&Pod>, news: News<'_>) {
    let News { action, kind, reason, message } = news;
    let reason = reason.as_str();
    let about = reference(checkpoint);
    let on_checkpoint = agent.tell_of(action, &about, kind, reason, message.to_owned());
    let Some(pod) = pod.map(reference).or_else(|| captured_pod(checkpoint)) else {
        return on_checkpoint.await;
    };
    let note = format!("NetCheckpoint {}: {message}", checkpoint.name_any());
    tokio::join!(on_checkpoint, agent.tell_of(action, &pod, kind, reason, note));
}

/// The pod by what the status knows of it.
fn captured_pod(checkpoint: &NetCheckpoint) -> Option<ObjectReference> {
    let uid = checkpoint.status.as_ref()?.source_pod_uid.clone()?;
    Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(checkpoint.spec.source_pod_name.clone()),
        namespace: checkpoint.namespace(),
        uid: Some(uid),
        ..ObjectReference::default()
    })
}

/// Namespace and name, for logs.
#[must_use]
pub fn shown(checkpoint: &NetCheckpoint) -> String {
    format!("{}/{}", checkpoint.namespace().unwrap_or_default(), checkpoint.name_any())
}

/// Time until the checkpoint must have ended; `None` when that is over.
#[must_use]
pub fn time_left(checkpoint: &NetCheckpoint) -> Option<Duration> {
    let left = judge::deadline(checkpoint).duration_since(Timestamp::now());
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ConditionType, NetCheckpointSpec, set};

    #[test]
    fn what_others_write_beside_does_not_overtake_a_step() {
        let mut seen = NetCheckpoint::new("web", NetCheckpointSpec::of_pod("web"));
        seen.metadata.resource_version = Some("7".into());
        let mut now = seen.clone();
        now.metadata.resource_version = Some("8".into());
        now.status.get_or_insert_default().criu_lock = Some("CRIU-1".into());
        assert!(own(&now) == own(&seen));
        let mut told = now.clone();
        let conditions = &mut told.status.get_or_insert_default().conditions;
        let (held, reason) = (ConditionType::Held, Reason::TimedOut.as_str());
        set(conditions, held, false, reason, "", None, Timestamp::UNIX_EPOCH);
        assert!(own(&told) != own(&seen));
        let mut named = now.clone();
        named.annotations_mut().insert(ARCHIVE.into(), "a.tar".into());
        assert!(own(&named) != own(&seen));
        now.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        assert!(own(&now) != own(&seen));
    }
}
