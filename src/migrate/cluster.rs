//! The calls to the API server, each with a deadline and with words for what it was about.

use std::future::Future;
use std::time::Duration;

use axum::http::Request;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::error::Error;
use crate::api::{ARCHIVE, NetCheckpoint, Traffic};

/// Longest wait for one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest time of a checkpoint of a container: its memory is written to a disk.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// One namespace of a cluster.
pub(super) struct Cluster {
    client: Client,
    pub(super) namespace: String,
}

impl Cluster {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn checkpoints(&self) -> Api<NetCheckpoint> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn node(&self, name: &str) -> Result<Node, Error> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        asked(&format!("give the node {name}"), nodes.get(name)).await
    }

    pub(super) async fn pod(&self, name: &str) -> Result<Pod, Error> {
        asked(&format!("give the pod {}/{name}", self.namespace), self.pods().get(name)).await
    }

    pub(super) async fn checkpoint(&self, name: &str) -> Result<NetCheckpoint, Error> {
        let what = format!("give the NetCheckpoint {name}");
        asked(&what, self.checkpoints().get(name)).await
    }

    pub(super) async fn create_pod(&self, pod: &Pod) -> Result<Pod, Error> {
        let what = format!("create the pod {}", pod.name_any());
        asked(&what, self.pods().create(&PostParams::default(), pod)).await
    }

    pub(super) async fn create_checkpoint(
        &self,
        checkpoint: &NetCheckpoint,
    ) -> Result<NetCheckpoint, Error> {
        let what = format!("create the NetCheckpoint {}", checkpoint.name_any());
        asked(&what, self.checkpoints().create(&PostParams::default(), checkpoint)).await
    }

    /// Names the archive on the checkpoint.
    pub(super) async fn name_archive(&self, checkpoint: &str, archive: &str) -> Result<(), Error> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {ARCHIVE: archive}}}));
        let what = format!("annotate the NetCheckpoint {checkpoint}");
        let parameters = PatchParams::default();
        asked(&what, self.checkpoints().patch(checkpoint, &parameters, &patch)).await.map(drop)
    }

    /// Lets the source speak again.
    pub(super) async fn release(&self, checkpoint: &str) -> Result<(), Error> {
        let patch = Patch::Merge(json!({"spec": {"traffic": Traffic::Running}}));
        let what = format!("release the NetCheckpoint {checkpoint}");
        let parameters = PatchParams::default();
        match asked(&what, self.checkpoints().patch(checkpoint, &parameters, &patch)).await {
            Err(error) if error.is_absence() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Deletes a checkpoint, which releases its hold and takes its images away.
    pub(super) async fn delete_checkpoint(&self, name: &str) -> Result<(), Error> {
        let what = format!("delete the NetCheckpoint {name}");
        let parameters = DeleteParams::default();
        match asked(&what, self.checkpoints().delete(name, &parameters)).await {
            Err(error) if error.is_absence() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Deletes a pod and waits until its node has confirmed that nothing of it runs.
    pub(super) async fn delete_pod(
        &self,
        name: &str,
        uid: Option<String>,
        patience: Duration,
    ) -> Result<(), Error> {
        // With 0 the object would be gone at once, and nobody would know of its processes.
        let preconditions = uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None });
        let parameters = DeleteParams {
            grace_period_seconds: Some(1),
            preconditions,
            ..DeleteParams::default()
        };
        let what = format!("delete the pod {name}");
        match asked(&what, self.pods().delete(name, &parameters)).await {
            Err(error) if error.is_absence() => return Ok(()),
            outcome => drop(outcome?),
        }
        let what = format!("that the pod {name} is gone");
        self.pod_until(name, &what, patience, |pod| pod.is_none()).await.map(drop)
    }

    /// Waits until a pod is as wanted.
    pub(super) async fn pod_until(
        &self,
        name: &str,
        what: &str,
        patience: Duration,
        wanted: impl Fn(Option<&Pod>) -> bool,
    ) -> Result<Option<Pod>, Error> {
        let last = async || match self.pod(name).await {
            Ok(pod) => standing(&pod),
            Err(error) => error.to_string(),
        };
        let waited = timeout(patience, await_condition(self.pods(), name, wanted)).await;
        awaited(what, patience, waited, last).await
    }

    /// Waits until a checkpoint is as wanted.
    pub(super) async fn checkpoint_until(
        &self,
        name: &str,
        what: &str,
        patience: Duration,
        wanted: impl Fn(Option<&NetCheckpoint>) -> bool,
    ) -> Result<Option<NetCheckpoint>, Error> {
        let last = async || match self.checkpoint(name).await {
            Ok(checkpoint) => conditions(&checkpoint),
            Err(error) => error.to_string(),
        };
        let waited = timeout(patience, await_condition(self.checkpoints(), name, wanted)).await;
        awaited(what, patience, waited, last).await
    }

    /// Has kubelet checkpoint a container (KEP-2008); answers the archive's file name on the node.
    pub(super) async fn checkpoint_container(
        &self,
        node: &str,
        pod: &str,
        container: &str,
    ) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Answer {
            items: Vec<String>,
        }
        let namespace = &self.namespace;
        let seconds = CHECKPOINT.as_secs();
        let path = format!(
            "/api/v1/nodes/{node}/proxy/checkpoint/{namespace}/{pod}/{container}?timeout={seconds}"
        );
        let refused = |answer: String| Error::Checkpoint { node: node.to_owned(), answer };
        let request = Request::post(path).body(Vec::new());
        let request = request.map_err(|error| refused(error.to_string()))?;
        let what = format!("have {node} checkpoint the container {container}");
        let answer = match timeout(CHECKPOINT, self.client.request_text(request)).await {
            Err(_) => return Err(Error::Silent { what, after: CHECKPOINT }),
            Ok(Err(kube::Error::Api(status))) => return Err(refused(status.message.clone())),
            Ok(Err(source)) => return Err(Error::Api { what, source: Box::new(source) }),
            Ok(Ok(answer)) => answer,
        };
        let paths = serde_json::from_str::<Answer>(&answer).map(|answer| answer.items);
        let name = paths.ok().and_then(|paths| Some(paths.first()?.rsplit('/').next()?.to_owned()));
        name.filter(|name| !name.is_empty()).ok_or_else(|| refused(answer))
    }
}

impl Error {
    /// Whether the API server says that there is no such object.
    fn is_absence(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 404))
    }
}

async fn asked<T>(
    what: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(DEADLINE, request).await {
        Ok(answer) => {
            answer.map_err(|source| Error::Api { what: what.to_owned(), source: Box::new(source) })
        }
        Err(_) => Err(Error::Silent { what: what.to_owned(), after: DEADLINE }),
    }
}

async fn awaited<T>(
    what: &str,
    after: Duration,
    waited: Result<Result<T, kube::runtime::wait::Error>, tokio::time::error::Elapsed>,
    last: impl AsyncFnOnce() -> String,
) -> Result<T, Error> {
    let what = what.to_owned();
    match waited {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(error)) => Err(Error::Failed { what, why: error.to_string() }),
        Err(_) => Err(Error::Late { what, after, last: last().await }),
    }
}

/// A pod's conditions and what its container does, in a line.
pub(super) fn standing(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return "it has no status".to_owned() };
    let mut told = vec![status.phase.clone().unwrap_or_default()];
    for condition in status.conditions.iter().flatten().filter(|one| one.status != "True") {
        let message = condition.message.clone().unwrap_or_default();
        told.push(format!("{}={} {message}", condition.type_, condition.status));
    }
    for container in status.container_statuses.iter().flatten() {
        if let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) {
            let (reason, message) = (waiting.reason.clone(), waiting.message.clone());
            let words = [reason.unwrap_or_default(), message.unwrap_or_default()];
            told.push(format!("{} waits: {}", container.name, words.join(" ").trim_end()));
        }
    }
    told.join("; ")
}

/// A checkpoint's conditions in a line.
fn conditions(checkpoint: &NetCheckpoint) -> String {
    let conditions = checkpoint.status.iter().flat_map(|status| &status.conditions);
    let told = conditions.map(|one| format!("{}={} {}", one.type_, one.status, one.message));
    let told = told.collect::<Vec<_>>().join("; ");
    if told.is_empty() { "no agent has taken it up".to_owned() } else { told }
}
