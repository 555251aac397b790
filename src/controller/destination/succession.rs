//! A restored pod that waits, silent, until it takes over from a held source: one task for each, from
//! the answer to the CNI plugin until it speaks for good or never will, as
//! [`crate::hold::protocol`] says.

use std::collections::BTreeSet;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::events::EventType;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::seen::{about, has_ended, has_started, held_for, is_manual, is_told_live, told};
use super::tell::{self, Unwritten};
use super::watched::Watched;
use crate::api::{
    self, ConditionType, NetCheckpoint, PREPARE_FROM, RESTORE_FROM, RestoreReason, find,
};
use crate::controller::source::holding;
use crate::controller::{Agent, SharedAgent, reference};
use crate::hold::criu::{self, Lock};
use crate::hold::protocol::{SKEW, Successor, SuccessorKernel, SuccessorStep, Takeover, Told};
use crate::hold::{self, Element, Hold, Kind, Listed, mark};
use crate::host::Ways;
use crate::netns::Namespace;

/// Longest pause between two looks; changes of the object, and CRIU's, are seen at once.
const PAUSE: Duration = Duration::from_millis(50);
/// The same while there is nothing to take over from yet.
const IDLE: Duration = Duration::from_millis(500);

/// Something could not be asked or done; it is tried again.
#[derive(Debug, thiserror::Error)]
enum Setback {
    #[error(transparent)]
    Hold(#[from] hold::Error),
    #[error(transparent)]
    Write(#[from] Unwritten),
    #[error("the API server: {0}")]
    Api(String),
    #[error("a thread of the agent broke off: {0}")]
    Thread(String),
}

/// Begins the task of a pod, unless it has one.
pub fn follow(agent: &SharedAgent, listed: Listed) {
    static FOLLOWED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let followed = || FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner);
    let uid = listed.hold.id.to_string();
    if listed.hold.kind != Kind::Successor || !followed().insert(uid.clone()) {
        return;
    }
    let agent = agent.clone();
    tokio::spawn(async move {
        let ending = agent.ending.begun();
        tokio::select! {
            () = Succession::new(&agent, listed).run() => {}
            () = ending => {}
        }
        followed().remove(&uid);
    });
}

/// Goes on, at the agent's start, with what an earlier one has begun, and sweeps holds that are over,
/// then and now and then until the agent ends.
pub async fn run(agent: SharedAgent) {
    /// Pause between two rounds.
    const ROUND: Duration = Duration::from_secs(60);
    let known = tokio::select! {
        known = agent.knows_pods() => known,
        () = agent.ending.begun() => false,
    };
    if !known {
        return;
    }
    loop {
        let round = blocking(|| {
            let node = Namespace::current().map_err(hold::Error::from)?;
            // Who waits for its turn has a task of its own, which has still to tell that it is over.
            let gone = hold::sweep(&node, |listed| listed.hold.kind == Kind::Source)?;
            Ok((gone, hold::all(&node)?))
        });
        match round.await {
            Ok((gone, all)) => {
                for one in gone {
                    tracing::info!(hold = %one.hold.id, of = one.note.0, "swept a hold that is over");
                }
                all.into_iter().for_each(|listed| follow(&agent, listed));
            }
            Err(error) => tracing::warn!(%error, "holds can't be swept"),
        }
        tokio::select! {
            () = sleep(ROUND) => {}
            () = agent.ending.begun() => return,
        }
    }
}

struct Succession<'a> {
    agent: &'a SharedAgent,
    listed: Arc<Listed>,
    /// The NetCheckpoint, once its name is known.
    watched: Option<Watched>,
    /// CRIU's lock, once it was seen planted.
    lock: Option<Lock>,
    /// Whether CRIU has lifted it.
    lifted: Option<watch::Receiver<bool>>,
}

/// What was seen.
struct Look {
    pod: Option<Arc<Pod>>,
    checkpoint: Option<NetCheckpoint>,
    view: Successor,
    /// How long leave may be.
    left: Option<Duration>,
    /// Whether it has leave for IP and none for ARP.
    only_ip: bool,
}

/// What was seen of its kernel.
struct Seen {
    kernel: SuccessorKernel,
    /// Whether the pod's links are there.
    is_linked: bool,
    /// Whether somebody has released it by hand.
    released: bool,
    /// As [`Look::only_ip`].
    only_ip: bool,
}

impl<'a> Succession<'a> {
    fn new(agent: &'a SharedAgent, listed: Listed) -> Self {
        let mut new =
            Self { agent, listed: Arc::new(listed), watched: None, lock: None, lifted: None };
        new.watch_object(about(&new.listed.note.0));
        new
    }

    fn watch_object(&mut self, about: Option<(String, String)>) {
        let Some(about) = about else { return };
        if self.watched.as_ref().is_none_or(|watched| watched.about != about) {
            self.watched = Some(Watched::new(self.agent.client.clone(), about));
        }
    }

    async fn run(mut self) {
        loop {
            let pause = match self.turn().await {
                Ok(Some(pause)) => pause,
                Ok(None) => return,
                // Whoever was first is seen at the next look.
                Err(Setback::Write(Unwritten::Overtaken)) => {
                    self.watched.as_mut().map(Watched::doubt);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(pod = %self.listed.hold.id, %error, "taking over");
                    IDLE
                }
            };
            let _ = timeout(pause, self.changed()).await;
        }
    }

    /// Waits until CRIU's lock is lifted or the object changes.
    async fn changed(&mut self) {
        let lifted = async {
            match &mut self.lifted {
                Some(lifted) if !*lifted.borrow() => lifted.changed().await.is_ok(),
                _ => false,
            }
        };
        // Where it is lifted, or whoever watched has ended, the kernel is looked at all the same.
        let lifted = async {
            if !lifted.await {
                pending().await
            }
        };
        let told = async {
            match &mut self.watched {
                Some(watched) => watched.changed().await,
                None => pending().await,
            }
        };
        tokio::select! { () = lifted => {}, () = told => {} }
    }

    /// One look and what follows from it: the pause to the next, none at the end.
    async fn turn(&mut self) -> Result<Option<Duration>, Setback> {
        let look = self.look().await?;
        if look.only_ip && look.view.is_live {
            // It was given while CRIU lifted its lock, or by an agent that is gone.
            let listed = self.listed.clone();
            blocking(move || Ok(widen(&listed)?)).await?;
            self.announce().await;
        }
        let step = look.view.step();
        if step == SuccessorStep::Nothing {
            return Ok(self.rest(&look).await);
        }
        self.act(&look, step).await?;
        Ok(Some(Duration::ZERO))
    }

    /// Whether there is anything to come.
    async fn rest(&self, look: &Look) -> Option<Duration> {
        let view = look.view;
        match (view.takeover, view.kernel) {
            // It speaks for good, or somebody has taken its hold away by hand.
            (Takeover::Done, _) | (_, SuccessorKernel::Free) => return None,
            (_, _) if view.has_failed => {
                self.forget_links().await;
                return None;
            }
            (Takeover::None | Takeover::Withdrawn, _) if view.told == Told::Ended => {
                self.tell_left_behind(look).await;
                return None;
            }
            _ => {}
        }
        // With a checkpoint the pod that is held waits for each look.
        let waits = view.takeover == Takeover::None && look.checkpoint.is_none();
        Some(if waits { IDLE } else { PAUSE })
    }

    /// Takes away what was planted on links that are gone: the next link of that name is another pod's.
    async fn forget_links(&self) {
        let listed = self.listed.clone();
        let gone = blocking(move || {
            let node = Namespace::current().map_err(hold::Error::from)?;
            match listed.is_linked(&node)? {
                true => Ok(()),
                false => Ok(listed.hold.lift(listed.pod().as_ref(), &node)?),
            }
        });
        if let Err(error) = gone.await {
            tracing::warn!(pod = %self.listed.hold.id, %error, "its hold can't be swept");
        }
    }

    async fn look(&mut self) -> Result<Look, Setback> {
        let uid = self.listed.hold.id.to_string();
        let pods = self.agent.pods.state();
        let pod = pods.into_iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid.as_str()));
        if let Some(pod) = &pod {
            let name = pod.annotations().get(RESTORE_FROM).map(|name| name.trim().to_owned());
            self.watch_object(pod.namespace().zip(name));
        }
        let checkpoint = self.checkpoint().await?;
        self.plant_lock(checkpoint.as_ref()).await?;
        let Seen { kernel, is_linked, released, only_ip } = self.kernel().await?;
        let status = checkpoint.as_ref().and_then(|checkpoint| checkpoint.status.clone());
        let status = status.unwrap_or_default();
        let mut takeover = Takeover::None;
        let mut is_taken = false;
        for one in &status.restores {
            let written = holding::takeover(one.takeover);
            if one.pod_uid == uid {
                takeover = written;
            } else {
                is_taken |= written.is_taken();
            }
        }
        let left = checkpoint.as_ref().and_then(held_for).and_then(|left| left.checked_sub(SKEW));
        let lifted = self.lifted.as_ref().map(|lifted| *lifted.borrow());
        let starts = || pod.as_ref().is_some_and(|pod| has_started(pod) && !is_manual(pod));
        let is_told = pod.as_ref().is_some_and(|pod| is_told_live(pod));
        let is_live = released || is_told || lifted.unwrap_or_else(starts);
        let view = Successor {
            kernel,
            takeover,
            is_taken,
            told: match &checkpoint {
                // A prepared pod's checkpoint is still to come.
                None if pod.as_ref().is_some_and(|pod| is_prepared(pod)) => Told::Held,
                checkpoint => told(checkpoint.as_ref()),
            },
            in_time: left.is_some_and(|left| !left.is_zero()),
            is_ready: is_live || self.lock.is_some(),
            is_live,
            // The watch may lag behind a pod that is new; one that is gone has no links.
            has_failed: !is_linked || pod.as_ref().is_some_and(|pod| has_ended(pod)),
        };
        Ok(Look { pod, checkpoint, view, left, only_ip })
    }

    async fn checkpoint(&mut self) -> Result<Option<NetCheckpoint>, Setback> {
        match &mut self.watched {
            Some(watched) => watched.object().await.map_err(Setback::Api),
            None => Ok(None),
        }
    }

    /// Plants CRIU's lock as soon as its name is known, and watches it from then on.
    async fn plant_lock(&mut self, checkpoint: Option<&NetCheckpoint>) -> Result<(), Setback> {
        let name = checkpoint.and_then(|one| one.status.as_ref()?.criu_lock.as_deref());
        let Some(lock) = name.and_then(|name| name.parse::<Lock>().ok()) else { return Ok(()) };
        if self.lock.as_ref() == Some(&lock) {
            return Ok(());
        }
        let listed = self.listed.clone();
        let known = lock.clone();
        let planted = blocking(move || {
            let Some(pod) = listed.pod() else { return Ok(None) };
            criu::plant_once(&pod, &known)?;
            Ok(Some(criu::Watch::open(&pod)?))
        });
        let Some(watch) = planted.await? else { return Ok(()) };
        self.lifted = Some(self.watch(watch, lock.clone()));
        self.lock = Some(lock);
        Ok(())
    }

    /// Tells when the lock is gone; leave for all follows in the same moment, if there is leave, and the
    /// links hear where the addresses are: whoever has asked for them meanwhile was not answered.
    fn watch(&self, mut watch: criu::Watch, lock: Lock) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(false);
        let (listed, folder) = (self.listed.clone(), self.attachments());
        tokio::task::spawn_blocking(move || {
            while !sender.is_closed() {
                match watch.gone(&lock, IDLE) {
                    Ok(false) => {}
                    Ok(true) => {
                        if let Err(error) = widen(&listed) {
                            tracing::warn!(pod = %listed.hold.id, %error, "giving leave for all");
                        }
                        sender.send_replace(true);
                        announce(&listed, &folder);
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(pod = %listed.hold.id, %error, "CRIU's lock");
                        return;
                    }
                }
            }
        });
        receiver
    }

    async fn kernel(&self) -> Result<Seen, Setback> {
        let listed = self.listed.clone();
        blocking(move || {
            let node = Namespace::current().map_err(hold::Error::from)?;
            let inside = listed.pod();
            let standing = listed.hold.read(inside.as_ref(), &node)?;
            let is_linked = inside.is_some() && listed.is_linked(&node)?;
            let is_marked = inside.map(|pod| mark::is_set(&pod, mark::LIVE)).transpose()?;
            let has = |one: &hold::Standing| (one.element.is_there(), one.ip.is_there());
            let only_ip = is_linked && standing.as_ref().map(has) == Some((false, true));
            let kernel = match standing {
                // Without links it says nothing, whatever is left of its hold.
                _ if !is_linked => SuccessorKernel::Silent,
                None => SuccessorKernel::Free,
                Some(one) if one.element.is_there() || one.ip.is_there() => SuccessorKernel::Leave,
                Some(_) => SuccessorKernel::Silent,
            };
            Ok(Seen { kernel, is_linked, released: is_marked.unwrap_or_default(), only_ip })
        })
        .await
    }

    async fn act(&mut self, look: &Look, step: SuccessorStep) -> Result<(), Setback> {
        match step {
            SuccessorStep::Nothing => Ok(()),
            SuccessorStep::TellClaimed => self.write(look, api::Takeover::Claimed).await,
            SuccessorStep::TellLive => self.write(look, api::Takeover::Live).await,
            SuccessorStep::TellWithdrawn => self.write(look, api::Takeover::Withdrawn).await,
            SuccessorStep::TellDone => self.write(look, api::Takeover::Done).await,
            SuccessorStep::GiveLeave => {
                let left = look.left.unwrap_or_default();
                let only_ip = !look.view.is_live;
                self.change(move |hold, pod, node| match only_ip {
                    true => hold.let_ip(pod, node, left),
                    false => hold.set(Some(pod), node, Element::For(left)),
                })
                .await
            }
            SuccessorStep::Silence => {
                self.change(|hold, pod, node| hold.set(Some(pod), node, Element::None)).await
            }
            SuccessorStep::Free => {
                let lock = self.lock.clone();
                self.change(move |hold, pod, node| {
                    hold.lift(Some(pod), node)?;
                    mark::clear(pod, mark::LIVE)?;
                    let Some(lock) = lock else { return Ok(()) };
                    // It is still there where somebody else than CRIU has said that the pod is live.
                    criu::lift(pod, &lock)?;
                    criu::forget(pod, &lock)
                })
                .await?;
                self.announce().await;
                self.tell_live(look).await;
                Ok(())
            }
        }
    }

    fn attachments(&self) -> PathBuf {
        self.agent.state_dir.join("attachments")
    }

    async fn announce(&self) {
        let (listed, folder) = (self.listed.clone(), self.attachments());
        let told = tokio::task::spawn_blocking(move || announce(&listed, &folder));
        if let Err(panic) = told.await {
            tracing::warn!(pod = %self.listed.hold.id, %panic, "announcing its addresses broke off");
        }
    }

    async fn change(
        &self,
        work: impl FnOnce(&Hold, &Namespace, &Namespace) -> Result<(), hold::Error> + Send + 'static,
    ) -> Result<(), Setback> {
        let listed = self.listed.clone();
        blocking(move || {
            let node = Namespace::current().map_err(hold::Error::from)?;
            match listed.pod() {
                Some(pod) => Ok(work(&listed.hold, &pod, &node)?),
                None => Ok(()),
            }
        })
        .await
    }

    async fn write(&mut self, look: &Look, takeover: api::Takeover) -> Result<(), Setback> {
        let Some(checkpoint) = &look.checkpoint else {
            // Nobody is left to be told; what it told last holds.
            return Ok(());
        };
        let uid = self.listed.hold.id.as_str();
        let pod = look.pod.as_deref();
        let written = tell::takeover(self.agent, checkpoint, pod, uid, takeover).await?;
        tracing::info!(pod = uid, ?takeover, "told");
        if let Some(watched) = &mut self.watched {
            watched.written(written);
        }
        Ok(())
    }

    async fn tell_live(&self, look: &Look) {
        let message = "its sockets are there and it speaks; its source no longer can";
        let kind = EventType::Normal;
        self.event(look, kind, RestoreReason::SuccessorLive, message).await;
    }

    /// The source goes on, and this pod never speaks.
    async fn tell_left_behind(&self, look: &Look) {
        let reason = RestoreReason::SourceReleased;
        let why = look.checkpoint.as_ref().and_then(|one| {
            Some(find(&one.status.as_ref()?.conditions, ConditionType::Held)?.message.clone())
        });
        let message = format!("{} ({})", reason.meaning(), why.unwrap_or_default());
        // The source speaks again, and must be reached again.
        super::paths::give_back(self.agent, self.listed.hold.id.as_str()).await;
        if let Some(pod) = &look.pod {
            tell::failed(self.agent, pod, reason, &message).await;
        }
        self.event(look, EventType::Warning, reason, &message).await;
    }

    async fn event(&self, look: &Look, kind: EventType, reason: RestoreReason, message: &str) {
        let agent: &Agent = self.agent;
        let (pod, checkpoint) = (look.pod.as_deref(), look.checkpoint.as_ref());
        for about in pod.map(reference).into_iter().chain(checkpoint.map(reference)) {
            let note = match pod {
                Some(pod) => format!("pod {}: {message}", pod.name_any()),
                None => message.to_owned(),
            };
            agent.tell_of("TakeOver", &about, kind, reason.as_str(), note).await;
        }
    }
}

fn is_prepared(pod: &Pod) -> bool {
    pod.annotations().contains_key(PREPARE_FROM)
}

/// Tells the links where the addresses are: while the pod was held, nobody heard.
fn announce(listed: &Listed, folder: &Path) {
    let uid = listed.hold.id.as_str();
    if let Err(error) = Ways::open(folder).and_then(|ways| ways.announce_pod(uid)) {
        tracing::warn!(pod = uid, %error, "its addresses can't be announced");
    }
}

/// Leave for IP becomes leave for all, for the time that is left of it.
fn widen(listed: &Listed) -> Result<(), hold::Error> {
    let node = Namespace::current()?;
    let Some(pod) = listed.pod() else { return Ok(()) };
    match listed.hold.read(Some(&pod), &node)?.map(|standing| standing.ip) {
        Some(left @ Element::For(_)) => listed.hold.set(Some(&pod), &node, left),
        _ => Ok(()),
    }
}

/// Runs what blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Setback> + Send + 'static,
) -> Result<T, Setback> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Setback::Thread(panic.to_string()))?
}
