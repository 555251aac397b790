//! Whether an agent that is being stopped comes back: its plugin stays in the node's list for an
//! update, and goes when the DaemonSet goes. Asked by `netckpt cni-uninstall --if-removed`, which
//! the chart runs before an agent's container is stopped.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{Api, Client};

/// Longest wait for the API server's answers, all together.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long a refusal has to last to count as a removal. A server that starts, or is behind with its
/// roles, refuses for a moment, too.
const REFUSED: Duration = Duration::from_secs(5);

/// Pause before one that refused is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// It isn't known whether the DaemonSet is being removed. Nothing may be taken away then.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    #[error("DaemonSet {name}: the API server did not answer within {DEADLINE:?}")]
    Late { name: String },
    #[error("DaemonSet {name}: {source}")]
    Api { name: String, source: Box<kube::Error> },
    #[error("{0:?} names no DaemonSet: give NAMESPACE/NAME")]
    Name(String),
}

/// Whether the DaemonSet `namespace/name` is gone or being deleted.
///
/// An API server that knows the caller no more, or allows it nothing any more, for five seconds counts
/// as gone too: uninstalling deletes the service account and its bindings together with the DaemonSet.
///
/// # Errors
/// [`UninstallError`], when it can't be told.
pub async fn is_removed(client: Client, daemonset: &str) -> Result<bool, UninstallError> {
    let (namespace, name) = daemonset
        .split_once('/')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
        .ok_or_else(|| UninstallError::Name(daemonset.to_owned()))?;
    let api: Api<DaemonSet> = Api::namespaced(client, namespace);
    match tokio::time::timeout(DEADLINE, ask(&api, name)).await {
        Err(_) => Err(UninstallError::Late { name: daemonset.to_owned() }),
        Ok(answer) => answer.map_err(|source| UninstallError::Api {
            name: daemonset.to_owned(),
            source: Box::new(source),
        }),
    }
}

async fn ask(api: &Api<DaemonSet>, name: &str) -> Result<bool, kube::Error> {
    let start = Instant::now();
    loop {
        match api.get(name).await {
            Ok(found) => return Ok(found.metadata.deletion_timestamp.is_some()),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                if start.elapsed() >= REFUSED {
                    let why = &status.message;
                    tracing::warn!(
                        name,
                        why,
                        "refused for {REFUSED:?}: taken as removed, with its service account"
                    );
                    return Ok(true);
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
