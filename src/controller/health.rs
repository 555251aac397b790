//! Whether the stores can be used: each is tried, its condition `Ready` says what was found, and the
//! agent is ready while the default one answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Agent, SharedAgent};
use crate::api::{
    self, ConditionStatus, ConditionType, GROUP, NetCheckpointStorage, NetCheckpointStorageStatus,
    StorageReason, VERSION,
};
use crate::http::NotYet;
use crate::store::Probe;

/// How often the storages are gone through.
const ROUND: Duration = Duration::from_secs(5);
/// How often a store that works is tried; every agent does.
const WELL: Duration = Duration::from_secs(300);
/// How often one that doesn't is.
const ILL: Duration = Duration::from_secs(30);
/// Stores that are tried at once.
const AT_ONCE: usize = 4;
/// Longest wait for the API server's answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Field manager of a storage's status, the same for every agent.
const MANAGER: &str = "netckpt-storage";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    reason: StorageReason,
    message: String,
}

impl Finding {
    fn is_good(&self) -> bool {
        matches!(self.reason, StorageReason::Reachable | StorageReason::ConditionalPutsIgnored)
    }
}

/// What the last look at each storage found, by its UID: the generation, when, and whether it is good.
type Tried = HashMap<String, (i64, Instant, bool)>;

/// Runs until the agent is to end. `not_yet` goes and comes back with the storage that images go to.
pub async fn run(agent: SharedAgent, not_yet: NotYet) {
    let mut not_yet = Some(not_yet);
    let mut tried = Tried::new();
    let ending = agent.ending.begun();
    tokio::pin!(ending);
    if agent.storages.ready().await.is_err() {
        return;
    }
    loop {
        let all = agent.storages.all();
        tried.retain(|uid, _| all.iter().any(|object| object.uid().as_ref() == Some(uid)));
        tell(&agent, &tried, &mut not_yet);
        let doubted = agent.storages.doubted();
        let mut due: Vec<_> = all
            .into_iter()
            .filter(|object| doubted.contains(&object.name_any()) || is_due(object, &tried))
            .collect();
        // The agent's readiness waits for the default one, and not for others that don't answer.
        due.sort_by_key(|object| !object.spec.is_default);
        let round = futures::stream::iter(due)
            .map(|object| look(&agent, object))
            .buffer_unordered(AT_ONCE)
            .take_until(agent.ending.begun());
        tokio::pin!(round);
        while let Some((object, good)) = round.next().await {
            let generation = object.metadata.generation.unwrap_or_default();
            tried.insert(object.uid().unwrap_or_default(), (generation, Instant::now(), good));
            tell(&agent, &tried, &mut not_yet);
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = &mut ending => return,
        }
    }
}

fn tell(agent: &Agent, tried: &Tried, not_yet: &mut Option<NotYet>) {
    if is_ready(&agent.storages.all(), tried) {
        not_yet.take();
    } else {
        not_yet.get_or_insert_with(|| agent.readiness.wait_for("storage"));
    }
}

/// Whether images can go somewhere: to the default storage, or, where checkpoints have to name theirs
/// because none is the default, to any.
fn is_ready(all: &[Arc<NetCheckpointStorage>], tried: &Tried) -> bool {
    let has_default = all.iter().any(|object| object.spec.is_default);
    let good = |object: &Arc<NetCheckpointStorage>| {
        object.uid().and_then(|uid| tried.get(&uid)).is_some_and(|(_, _, good)| *good)
    };
    all.iter().filter(|object| object.spec.is_default || !has_default).any(good)
}

fn is_due(object: &NetCheckpointStorage, tried: &Tried) -> bool {
    let generation = object.metadata.generation.unwrap_or_default();
    match object.uid().and_then(|uid| tried.get(&uid).copied()) {
        Some((of, at, good)) if of == generation => at.elapsed() >= if good { WELL } else { ILL },
        _ => true,
    }
}

async fn look(
    agent: &Agent,
    object: Arc<NetCheckpointStorage>,
) -> (Arc<NetCheckpointStorage>, bool) {
    let name = object.name_any();
    let outcome = match agent.storages.open(Some(&name)).await {
        Ok(storage) => storage.store().probe().await.map_err(|error| storage.failed(error)),
        Err(error) => Err(error),
    };
    let finding = match outcome {
        Ok(probe) => found(probe),
        Err(error) => {
            agent.storages.forget(&name).await;
            let message = format!("from node {}: {error}", agent.node);
            Finding { reason: error.storage_reason(), message }
        }
    };
    if !finding.is_good() {
        tracing::warn!(storage = name, reason = %finding.reason, finding.message, "storage");
    }
    if let Some(status) = news(&object, &finding, Timestamp::now())
        && let Err(error) = write(agent, &object, &status).await
    {
        tracing::warn!(storage = name, %error, "the storage's condition could not be written");
    }
    (object, finding.is_good())
}

fn found(probe: Probe) -> Finding {
    if probe.conditional {
        let message = "the store answers, keeps what is written, and honours conditional puts";
        return Finding { reason: StorageReason::Reachable, message: message.to_owned() };
    }
    let message = "the store answers and keeps what is written, but overwrites in spite of \
                   If-None-Match; keys are made of digests, so that only equal images replace each other";
    Finding { reason: StorageReason::ConditionalPutsIgnored, message: message.to_owned() }
}

/// The status to write; `None` where the last agent found the same. Messages differ by the node that
/// looked, and do not count.
fn news(
    object: &NetCheckpointStorage,
    finding: &Finding,
    now: Timestamp,
) -> Option<NetCheckpointStorageStatus> {
    let generation = object.metadata.generation;
    let mut status = object.status.clone().unwrap_or_default();
    let ready = ConditionStatus::from(finding.is_good());
    let is_known = api::find(&status.conditions, ConditionType::Ready).is_some_and(|last| {
        last.reason == finding.reason.as_str()
            && last.status == ready.as_str()
            && last.observed_generation == generation
    });
    if is_known {
        return None;
    }
    status.observed_generation = generation;
    let reason = finding.reason.as_str();
    let message = &finding.message;
    let conditions = &mut status.conditions;
    api::set(conditions, ConditionType::Ready, ready, reason, message, generation, now);
    Some(status)
}

async fn write(
    agent: &Agent,
    object: &NetCheckpointStorage,
    status: &NetCheckpointStorageStatus,
) -> Result<(), kube::Error> {
    let api: Api<NetCheckpointStorage> = Api::all(agent.client.clone());
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "NetCheckpointStorage",
        "metadata": { "name": object.name_any(), "uid": object.uid() },
        "status": status,
    });
    let parameters = PatchParams::apply(MANAGER).force();
    let name = object.name_any();
    let patch = Patch::Apply(patch);
    let request = api.patch_status(&name, &parameters, &patch);
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map(drop),
        Err(_) => {
            tracing::warn!(storage = name, "the API server did not answer within {DEADLINE:?}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{FileStorage, NetCheckpointStorageSpec, StorageType};

    fn storage(name: &str, is_default: bool) -> NetCheckpointStorage {
        let spec = NetCheckpointStorageSpec {
            type_: StorageType::File,
            is_default,
            s3: None,
            file: Some(FileStorage { path: "/a".into() }),
        };
        let mut object = NetCheckpointStorage::new(name, spec);
        object.metadata.uid = Some(name.to_owned());
        object
    }

    #[test]
    fn ready_is_who_can_store_and_no_longer_than_that() {
        let found = |of: &[(&str, bool)]| -> Tried {
            of.iter().map(|(uid, good)| ((*uid).to_owned(), (1, Instant::now(), *good))).collect()
        };
        let all = |of: &[(&str, bool)]| -> Vec<_> {
            of.iter().map(|(name, is_default)| Arc::new(storage(name, *is_default))).collect()
        };
        assert!(!is_ready(&[], &found(&[])), "no storage at all");
        let named = all(&[("a", false), ("b", false)]);
        assert!(!is_ready(&named, &found(&[("a", false)])));
        assert!(is_ready(&named, &found(&[("a", false), ("b", true)])));
        let with_default = all(&[("a", false), ("b", true)]);
        assert!(!is_ready(&with_default, &found(&[("a", true)])));
        assert!(is_ready(&with_default, &found(&[("a", true), ("b", true)])));
        assert!(!is_ready(&with_default, &found(&[("a", true), ("b", false)])), "a later bad look");
    }

    #[test]
    fn a_finding_is_written_once() {
        let mut object = storage("main", true);
        object.metadata.generation = Some(1);
        let well = found(Probe { conditional: true, upload: Duration::ZERO });
        let now = Timestamp::UNIX_EPOCH;
        object.status = news(&object, &well, now);
        let ready = &object.status.as_ref().unwrap().conditions[0];
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Reachable"));
        assert_eq!(news(&object, &well, now), None);
        let ill = |node: &str| Finding {
            reason: StorageReason::Unreachable,
            message: format!("from node {node}: no answer"),
        };
        object.status = news(&object, &ill("a"), now);
        assert!(object.status.is_some());
        assert_eq!(news(&object, &ill("b"), now), None);
        object.metadata.generation = Some(2);
        assert!(news(&object, &ill("b"), now).is_some());
    }
}
