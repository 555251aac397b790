//! Why a pod did not get its network, and whether another try may go better.

use std::net::IpAddr;

use tokio::time::error::Elapsed;

use crate::api::{Reason, RestoreReason};
use crate::controller::StorageError;
use crate::gate::attachment::Invalid;
use crate::gate::protocol::Refused;
use crate::{hold, host, image, restore, store};

/// A restore did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the request of the CNI plugin is refused: {0}")]
    Request(#[from] Invalid),
    #[error("the API server could not be asked for {what}: {why}")]
    Api { what: String, why: String },
    #[error("the pod {namespace}/{name} with the UID {uid} is not known on the node {node}: {why}")]
    Pod { namespace: String, name: String, uid: String, node: String, why: &'static str },
    #[error(
        "the pod's annotation netckpt.io/restore-from is `{value}`, which can't be the name of a NetCheckpoint"
    )]
    Name { value: String },
    #[error("there is no NetCheckpoint {name} in the namespace {namespace}")]
    CheckpointNotFound { namespace: String, name: String },
    #[error("the NetCheckpoint {namespace}/{name} is not ready: {why}")]
    NotReady { namespace: String, name: String, why: String, ended: bool },
    #[error("the image of the NetCheckpoint {checkpoint}: {source}")]
    Storage { checkpoint: String, source: Box<StorageError> },
    #[error("the image of the NetCheckpoint {checkpoint} can't be read: {source}")]
    Image { checkpoint: String, source: image::Error },
    #[error(
        "the NetCheckpoint {checkpoint} does not carry what changes how the network behaves: {what}"
    )]
    NotCarried { checkpoint: String, what: String },
    #[error("the address {address} of the image is in use by the pod {pod}")]
    Occupied { address: IpAddr, pod: String },
    #[error("the network can't be rebuilt: {0}")]
    Restore(Box<restore::Error>),
    #[error("the network is rebuilt, and the node can't be given a way to it: {0}")]
    Host(Box<host::Error>),
    #[error("{failure}; what was rebuilt could not be taken back: {why}")]
    NotUndone { failure: Box<RestoreError>, why: String },
    #[error("the rebuilt network can't be read: {0}")]
    Read(#[from] host::ReadError),
    #[error("the pod can't be kept silent until its turn comes: {0}")]
    Hold(#[from] hold::Error),
    #[error("it did not end within the {seconds} s that the CNI plugin waits; it was at: {step}")]
    Late { seconds: u64, step: &'static str },
    #[error("a thread of the agent broke off: {0}")]
    Thread(String),
}

impl From<host::Error> for RestoreError {
    fn from(error: host::Error) -> Self {
        Self::Host(Box::new(error))
    }
}

impl From<restore::Error> for RestoreError {
    fn from(error: restore::Error) -> Self {
        Self::Restore(Box::new(error))
    }
}

impl RestoreError {
    /// The reason of the pod's condition, the entry in `status.restores` and the metric.
    #[must_use]
    pub fn reason(&self) -> RestoreReason {
        match self {
            Self::Name { .. } | Self::CheckpointNotFound { .. } => {
                RestoreReason::CheckpointNotFound
            }
            Self::NotReady { .. } => RestoreReason::CheckpointNotReady,
            Self::Storage { source, .. } => storage(source),
            Self::Image { .. } => RestoreReason::ImageDamaged,
            Self::NotCarried { .. } => RestoreReason::NotCarried,
            Self::Restore(error) => rebuilt(error),
            Self::Occupied { .. } => RestoreReason::AddressInUse,
            Self::Host(error) if is_in_use(error) => RestoreReason::AddressInUse,
            Self::NotUndone { failure, .. } => failure.reason(),
            Self::Late { .. } => RestoreReason::TimedOut,
            Self::Request(_)
            | Self::Api { .. }
            | Self::Pod { .. }
            | Self::Host(_)
            | Self::Read(_)
            | Self::Hold(_)
            | Self::Thread(_) => RestoreReason::RestoreFailed,
        }
    }

    /// Whether kubelet's next try may go better without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Api { .. }
            | Self::Pod { .. }
            | Self::Late { .. }
            | Self::Thread(_)
            | Self::Occupied { .. } => true,
            Self::Host(error) => is_in_use(error),
            Self::NotUndone { failure, .. } => failure.is_transient(),
            Self::NotReady { ended, .. } => !ended,
            Self::Storage { source, .. } => source.reason() == Reason::StorageUnreachable,
            _ => false,
        }
    }

    /// What happened and what to do, for a person: in the condition, the events and the answer.
    #[must_use]
    pub fn told(&self) -> String {
        format!("{self}. {}", self.reason().advice()).trim_end().to_owned()
    }

    /// As the plugin hears it: kubelet shows it as an event of the pod.
    #[must_use]
    pub fn refused(&self) -> Refused {
        Refused {
            transient: self.is_transient(),
            message: format!("{}: {}", self.reason(), self.told()),
            details: String::new(),
        }
    }

    /// An API server that gave no answer in time.
    pub(super) fn silent(what: &str, _: Elapsed) -> Self {
        Self::Api { what: what.to_owned(), why: "it did not answer in time".to_owned() }
    }
}

fn is_in_use(error: &host::Error) -> bool {
    matches!(error, host::Error::InUse(_))
}

fn storage(error: &StorageError) -> RestoreReason {
    match error {
        StorageError::Store {
            source: store::Error::DigestMismatch { .. } | store::Error::TooLarge { .. },
            ..
        } => RestoreReason::ImageDamaged,
        error => match error.reason() {
            Reason::StorageNotFound => RestoreReason::StorageNotFound,
            Reason::StorageUnreachable => RestoreReason::StorageUnreachable,
            _ => RestoreReason::StorageRefused,
        },
    }
}

fn rebuilt(error: &restore::Error) -> RestoreReason {
    match error {
        restore::Error::NoLinks | restore::Error::Image(_) => RestoreReason::ImageRefused,
        restore::Error::Sections(_) | restore::Error::NotCarried(_) => RestoreReason::NotCarried,
        restore::Error::Differs { refused, .. } if refused.is_empty() => {
            RestoreReason::VerifyFailed
        }
        restore::Error::Differs { .. } => RestoreReason::KernelRefused,
        _ => RestoreReason::RestoreFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_better_by_itself_is_tried_again() {
        let not_ready = |ended| RestoreError::NotReady {
            namespace: "shop".into(),
            name: "web".into(),
            why: "CheckpointInProgress".into(),
            ended,
        };
        assert!(not_ready(false).is_transient());
        assert!(!not_ready(true).is_transient());
        let refused = not_ready(false).refused();
        assert!(refused.transient);
        assert!(refused.message.starts_with("CheckpointNotReady: the NetCheckpoint shop/web"));
        assert!(refused.message.contains("kubectl wait"));
    }

    #[test]
    fn a_wrong_digest_is_damage_and_not_an_outage() {
        let mismatch = store::Error::DigestMismatch {
            at: "s3://a".into(),
            key: "k".into(),
            expected: "x".into(),
            found: "y".into(),
        };
        let source = Box::new(StorageError::Store { storage: "main".into(), source: mismatch });
        let error = RestoreError::Storage { checkpoint: "shop/web".into(), source };
        assert_eq!(error.reason(), RestoreReason::ImageDamaged);
        assert!(!error.is_transient());
    }
}
