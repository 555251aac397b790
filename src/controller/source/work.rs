//! Checkpoints that this node's agent has claimed: capture, store, done.
//!
//! Each step leaves something that the next one, or the next agent on this node, goes on from: the
//! claim, the finalizer, the image in the [`Spool`], the object in the store. So a restart in the
//! middle repeats a step at most, and the capture not once its image is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;

use super::archive;
use super::course::{self, Capture, Step};
use super::holding::{self, Kept, Taken};
use super::judge::{self, Verdict};
use super::lock;
use super::reading::{self, Found, ReadingError};
use super::record::{self, Failure, News, RecordError};
use super::removal::{self, prefix};
use super::spool::{Spool, SpoolError, Spooled};
use crate::api::{
    ConditionStatus, ConditionType, ImageStatus, NetCheckpoint, OnUnsupported, Reason, find,
    is_true,
};
use crate::controller::{Agent, SharedAgent, Storage, StorageError};
use crate::http::Role;
use crate::image;

/// Pause before a store or the runtime is asked again.
const AGAIN: Duration = Duration::from_secs(3);

/// Room that must be there for a capture to be worth its while: most images are smaller.
const SMALL: u64 = 1 << 20;

/// Why a checkpoint does not go on.
#[derive(Debug)]
enum Setback {
    /// It is tried again until the checkpoint's time is over.
    Passing(Reason, String),
    Ended(Step, Reason, String),
    Record(RecordError),
}

impl From<RecordError> for Setback {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<SpoolError> for Setback {
    fn from(error: SpoolError) -> Self {
        let message = format!("the captured image can't be kept on the node: {error}");
        match error {
            SpoolError::Full { .. } => Self::Passing(Reason::CheckpointFailed, message),
            SpoolError::Disk { .. } => {
                Self::Ended(Step::Capture, Reason::CheckpointFailed, message)
            }
        }
    }
}

impl From<ReadingError> for Setback {
    fn from(error: ReadingError) -> Self {
        let (reason, message) = (error.reason(), error.to_string());
        match error.is_passing() {
            true => Self::Passing(reason, message),
            false => Self::Ended(Step::Capture, reason, message),
        }
    }
}

impl From<StorageError> for Setback {
    fn from(error: StorageError) -> Self {
        Self::Passing(error.reason(), error.to_string())
    }
}

/// One look at a claimed checkpoint.
pub(super) async fn reconcile(
    checkpoint: Arc<NetCheckpoint>,
    agent: SharedAgent,
) -> Result<Action, RecordError> {
    let outcome = if checkpoint.metadata.deletion_timestamp.is_some() {
        removal::reconcile(&agent, &checkpoint).await
    } else {
        held_or_not(&agent, (*checkpoint).clone()).await
    };
    match outcome {
        Err(RecordError::Overtaken) => Ok(Action::await_change()),
        outcome => outcome,
    }
}

/// The hold first: what it needs can't wait. What comes of an outdated view is told by the watch.
async fn held_or_not(
    agent: &SharedAgent,
    mut checkpoint: NetCheckpoint,
) -> Result<Action, RecordError> {
    let seen = checkpoint.clone();
    // A silent pod waits for its archive, and its hold can't wait for that.
    let keep = holding::keep(agent, &mut checkpoint);
    let (kept, shipped) = tokio::join!(keep, archive::ship(agent, &seen));
    let kept = kept?;
    if matches!(kept, Kept::Again(_)) {
        lock::watch(agent, &checkpoint);
    }
    if !judge::has_ended(&checkpoint) {
        return go_on(agent, &checkpoint).await;
    }
    shipped?;
    settled(agent, &checkpoint).await;
    Ok(match kept {
        Kept::Again(pause) => Action::requeue(pause),
        Kept::Settled => Action::await_change(),
    })
}

/// The image on the node has served. Only now, when the watch tells it: an earlier view of the object
/// may still lead to one more look.
async fn settled(agent: &Agent, checkpoint: &NetCheckpoint) {
    if let Err(error) = let_go(agent, checkpoint).await {
        tracing::warn!(%error, "the image of an ended checkpoint could not be removed from the node");
    }
}

/// The image leaves the node's memory. Where its upload was begun and not confirmed, its place stays,
/// so that what may have come there goes with the checkpoint.
async fn let_go(agent: &Agent, checkpoint: &NetCheckpoint) -> Result<(), SpoolError> {
    let spool = Spool::new(&agent.state_dir);
    let uid = checkpoint.uid().unwrap_or_default();
    let conditions = checkpoint.status.as_ref().map(|status| status.conditions.as_slice());
    let is_upload = find(conditions.unwrap_or_default(), ConditionType::Stored)
        .is_some_and(|stored| stored.status == ConditionStatus::False.as_str());
    if is_upload && let Some(place) = removal::unconfirmed(agent, checkpoint, &spool, &uid).await {
        return spool.give_up(&uid, &place).await;
    }
    spool.drop(&uid).await
}

async fn go_on(agent: &SharedAgent, checkpoint: &NetCheckpoint) -> Result<Action, RecordError> {
    let _in_flight = agent.metrics.in_flight(Role::Source);
    let Some(left) = record::time_left(checkpoint) else {
        return out_of_time(agent, checkpoint, checkpoint).await;
    };
    let mut seen = checkpoint.clone();
    match tokio::time::timeout(left, advance(agent, &mut seen)).await {
        Ok(Ok(())) => Ok(Action::await_change()),
        Ok(Err(Setback::Record(error))) => Err(error),
        Ok(Err(Setback::Passing(reason, message))) => {
            let message = format!("{message}; tried again until {}", judge::deadline(checkpoint));
            if record::waiting(agent, &seen, reason, &message).await? {
                let kind = EventType::Warning;
                let news = News { action: "Retry", kind, reason, message: &message };
                record::tell(agent, &seen, None, news).await;
            }
            Ok(Action::requeue(record::time_left(checkpoint).unwrap_or_default().min(AGAIN)))
        }
        Ok(Err(Setback::Ended(at, reason, message))) => {
            end(agent, &seen, at, reason, &message).await
        }
        Err(_) => out_of_time(agent, checkpoint, &seen).await,
    }
}

/// The last setback tells more than that the time is over; where there was none, the step does.
async fn out_of_time(
    agent: &Agent,
    begun: &NetCheckpoint,
    seen: &NetCheckpoint,
) -> Result<Action, RecordError> {
    let conditions = seen.status.as_ref().map(|status| status.conditions.as_slice());
    let conditions = conditions.unwrap_or_default();
    let at = match find(conditions, ConditionType::Captured) {
        Some(_) => Step::Store,
        None => Step::Capture,
    };
    let seconds = begun.spec.timeout_seconds;
    let before = begun.status.as_ref().map(|status| status.conditions.as_slice());
    let setback = find(before.unwrap_or_default(), ConditionType::Ready)
        .and_then(|ready| Some((Reason::parse(&ready.reason)?, &ready.message)))
        .filter(|(reason, _)| reason.is_failure());
    let (reason, message) = match setback {
        Some((reason, message)) => {
            let what = message.split("; tried again until ").next().unwrap_or_default();
            (reason, format!("{what}; timeoutSeconds ({seconds}) are over"))
        }
        None => {
            let doing = if at == Step::Store { "storing the image" } else { "capturing" };
            (Reason::TimedOut, format!("timeoutSeconds ({seconds}) were over while {doing}"))
        }
    };
    end(agent, seen, at, reason, &message).await
}

async fn end(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    at: Step,
    reason: Reason,
    message: &str,
) -> Result<Action, RecordError> {
    record::failed(agent, checkpoint, None, Failure { at, reason, message }).await?;
    Ok(Action::await_change())
}

/// Takes the checkpoint from where it is to its end. `seen` is the object as last written, so that
/// whoever comes after an error goes on from there.
async fn advance(agent: &SharedAgent, seen: &mut NetCheckpoint) -> Result<(), Setback> {
    *seen = record::finalizer(agent, seen, true).await?;
    let storage = agent.storages.open(seen.spec.storage_name.as_deref()).await?;
    let spool = Spool::new(&agent.state_dir);
    let uid = seen.uid().unwrap_or_default();
    let spooled = match spool.kept(&uid).await? {
        Some(spooled) => {
            // What was told is not told again: each retry would change the condition to and fro.
            if !is_captured(seen) {
                *seen = tell_captured(agent, seen, &spooled).await?;
            }
            spooled
        }
        None => {
            spool.has_room(SMALL).await?;
            let spooled = held_capture(agent, seen).await?;
            if let Err(setback) = carried(seen, &spooled) {
                // Not kept, and yet told: the list says what is to be mended.
                *seen = tell_captured(agent, seen, &spooled).await?;
                return Err(setback);
            }
            spool.keep(&uid, &spooled.bytes).await?;
            *seen = tell_captured(agent, seen, &spooled).await?;
            spooled
        }
    };
    if seen.metadata.deletion_timestamp.is_some() {
        // The watch tells it, too, and then the image goes.
        return Err(RecordError::Overtaken.into());
    }
    store(agent, seen, &storage, &spooled).await
}

fn is_captured(checkpoint: &NetCheckpoint) -> bool {
    let status = checkpoint.status.as_ref();
    status.is_some_and(|status| is_true(&status.conditions, ConditionType::Captured))
}

async fn tell_captured(
    agent: &Agent,
    seen: &NetCheckpoint,
    spooled: &Spooled,
) -> Result<NetCheckpoint, RecordError> {
    let took = Duration::from_micros(spooled.manifest.evidence.micros);
    let capture = Capture { manifest: &spooled.manifest, took };
    let status = course::captured(seen, capture, Timestamp::now());
    record::step(agent, seen, &status).await
}

/// Captures, under a hold where one is asked for: it is in force before anything is read. That it is
/// is told meanwhile.
async fn held_capture(agent: &SharedAgent, seen: &mut NetCheckpoint) -> Result<Spooled, Setback> {
    let pod = pod(agent, seen)?;
    let found = reading::find(agent, &pod).await?;
    if !holding::is_wanted(seen) {
        return capture(agent, seen, &pod, &found).await;
    }
    let taken = holding::take(seen, &found).await.map_err(|error| {
        let message = format!("the pod's traffic can't be held: {error}");
        Setback::Ended(Step::Hold, Reason::HoldFailed, message)
    })?;
    match taken {
        Taken::Before => capture(agent, seen, &pod, &found).await,
        Taken::Over => {
            let message = "the hold had ended before the network was captured".to_owned();
            Err(Setback::Ended(Step::Capture, Reason::TimedOut, message))
        }
        Taken::Now { begun, took, what } => {
            lock::watch(agent, seen);
            let hold = course::Hold { begun, took, what: &what };
            let before = seen.clone();
            let (told, captured) = tokio::join!(
                holding::tell_held(agent, &before, hold),
                capture(agent, &before, &pod, &found)
            );
            *seen = told?;
            captured
        }
    }
}

async fn capture(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    pod: &Pod,
    found: &Found,
) -> Result<Spooled, Setback> {
    let start = Instant::now();
    let spooled = reading::read(agent, checkpoint, pod, found).await?;
    agent.metrics.took("capture", start.elapsed());
    agent.metrics.image(spooled.bytes.len() as u64);
    Ok(spooled)
}

/// The pod, if it still is the one that was claimed and can be captured.
fn pod(agent: &Agent, checkpoint: &NetCheckpoint) -> Result<Arc<Pod>, Setback> {
    let name = &checkpoint.spec.source_pod_name;
    let Some(pod) = agent.pod(&checkpoint.namespace().unwrap_or_default(), name) else {
        let message = format!("pod {name} is no longer on node {}", agent.node);
        return Err(Setback::Ended(Step::Capture, Reason::SourcePodNotFound, message));
    };
    match judge::judge(checkpoint, &pod) {
        Verdict::Go => Ok(pod),
        Verdict::Wait(reason, message) => Err(Setback::Passing(reason, message)),
        Verdict::Refuse(reason, message) => Err(Setback::Ended(Step::Capture, reason, message)),
    }
}

/// Whether the image may do without what is not in it.
fn carried(checkpoint: &NetCheckpoint, spooled: &Spooled) -> Result<(), Setback> {
    let matters = spooled.manifest.not_carried.iter().any(|entry| entry.matters);
    if matters && checkpoint.spec.on_unsupported == OnUnsupported::Fail {
        let message = format!("{}, and onUnsupported is Fail", course::missing(&spooled.manifest));
        return Err(Setback::Ended(Step::Capture, Reason::NotCarried, message));
    }
    Ok(())
}

async fn store(
    agent: &Agent,
    seen: &mut NetCheckpoint,
    storage: &Storage,
    spooled: &Spooled,
) -> Result<(), Setback> {
    let start = Instant::now();
    let put = storage.store().put(&prefix(seen), spooled.bytes.clone()).await;
    let stored = match put {
        Ok(stored) => stored,
        Err(error) => {
            agent.storages.doubt(&storage.name).await;
            return Err(storage.failed(error).into());
        }
    };
    let took = start.elapsed();
    agent.metrics.took("upload", took);
    let image = ImageStatus {
        storage_name: storage.name.clone(),
        key: stored.key,
        digest: stored.digest,
        size_bytes: i64::try_from(stored.size).unwrap_or(i64::MAX),
        format_version: i32::try_from(image::FORMAT_VERSION).unwrap_or(i32::MAX),
    };
    let status = course::stored(seen, &spooled.manifest, image, took, Timestamp::now());
    *seen = record::step(agent, seen, &status).await?;
    let reason = Reason::CheckpointCompleted;
    agent.metrics.captured(reason.as_str());
    let message = find(&status.conditions, ConditionType::Ready).map(|c| c.message.as_str());
    let message = message.unwrap_or_default();
    tracing::info!(checkpoint = %record::shown(seen), what = message, "stored");
    let news = News { action: "Complete", kind: EventType::Normal, reason, message };
    record::tell(agent, seen, None, news).await;
    Ok(())
}
