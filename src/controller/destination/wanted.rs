//! What a pod is to get: looked up by the API, whatever the request says.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use tokio::time::{Instant, sleep, timeout};

use super::error::RestoreError;
use crate::api::{
    ConditionType, ImageStatus, NetCheckpoint, ON_UNSUPPORTED, PREPARE_FROM, RESTORE_FROM, Reason,
    TRAFFIC, find, is_true,
};
use crate::controller::Agent;
use crate::gate::attachment::{Checked, subdomain};
use crate::image::Unsupported;

/// Longest wait for the API server's answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a checkpoint that is still under way is waited for, before kubelet has to try again.
const NEARLY: Duration = Duration::from_secs(10);
/// Pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(250);

/// A pod that is to be restored.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub pod: Arc<Pod>,
    /// Name of the NetCheckpoint, in the pod's namespace.
    pub checkpoint: String,
    /// Whether the pod may start without what the image does not carry.
    pub on_unsupported: Unsupported,
    /// Whether it waits, silent, though its source is not held yet.
    pub waits: bool,
    /// Whether `checkpoint` is an earlier one, and the way to the pod is not led here yet.
    pub is_prepared: bool,
}

impl Wanted {
    /// Reads the pod's annotations; none when it is not to be restored.
    #[must_use]
    pub fn of(pod: Arc<Pod>) -> Option<Self> {
        let annotation = |name| pod.annotations().get(name).map(|value| value.trim().to_owned());
        let checkpoint = annotation(RESTORE_FROM).filter(|name| !name.is_empty())?;
        let on_unsupported = match annotation(ON_UNSUPPORTED).as_deref() {
            Some("Report") => Unsupported::Report,
            _ => Unsupported::Fail,
        };
        let earlier = annotation(PREPARE_FROM).filter(|name| !name.is_empty());
        let is_prepared = earlier.is_some();
        let waits = is_prepared || annotation(TRAFFIC).is_some_and(|value| value == "Held");
        let checkpoint = earlier.unwrap_or(checkpoint);
        Some(Self { pod, checkpoint, on_unsupported, waits, is_prepared })
    }

    /// Namespace and name of the checkpoint, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}/{}", self.pod.namespace().unwrap_or_default(), self.checkpoint)
    }
}

/// The pod of the request: it exists, is of this node, and is that incarnation. The watch is asked
/// first, and the API server where the watch does not know (yet).
///
/// # Errors
/// [`RestoreError::Pod`] and [`RestoreError::Api`].
pub async fn pod(agent: &Agent, request: &Checked) -> Result<Arc<Pod>, RestoreError> {
    let is_meant = |pod: &Pod| pod.metadata.uid.as_deref() == Some(request.uid.as_str());
    if let Some(pod) = agent.pod(&request.namespace, &request.pod).filter(|pod| is_meant(pod)) {
        return Ok(pod);
    }
    let unknown = |why| RestoreError::Pod {
        namespace: request.namespace.clone(),
        name: request.pod.clone(),
        uid: request.uid.clone(),
        node: agent.node.clone(),
        why,
    };
    let api: Api<Pod> = Api::namespaced(agent.client.clone(), &request.namespace);
    let what = format!("the pod {}/{}", request.namespace, request.pod);
    let pod = asked(&what, api.get_opt(&request.pod)).await?;
    let pod = pod.ok_or_else(|| unknown("there is no such pod"))?;
    if !is_meant(&pod) {
        return Err(unknown("the pod of that name has another UID"));
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if node != Some(agent.node.as_str()) {
        return Err(unknown("it is bound to another node"));
    }
    Ok(Arc::new(pod))
}

/// The captured pod as the API server has it now, wherever it runs; none when there is no pod of that
/// name. The watch knows this node's pods only.
///
/// # Errors
/// [`RestoreError::Api`].
pub async fn source(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
) -> Result<Option<Pod>, RestoreError> {
    let namespace = checkpoint.namespace().unwrap_or_default();
    let name = &checkpoint.spec.source_pod_name;
    if !subdomain(name) {
        return Ok(None);
    }
    let api: Api<Pod> = Api::namespaced(agent.client.clone(), &namespace);
    asked(&format!("the pod {namespace}/{name}"), api.get_opt(name)).await
}

/// The checkpoint and its image. One that is still under way is waited for a little, so that a
/// checkpoint and its successor may be applied together.
///
/// # Errors
/// Not found, not ready, or the API server.
pub async fn checkpoint(
    agent: &Agent,
    wanted: &Wanted,
) -> Result<(NetCheckpoint, ImageStatus), RestoreError> {
    let namespace = wanted.pod.namespace().unwrap_or_default();
    named(wanted)?;
    let api: Api<NetCheckpoint> = Api::namespaced(agent.client.clone(), &namespace);
    let what = format!("the NetCheckpoint {}", wanted.shown());
    let until = Instant::now() + NEARLY;
    loop {
        let found = asked(&what, api.get_opt(&wanted.checkpoint)).await?;
        let name = wanted.checkpoint.clone();
        let Some(found) = found else {
            return Err(RestoreError::CheckpointNotFound { namespace, name });
        };
        meant(&found, &namespace, &name)?;
        match image(&found) {
            Ok(image) => return Ok((found, image)),
            Err((why, ended)) if ended || Instant::now() >= until => {
                return Err(RestoreError::NotReady { namespace, name, why, ended });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Sees that the annotation is a name: it becomes a part of a path, where `../` would lead to an
/// object of another namespace.
fn named(wanted: &Wanted) -> Result<(), RestoreError> {
    if subdomain(&wanted.checkpoint) {
        return Ok(());
    }
    let value = wanted.checkpoint.chars().take(80).collect::<String>();
    Err(RestoreError::Name { value: value.escape_debug().to_string() })
}

/// Sees that the answer is the object that was asked for, whatever way the question took.
fn meant(found: &NetCheckpoint, namespace: &str, name: &str) -> Result<(), RestoreError> {
    let metadata = &found.metadata;
    if metadata.namespace.as_deref() == Some(namespace) && metadata.name.as_deref() == Some(name) {
        return Ok(());
    }
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Err(RestoreError::CheckpointNotFound { namespace, name })
}

/// The image of a checkpoint that can be restored from; else why not, and whether that is final.
fn image(checkpoint: &NetCheckpoint) -> Result<ImageStatus, (String, bool)> {
    if checkpoint.metadata.deletion_timestamp.is_some() {
        return Err(("it is being deleted".to_owned(), true));
    }
    let Some(status) = &checkpoint.status else {
        return Err(("no agent has taken it up yet".to_owned(), false));
    };
    if is_true(&status.conditions, ConditionType::Ready) {
        return status.image.clone().ok_or_else(|| ("its status names no image".to_owned(), true));
    }
    let Some(ready) = find(&status.conditions, ConditionType::Ready) else {
        return Err(("no agent has taken it up yet".to_owned(), false));
    };
    let ended = Reason::parse(&ready.reason).is_some_and(Reason::is_failure)
        && ready.status == crate::api::ConditionStatus::False.as_str();
    Err((format!("{}: {}", ready.reason, ready.message), ended))
}

/// Asks the API server, within [`DEADLINE`].
async fn asked<T>(
    what: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RestoreError> {
    match timeout(DEADLINE, request).await {
        Ok(answer) => answer
            .map_err(|error| RestoreError::Api { what: what.to_owned(), why: error.to_string() }),
        Err(late) => Err(RestoreError::silent(what, late)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ConditionStatus, NetCheckpointSpec, NetCheckpointStatus, set};
    use k8s_openapi::jiff::Timestamp;

    fn with(status: ConditionStatus, reason: Reason) -> NetCheckpoint {
        let mut checkpoint = NetCheckpoint::new("web", NetCheckpointSpec::of_pod("web"));
        let mut of = NetCheckpointStatus::default();
        let (ready, reason) = (ConditionType::Ready, reason.as_str());
        set(&mut of.conditions, ready, status, reason, "", None, Timestamp::UNIX_EPOCH);
        checkpoint.status = Some(of);
        checkpoint
    }

    #[test]
    fn only_a_checkpoint_that_has_failed_is_not_waited_for() {
        let none = NetCheckpoint::new("web", NetCheckpointSpec::of_pod("web"));
        assert!(!image(&none).unwrap_err().1);
        let under_way = with(ConditionStatus::Unknown, Reason::CheckpointInProgress);
        assert!(!image(&under_way).unwrap_err().1);
        let failed = with(ConditionStatus::False, Reason::StorageUnreachable);
        assert!(image(&failed).unwrap_err().1);
        let mut ready = with(ConditionStatus::True, Reason::CheckpointCompleted);
        assert!(image(&ready).unwrap_err().1, "an image is what it takes");
        let digest = format!("sha256:{}", "0".repeat(64));
        ready.status.as_mut().unwrap().image = Some(ImageStatus {
            storage_name: "main".into(),
            key: "k".into(),
            digest,
            size_bytes: 1,
            format_version: 1,
        });
        assert_eq!(image(&ready).unwrap().key, "k");
        ready.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        assert!(image(&ready).unwrap_err().1);
    }

    #[test]
    fn an_annotation_that_leads_elsewhere_is_refused() {
        let wanted = |value: &str| {
            let mut pod = Pod::default();
            pod.metadata.namespace = Some("shop".into());
            pod.annotations_mut().insert(RESTORE_FROM.into(), value.into());
            Wanted::of(Arc::new(pod)).unwrap()
        };
        named(&wanted("web-0.a")).unwrap();
        for bad in
            ["../../bank/netcheckpoints/web", "web?x=y", "web/status", "Web", "a b", "%2e%2e", ".."]
        {
            let error = named(&wanted(bad)).unwrap_err();
            assert!(matches!(error, RestoreError::Name { .. }), "{bad}");
            assert!(!error.is_transient() && error.to_string().contains("restore-from"), "{error}");
        }
        let mut found = NetCheckpoint::new("web", NetCheckpointSpec::of_pod("web"));
        assert!(meant(&found, "shop", "web").is_err());
        found.metadata.namespace = Some("bank".into());
        assert!(meant(&found, "shop", "web").is_err());
        found.metadata.namespace = Some("shop".into());
        assert!(meant(&found, "shop", "other").is_err());
        meant(&found, "shop", "web").unwrap();
    }

    #[test]
    fn annotations_are_the_pods_wish() {
        let pod = |entries: &[(&str, &str)]| {
            let mut pod = Pod::default();
            pod.metadata.namespace = Some("shop".into());
            pod.annotations_mut()
                .extend(entries.iter().map(|(key, value)| ((*key).into(), (*value).into())));
            Arc::new(pod)
        };
        assert!(Wanted::of(pod(&[])).is_none());
        assert!(Wanted::of(pod(&[(RESTORE_FROM, " ")])).is_none());
        let wanted = Wanted::of(pod(&[(RESTORE_FROM, "web")])).unwrap();
        assert_eq!(wanted.shown(), "shop/web");
        assert_eq!(wanted.on_unsupported, Unsupported::Fail);
        let other = pod(&[(RESTORE_FROM, "web"), (ON_UNSUPPORTED, "Whatever")]);
        assert_eq!(Wanted::of(other).unwrap().on_unsupported, Unsupported::Fail);
        let all = pod(&[(RESTORE_FROM, "web"), (ON_UNSUPPORTED, "Report")]);
        assert_eq!(Wanted::of(all).unwrap().on_unsupported, Unsupported::Report);
    }
}
