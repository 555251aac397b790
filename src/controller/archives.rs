//! What the node's registry serves: archives of containers whose pods are to go on here.
//!
//! An image is given only while a pod of this node names it and is to get the network of the same
//! NetCheckpoint. The answer waits until the archive is stored, and, with the UID in the image's name,
//! it is that NetCheckpoint's and no later one's of the same name.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryFutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use tokio::time::timeout;

use super::SharedAgent;
use super::destination::update::update;
use crate::api::{
    ArchiveStatus, ConditionType, NetCheckpoint, PREPARE_FROM, RESTORE_FROM, find, is_true,
};
use crate::archive::LARGEST;
use crate::gate::attachment::subdomain;
use crate::hold;
use crate::hold::criu::{self, Lock};
use crate::pod;
use crate::registry::{Archive, Archives, Asked, Refused, reference};

/// How long a pull waits for an archive. kubelet tries again, with growing pauses.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest wait for one answer of the API server.
const ANSWER: Duration = Duration::from_secs(10);
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

    /// The pod of this node that is to go on from that archive.
    fn wanted(&self, asked: &Asked, tag: &str) -> Option<Arc<Pod>> {
        let image = reference(self.port, &asked.namespace, &asked.name, tag);
        self.agent.pods.state().into_iter().find(|pod| wants(pod, asked, &image))
    }

    fn api(&self, asked: &Asked) -> Api<NetCheckpoint> {
        Api::namespaced(self.agent.client.clone(), &asked.namespace)
    }

    /// Which NetCheckpoint is meant: the one with the tag's UID; for a prepared pod any of the source
    /// whose earlier NetCheckpoint has that UID.
    async fn meant(&self, asked: &Asked, pod: &Pod, tag: &str) -> Result<Meant, Refused> {
        let Some(earlier) = pod.annotations().get(PREPARE_FROM) else {
            return Ok(Meant::Itself(tag.to_owned()));
        };
        let unknown =
            || Refused::Unknown(format!("there is no NetCheckpoint {earlier} of that UID"));
        if !subdomain(earlier) {
            return Err(unknown());
        }
        let found = timeout(ANSWER, self.api(asked).get_opt(earlier)).await;
        let found = found.map_err(|_| Refused::Later("the API server is silent".to_owned()))?;
        let found = found.map_err(|error| Refused::Later(error.to_string()))?;
        let found = found.filter(|one| one.uid().as_deref() == Some(tag)).ok_or_else(unknown)?;
        let source = found.status.and_then(|status| status.source_pod_uid);
        source.map(Meant::OfSource).ok_or_else(unknown)
    }

    /// Waits until the NetCheckpoint is as wanted, or never will be.
    async fn waited(
        &self,
        asked: &Asked,
        meant: &Meant,
        wanted: impl Fn(&NetCheckpoint) -> bool,
    ) -> Result<NetCheckpoint, Refused> {
        let is_over = |object: Option<&NetCheckpoint>| match object {
            None => !meant.may_come(),
            Some(object) => !meant.is(object) || is_lost(object) || wanted(object),
        };
        let waited = timeout(PATIENCE, await_condition(self.api(asked), &asked.name, is_over));
        let gone =
            || Refused::Unknown(format!("there is no NetCheckpoint {} any more", asked.name));
        match waited.await {
            Err(_) => Err(Refused::Later("the archive is not stored yet".to_owned())),
            Ok(Err(error)) => Err(Refused::Later(error.to_string())),
            Ok(Ok(object)) => object.filter(|one| meant.is(one) && !is_lost(one)).ok_or_else(gone),
        }
    }

    /// The archive, once it is stored and the pod is locked for it: with the answer the runtime has the
    /// processes restored.
    async fn stored(
        &self,
        asked: &Asked,
        meant: &Meant,
        pod: &Pod,
    ) -> Result<(ArchiveStatus, Bytes), Refused> {
        let object = self.waited(asked, meant, |object| verdict(object).is_some()).await?;
        let lock = object.status.as_ref().and_then(|status| status.criu_lock.clone());
        let none = || Err(Refused::Unknown("it has no archive".to_owned()));
        let stored = verdict(&object).unwrap_or_else(none)?;
        let both = tokio::try_join!(self.download(&stored), self.lock_pod(pod, lock));
        let (content, ()) = both?;
        Ok((stored, content))
    }

    /// Brings a prepared pod to what its source's network was when it was held, beside the archive's way.
    async fn updated(&self, asked: &Asked, meant: &Meant, pod: &Pod) -> Result<(), Refused> {
        if !meant.may_come() {
            return Ok(());
        }
        let is_ready = |object: &NetCheckpoint| {
            let conditions = object.status.as_ref().map(|status| status.conditions.as_slice());
            let conditions = conditions.unwrap_or_default();
            is_true(conditions, ConditionType::Ready) && is_true(conditions, ConditionType::Held)
        };
        let checkpoint = self.waited(asked, meant, is_ready).await?;
        let ways = self.agent.ways.get().cloned();
        let ways = ways.ok_or_else(|| Refused::Later("the agent is starting".to_owned()))?;
        let updated = update(&self.agent, &ways, pod, &checkpoint).await;
        updated.map_err(|error| Refused::Later(error.told()))
    }

    /// Plants CRIU's lock in the successor, unless that was done: CRIU lifts it as the sockets come
    /// alive, and until then nothing may answer for them.
    async fn lock_pod(&self, pod: &Pod, lock: Option<String>) -> Result<(), Refused> {
        let later = |why: String| Refused::Later(format!("the successor can't be locked: {why}"));
        let Some(lock) = lock else { return Ok(()) };
        let lock: Lock = lock.parse().map_err(|error: hold::Error| later(error.to_string()))?;
        let network = self.agent.runtime.network(&pod.uid().unwrap_or_default()).await;
        let network = network.map_err(|error| later(error.to_string()))?;
        let proc = self.agent.proc.clone();
        let planted = tokio::task::spawn_blocking(move || {
            let namespace = pod::open(&network, &proc).map_err(|error| error.to_string())?;
            criu::plant_once(&namespace, &lock).map_err(|error| error.to_string())
        });
        planted.await.map_err(|panic| later(panic.to_string()))?.map_err(later)
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
        let unknown = || Refused::Unknown("no pod of this node is to go on from it".to_owned());
        if !subdomain(&asked.namespace) || !subdomain(&asked.name) {
            return Err(unknown());
        }
        let pod = self.wanted(asked, uid).ok_or_else(unknown)?;
        let meant = self.meant(asked, &pod, uid).await?;
        let ((stored, content), ()) =
            tokio::try_join!(self.stored(asked, &meant, &pod), self.updated(asked, &meant, &pod))?;
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

/// Which NetCheckpoint an image is of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meant {
    /// The one with that UID.
    Itself(String),
    /// Any of the pod with that UID, also one that is still to be created.
    OfSource(String),
}

impl Meant {
    fn may_come(&self) -> bool {
        matches!(self, Self::OfSource(_))
    }

    /// Whether it is this object, as far as its status tells yet.
    fn is(&self, object: &NetCheckpoint) -> bool {
        match self {
            Self::Itself(uid) => object.uid().as_ref() == Some(uid),
            Self::OfSource(uid) => {
                let status = object.status.as_ref();
                let source = status.and_then(|status| status.source_pod_uid.as_ref());
                source.is_none_or(|source| source == uid)
            }
        }
    }
}

/// Whether a checkpoint will not become what a successor waits for.
fn is_lost(object: &NetCheckpoint) -> bool {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = find(conditions.unwrap_or_default(), ConditionType::Ready);
    object.metadata.deletion_timestamp.is_some()
        || ready.is_some_and(|ready| ready.status == "False")
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
