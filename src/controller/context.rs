//! What every task of the agent shares.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector;
use kube::{Client, Resource};
use tokio::sync::OnceCell;

use super::destination::paths::Cni;
use super::shutdown::Ending;
use super::storages::Storages;
use crate::api::{NetCheckpoint, PodRoute};
use crate::host::Ways;
use crate::http::{Metrics, Readiness};
use crate::pod::Runtime;

/// Reporting controller of events, and prefix of the field managers.
pub const CONTROLLER: &str = "netckpt";

/// Longest wait for the API server to take an event.
const EVENT_DEADLINE: Duration = Duration::from_secs(5);

/// One agent: the node's, in one process.
pub struct Agent {
    pub client: Client,
    /// Name of this agent's node, as `spec.nodeName` of its pods has it.
    pub node: String,
    /// The agent's own namespace, where the storages' Secrets are.
    pub namespace: String,
    /// Folder for what outlives a restart of the agent but not of the node: `/run/netckpt`.
    pub state_dir: PathBuf,
    /// Where kubelet puts the archives of checkpointed containers.
    pub checkpoints_dir: PathBuf,
    pub runtime: Runtime,
    /// The node's `/proc`.
    pub proc: PathBuf,
    /// The pods of this node, kept current by a watch.
    pub pods: reflector::Store<Pod>,
    /// Set once [`Self::pods`] has been told what there is.
    pub pods_known: OnceCell<()>,
    /// Where restored pods are, in the whole cluster.
    pub routes: reflector::Store<PodRoute>,
    /// The checkpoints of this node's pods, once the source role watches them.
    pub checkpoints: OnceLock<reflector::Store<NetCheckpoint>>,
    /// InternalIPs of this node.
    pub node_ips: Vec<IpAddr>,
    /// The ways to restored pods of this node, once the destination role has opened them.
    pub ways: OnceLock<Arc<Ways>>,
    /// The node's CNI.
    pub cni: Cni,
    /// The object stores, opened by the name of their `NetCheckpointStorage`.
    pub storages: Storages,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub events: Recorder,
    pub ending: Ending,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The agent as tasks hold it.
pub type SharedAgent = Arc<Agent>;

impl Agent {
    /// The events of this agent name the controller and the node.
    #[must_use]
    pub fn recorder(client: Client, node: &str) -> Recorder {
        let reporter =
            Reporter { controller: CONTROLLER.to_owned(), instance: Some(node.to_owned()) };
        Recorder::new(client, reporter)
    }

    /// Waits until the pods of this node are known; false when they will never be. A store wakes only
    /// one of those who wait for it, so all but this wait here.
    pub async fn knows_pods(&self) -> bool {
        self.pods_known.get_or_try_init(|| self.pods.wait_until_ready()).await.is_ok()
    }

    /// The pod of this node with that name, as the watch last told.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.pods.get(&reflector::ObjectRef::new(name).within(namespace))
    }

    /// Publishes an event on an object; a failure is logged and nothing else, as events are only told.
    pub async fn tell(&self, about: &ObjectReference, kind: EventType, reason: &str, note: String) {
        self.tell_of("Checkpoint", about, kind, reason, note).await;
    }

    /// As [`Self::tell`], with the action that the event is of. Events that agree in all but their
    /// notes are counted together by the API, and only the first note is kept.
    pub async fn tell_of(
        &self,
        action: &str,
        about: &ObjectReference,
        kind: EventType,
        reason: &str,
        note: String,
    ) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: action.to_owned(),
            secondary: None,
        };
        let publish = self.events.publish(&event, about);
        match tokio::time::timeout(EVENT_DEADLINE, publish).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason, "an event could not be published"),
            Err(_) => tracing::warn!(reason, "an event was not taken within {EVENT_DEADLINE:?}"),
        }
    }
}

/// A reference to an object of the API, for events.
#[must_use]
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// `note` of an event is at most 1,024 bytes long (`events.k8s.io/v1`).
fn shortened(mut note: String) -> String {
    const LIMIT: usize = 1024;
    const MARK: &str = "…";
    if note.len() > LIMIT {
        let mut end = LIMIT - MARK.len();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str(MARK);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_fit_an_event() {
        assert_eq!(shortened("short".into()), "short");
        let long = shortened("é".repeat(1000));
        assert!(long.len() <= 1024 && long.ends_with('…'), "{}", long.len());
    }
}
