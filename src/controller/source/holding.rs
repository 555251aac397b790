//! The hold of a claimed checkpoint: taken before the capture, kept as [`crate::hold::protocol`] says,
//! told in the condition `Held` and in events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod as ApiPod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::events::EventType;

use super::course;
use super::reading::Found;
use super::record::{self, News, RecordError};
use crate::api::{
    self, ConditionStatus, ConditionType, NetCheckpoint, Reason, Traffic, find, is_true,
};
use crate::controller::{Agent, SharedAgent};
use crate::hold::protocol::{Pod, Source, SourceKernel, SourceStep, Takeover, Told};
use crate::hold::{self, Element, Hold, Kind, Listed, Note};
use crate::netns::Namespace;

/// Longest pause between two looks at a hold.
const AGAIN: Duration = Duration::from_secs(1);
/// The same for one that does not end by itself.
const FENCED: Duration = Duration::from_secs(5);
/// Steps taken in one go; each leads on, so that this is never reached.
const STEPS: u32 = 8;

/// The hold could not be planted, read or changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HoldError {
    #[error(transparent)]
    Hold(#[from] hold::Error),
    #[error("a thread of the agent broke off: {0}")]
    Thread(String),
}

/// What was found or done when a hold was to be taken.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is in force; the status is to be told.
    Now { begun: Timestamp, took: Duration, what: String },
    /// It was taken before, and is still in force.
    Before,
    /// It was taken before, and has ended.
    Over,
}

/// Whether the checkpoint asks for a hold.
pub(super) fn is_wanted(checkpoint: &NetCheckpoint) -> bool {
    checkpoint.spec.traffic == Traffic::Held
}

/// Whether a hold was told of, in force or not.
fn is_told(checkpoint: &NetCheckpoint) -> bool {
    condition(checkpoint).is_some()
}

fn condition(
    checkpoint: &NetCheckpoint,
) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    find(&checkpoint.status.as_ref()?.conditions, ConditionType::Held)
}

/// Its name in the kernel.
pub(super) fn name(checkpoint: &NetCheckpoint) -> Result<Hold, hold::Error> {
    let id = checkpoint.uid().unwrap_or_default().parse()?;
    Ok(Hold { id, kind: Kind::Source })
}

/// Takes the hold, and sees it in force.
pub(super) async fn take(checkpoint: &NetCheckpoint, found: &Found) -> Result<Taken, HoldError> {
    let hold = name(checkpoint)?;
    let shown = record::shown(checkpoint);
    let note = Note(format!("source {shown}"));
    let seconds = checkpoint.spec.hold_timeout_seconds;
    let time = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let is_told = is_told(checkpoint);
    let pod = found.namespace.clone();
    blocking(move || {
        let node = Namespace::current().map_err(hold::Error::from)?;
        if is_told {
            let standing = hold.read(Some(&pod), &node)?;
            let holds = standing.is_some_and(|standing| standing.element.is_there());
            return Ok(if holds { Taken::Before } else { Taken::Over });
        }
        let (begun, clock) = (Timestamp::now(), Instant::now());
        // One that was planted and never told of is planted anew: nothing was captured under it.
        let (standing, left) = hold.take(&pod, &node, Element::For(time), &note)?;
        let took = clock.elapsed();
        let links = standing.pod.iter().map(|link| format!("{link} in the pod"));
        let links: Vec<_> =
            links.chain(standing.node.iter().map(|link| format!("{link} on the node"))).collect();
        let mut what = format!("nothing passes {} for {seconds} s", links.join(" and "));
        if left.half_open > 0 {
            what.push_str(&format!(
                "; {} half-open connections are in no dump: their clients try again",
                left.half_open
            ));
        }
        if left.unaccepted > 0 {
            what.push_str(&format!(
                "; {} connections that no process has accepted: CRIU refuses them",
                left.unaccepted
            ));
        }
        Ok(Taken::Now { begun, took, what })
    })
    .await
}

/// Tells that the hold is in force; the pod does not wait for the event.
pub(super) async fn tell_held(
    agent: &SharedAgent,
    checkpoint: &NetCheckpoint,
    hold: course::Hold<'_>,
) -> Result<NetCheckpoint, RecordError> {
    let status = course::held(checkpoint, hold, Timestamp::now());
    let seen = record::status(agent, checkpoint, &status).await?;
    tracing::info!(checkpoint = %record::shown(checkpoint), what = hold.what, "held");
    agent.metrics.took("hold", hold.took);
    let (agent, about, what) = (agent.clone(), seen.clone(), hold.what.to_owned());
    tokio::spawn(async move {
        tell(&agent, &about, EventType::Normal, Reason::TrafficHeld, &what).await;
    });
    Ok(seen)
}

async fn tell(
    agent: &Agent,
    checkpoint: &NetCheckpoint,
    kind: EventType,
    reason: Reason,
    message: &str,
) {
    let news = News { action: "Hold", kind, reason, message };
    record::tell(agent, checkpoint, None, news).await;
}

/// Whether there may be a hold to keep: one that is wanted or was told of, or one of an object that was
/// changed, which may have asked for it before. It may have been planted and not told of yet.
pub(super) fn is_kept(checkpoint: &NetCheckpoint) -> bool {
    let is_changed = checkpoint.metadata.generation != Some(1);
    is_wanted(checkpoint) || is_told(checkpoint) || is_changed
}

/// What the keeping of a hold came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is to be looked at again after that time.
    Again(Duration),
    /// There is none any more, or it needs nobody.
    Settled,
}

/// Takes the steps that the hold needs now. `seen` becomes the object as it is then.
pub(super) async fn keep(agent: &Agent, seen: &mut NetCheckpoint) -> Result<Kept, RecordError> {
    if !is_kept(seen) {
        return Ok(Kept::Settled);
    }
    for _ in 0..STEPS {
        let look = match look(agent, seen).await {
            Ok(look) => look,
            Err(error) => {
                tracing::warn!(checkpoint = %record::shown(seen), %error, "its hold can't be read");
                return Ok(Kept::Again(AGAIN));
            }
        };
        if !is_told(seen) && look.kernel == SourceKernel::Open {
            return Ok(Kept::Settled);
        }
        let view = view(seen, &look);
        let step = view.step();
        if step == SourceStep::Nothing {
            return Ok(rest(view, look.left));
        }
        if let Err(error) = act(agent, seen, &look, step).await? {
            tracing::warn!(checkpoint = %record::shown(seen), %error, ?step, "its hold");
            return Ok(Kept::Again(AGAIN));
        }
    }
    Ok(Kept::Again(AGAIN))
}

fn rest(view: Source, left: Option<Duration>) -> Kept {
    match (view.told, view.kernel) {
        (Told::Ended | Told::Gone, _) => Kept::Settled,
        (_, SourceKernel::Endless) => Kept::Again(FENCED),
        // A little later than the kernel.
        _ => Kept::Again(left.unwrap_or(AGAIN).min(AGAIN) + Duration::from_millis(20)),
    }
}

/// What was seen of a hold and its pod.
struct Look {
    listed: Option<Arc<Listed>>,
    kernel: SourceKernel,
    left: Option<Duration>,
    pod: Pod,
}

async fn look(agent: &Agent, checkpoint: &NetCheckpoint) -> Result<Look, HoldError> {
    let hold = name(checkpoint)?;
    let uid = checkpoint.status.as_ref().and_then(|status| status.source_pod_uid.clone());
    let namespace = checkpoint.namespace().unwrap_or_default();
    let pod = agent.pod(&namespace, &checkpoint.spec.source_pod_name);
    let lives = pod.as_ref().is_some_and(|pod| pod.uid() == uid && !is_ending(pod));
    blocking(move || {
        let node = Namespace::current().map_err(hold::Error::from)?;
        let listed = hold::all(&node)?.into_iter().find(|listed| listed.hold == hold);
        let Some(listed) = listed else {
            let pod = if lives { Pod::Lives } else { Pod::Gone };
            return Ok(Look { listed: None, kernel: SourceKernel::Open, left: None, pod });
        };
        let inside = listed.pod();
        let standing = listed.hold.read(inside.as_ref(), &node)?;
        let (kernel, left) = match standing.map(|standing| standing.element).unwrap_or_default() {
            Element::None => (SourceKernel::Open, None),
            Element::For(left) => (SourceKernel::Timed, Some(left)),
            Element::Endless => (SourceKernel::Endless, None),
        };
        let pod = match (lives, listed.is_linked(&node)?) {
            (_, false) => Pod::Gone,
            (true, _) => Pod::Lives,
            (false, true) => Pod::Leaves,
        };
        Ok(Look { listed: Some(Arc::new(listed)), kernel, left, pod })
    })
    .await
}

fn is_ending(pod: &ApiPod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

fn view(checkpoint: &NetCheckpoint, look: &Look) -> Source {
    let status = checkpoint.status.clone().unwrap_or_default();
    let told = match find(&status.conditions, ConditionType::Held) {
        // Planted, and the agent died before it could tell: held until it is told or released.
        None => Told::Held,
        Some(held) if held.status == ConditionStatus::True.as_str() => {
            match held.reason == Reason::SourceFenced.as_str() {
                true => Told::Fenced,
                false => Told::Held,
            }
        }
        Some(held) if held.reason == Reason::SourceGone.as_str() => Told::Gone,
        Some(_) => Told::Ended,
    };
    let has_failed = find(&status.conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.status == ConditionStatus::False.as_str());
    let takeovers = status.restores.iter().map(|one| takeover(one.takeover));
    Source {
        kernel: look.kernel,
        told,
        pod: look.pod,
        release: has_failed
            || !is_wanted(checkpoint)
            || checkpoint.metadata.deletion_timestamp.is_some(),
        takeover: Takeover::of_all(takeovers),
    }
}

/// As the protocol has it.
pub(in crate::controller) fn takeover(written: Option<api::Takeover>) -> Takeover {
    match written {
        None => Takeover::None,
        Some(api::Takeover::Claimed) => Takeover::Claimed,
        Some(api::Takeover::Live) => Takeover::Live,
        Some(api::Takeover::Done) => Takeover::Done,
        Some(api::Takeover::Withdrawn) => Takeover::Withdrawn,
    }
}

async fn act(
    agent: &Agent,
    seen: &mut NetCheckpoint,
    look: &Look,
    step: SourceStep,
) -> Result<Result<(), HoldError>, RecordError> {
    let told = |reason, message: &str| (reason, message.to_owned());
    let (reason, message) = match step {
        SourceStep::Nothing => return Ok(Ok(())),
        SourceStep::MakeEndless => return Ok(change(look, true).await),
        SourceStep::Open => return Ok(change(look, false).await),
        SourceStep::TellFenced if look.pod == Pod::Lives => {
            told(Reason::SourceFenced, "the successor is live: the hold no longer ends by itself")
        }
        SourceStep::TellFenced => {
            told(Reason::SourceFenced, "the pod is being deleted: the hold stays until it is gone")
        }
        SourceStep::TellGone => told(Reason::SourceGone, "the held pod is gone"),
        SourceStep::TellReleased => told(Reason::Released, "the pod's traffic flows again"),
        SourceStep::TellTimedOut => {
            let seconds = seen.spec.hold_timeout_seconds;
            let until = seen.status.as_ref().and_then(|status| status.held_until.as_ref());
            match until.is_some_and(|until| until.0 > Timestamp::now()) {
                // By hand on the node.
                true => told(Reason::Released, "the hold was taken away on the node"),
                false => {
                    let message =
                        format!("holdTimeoutSeconds ({seconds}) are over; the traffic flows again");
                    (Reason::TimedOut, message)
                }
            }
        }
    };
    let status = course::hold_changed(seen, reason, &message, Timestamp::now());
    *seen = record::status(agent, seen, &status).await?;
    tracing::info!(checkpoint = %record::shown(seen), %reason, why = message, "its hold");
    let kind = if reason == Reason::TimedOut { EventType::Warning } else { EventType::Normal };
    tell(agent, seen, kind, reason, &message).await;
    Ok(Ok(()))
}

/// Makes the hold endless, or lets frames pass.
async fn change(look: &Look, endless: bool) -> Result<(), HoldError> {
    let Some(listed) = look.listed.clone() else { return Ok(()) };
    blocking(move || {
        let node = Namespace::current().map_err(hold::Error::from)?;
        let pod = listed.pod();
        match endless {
            // Whether it was in force is what the next look tells.
            true => listed.hold.make_endless(pod.as_ref(), &node).map(drop)?,
            false => listed.hold.lift(pod.as_ref(), &node)?,
        }
        Ok(())
    })
    .await
}

/// Whether the object must stay for its hold's sake: it still ends by itself, or a successor that has
/// claimed and is not done has still to learn from it that the source is fenced.
pub(super) fn needs(checkpoint: &NetCheckpoint) -> bool {
    let Some(status) = &checkpoint.status else { return false };
    let Some(held) = find(&status.conditions, ConditionType::Held) else { return false };
    let claimed = |one: &api::RestoreStatus| {
        matches!(one.takeover, Some(api::Takeover::Claimed | api::Takeover::Live))
    };
    let is_fenced = held.reason == Reason::SourceFenced.as_str();
    is_true(&status.conditions, ConditionType::Held)
        && (!is_fenced || status.restores.iter().any(claimed))
}

/// Runs what blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HoldError> + Send + 'static,
) -> Result<T, HoldError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| HoldError::Thread(panic.to_string()))?
}
