//! What the node's registry serves: archives of containers whose pods are to go on here.
//!
//! An image is given only while a pod of this node names it and is to get the network of the same
//! NetCheckpoint. The answer waits until the archive is stored, and, with the UID in the image's name,
//! it is that NetCheckpoint's and no later one's of the same name.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryFutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use tokio::time::timeout;

use super::SharedAgent;
use crate::api::{ArchiveStatus, ConditionType, NetCheckpoint, RESTORE_FROM, find, is_true};
use crate::archive::LARGEST;
use crate::gate::attachment::subdomain;
use crate::registry::{Archive, Archives, Asked, Refused, reference};

/// How long a pull waits for an archive. kubelet tries again, with growing pauses.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an archive is kept in memory for the pull's next requests.
const KEPT: Duration = Duration::from_secs(30);
/// Archives kept at once.
const MOST: usize = 4;

/// The archives of one node.
pub struct NodeArchives {
    agent: SharedAgent,
    port: u16,
    kept: Mutex<Vec<Kept>>,
}

#[derive(Clone)]
struct Kept {
    asked: Asked,
    archive: Archive,
    content: Bytes,
    until: Instant,
}

impl NodeArchives {
    #[must_use]
    pub fn new(agent: SharedAgent, port: u16) -> Self {
        Self { agent, port, kept: Mutex::default() }
    }

    /// Whether a pod of this node is to go on from that archive.
    fn is_wanted(&self, asked: &Asked, uid: &str) -> bool {
        let image = reference(self.port, &asked.namespace, &asked.name, uid);
        self.agent.pods.state().iter().any(|pod| wants(pod, asked, &image))
    }

    /// The archive of the checkpoint with that UID, once it is stored.
    async fn stored(&self, asked: &Asked, uid: &str) -> Result<ArchiveStatus, Refused> {
        let api: Api<NetCheckpoint> = Api::namespaced(self.agent.client.clone(), &asked.namespace);
        let is_over = |object: Option<&NetCheckpoint>| {
            object.is_none_or(|object| {
                object.uid().as_deref() != Some(uid) || verdict(object).is_some()
            })
        };
        let waited = timeout(PATIENCE, await_condition(api, &asked.name, is_over)).await;
        let gone =
            || Refused::Unknown(format!("there is no NetCheckpoint {} any more", asked.name));
        let object = match waited {
            Err(_) => return Err(Refused::Later("the archive is not stored yet".to_owned())),
            Ok(Err(error)) => return Err(Refused::Later(error.to_string())),
            Ok(Ok(object)) => object.ok_or_else(gone)?,
        };
        if object.uid().as_deref() != Some(uid) {
            return Err(gone());
        }
        verdict(&object).unwrap_or_else(|| Err(gone()))
    }

    async fn download(&self, of: &ArchiveStatus) -> Result<Bytes, Refused> {
        let storages = &self.agent.storages;
        let storage = storages.open(Some(&of.storage_name)).await;
        let storage = storage.map_err(|error| Refused::Later(error.to_string()))?;
        let size = u64::try_from(of.size_bytes).unwrap_or_default().min(LARGEST);
        let content = storage.store().get(&of.key, &of.digest, size);
        content.map_err(|error| Refused::Later(error.to_string())).await
    }

    fn keep(&self, kept: Kept) {
        let mut all = self.lock();
        all.retain(|one| one.until > Instant::now() && one.asked != kept.asked);
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(kept);
    }

    fn of(&self, asked: &Asked) -> Vec<Kept> {
        let mut all = self.lock();
        all.retain(|one| one.until > Instant::now());
        all.iter().filter(|one| one.asked == *asked).cloned().collect()
    }

    /// What is guarded is plain data; a panic leaves it usable.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Archives for NodeArchives {
    async fn ready(&self, asked: &Asked, uid: &str) -> Result<Archive, Refused> {
        if !subdomain(&asked.namespace) || !subdomain(&asked.name) || !self.is_wanted(asked, uid) {
            return Err(Refused::Unknown("no pod of this node is to go on from it".to_owned()));
        }
        let stored = self.stored(asked, uid).await?;
        let content = self.download(&stored).await?;
        let size = content.len() as u64;
        let archive = Archive { digest: stored.digest, size, container: stored.container_name };
        let (asked, until) = (asked.clone(), Instant::now() + KEPT);
        tracing::info!(
            namespace = asked.namespace,
            checkpoint = asked.name,
            size,
            "archive served"
        );
        self.keep(Kept { asked, archive: archive.clone(), content, until });
        Ok(archive)
    }

    async fn content(&self, asked: &Asked, digest: &str) -> Result<Bytes, Refused> {
        let found = self.of(asked).into_iter().find(|one| one.archive.digest == digest);
        found.map(|one| one.content).ok_or_else(|| Refused::Unknown("it is not kept".to_owned()))
    }

    fn known(&self, asked: &Asked) -> Vec<Archive> {
        self.of(asked).into_iter().map(|one| one.archive).collect()
    }
}

/// Whether a pod names the image and is to get the network of the same checkpoint.
fn wants(pod: &Pod, asked: &Asked, image: &str) -> bool {
    let names = pod.annotations().get(RESTORE_FROM).map(|name| name.trim());
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    pod.namespace().as_deref() == Some(asked.namespace.as_str())
        && pod.metadata.deletion_timestamp.is_none()
        && names == Some(asked.name.as_str())
        && containers.filter_map(|one| one.image.as_deref()).any(|one| one == image)
}

/// The archive, or why there will be none; nothing while it may still come.
fn verdict(object: &NetCheckpoint) -> Option<Result<ArchiveStatus, Refused>> {
    let status = object.status.as_ref()?;
    let archived = find(&status.conditions, ConditionType::Archived);
    if is_true(&status.conditions, ConditionType::Archived) {
        let archive = status.archive.clone();
        return Some(archive.ok_or_else(|| Refused::Unknown("its status names no archive".into())));
    }
    if object.metadata.deletion_timestamp.is_some() {
        return Some(Err(Refused::Unknown("the NetCheckpoint is being deleted".to_owned())));
    }
    let failed = archived.filter(|condition| condition.status == "False");
    failed.map(|condition| Err(Refused::Unknown(condition.message.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{NetCheckpointSpec, Reason, set};
    use k8s_openapi::api::core::v1::{Container, PodSpec};
    use k8s_openapi::jiff::Timestamp;

    #[test]
    fn only_a_pod_that_is_to_go_on_from_it_gets_it() {
        let asked = Asked { namespace: "shop".into(), name: "web".into() };
        let image = reference(5000, "shop", "web", "u1");
        let pod = |namespace: &str, from: &str, image: &str| {
            let mut pod = Pod::default();
            pod.metadata.namespace = Some(namespace.into());
            pod.annotations_mut().insert(RESTORE_FROM.into(), from.into());
            let container = Container { image: Some(image.into()), ..Container::default() };
            pod.spec = Some(PodSpec { containers: vec![container], ..PodSpec::default() });
            pod
        };
        assert!(wants(&pod("shop", "web", &image), &asked, &image));
        assert!(!wants(&pod("bank", "web", &image), &asked, &image));
        assert!(!wants(&pod("shop", "other", &image), &asked, &image));
        assert!(!wants(&pod("shop", "web", "nginx"), &asked, &image));
    }

    #[test]
    fn it_is_waited_for_until_it_is_there_or_never_will_be() {
        let mut object = NetCheckpoint::new("web", NetCheckpointSpec::of_pod("web"));
        assert!(verdict(&object).is_none());
        let mut tell = |status: bool, reason: Reason| {
            let of = object.status.get_or_insert_default();
            let kind = ConditionType::Archived;
            let now = Timestamp::UNIX_EPOCH;
            set(&mut of.conditions, kind, status, reason.as_str(), "why", None, now);
            verdict(&object)
        };
        let refused = tell(false, Reason::ArchiveRefused);
        assert_eq!(refused, Some(Err(Refused::Unknown("why".into()))));
        assert!(matches!(tell(true, Reason::ArchiveStored), Some(Err(_))), "it must be named");
    }
}
