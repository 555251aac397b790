//! From a pod to the bytes of its image: the runtime, the namespace, the capture.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::spool::Spooled;
use super::standing;
use crate::api::{NetCheckpoint, Reason, STAND_BY, Traffic};
use crate::capture::{self, Captured, Standing};
use crate::controller::Agent;
use crate::image::{self, Origin};
use crate::netns::Namespace;
use crate::pod::{self, NamespaceError, RuntimeError};

/// Longest time for reading the kernel. A namespace with a million objects takes some seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why a pod's network could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error("reading the network of sandbox {sandbox} did not end within {DEADLINE:?}")]
    Late { sandbox: String },
    #[error("reading the network of sandbox {sandbox} broke off: {why}")]
    Broken { sandbox: String, why: String },
    #[error("the network of sandbox {sandbox} can't be read: {source}")]
    Capture { sandbox: String, source: capture::Error },
    #[error("the image of sandbox {sandbox} can't be written: {source}")]
    Image { sandbox: String, source: image::Error },
}

impl ReadingError {
    /// The reason of the checkpoint's condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Runtime(RuntimeError::NodeNetwork { .. })
            | Self::Namespace(NamespaceError::NodeNetwork { .. }) => Reason::HostNetwork,
            Self::Runtime(_) | Self::Namespace(_) => Reason::SandboxNotFound,
            _ => Reason::CaptureFailed,
        }
    }

    /// Whether it is worth another try: the runtime may be restarting, the sandbox may be on its way.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Runtime(
                RuntimeError::Unreachable { .. }
                    | RuntimeError::Late { .. }
                    | RuntimeError::NoSandbox { .. }
            )
        )
    }
}

/// A pod's network namespace, found and open.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) sandbox: String,
    pub(super) namespace: Arc<Namespace>,
}

/// Finds the pod's network namespace: before its traffic is held, as the runtime takes its time.
///
/// # Errors
/// With the step that failed.
pub(super) async fn find(agent: &Agent, pod: &Pod) -> Result<Found, ReadingError> {
    let network = agent.runtime.network(&pod.uid().unwrap_or_default()).await?;
    let sandbox = network.sandbox.clone();
    let proc = agent.proc.clone();
    let opened = tokio::task::spawn_blocking(move || pod::open(&network, &proc)).await;
    let broken = |panic: tokio::task::JoinError| ReadingError::Broken {
        sandbox: sandbox.clone(),
        why: panic.to_string(),
    };
    let namespace = opened.map_err(broken)??;
    Ok(Found { sandbox, namespace: Arc::new(namespace) })
}

/// Captures the pod's network and writes its image.
///
/// # Errors
/// With the step that failed.
pub(super) async fn read(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    pod: &Pod,
    found: &Found,
) -> Result<Spooled, ReadingError> {
    let origin = Origin {
        namespace: checkpoint.namespace().unwrap_or_default(),
        pod: pod.name_any(),
        pod_uid: pod.uid().unwrap_or_default(),
        node: agent.node.clone(),
    };
    let sandbox = found.sandbox.clone();
    let found = found.clone();
    let way = Way::of(checkpoint);
    let reading = tokio::task::spawn_blocking(move || image_of(&found, origin, &way));
    match tokio::time::timeout(DEADLINE, reading).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(ReadingError::Broken { sandbox, why: panic.to_string() }),
        Err(_) => Err(ReadingError::Late { sandbox }),
    }
}

/// How a pod is read.
enum Way {
    /// All of it.
    Whole,
    /// All of it, and it goes on standing by, for the early checkpoint of that UID.
    StandBy(String),
    /// What has changed since a capture stood by, if one does.
    Held,
}

impl Way {
    fn of(checkpoint: &NetCheckpoint) -> Self {
        let is_early = checkpoint.annotations().contains_key(STAND_BY);
        match checkpoint.spec.traffic {
            Traffic::Held => Self::Held,
            Traffic::Running if is_early => Self::StandBy(checkpoint.uid().unwrap_or_default()),
            Traffic::Running => Self::Whole,
        }
    }
}

fn captured(found: &Found, pod_uid: &str, way: &Way) -> Result<Captured, capture::Error> {
    // The agent lives in the node's own network namespace.
    let (node, pod) = (Namespace::current()?, &found.namespace);
    let options = capture::Options::default();
    let whole = || capture::network(pod, Some(&node), &options);
    match way {
        Way::Whole => whole(),
        Way::StandBy(checkpoint) => {
            let (standing, first) = Standing::open(pod, Some(&node), &options)?;
            let (checkpoint, pod_uid) = (checkpoint.clone(), pod_uid.to_owned());
            standing::keep(standing::Of { checkpoint, pod_uid, netns: pod.id() }, standing);
            Ok(first)
        }
        Way::Held => match standing::take(pod_uid, pod.id()).map(Standing::finish) {
            None => whole(),
            Some(Ok(update)) => Ok(update.captured),
            Some(Err(error)) => {
                tracing::warn!(pod = pod_uid, %error, "a capture that stood by; all is read instead");
                whole()
            }
        },
    }
}

fn image_of(found: &Found, origin: Origin, way: &Way) -> Result<Spooled, ReadingError> {
    let sandbox = || found.sandbox.clone();
    let captured = captured(found, &origin.pod_uid, way)
        .map_err(|source| ReadingError::Capture { sandbox: sandbox(), source })?;
    let image = captured.into_image(origin);
    let bytes =
        image.to_bytes().map_err(|source| ReadingError::Image { sandbox: sandbox(), source })?;
    Ok(Spooled { bytes, manifest: image.manifest })
}
