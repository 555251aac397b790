//! The status that each step of a checkpoint leads to. Pure: the object and what happened in, the
//! whole status (of the source role's fields) out.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::{
    self, ArchiveStatus, ConditionStatus, ConditionType, Evidence, ImageStatus, MAX_NOT_CARRIED,
    NetCheckpoint, NetCheckpointStatus, NotCarried, Reason, Timings,
};
use crate::image::Manifest;

/// Steps that have a condition of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Before anything was read.
    Before,
    Hold,
    Capture,
    Store,
}

/// The image as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Capture<'a> {
    pub manifest: &'a Manifest,
    /// Time that reading the kernel took.
    pub took: Duration,
}

/// A status being made from the last one.
struct Draft<'a> {
    of: &'a NetCheckpoint,
    status: NetCheckpointStatus,
    now: Timestamp,
}

impl<'a> Draft<'a> {
    fn new(of: &'a NetCheckpoint, now: Timestamp) -> Self {
        let mut status = of.status.clone().unwrap_or_default();
        // The destination's agents own these; to name them here would take them over.
        status.restores.clear();
        // Written by itself, as soon as it is seen.
        status.criu_lock = None;
        status.observed_generation = of.metadata.generation;
        Self { of, status, now }
    }

    fn set(
        mut self,
        condition: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: &str,
    ) -> Self {
        let generation = self.of.metadata.generation;
        let conditions = &mut self.status.conditions;
        api::set(conditions, condition, status, reason.as_str(), message, generation, self.now);
        self
    }

    fn done(self) -> NetCheckpointStatus {
        self.status
    }
}

/// Not claimed, or claimed and waiting; it may still become ready.
#[must_use]
pub fn waiting(
    checkpoint: &NetCheckpoint,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> NetCheckpointStatus {
    Draft::new(checkpoint, now)
        .set(ConditionType::Ready, ConditionStatus::Unknown, reason, message)
        .done()
}

/// The agent of `node` takes the work on this pod.
#[must_use]
pub fn claimed(
    checkpoint: &NetCheckpoint,
    node: &str,
    pod: &Pod,
    now: Timestamp,
) -> NetCheckpointStatus {
    let mut draft = Draft::new(checkpoint, now);
    draft.status.node_name = Some(node.to_owned());
    draft.status.source_pod_uid.clone_from(&pod.metadata.uid);
    draft.status.pod_ips = pod_ips(pod);
    draft.status.claimed_at = Some(MicroTime(now));
    let message = format!("the agent on node {node} is capturing the pod's network");
    draft
        .set(ConditionType::Ready, ConditionStatus::Unknown, Reason::CheckpointInProgress, &message)
        .done()
}

fn pod_ips(pod: &Pod) -> Vec<String> {
    let ips = pod.status.as_ref().and_then(|status| status.pod_ips.as_deref());
    ips.unwrap_or_default().iter().map(|ip| ip.ip.clone()).collect()
}

/// It has ended without an image.
#[must_use]
pub fn failed(
    checkpoint: &NetCheckpoint,
    at: Step,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> NetCheckpointStatus {
    let draft = Draft::new(checkpoint, now);
    let draft = match at {
        Step::Before => draft,
        Step::Hold => draft.set(ConditionType::Held, false, reason, message),
        Step::Capture => draft.set(ConditionType::Captured, false, reason, message),
        Step::Store => draft.set(ConditionType::Stored, false, reason, message),
    };
    draft.set(ConditionType::Ready, false, reason, message).done()
}

/// The hold is in force.
#[derive(Debug, Clone, Copy)]
pub struct Hold<'a> {
    /// When it was begun to be planted.
    pub begun: Timestamp,
    pub took: Duration,
    /// What it holds, for a person.
    pub what: &'a str,
}

/// The pod's traffic is held, for the time that the spec gives.
#[must_use]
pub fn held(checkpoint: &NetCheckpoint, hold: Hold<'_>, now: Timestamp) -> NetCheckpointStatus {
    let mut draft = Draft::new(checkpoint, now);
    let status = &mut draft.status;
    status.held_at = Some(MicroTime(now));
    // From before the kernel's own time runs: it never ends earlier than it says here.
    let time = SignedDuration::from_secs(i64::from(checkpoint.spec.hold_timeout_seconds));
    status.held_until = hold.begun.checked_add(time).ok().map(MicroTime);
    status.released_at = None;
    status.timings.get_or_insert_with(Timings::default).hold_ms = Some(millis(hold.took));
    draft.set(ConditionType::Held, true, Reason::TrafficHeld, hold.what).done()
}

/// What has become of the hold.
#[must_use]
pub fn hold_changed(
    checkpoint: &NetCheckpoint,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> NetCheckpointStatus {
    let mut draft = Draft::new(checkpoint, now);
    let is_held = reason == Reason::SourceFenced;
    draft.status.held_until = None;
    if matches!(reason, Reason::Released | Reason::TimedOut) {
        draft.status.released_at = Some(MicroTime(now));
    }
    draft.set(ConditionType::Held, is_held, reason, message).done()
}

/// The network was read; the image is on its way to the store.
#[must_use]
pub fn captured(
    checkpoint: &NetCheckpoint,
    capture: Capture<'_>,
    now: Timestamp,
) -> NetCheckpointStatus {
    let manifest = capture.manifest;
    let mut draft = Draft::new(checkpoint, now);
    let status = &mut draft.status;
    status.counts = manifest.counts.iter().map(|(class, n)| (class.clone(), whole(*n))).collect();
    status.not_carried_total = Some(whole(manifest.not_carried.len()));
    status.not_carried = not_carried(manifest);
    status.evidence = Some(Evidence {
        passes: i32::try_from(manifest.evidence.passes).unwrap_or(i32::MAX),
        read_again: i32::try_from(manifest.evidence.read_again.values().sum::<u32>())
            .unwrap_or(i32::MAX),
    });
    status.captured_at = Some(MicroTime(manifest.created));
    status.timings.get_or_insert_with(Timings::default).capture_ms = Some(millis(capture.took));
    let message = "the image is being stored";
    draft
        .set(ConditionType::Captured, true, Reason::NetworkCaptured, &content(manifest))
        .set(ConditionType::Ready, ConditionStatus::Unknown, Reason::CheckpointInProgress, message)
        .done()
}

/// The store has confirmed the image. The object must already have the status of [`captured`].
#[must_use]
pub fn stored(
    checkpoint: &NetCheckpoint,
    manifest: &Manifest,
    image: ImageStatus,
    upload: Duration,
    now: Timestamp,
) -> NetCheckpointStatus {
    let mut draft = Draft::new(checkpoint, now);
    let status = &mut draft.status;
    let total = status.claimed_at.as_ref().map(|claimed| now.duration_since(claimed.0));
    let timings = status.timings.get_or_insert_with(Timings::default);
    timings.upload_ms = Some(millis(upload));
    timings.total_ms = total.map(|total| millis(total.unsigned_abs()));
    status.stored_at = Some(MicroTime(now));
    let stored = format!("{} bytes stored in {}", image.size_bytes, image.storage_name);
    status.image = Some(image);
    let summary = format!("{}; {stored}", content(manifest));
    draft
        .set(ConditionType::Stored, true, Reason::ImageStored, &stored)
        .set(ConditionType::Ready, true, Reason::CheckpointCompleted, &summary)
        .done()
}

/// The archive of the pod's container is stored, or why not.
#[must_use]
pub fn archived(
    checkpoint: &NetCheckpoint,
    outcome: Result<(ArchiveStatus, Duration), &str>,
    now: Timestamp,
) -> NetCheckpointStatus {
    let mut draft = Draft::new(checkpoint, now);
    let (is, reason, message) = match outcome {
        Ok((archive, took)) => {
            let timings = draft.status.timings.get_or_insert_with(Timings::default);
            timings.archive_ms = Some(millis(took));
            let (size, of) = (archive.size_bytes, &archive.container_name);
            let message = format!("{size} bytes of {of} stored in {}", archive.storage_name);
            draft.status.archive = Some(archive);
            (true, Reason::ArchiveStored, message)
        }
        Err(why) => (false, Reason::ArchiveRefused, why.to_owned()),
    };
    draft.set(ConditionType::Archived, is, reason, &message).done()
}

/// What matters first, then as the manifest has it; at most what the schema allows.
fn not_carried(manifest: &Manifest) -> Vec<NotCarried> {
    let mut all: Vec<_> = manifest.not_carried.iter().collect();
    all.sort_by_key(|entry| !entry.matters);
    all.into_iter().take(MAX_NOT_CARRIED).map(NotCarried::from).collect()
}

/// What is in the image and what is not, in one line.
fn content(manifest: &Manifest) -> String {
    let counts: Vec<_> = manifest
        .counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(class, count)| format!("{count} {class}"))
        .collect();
    let mut text =
        if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") } + " captured";
    text.push_str("; ");
    text.push_str(&missing(manifest));
    text
}

/// Names what is not carried; the whole list is in `status.notCarried`.
#[must_use]
pub fn missing(manifest: &Manifest) -> String {
    /// Names that a message holds.
    const SHOWN: usize = 8;
    if manifest.not_carried.is_empty() {
        return "everything carried".to_owned();
    }
    let mut all: Vec<_> = manifest.not_carried.iter().collect();
    all.sort_by_key(|entry| !entry.matters);
    let names: Vec<_> = all
        .iter()
        .take(SHOWN)
        .map(|entry| format!("{} {}", entry.class, entry.object).trim_end().to_owned())
        .collect();
    let rest = match all.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more (see status.notCarried)"),
    };
    format!("not carried: {}{rest}", names.join(", "))
}

/// Milliseconds, rounded up.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i64::MAX)
}

fn whole<N: TryInto<i64>>(n: N) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{NetCheckpointSpec, RestoreState, RestoreStatus};
    use crate::image;
    use std::collections::BTreeMap;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn manifest(missing: usize) -> Manifest {
        let entry = |n: usize| image::NotCarried {
            class: "links".into(),
            object: format!("wg{n}"),
            why: "a kind that is not carried".into(),
            matters: n % 2 == 1,
        };
        Manifest {
            created: at(11),
            producer: "netckpt".into(),
            kernel: "6.18".into(),
            origin: image::Origin::default(),
            counts: BTreeMap::from([
                ("links".into(), 2),
                ("routes".into(), 5),
                ("rules".into(), 0),
            ]),
            not_carried: (0..missing).map(entry).collect(),
            evidence: image::Evidence {
                passes: 2,
                read_again: BTreeMap::from([("routes".into(), 3)]),
                ..image::Evidence::default()
            },
            sections: Vec::new(),
        }
    }

    fn image_status() -> ImageStatus {
        ImageStatus {
            storage_name: "main".into(),
            key: "shop/c.img".into(),
            digest: "sha256:00".into(),
            size_bytes: 4096,
            format_version: 1,
        }
    }

    fn ready(status: &NetCheckpointStatus) -> (&str, &str) {
        let ready = api::find(&status.conditions, ConditionType::Ready).unwrap();
        (&ready.status, &ready.reason)
    }

    #[test]
    fn the_good_course() {
        let mut checkpoint = NetCheckpoint::new("c", NetCheckpointSpec::of_pod("web"));
        let mut pod = Pod::default();
        pod.metadata.uid = Some("uid-1".into());
        let status = claimed(&checkpoint, "node-a", &pod, at(10));
        assert_eq!(ready(&status), ("Unknown", "CheckpointInProgress"));
        assert_eq!(status.node_name.as_deref(), Some("node-a"));
        assert_eq!(status.source_pod_uid.as_deref(), Some("uid-1"));
        checkpoint.status = Some(status);

        let manifest = manifest(0);
        let took = Duration::from_micros(1001);
        let status = captured(&checkpoint, Capture { manifest: &manifest, took }, at(11));
        assert_eq!(ready(&status), ("Unknown", "CheckpointInProgress"));
        assert_eq!(status.timings.as_ref().unwrap().capture_ms, Some(2));
        assert_eq!(status.evidence.as_ref().unwrap().read_again, 3);
        checkpoint.status = Some(status);

        let took = Duration::from_millis(7);
        let status = stored(&checkpoint, &manifest, image_status(), took, at(12));
        assert_eq!(ready(&status), ("True", "CheckpointCompleted"));
        assert_eq!(status.timings.as_ref().unwrap().total_ms, Some(2000));
        assert!(api::is_true(&status.conditions, ConditionType::Captured));
        assert!(api::is_true(&status.conditions, ConditionType::Stored));
        let message = &api::find(&status.conditions, ConditionType::Ready).unwrap().message;
        let wanted = "2 links, 5 routes captured; everything carried; 4096 bytes stored in main";
        assert_eq!(message, wanted);
    }

    #[test]
    fn what_is_not_carried_is_named_with_what_matters_first() {
        let checkpoint = NetCheckpoint::new("c", NetCheckpointSpec::of_pod("web"));
        let manifest = manifest(100);
        let capture = Capture { manifest: &manifest, took: Duration::ZERO };
        let status = captured(&checkpoint, capture, at(11));
        assert_eq!(status.not_carried.len(), MAX_NOT_CARRIED);
        assert!(status.not_carried[..50].iter().all(|entry| entry.matters));
        assert_eq!(status.not_carried_total, Some(100));
        let text = missing(&manifest);
        assert!(text.starts_with("not carried: links wg1, links wg3"), "{text}");
        assert!(text.ends_with("and 92 more (see status.notCarried)"), "{text}");
    }

    #[test]
    fn a_failure_names_its_step_and_ends() {
        let mut checkpoint = NetCheckpoint::new("c", NetCheckpointSpec::of_pod("web"));
        let status =
            failed(&checkpoint, Step::Store, Reason::StorageUnreachable, "no answer", at(5));
        assert_eq!(ready(&status), ("False", "StorageUnreachable"));
        let step = api::find(&status.conditions, ConditionType::Stored).unwrap();
        assert_eq!((step.status.as_str(), step.message.as_str()), ("False", "no answer"));
        checkpoint.status = Some(status);
        assert!(super::super::judge::has_ended(&checkpoint));
    }

    #[test]
    fn restores_belong_to_others() {
        let mut checkpoint = NetCheckpoint::new("c", NetCheckpointSpec::of_pod("web"));
        checkpoint.status.get_or_insert_default().restores.push(RestoreStatus {
            pod_uid: "u".into(),
            pod_name: "p".into(),
            node_name: "n".into(),
            state: RestoreState::Restored,
            reason: String::new(),
            message: String::new(),
            takeover: None,
            live_at: None,
            started_at: None,
            completed_at: None,
            download_ms: None,
            rebuild_ms: None,
            verify_ms: None,
            total_ms: None,
        });
        let status = waiting(&checkpoint, Reason::NodeHasNoAgent, "", at(1));
        assert!(status.restores.is_empty());
    }
}
