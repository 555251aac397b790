//! The destination role: behind the gate's socket, gives a pod the network of its NetCheckpoint
//! before the pod's first container is created.

mod course;
mod error;
mod occupied;
pub mod paths;
pub mod rebuild;
mod seen;
pub mod succession;
mod tell;
pub mod update;
mod wanted;
mod watched;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::SharedAgent;
use crate::api::{NetCheckpoint, RestoreReason, RestoreState};
use crate::gate::attachment::{self, Checked};
use crate::gate::protocol::{Answer, Attachment, Refused, Restored};
use crate::gate::server::{self, Attachments, Server};
use crate::host::{self, Inside, Record, Ways};
use crate::http::Role;

pub use error::RestoreError;

use course::Course;
use rebuild::Rebuilt;
use tell::{Standing, Timings, tell};
use wanted::Wanted;

/// A restore that takes longer is told of before it has ended.
const LONG: Duration = Duration::from_secs(1);
/// Pause between two sweeps.
const SWEEP: Duration = Duration::from_secs(60);
/// How long answers and writes in hand may take once the agent is to end.
const GRACE: Duration = Duration::from_secs(20);

/// The role could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Socket(#[from] server::Error),
    #[error(transparent)]
    Host(#[from] host::Error),
    #[error("a thread of the agent broke off: {0}")]
    Thread(String),
}

/// Sweeps what earlier agents left, and serves the socket until the agent ends, sweeping now and then.
///
/// # Errors
/// When the socket or the records can't be used. What can't be swept is only logged: a pod that is
/// restored now does not depend on it.
pub async fn run(
    agent: SharedAgent,
    socket: PathBuf,
    routes: impl Stream<Item = ()> + Send,
) -> Result<(), Error> {
    let not_yet = agent.readiness.wait_for("socket");
    let ways = Arc::new(Ways::open(&agent.state_dir.join("attachments"))?);
    // Set once: the role is started once.
    let _ = agent.ways.set(ways.clone());
    sweep(&ways, "earlier agents").await;
    let server = Server::bind(&socket)?;
    let ending = agent.ending.begun();
    let sweeping = sweeping(ways.clone(), agent.ending.begun());
    let following = paths::follow(agent.clone(), ways.clone(), routes);
    let destination = Arc::new(Destination {
        agent,
        ways,
        large: Arc::new(Semaphore::new(1)),
        telling: Mutex::default(),
    });
    drop(not_yet);
    tokio::join!(server.serve(destination.clone(), ending, GRACE), sweeping, following);
    destination.told().await;
    Ok(())
}

/// Sweeps again and again until `ending`: a DEL that found no agent does not come again.
async fn sweeping(ways: Arc<Ways>, ending: impl Future<Output = ()>) {
    tokio::pin!(ending);
    loop {
        tokio::select! {
            () = &mut ending => return,
            () = sleep(SWEEP) => sweep(&ways, "pods that are gone").await,
        }
    }
}

/// Takes away the ways that nobody needs any more. What can't be swept is logged, and tried again.
async fn sweep(ways: &Arc<Ways>, whose: &str) {
    let ways = ways.clone();
    let swept = on_thread(move || ways.sweep());
    match swept.await.map(|swept| swept.map_err(|error| error.to_string())) {
        Ok(Ok(gone)) => {
            for record in gone {
                tracing::info!(
                    container = record.container_id,
                    pod = record.pod.name,
                    "swept the way to a pod that is gone"
                );
            }
        }
        Ok(Err(error)) | Err(error) => {
            tracing::warn!(error, "what {whose} left on the node can't be swept");
        }
    }
}

struct Destination {
    agent: SharedAgent,
    ways: Arc<Ways>,
    large: Arc<Semaphore>,
    /// Writes that no pod waits for.
    telling: Mutex<JoinSet<()>>,
}

impl Attachments for Destination {
    async fn add(&self, attachment: Attachment, end: Instant) -> Answer {
        match self.judged(attachment).await {
            Ok(None) => Answer::Untouched,
            Ok(Some((request, wanted))) => self.restore(request, wanted, end).await,
            Err(error) => {
                tracing::warn!(%error, "a request of the CNI plugin is refused");
                Answer::Refused(error.refused())
            }
        }
    }

    async fn check(&self, attachment: Attachment, _end: Instant) -> Answer {
        let ways = self.ways.clone();
        match on_thread(move || check(&ways, &attachment)).await {
            Ok(Ok(())) => Answer::Untouched,
            Ok(Err(message)) | Err(message) => {
                Answer::Refused(Refused { transient: false, message, details: String::new() })
            }
        }
    }

    async fn del(&self, attachment: Attachment) {
        let (id, interface) = (attachment.container_id, attachment.interface);
        if !attachment::container_id(&id) || !attachment::interface(&interface) {
            return;
        }
        let ways = self.ways.clone();
        // This plugin's DEL comes before that of the plugin whose IPAM has the addresses.
        let captured = paths::captured(&self.agent, &attachment.uid);
        let cni = self.agent.cni.clone();
        let gone = on_thread(move || {
            let ipam = cni.host_local();
            if let Err(error) = ipam.forget(&id).and_then(|()| ipam.take_over(&captured)) {
                tracing::warn!(%error, "addresses of a captured pod can't be reserved");
            }
            ways.detach(&id, &interface)
        });
        match gone.await {
            Ok(Ok(Some(record))) => {
                self.withdrawn(&record).await;
                tracing::info!(
                    container = record.container_id,
                    pod = record.pod.name,
                    "took the way to a pod away"
                );
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the way to a pod can't be taken away"),
            Err(error) => tracing::warn!(error, "the way to a pod can't be taken away"),
        }
    }

    async fn gc(&self) {
        sweep(&self.ways, "pods that are gone").await;
    }
}

impl Destination {
    /// Takes the pod's route back, unless it has another sandbox already.
    async fn withdrawn(&self, gone: &Record) {
        let others = self.ways.records().unwrap_or_default();
        if !gone.pod.uid.is_empty() && others.iter().all(|one| one.pod.uid != gone.pod.uid) {
            paths::withdraw(&self.agent, &gone.pod.namespace, &gone.pod.uid).await;
        }
    }

    /// The request looked at, and whether its pod is to be restored.
    async fn judged(
        &self,
        attachment: Attachment,
    ) -> Result<Option<(Checked, Wanted)>, RestoreError> {
        let request = on_thread(move || Checked::new(&attachment)).await;
        let request = request.map_err(RestoreError::Thread)??;
        let pod = wanted::pod(&self.agent, &request).await?;
        Ok(Wanted::of(pod).map(|wanted| (request, wanted)))
    }

    async fn restore(&self, request: Checked, wanted: Wanted, end: Instant) -> Answer {
        let _in_flight = self.agent.metrics.in_flight(Role::Destination);
        let (started, clock) = (Timestamp::now(), Instant::now());
        let course = Course {
            agent: &self.agent,
            ways: &self.ways,
            wanted: &wanted,
            large: &self.large,
            step: Mutex::new("looking for the NetCheckpoint"),
            timings: Mutex::default(),
            checkpoint: Mutex::default(),
        };
        let (ended, ending) = oneshot::channel::<()>();
        let told = self.under_way(wanted.clone(), started, ending);
        let outcome = timeout_at(end, course.run(request)).await.unwrap_or_else(|_| {
            let seconds = clock.elapsed().as_secs();
            Err(RestoreError::Late { seconds, step: *lock(&course.step) })
        });
        let mut timings = *lock(&course.timings);
        timings.total = Some(clock.elapsed());
        let checkpoint = lock(&course.checkpoint).take();
        let (answer, standing) = match outcome {
            Ok(mut rebuilt) => {
                if let Some(waiting) = rebuilt.waiting.take() {
                    succession::follow(&self.agent, waiting);
                }
                let timings = timings.rebuilt(&rebuilt);
                let message = good(&wanted, &rebuilt, &self.agent.node);
                let (state, reason) = (RestoreState::Restored, RestoreReason::Restored);
                let answer = Answer::Restored(rebuilt.restored);
                (answer, Standing { state, reason, message, started, timings })
            }
            Err(error) => {
                let (state, reason, message) = (RestoreState::Failed, error.reason(), error.told());
                let answer = Answer::Refused(error.refused());
                (answer, Standing { state, reason, message, started, timings })
            }
        };
        drop(ended);
        self.ended(wanted, checkpoint, standing, told);
        answer
    }

    /// Tells on the pod that the restore is under way, if it has not ended within [`LONG`].
    fn under_way(
        &self,
        wanted: Wanted,
        started: Timestamp,
        ended: oneshot::Receiver<()>,
    ) -> JoinHandle<()> {
        let agent = self.agent.clone();
        tokio::spawn(async move {
            if timeout(LONG, ended).await.is_ok() {
                return;
            }
            let standing = Standing {
                state: RestoreState::InProgress,
                reason: RestoreReason::RestoreInProgress,
                message: format!("the agent on {} rebuilds the network", agent.node),
                started,
                timings: Timings::default(),
            };
            tell(&agent, &wanted, None, &standing).await;
        })
    }

    /// Counts, logs, and has it told while the answer is on its way.
    fn ended(
        &self,
        wanted: Wanted,
        checkpoint: Option<NetCheckpoint>,
        standing: Standing,
        before: JoinHandle<()>,
    ) {
        let metrics = &self.agent.metrics;
        metrics.restored(standing.reason.as_str());
        let times = standing.timings;
        let steps = [("download", times.download), ("rebuild", times.rebuild)];
        for (step, time) in steps.into_iter().chain([("verify", times.verify)]) {
            if let Some(time) = time {
                metrics.took(step, time);
            }
        }
        let (pod, from) = (wanted.pod.name_any(), wanted.shown());
        tracing::info!(pod, from, reason = %standing.reason, message = standing.message, ?times, "restore");
        let agent = self.agent.clone();
        let mut telling = lock(&self.telling);
        while telling.try_join_next().is_some() {}
        telling.spawn(async move {
            // What was told before must not come after.
            let _ = before.await;
            tell(&agent, &wanted, checkpoint.as_ref(), &standing).await;
        });
    }

    /// Waits for the writes in hand.
    async fn told(&self) {
        let mut telling = std::mem::take(&mut *lock(&self.telling));
        let all = async { while telling.join_next().await.is_some() {} };
        if timeout(GRACE, all).await.is_err() {
            tracing::warn!("some restores could not be told of before the end");
        }
    }
}

fn good(wanted: &Wanted, rebuilt: &Rebuilt, node: &str) -> String {
    let Restored { addresses, .. } = &rebuilt.restored;
    let addresses: Vec<_> = addresses.iter().map(|one| one.address.to_string()).collect();
    let mut message = format!(
        "the network of {} was rebuilt on {node} with {} and verified ({} steps in {} ms)",
        wanted.checkpoint,
        addresses.join(", "),
        rebuilt.report.steps,
        rebuilt.report.timings.total.as_millis(),
    );
    for (section, what) in &rebuilt.report.left {
        message.push_str(&format!("; left out: {section} {what}"));
    }
    for finding in rebuilt.report.differences.iter().filter(|finding| finding.matters()) {
        message.push_str(&format!("; not here: {finding}"));
    }
    for lack in &rebuilt.lacks {
        message.push_str(&format!("; {lack}"));
    }
    message
}

/// CHECK: the addresses that the node leads to the pod are the pod's.
fn check(ways: &Ways, attachment: &Attachment) -> Result<(), String> {
    let request = Checked::new(attachment).map_err(|error| error.to_string())?;
    let record = ways.record(&request.container_id, &request.interface);
    let Some(record) = record.map_err(|error| error.to_string())? else { return Ok(()) };
    let inside = Inside::read(&request.netns, &request.interface);
    let inside = inside.map_err(|error| error.to_string())?;
    let has = |address: &IpAddr| inside.addresses.iter().any(|(one, _)| one == address);
    match record.addresses.iter().find(|address| !has(address)) {
        None => Ok(()),
        Some(address) => Err(format!(
            "the interface {} of the pod {}/{} has no longer the restored address {address}",
            request.interface, request.namespace, request.pod
        )),
    }
}

/// Runs what blocks; the error is a panic's.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| panic.to_string())
}

/// What is guarded is plain data; a panic leaves it usable.
fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
