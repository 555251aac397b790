//! What is told of a restore: the pod's condition, the entry in `status.restores`, events on both.
//!
//! The entry is applied under a field manager of its own, so that agents of several nodes write side
//! by side without reading first, and an old entry is taken away by applying nothing as its manager.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::rebuild::Rebuilt;
use super::wanted::Wanted;
use crate::api::{
    GROUP, MAX_RESTORES, NETWORK_RESTORED, NetCheckpoint, RestoreReason, RestoreState,
    RestoreStatus, Takeover, VERSION,
};
use crate::controller::{Agent, reference};

/// Longest wait for one write. The pod does not wait for it.
const DEADLINE: Duration = Duration::from_secs(10);
/// Action of the events.
const ACTION: &str = "Restore";
/// `maxLength` of a condition's message here.
const MESSAGE: usize = 1024;

/// How a restore stands.
#[derive(Debug, Clone)]
pub struct Standing {
    pub state: RestoreState,
    pub reason: RestoreReason,
    pub message: String,
    pub started: Timestamp,
    pub timings: Timings,
}

/// How long the steps took, as far as they were reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    pub download: Option<Duration>,
    pub rebuild: Option<Duration>,
    pub verify: Option<Duration>,
    pub total: Option<Duration>,
}

impl Timings {
    /// With those of the rebuild.
    #[must_use]
    pub fn rebuilt(mut self, rebuilt: &Rebuilt) -> Self {
        self.rebuild = Some(rebuilt.rebuild());
        self.verify = Some(rebuilt.report.timings.verify);
        self
    }
}

/// Writes the standing wherever it belongs. A write that fails is logged: the pod's network is what
/// it is, whether it could be told or not.
pub async fn tell(
    agent: &Agent,
    wanted: &Wanted,
    checkpoint: Option<&NetCheckpoint>,
    standing: &Standing,
) {
    let on_pod = bounded("the pod's condition", condition(agent, &wanted.pod, standing));
    let on_checkpoint = async {
        let Some(checkpoint) = checkpoint else { return };
        bounded("status.restores", entry(agent, wanted, checkpoint, standing)).await;
    };
    tokio::join!(on_pod, on_checkpoint, events(agent, wanted, checkpoint, standing));
}

async fn bounded(what: &str, write: impl Future<Output = Result<(), kube::Error>>) {
    match timeout(DEADLINE, write).await {
        Ok(Ok(())) => {}
        // The pod or the checkpoint is gone: nobody is left to be told.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 || status.code == 409 => {}
        Ok(Err(error)) => tracing::warn!(%error, "{what} of a restore can't be written"),
        Err(_) => tracing::warn!("{what} of a restore: the API server did not answer in time"),
    }
}

/// The condition by a strategic merge: kubelet's own conditions stay, and the UID keeps it from a
/// pod that came after.
async fn condition(agent: &Agent, pod: &Pod, standing: &Standing) -> Result<(), kube::Error> {
    let status = match standing.state {
        RestoreState::Restored => "True",
        RestoreState::InProgress | RestoreState::Failed => "False",
    };
    let patch = json!({
        "metadata": {"uid": pod.uid()},
        "status": {"conditions": [{
            "type": NETWORK_RESTORED,
            "status": status,
            "reason": standing.reason.as_str(),
            "message": cut(&standing.message, MESSAGE),
            "lastTransitionTime": Timestamp::now().to_string(),
        }]},
    });
    let api: Api<Pod> = Api::namespaced(agent.client.clone(), &pod.namespace().unwrap_or_default());
    let parameters = PatchParams::default();
    api.patch_status(&pod.name_any(), &parameters, &Patch::Strategic(patch)).await.map(drop)
}

/// A takeover could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// The object has changed since it was looked at, or is gone.
    #[error("the NetCheckpoint has changed meanwhile")]
    Overtaken,
    #[error("the API server: {0}")]
    Api(String),
}

/// Writes how far a pod is in taking over, on the condition that the object is still as it was seen.
/// Answers the object as it is then.
///
/// # Errors
/// [`Unwritten`].
pub async fn takeover(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    pod: Option<&Pod>,
    uid: &str,
    takeover: Takeover,
) -> Result<NetCheckpoint, Unwritten> {
    let restores = checkpoint.status.iter().flat_map(|status| &status.restores);
    let before = restores.clone().find(|one| one.pod_uid == uid);
    let name = pod.map(ResourceExt::name_any).or_else(|| before.map(|one| one.pod_name.clone()));
    let mut live_at = before.and_then(|one| one.live_at.clone());
    if takeover == Takeover::Live {
        live_at = live_at.or_else(|| Some(MicroTime(Timestamp::now())));
    }
    // Whole by itself: the rest is written by another manager, later, or, of a pod that was prepared from
    // an earlier checkpoint, to that one and never here. What an apply leaves out goes.
    let mut entry = json!({
        "podUID": uid,
        "podName": name,
        "nodeName": agent.node,
        "state": RestoreState::Restored,
        "reason": RestoreReason::Restored.as_str(),
        "takeover": takeover,
    });
    if let Some(at) = live_at {
        entry["liveAt"] = json!(at);
    }
    let mut object = identity(checkpoint, json!({"restores": [entry]}));
    object["metadata"]["resourceVersion"] = json!(checkpoint.resource_version());
    let api: Api<NetCheckpoint> =
        Api::namespaced(agent.client.clone(), &checkpoint.namespace().unwrap_or_default());
    let manager = PatchParams::apply(&format!("netckpt-takeover-{uid}")).force();
    let patch = Patch::Apply(object);
    let name = checkpoint.name_any();
    let write = api.patch_status(&name, &manager, &patch);
    match timeout(DEADLINE, write).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            Err(Unwritten::Overtaken)
        }
        Ok(Err(error)) => Err(Unwritten::Api(error.to_string())),
        Err(_) => Err(Unwritten::Api("no answer in time".to_owned())),
    }
}

/// Tells on the pod that its network is of no more use.
pub async fn failed(agent: &Agent, pod: &Pod, reason: RestoreReason, message: &str) {
    let standing = Standing {
        state: RestoreState::Failed,
        reason,
        message: message.to_owned(),
        started: Timestamp::now(),
        timings: Timings::default(),
    };
    bounded("the pod's condition", condition(agent, pod, &standing)).await;
}

async fn entry(
    agent: &Agent,
    wanted: &Wanted,
    checkpoint: &NetCheckpoint,
    standing: &Standing,
) -> Result<(), kube::Error> {
    let api: Api<NetCheckpoint> =
        Api::namespaced(agent.client.clone(), &checkpoint.namespace().unwrap_or_default());
    let entry = status(agent, wanted, standing);
    match applied(&api, checkpoint, &entry).await {
        // Others have filled the list since the checkpoint was read.
        Err(kube::Error::Api(refused)) if refused.code == 422 => {
            let Some(now) = api.get_opt(&checkpoint.name_any()).await? else { return Ok(()) };
            if now.uid() != checkpoint.uid() {
                return Ok(());
            }
            applied(&api, &now, &entry).await
        }
        outcome => outcome,
    }
}

/// Applies the entry, and takes one away before if the list is full.
async fn applied(
    api: &Api<NetCheckpoint>,
    checkpoint: &NetCheckpoint,
    entry: &RestoreStatus,
) -> Result<(), kube::Error> {
    let name = checkpoint.name_any();
    if let Some(oldest) = surplus(checkpoint, &entry.pod_uid) {
        let nothing = Patch::Apply(identity(checkpoint, json!({})));
        api.patch_status(&name, &manager(&oldest), &nothing).await?;
    }
    let patch = Patch::Apply(identity(checkpoint, json!({"restores": [entry]})));
    api.patch_status(&name, &manager(&entry.pod_uid), &patch).await.map(drop)
}

fn status(agent: &Agent, wanted: &Wanted, standing: &Standing) -> RestoreStatus {
    let ended = standing.state != RestoreState::InProgress;
    let millis = |time: Option<Duration>| {
        time.map(|time| i64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i64::MAX))
    };
    RestoreStatus {
        pod_uid: wanted.pod.uid().unwrap_or_default(),
        pod_name: wanted.pod.name_any(),
        node_name: agent.node.clone(),
        state: standing.state,
        takeover: None,
        live_at: None,
        reason: standing.reason.as_str().to_owned(),
        message: cut(&standing.message, 2 * MESSAGE),
        started_at: Some(MicroTime(standing.started)),
        completed_at: ended.then(|| MicroTime(Timestamp::now())),
        download_ms: millis(standing.timings.download),
        rebuild_ms: millis(standing.timings.rebuild),
        verify_ms: millis(standing.timings.verify),
        total_ms: millis(standing.timings.total),
    }
}

/// The entry that makes room for one more: the oldest that has ended, else the oldest.
fn surplus(checkpoint: &NetCheckpoint, uid: &str) -> Option<String> {
    let restores = &checkpoint.status.as_ref()?.restores;
    let is_new = restores.iter().all(|one| one.pod_uid != uid);
    if !is_new || restores.len() < MAX_RESTORES {
        return None;
    }
    let started = |one: &&RestoreStatus| one.started_at.as_ref().map(|at| at.0);
    let ended = restores.iter().filter(|one| one.state != RestoreState::InProgress);
    let oldest = ended.min_by_key(started).or_else(|| restores.iter().min_by_key(started));
    oldest.map(|one| one.pod_uid.clone())
}

/// The field manager of one pod's entry.
fn manager(uid: &str) -> PatchParams {
    PatchParams::apply(&format!("netckpt-restore-{uid}")).force()
}

/// What names the object. The UID keeps an apply from making a deleted object anew.
fn identity(checkpoint: &NetCheckpoint, status: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "NetCheckpoint",
        "metadata": {
            "name": checkpoint.name_any(),
            "namespace": checkpoint.namespace(),
            "uid": checkpoint.uid(),
        },
        "status": status,
    })
}

async fn events(
    agent: &Agent,
    wanted: &Wanted,
    checkpoint: Option<&NetCheckpoint>,
    standing: &Standing,
) {
    let kind = match standing.state {
        RestoreState::Failed => EventType::Warning,
        RestoreState::InProgress | RestoreState::Restored => EventType::Normal,
    };
    let reason = standing.reason.as_str();
    let note = format!("NetCheckpoint {}: {}", wanted.checkpoint, standing.message);
    let pod = reference(&*wanted.pod);
    let on_pod = agent.tell_of(ACTION, &pod, kind, reason, note);
    let on_checkpoint = async {
        let Some(checkpoint) = checkpoint else { return };
        let note = format!("pod {}: {}", wanted.pod.name_any(), standing.message);
        agent.tell_of(ACTION, &reference(checkpoint), kind, reason, note).await;
    };
    tokio::join!(on_pod, on_checkpoint);
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{NetCheckpointSpec, NetCheckpointStatus};

    fn entry(uid: &str, state: RestoreState, at: i64) -> RestoreStatus {
        RestoreStatus {
            pod_uid: uid.into(),
            pod_name: "web".into(),
            node_name: "b".into(),
            state,
            reason: "Restored".into(),
            message: String::new(),
            takeover: None,
            live_at: None,
            started_at: Some(MicroTime(Timestamp::from_second(at).unwrap())),
            completed_at: None,
            download_ms: None,
            rebuild_ms: None,
            verify_ms: None,
            total_ms: None,
        }
    }

    #[test]
    fn the_oldest_ended_entry_makes_room() {
        let mut checkpoint = NetCheckpoint::new("web", NetCheckpointSpec::of_pod("web"));
        let mut all = vec![entry("working", RestoreState::InProgress, 1)];
        all.extend(
            (2..)
                .take(MAX_RESTORES - 1)
                .map(|at| entry(&format!("u{at}"), RestoreState::Restored, at)),
        );
        let status = NetCheckpointStatus { restores: all, ..NetCheckpointStatus::default() };
        checkpoint.status = Some(status);
        assert_eq!(surplus(&checkpoint, "new").as_deref(), Some("u2"));
        assert_eq!(surplus(&checkpoint, "u5"), None, "it is replaced, not added");
        checkpoint.status.as_mut().unwrap().restores.pop();
        assert_eq!(surplus(&checkpoint, "new"), None);
    }
}
