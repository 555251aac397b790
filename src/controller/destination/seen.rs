//! What a successor's agent reads from objects. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{ConditionStatus, ConditionType, NetCheckpoint, RELEASE, Reason, find};
use crate::hold::protocol::Told;

/// What the source's agent has told. An object that is gone tells nothing more: its hold is as it was
/// told last, and that was seen before it could go.
pub(super) fn told(checkpoint: Option<&NetCheckpoint>) -> Told {
    let Some(checkpoint) = checkpoint else { return Told::Ended };
    let conditions = checkpoint.status.as_ref().map(|status| status.conditions.as_slice());
    match find(conditions.unwrap_or_default(), ConditionType::Held) {
        // Not held yet.
        None => Told::Held,
        Some(held) if held.status == ConditionStatus::True.as_str() => {
            match held.reason == Reason::SourceFenced.as_str() {
                true => Told::Fenced,
                false => Told::Held,
            }
        }
        Some(held) if held.reason == Reason::SourceGone.as_str() => Told::Gone,
        Some(_) => Told::Ended,
    }
}

/// How long the source's hold still lasts; none where it ends by no time, or there is none.
pub(super) fn held_for(checkpoint: &NetCheckpoint) -> Option<Duration> {
    let until = checkpoint.status.as_ref()?.held_until.as_ref()?;
    Duration::try_from(until.0.duration_since(Timestamp::now())).ok()
}

/// Namespace and name of the NetCheckpoint, as a restore has noted them beside the hold.
pub(super) fn about(note: &str) -> Option<(String, String)> {
    let (pod, checkpoint) = note.strip_prefix("successor ")?.split_once(" of ")?;
    Some((pod.split_once('/')?.0.to_owned(), checkpoint.to_owned()))
}

/// Whether all its containers have started.
pub(super) fn has_started(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running")
}

/// Whether somebody will say that it is live.
pub(super) fn is_manual(pod: &Pod) -> bool {
    release(pod) == Some("Manual")
}

/// Whether somebody has said that it is live.
pub(super) fn is_told_live(pod: &Pod) -> bool {
    release(pod) == Some("Live")
}

fn release(pod: &Pod) -> Option<&str> {
    pod.annotations().get(RELEASE).map(|value| value.trim())
}

/// Whether it is at its end.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_the_checkpoint() {
        let both = about("successor shop/web-2 of web");
        assert_eq!(both, Some(("shop".to_owned(), "web".to_owned())));
        assert_eq!(about("held by netckpt hold"), None);
    }

    #[test]
    fn an_object_that_is_gone_tells_nothing_more() {
        assert_eq!(told(None), Told::Ended);
        let new = NetCheckpoint::new("web", crate::api::NetCheckpointSpec::of_pod("web"));
        assert_eq!(told(Some(&new)), Told::Held);
    }
}
