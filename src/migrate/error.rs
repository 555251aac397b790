//! Why a pod was not moved.

use std::time::Duration;

use super::judge::Refused;

/// A move that did not come to its end. Unless it says otherwise, the source goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the pod {namespace}/{name} can't be moved: {why}")]
    Refused { namespace: String, name: String, why: Refused },
    #[error("the API server can't {what}: {source}")]
    Api { what: String, source: Box<kube::Error> },
    #[error("the API server did not {what} within {} s", after.as_secs())]
    Silent { what: String, after: Duration },
    #[error("{what} was not so within {} s: {last}", after.as_secs())]
    Late { what: String, after: Duration, last: String },
    #[error("{what}: {why}")]
    Failed { what: String, why: String },
    #[error("kubelet's checkpoint API on {node} answered: {answer}")]
    Checkpoint { node: String, answer: String },
    #[error("it was interrupted")]
    Interrupted,
    #[error("{failure}; and {what} could not be undone: {why}")]
    NotUndone { failure: Box<Error>, what: String, why: Box<Error> },
    #[error(
        "the pod was moved and {successor} runs, but {what} is left: {source}; delete it when you can"
    )]
    Left { successor: String, what: String, source: Box<Error> },
}
