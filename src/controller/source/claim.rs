//! Checkpoints that nobody has claimed. Every agent sees them; the one on the pod's node claims.
//!
//! What happens when there is no such agent: whichever agent comes first, after a pause that differs
//! from agent to agent, asks the API server for the pod and writes why it waits, and after
//! `timeoutSeconds` that it failed. One of
//! several agents wins (see [`record`]), and the others learn of it by their watches.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt};

use super::course::{self, Step};
use super::judge::{self, Verdict};
use super::record::{self, Failure, News, RecordError};
use crate::api::{NetCheckpoint, Reason};
use crate::controller::{Agent, SharedAgent};

/// How long the agent of the pod's node has the first word.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// The other agents' pauses differ by up to this.
const SPREAD: Duration = Duration::from_secs(3);

/// Until the watch of the pods has what the API server has already told.
const WATCH_LAG: Duration = Duration::from_millis(500);

/// Longest wait for the API server's answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// One look at an unclaimed checkpoint.
pub(super) async fn reconcile(
    checkpoint: Arc<NetCheckpoint>,
    agent: SharedAgent,
) -> Result<Action, RecordError> {
    let is_claimed = checkpoint.status.as_ref().is_some_and(|status| status.node_name.is_some());
    if is_claimed
        || checkpoint.metadata.deletion_timestamp.is_some()
        || judge::has_ended(&checkpoint)
    {
        return Ok(Action::await_change());
    }
    let namespace = checkpoint.namespace().unwrap_or_default();
    let outcome = match agent.pod(&namespace, &checkpoint.spec.source_pod_name) {
        Some(pod) => ours(&agent, &checkpoint, &pod).await,
        None => others(&agent, &checkpoint).await,
    };
    match outcome {
        Err(RecordError::Overtaken) => Ok(Action::await_change()),
        outcome => outcome,
    }
}

/// The pod is on this node.
async fn ours(agent: &Agent, checkpoint: &NetCheckpoint, pod: &Pod) -> Result<Action, RecordError> {
    let left = record::time_left(checkpoint);
    match (judge::judge(checkpoint, pod), left) {
        (Verdict::Go, Some(_)) => claim(agent, checkpoint, pod).await,
        (Verdict::Go, None) => {
            let message = late(checkpoint, "the agent of the pod's node came too late");
            end_ours(agent, checkpoint, pod, Reason::TimedOut, &message).await
        }
        (Verdict::Wait(reason, message), Some(left)) => {
            let message = until(checkpoint, &message);
            wait(agent, checkpoint, Some(pod), reason, &message).await?;
            Ok(Action::requeue(left))
        }
        (Verdict::Wait(reason, message), None) => {
            end_ours(agent, checkpoint, pod, reason, &late(checkpoint, &message)).await
        }
        (Verdict::Refuse(reason, message), _) => {
            end_ours(agent, checkpoint, pod, reason, &message).await
        }
    }
}

async fn claim(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    pod: &Pod,
) -> Result<Action, RecordError> {
    let status = course::claimed(checkpoint, &agent.node, pod, Timestamp::now());
    record::status(agent, checkpoint, &status).await?;
    tracing::info!(checkpoint = %record::shown(checkpoint), "claimed");
    let message =
        format!("the agent on node {} captures the network of pod {}", agent.node, pod.name_any());
    let reason = Reason::CheckpointInProgress;
    let news = News { action: "Claim", kind: EventType::Normal, reason, message: &message };
    record::tell(agent, checkpoint, Some(pod), news).await;
    Ok(Action::await_change())
}

/// The pod is not on this node, as far as this agent knows.
async fn others(agent: &Agent, checkpoint: &NetCheckpoint) -> Result<Action, RecordError> {
    let pause = pause(&agent.node, checkpoint);
    let left = record::time_left(checkpoint);
    let is_explained = checkpoint.status.as_ref().is_some_and(|s| !s.conditions.is_empty());
    match left {
        Some(left) if is_explained => return Ok(Action::requeue(left + pause)),
        Some(_) => {
            if let Some(early) = (FIRST_WORD + pause).checked_sub(age(checkpoint)) {
                return Ok(Action::requeue(early.max(WATCH_LAG)));
            }
        }
        None => {
            let over = Timestamp::now().duration_since(judge::deadline(checkpoint));
            let over = Duration::try_from(over).unwrap_or_default();
            if let Some(early) = pause.checked_sub(over).filter(|early| !early.is_zero()) {
                return Ok(Action::requeue(early));
            }
        }
    }
    let pod = ask(agent, checkpoint).await?;
    let node = pod.as_ref().and_then(|pod| pod.spec.as_ref()?.node_name.as_deref());
    if node == Some(agent.node.as_str()) {
        return Ok(Action::requeue(WATCH_LAG));
    }
    let (reason, message) = judge::unclaimed(checkpoint, pod.as_ref());
    match left {
        Some(left) => {
            let message = until(checkpoint, &message);
            wait(agent, checkpoint, pod.as_ref(), reason, &message).await?;
            Ok(Action::requeue(left + pause))
        }
        None => {
            let message = late(checkpoint, &message);
            end(agent, checkpoint, pod.as_ref(), reason, &message).await
        }
    }
}

async fn ask(agent: &Agent, checkpoint: &NetCheckpoint) -> Result<Option<Pod>, RecordError> {
    let namespace = checkpoint.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(agent.client.clone(), &namespace);
    let request = api.get_opt(&checkpoint.spec.source_pod_name);
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(|error| RecordError::Api(Box::new(error))),
        Err(_) => Err(RecordError::Late),
    }
}

/// Says why it waits, in the status and, where that is news, in an event.
async fn wait(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    pod: Option<&Pod>,
    reason: Reason,
    message: &str,
) -> Result<(), RecordError> {
    if record::waiting(agent, checkpoint, reason, message).await? {
        let news = News { action: "Wait", kind: EventType::Warning, reason, message };
        record::tell(agent, checkpoint, pod, news).await;
    }
    Ok(())
}

/// Claims what has failed, so that it is out of the other agents' sight.
async fn end_ours(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    pod: &Pod,
    reason: Reason,
    message: &str,
) -> Result<Action, RecordError> {
    let mut claimed = checkpoint.clone();
    claimed.status.get_or_insert_default().node_name = Some(agent.node.clone());
    end(agent, &claimed, Some(pod), reason, message).await
}

async fn end(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    pod: Option<&Pod>,
    reason: Reason,
    message: &str,
) -> Result<Action, RecordError> {
    let failure = Failure { at: Step::Before, reason, message };
    record::failed(agent, checkpoint, pod, failure).await?;
    Ok(Action::await_change())
}

fn until(checkpoint: &NetCheckpoint, message: &str) -> String {
    format!("{message}; waiting until {}", judge::deadline(checkpoint))
}

fn late(checkpoint: &NetCheckpoint, message: &str) -> String {
    format!("{message}, and timeoutSeconds ({}) are over", checkpoint.spec.timeout_seconds)
}

fn age(checkpoint: &NetCheckpoint) -> Duration {
    let created = checkpoint.metadata.creation_timestamp.as_ref();
    let age = created.map(|created| Timestamp::now().duration_since(created.0));
    age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default()
}

/// Differs from node to node and from checkpoint to checkpoint, and is the same each time.
fn pause(node: &str, checkpoint: &NetCheckpoint) -> Duration {
    let mut hasher = DefaultHasher::new();
    (node, checkpoint.uid()).hash(&mut hasher);
    SPREAD.mul_f64((hasher.finish() % 1000) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::NetCheckpointSpec;

    #[test]
    fn pauses_differ_and_are_bounded() {
        let mut checkpoint = NetCheckpoint::new("c", NetCheckpointSpec::of_pod("web"));
        checkpoint.metadata.uid = Some("u".into());
        let pauses: std::collections::HashSet<_> =
            (0..50).map(|n| pause(&format!("node-{n}"), &checkpoint)).collect();
        assert!(pauses.len() > 40, "{}", pauses.len());
        assert!(pauses.iter().all(|pause| *pause < SPREAD));
        assert_eq!(pause("node-1", &checkpoint), pause("node-1", &checkpoint));
    }
}
