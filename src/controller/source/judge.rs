//! Whether a pod can be checkpointed. Pure.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::{NetCheckpoint, Reason};

/// What to do about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It can be captured.
    Go,
    /// Not yet.
    Wait(Reason, String),
    /// It never can.
    Refuse(Reason, String),
}

/// Judges the pod of the name that the checkpoint asks for.
#[must_use]
pub fn judge(checkpoint: &NetCheckpoint, pod: &Pod) -> Verdict {
    let name = &checkpoint.spec.source_pod_name;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    if let Some(wanted) = wanted_uid(checkpoint).filter(|wanted| *wanted != uid) {
        let message = format!(
            "pod {name} now has UID {uid}, the one asked for has {wanted}: it was deleted and made anew"
        );
        return Verdict::Refuse(Reason::SourcePodReplaced, message);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        let message = format!("pod {name} is being deleted");
        return Verdict::Refuse(Reason::SourcePodNotRunning, message);
    }
    if pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true)) {
        let message = format!("pod {name} has hostNetwork: true, so it has no network of its own");
        return Verdict::Refuse(Reason::HostNetwork, message);
    }
    match phase(pod) {
        "Running" => Verdict::Go,
        "Succeeded" | "Failed" => {
            let message = format!("pod {name} has ended (phase {})", phase(pod));
            Verdict::Refuse(Reason::SourcePodNotRunning, message)
        }
        other => {
            let message = format!("pod {name} does not run yet (phase {other})");
            Verdict::Wait(Reason::SourcePodNotRunning, message)
        }
    }
}

/// The incarnation that is meant: the one that was claimed, else the one asked for.
fn wanted_uid(checkpoint: &NetCheckpoint) -> Option<&str> {
    let claimed = checkpoint.status.as_ref().and_then(|status| status.source_pod_uid.as_deref());
    claimed.or(checkpoint.spec.source_pod_uid.as_deref())
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown")
}

/// Why nobody has claimed the checkpoint, by what the API server knows of the pod.
#[must_use]
pub fn unclaimed(checkpoint: &NetCheckpoint, pod: Option<&Pod>) -> (Reason, String) {
    let name = &checkpoint.spec.source_pod_name;
    let Some(pod) = pod else {
        let namespace = checkpoint.metadata.namespace.as_deref().unwrap_or_default();
        let message = format!("there is no pod {name} in namespace {namespace}");
        return (Reason::SourcePodNotFound, message);
    };
    match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        Some(node) => {
            let message =
                format!("no agent on node {node}, where pod {name} is, has claimed the checkpoint");
            (Reason::NodeHasNoAgent, message)
        }
        None => {
            let message = format!("pod {name} is not scheduled to a node yet");
            (Reason::SourcePodNotRunning, message)
        }
    }
}

/// Whether the checkpoint has ended: `Ready` is True, or False. `Unknown` is what may still become either.
#[must_use]
pub fn has_ended(checkpoint: &NetCheckpoint) -> bool {
    let conditions = checkpoint.status.as_ref().map(|status| status.conditions.as_slice());
    conditions.unwrap_or_default().iter().any(|c| c.type_ == "Ready" && c.status != "Unknown")
}

/// When the checkpoint fails if it hasn't ended.
#[must_use]
pub fn deadline(checkpoint: &NetCheckpoint) -> Timestamp {
    // The API server sets the creation time on every object; without one the time is over.
    let created = checkpoint.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let created = created.unwrap_or(Timestamp::UNIX_EPOCH);
    let allowed = SignedDuration::from_secs(i64::from(checkpoint.spec.timeout_seconds));
    created.checked_add(allowed).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::NetCheckpointSpec;
    use k8s_openapi::api::core::v1::{PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn checkpoint() -> NetCheckpoint {
        let mut checkpoint = NetCheckpoint::new("c", NetCheckpointSpec::of_pod("web"));
        checkpoint.metadata.namespace = Some("shop".into());
        checkpoint
    }

    fn pod(phase: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some("web".into());
        pod.metadata.uid = Some("uid-1".into());
        pod.spec = Some(PodSpec { node_name: Some("node-a".into()), ..PodSpec::default() });
        pod.status = Some(PodStatus { phase: Some(phase.into()), ..PodStatus::default() });
        pod
    }

    fn refused(verdict: &Verdict) -> Option<Reason> {
        match verdict {
            Verdict::Refuse(reason, _) => Some(*reason),
            _ => None,
        }
    }

    #[test]
    fn a_running_pod_goes() {
        assert_eq!(judge(&checkpoint(), &pod("Running")), Verdict::Go);
    }

    #[test]
    fn a_pod_that_has_not_started_is_waited_for() {
        let verdict = judge(&checkpoint(), &pod("Pending"));
        assert!(matches!(verdict, Verdict::Wait(Reason::SourcePodNotRunning, _)), "{verdict:?}");
    }

    #[test]
    fn what_can_never_be_is_refused() {
        assert_eq!(
            refused(&judge(&checkpoint(), &pod("Succeeded"))),
            Some(Reason::SourcePodNotRunning)
        );
        let mut host = pod("Running");
        host.spec.as_mut().unwrap().host_network = Some(true);
        assert_eq!(refused(&judge(&checkpoint(), &host)), Some(Reason::HostNetwork));
        let mut ending = pod("Running");
        ending.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(refused(&judge(&checkpoint(), &ending)), Some(Reason::SourcePodNotRunning));
    }

    #[test]
    fn another_incarnation_is_refused_whoever_named_it() {
        let mut asked = checkpoint();
        asked.spec.source_pod_uid = Some("uid-0".into());
        assert_eq!(refused(&judge(&asked, &pod("Running"))), Some(Reason::SourcePodReplaced));
        asked.spec.source_pod_uid = Some("uid-1".into());
        assert_eq!(judge(&asked, &pod("Running")), Verdict::Go);
        let mut claimed = checkpoint();
        claimed.status.get_or_insert_default().source_pod_uid = Some("uid-0".into());
        assert_eq!(refused(&judge(&claimed, &pod("Running"))), Some(Reason::SourcePodReplaced));
    }

    #[test]
    fn nobody_came_says_why() {
        let checkpoint = checkpoint();
        let (reason, message) = unclaimed(&checkpoint, None);
        assert_eq!(reason, Reason::SourcePodNotFound);
        assert_eq!(message, "there is no pod web in namespace shop");
        assert_eq!(unclaimed(&checkpoint, Some(&pod("Running"))).0, Reason::NodeHasNoAgent);
        let mut waiting = pod("Pending");
        waiting.spec.as_mut().unwrap().node_name = None;
        assert_eq!(unclaimed(&checkpoint, Some(&waiting)).0, Reason::SourcePodNotRunning);
    }

    #[test]
    fn the_deadline_counts_from_the_creation() {
        let mut checkpoint = checkpoint();
        checkpoint.metadata.creation_timestamp = Some(Time(Timestamp::from_second(100).unwrap()));
        checkpoint.spec.timeout_seconds = 30;
        assert_eq!(deadline(&checkpoint), Timestamp::from_second(130).unwrap());
    }
}
