//! The steps of a move, and the way back.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{BoxFuture, Shared};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::{Client, ResourceExt};

use super::cluster::{Cluster, standing};
use super::error::Error;
use super::judge::judge;
use super::successor::{Place, successor, successor_name};
use super::timeline::{Clock, Timeline};
use crate::api::{
    ConditionType, DeletionPolicy, NETWORK_RESTORED, NetCheckpoint, NetCheckpointSpec, Reason,
    STAND_BY, Takeover, Traffic, find, is_true,
};
use crate::registry::reference;

/// How much of the hold's time must be left when the successor is given up: its end must be certain
/// before the source speaks again.
const RESERVE: Duration = Duration::from_secs(15);
/// Longest wait for a pod to be gone.
const GONE: Duration = Duration::from_secs(60);

/// Why a container will not come by waiting.
const HOPELESS: &[&str] = &[
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
];

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    pub namespace: String,
    pub pod: String,
    /// Node to move to.
    pub to: String,
    /// Name of the successor; by default one made of the pod's.
    pub name: Option<String>,
    /// NetCheckpointStorage; by default the default one.
    pub storage: Option<String>,
    /// Seconds after which the source speaks again whatever happens.
    pub hold_timeout_seconds: i32,
    /// Port of the agents' registry.
    pub registry_port: u16,
    /// Prepare the successor from an early capture, before the source is held.
    pub staged: bool,
    /// Only judge.
    pub dry_run: bool,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Name of the successor.
    pub successor: String,
    pub timeline: Timeline,
}

/// What has been done and can be undone.
#[derive(Debug)]
enum Done {
    Checkpoint(String),
    Successor(String),
}

/// Ends when the caller gives up.
pub type Interrupt = Shared<BoxFuture<'static, ()>>;

/// Moves a pod. `tell` hears of each step as it ends; `interrupt` ends when the caller gives up.
///
/// # Errors
/// [`Error`]; everything is undone then, unless it says otherwise.
pub async fn run(
    client: Client,
    request: &Request,
    interrupt: Interrupt,
    tell: impl Fn(&str, &str, Duration),
) -> Result<Moved, Error> {
    let cluster = Cluster::new(client, &request.namespace);
    let source = cluster.pod(&request.pod).await?;
    let node = cluster.node(&request.to).await?;
    judge(&source, &node).map_err(|why| Error::Refused {
        namespace: request.namespace.clone(),
        name: request.pod.clone(),
        why,
    })?;
    let mark = mark(&source);
    let mut course = Course {
        request,
        name: request.name.clone().unwrap_or_else(|| successor_name(&source, &mark)),
        checkpoint: format!("{}-{mark}", request.pod.chars().take(200).collect::<String>()),
        source,
        cluster,
        interrupt,
        tell,
        clock: Clock::start(),
        done: Vec::new(),
    };
    if request.dry_run {
        return Ok(course.plan());
    }
    match course.forward().await {
        Ok(()) => course.end().await,
        Err(failure) => Err(course.back(failure).await),
    }
}

struct Course<'a, T> {
    request: &'a Request,
    /// Of the successor.
    name: String,
    /// Of the NetCheckpoint.
    checkpoint: String,
    source: Pod,
    cluster: Cluster,
    interrupt: Interrupt,
    tell: T,
    clock: Clock,
    done: Vec<Done>,
}

impl<T: Fn(&str, &str, Duration)> Course<'_, T> {
    fn from(&self) -> String {
        self.source.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default()
    }

    fn container(&self) -> String {
        let containers = self.source.spec.as_ref().map(|spec| spec.containers.as_slice());
        containers.and_then(<[_]>::first).map(|one| one.name.clone()).unwrap_or_default()
    }

    /// What would be done, told without doing it.
    fn plan(self) -> Moved {
        let (from, to, container) = (self.from(), &self.request.to, self.container());
        let steps = [
            ("hold", format!("NetCheckpoint {} with traffic: Held", self.checkpoint)),
            (
                "successor",
                format!("pod {} on {to}, silent, waits for what it goes on from", self.name),
            ),
            ("checkpoint", format!("kubelet of {from} checkpoints the container {container}")),
            ("transfer", "the archive goes to the store".to_owned()),
            ("restore", format!("kubelet of {to} pulls it from its agent, CRIU restores")),
            ("delete", format!("pod {} on {from}, then the NetCheckpoint", self.request.pod)),
        ];
        for (step, what) in steps {
            (self.tell)(step, &what, Duration::ZERO);
        }
        let timeline = self.clock.done(&self.request.pod, &from, &self.name, to, None);
        Moved { successor: self.name, timeline }
    }

    /// To the point of no return.
    async fn forward(&mut self) -> Result<(), Error> {
        if self.request.staged {
            let earlier = self.capture().await?;
            self.prepare(&earlier).await?;
            self.prepared().await?;
            self.hold().await?;
        } else {
            let held = self.hold().await?;
            self.prepare(&held).await?;
        }
        let archive = self.freeze().await?;
        self.transfer(&archive).await?;
        self.succeed().await
    }

    /// An early capture, while the source goes on.
    async fn capture(&mut self) -> Result<NetCheckpoint, Error> {
        self.clock.begin("capture");
        let name = self.earlier();
        let mut checkpoint = self.wish(&name, Traffic::Running);
        checkpoint.annotations_mut().insert(STAND_BY.to_owned(), "true".to_owned());
        self.done.push(Done::Checkpoint(name.clone()));
        self.cluster.create_checkpoint(&checkpoint).await?;
        let what = format!("that the network of {} is stored", self.request.pod);
        let is_over = |object: Option<&NetCheckpoint>| {
            object.is_none_or(|object| has_ended(object) || is_ready(object))
        };
        let waited = self.cluster.checkpoint_until(&name, &what, self.patience(), is_over);
        let stored = self.unless_interrupted(waited).await?;
        let stored = stored.filter(is_ready).ok_or_else(|| self.failed(&what, None))?;
        self.ended(&format!("{} is captured while it goes on", self.request.pod));
        Ok(stored)
    }

    fn earlier(&self) -> String {
        format!("{}-early", self.checkpoint)
    }

    fn wish(&self, name: &str, traffic: Traffic) -> NetCheckpoint {
        let spec = NetCheckpointSpec {
            source_pod_uid: self.source.metadata.uid.clone(),
            storage_name: self.request.storage.clone(),
            traffic,
            hold_timeout_seconds: self.request.hold_timeout_seconds,
            timeout_seconds: self.request.hold_timeout_seconds,
            deletion_policy: DeletionPolicy::Delete,
            ..NetCheckpointSpec::of_pod(&self.request.pod)
        };
        let mut checkpoint = NetCheckpoint::new(name, spec);
        checkpoint.metadata.namespace = Some(self.request.namespace.clone());
        checkpoint
    }

    /// The successor's network is there: what takes long is done before the source is held.
    async fn prepared(&mut self) -> Result<(), Error> {
        self.clock.begin("prepare");
        let what = format!("that the network of {} is prepared", self.name);
        let is_over =
            |pod: Option<&Pod>| pod.is_none_or(|pod| is_rebuilt(pod) || hopeless(pod).is_some());
        let waited = self.cluster.pod_until(&self.name, &what, self.patience(), is_over);
        let pod = self.unless_interrupted(waited).await?;
        match pod {
            Some(pod) if is_rebuilt(&pod) => {
                self.ended("its network is built, and silent");
                // The time of the hold begins now.
                self.clock.reset();
                Ok(())
            }
            pod => Err(self.failed(&what, pod.as_ref().map(standing))),
        }
    }

    /// The source is silent, and was seen so. Its network is read and stored while its processes are
    /// written: nothing of it changes any more.
    async fn hold(&mut self) -> Result<NetCheckpoint, Error> {
        self.clock.begin("hold");
        let checkpoint = self.wish(&self.checkpoint, Traffic::Held);
        self.done.push(Done::Checkpoint(self.checkpoint.clone()));
        self.cluster.create_checkpoint(&checkpoint).await?;
        let what = format!("that {} is held", self.request.pod);
        let is_over = |object: Option<&NetCheckpoint>| {
            object.is_none_or(|object| has_ended(object) || is_held(object))
        };
        let waited =
            self.cluster.checkpoint_until(&self.checkpoint, &what, self.patience(), is_over);
        let held = self.unless_interrupted(waited).await?;
        let held = held.filter(is_held).ok_or_else(|| self.failed(&what, None))?;
        self.ended(&format!("{} on {} is silent", self.request.pod, self.from()));
        Ok(held)
    }

    /// The container's processes, as kubelet has them written.
    async fn freeze(&mut self) -> Result<String, Error> {
        self.clock.begin("checkpoint");
        let (from, container) = (self.from(), self.container());
        // Not given up in the middle: the archive would stay on the node, and nobody would know it.
        let archive =
            self.cluster.checkpoint_container(&from, &self.request.pod, &container).await?;
        self.ended(&archive);
        Ok(archive)
    }

    async fn transfer(&mut self, archive: &str) -> Result<(), Error> {
        self.clock.begin("transfer");
        self.cluster.name_archive(&self.checkpoint, archive).await?;
        let told = |object: &NetCheckpoint| {
            let conditions = object.status.as_ref().map(|status| status.conditions.as_slice());
            find(conditions.unwrap_or_default(), ConditionType::Archived).cloned()
        };
        let what = "that the network and the archive are stored".to_owned();
        let is_over = |object: Option<&NetCheckpoint>| {
            object.is_none_or(|one| told(one).is_some() || has_ended(one))
        };
        let waited =
            self.cluster.checkpoint_until(&self.checkpoint, &what, self.patience(), is_over);
        let object = self.unless_interrupted(waited).await?;
        match object.as_ref().and_then(told) {
            Some(condition) if condition.status == "True" => {
                self.ended(&condition.message);
                Ok(())
            }
            condition => Err(self.failed(&what, condition.map(|one| one.message))),
        }
    }

    /// The successor is created while the source is frozen: kubelet builds its sandbox, the agent its
    /// network, and both wait, silent, where the archive is pulled.
    async fn prepare(&mut self, stored: &NetCheckpoint) -> Result<(), Error> {
        self.clock.begin("successor");
        let uid = stored.uid().unwrap_or_default();
        let earlier = self.request.staged.then(|| self.earlier());
        let port = self.request.registry_port;
        let image = reference(port, &self.request.namespace, &self.checkpoint, &uid);
        let place = Place {
            name: &self.name,
            node: &self.request.to,
            checkpoint: &self.checkpoint,
            earlier: earlier.as_deref(),
            image: &image,
        };
        let pod = successor(&self.source, &place);
        self.done.push(Done::Successor(self.name.clone()));
        self.cluster.create_pod(&pod).await?;
        self.ended(&format!("{} is created on {}, and waits", self.name, self.request.to));
        Ok(())
    }

    /// Until the successor's container runs.
    async fn succeed(&mut self) -> Result<(), Error> {
        self.clock.begin("restore");
        let what = format!("that {} runs on {}", self.name, self.request.to);
        let is_over =
            |pod: Option<&Pod>| pod.is_none_or(|pod| is_live(pod) || hopeless(pod).is_some());
        let waited = self.cluster.pod_until(&self.name, &what, self.patience(), is_over);
        let pod = self.unless_interrupted(waited).await?;
        match pod {
            Some(pod) if is_live(&pod) => {
                self.ended(&format!("{} runs on {}", self.name, self.request.to));
                Ok(())
            }
            pod => Err(self.failed(&what, pod.as_ref().map(standing))),
        }
    }

    /// From the point of no return on: the source goes, then what the move has needed, once the
    /// successor has learned from it that it may speak for good. Never the other way round: the
    /// NetCheckpoint's end would let the source speak.
    async fn end(mut self) -> Result<Moved, Error> {
        let left = |what: String, successor: &str| {
            let successor = successor.to_owned();
            move |source| Error::Left { successor, what, source: Box::new(source) }
        };
        self.clock.begin("delete");
        let object = self.cluster.checkpoint(&self.checkpoint).await.ok();
        let name = &self.request.pod;
        self.cluster
            .delete_pod(name, self.source.metadata.uid.clone(), GONE)
            .await
            .map_err(left(format!("the silent pod {name}"), &self.name))?;
        let what = format!("that {} has taken over", self.name);
        let is_over = |object: Option<&NetCheckpoint>| object.is_none_or(is_taken_over);
        self.cluster
            .checkpoint_until(&self.checkpoint, &what, GONE, is_over)
            .await
            .map_err(left(format!("the NetCheckpoint {}", self.checkpoint), &self.name))?;
        self.cluster
            .delete_checkpoint(&self.checkpoint)
            .await
            .map_err(left(format!("the NetCheckpoint {}", self.checkpoint), &self.name))?;
        if self.request.staged {
            let earlier = self.earlier();
            let deleted = self.cluster.delete_checkpoint(&earlier).await;
            deleted.map_err(left(format!("the NetCheckpoint {earlier}"), &self.name))?;
        }
        self.ended(&format!("{name} is gone from {}", self.from()));
        let (from, to) = (self.from(), &self.request.to);
        let timeline = self.clock.done(name, &from, &self.name, to, object.as_ref());
        Ok(Moved { successor: self.name, timeline })
    }

    /// Undoes what was done, the latest first. What can't be undone stops the way back: the source
    /// must not speak while the successor may.
    async fn back(mut self, failure: Error) -> Error {
        self.clock.begin("undo");
        while let Some(done) = self.done.pop() {
            let (what, outcome) = match done {
                Done::Successor(name) => {
                    let outcome = self.cluster.delete_pod(&name, None, GONE).await;
                    (format!("the pod {name}"), outcome)
                }
                Done::Checkpoint(name) => {
                    let released = self.cluster.release(&name).await;
                    let outcome = self.cluster.delete_checkpoint(&name).await;
                    (format!("the NetCheckpoint {name}"), released.and(outcome))
                }
            };
            if let Err(why) = outcome {
                return Error::NotUndone { failure: Box::new(failure), what, why: Box::new(why) };
            }
        }
        self.ended(&format!("{} goes on where it was", self.request.pod));
        failure
    }

    /// What is left for a step: the source must not come back while the successor may be there.
    fn patience(&self) -> Duration {
        let seconds = u64::try_from(self.request.hold_timeout_seconds).unwrap_or_default();
        let all = Duration::from_secs(seconds);
        let left = all.saturating_sub(self.clock.elapsed());
        left.saturating_sub(RESERVE.min(all / 4))
    }

    async fn unless_interrupted<O>(
        &self,
        wait: impl Future<Output = Result<O, Error>>,
    ) -> Result<O, Error> {
        let wait = pin!(wait);
        tokio::select! {
            outcome = wait => outcome,
            () = self.interrupt.clone() => Err(Error::Interrupted),
        }
    }

    fn failed(&self, what: &str, why: Option<String>) -> Error {
        let why = why.unwrap_or_else(|| "its object says that it has failed".to_owned());
        Error::Failed { what: format!("waiting for {}", what.trim_start_matches("that ")), why }
    }

    fn ended(&mut self, detail: &str) {
        if let Some((step, took)) = self.clock.end(detail) {
            (self.tell)(&step, detail, took);
        }
    }
}

/// A few letters of the source's UID and the time, so that names do not meet.
fn mark(source: &Pod) -> String {
    let uid = source.uid().unwrap_or_default();
    let now = k8s_openapi::jiff::Timestamp::now().as_millisecond();
    let digest = crate::image::digest(format!("{uid} {now}").as_bytes());
    digest.trim_start_matches("sha256:").chars().take(5).collect()
}

fn is_held(checkpoint: &NetCheckpoint) -> bool {
    let conditions = checkpoint.status.as_ref().map(|status| status.conditions.as_slice());
    is_true(conditions.unwrap_or_default(), ConditionType::Held)
}

/// Whether a successor knows that its source is fenced, and speaks for good.
fn is_taken_over(checkpoint: &NetCheckpoint) -> bool {
    let restores = checkpoint.status.iter().flat_map(|status| &status.restores);
    restores.into_iter().any(|one| one.takeover == Some(Takeover::Done))
}

fn is_ready(checkpoint: &NetCheckpoint) -> bool {
    let conditions = checkpoint.status.as_ref().map(|status| status.conditions.as_slice());
    is_true(conditions.unwrap_or_default(), ConditionType::Ready)
}

/// Whether the pod's network was rebuilt.
fn is_rebuilt(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == NETWORK_RESTORED && one.status == "True")
}

/// Whether the checkpoint can no more become held and ready.
fn has_ended(checkpoint: &NetCheckpoint) -> bool {
    let conditions = checkpoint.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = find(conditions.unwrap_or_default(), ConditionType::Ready);
    ready.is_some_and(|ready| {
        ready.status == "False" && Reason::parse(&ready.reason).is_some_and(Reason::is_failure)
    })
}

fn states(pod: &Pod) -> impl Iterator<Item = &ContainerState> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.filter_map(|container| container.state.as_ref())
}

/// Whether the container runs: it was restored, and its sockets are there.
fn is_live(pod: &Pod) -> bool {
    states(pod).any(|state| state.running.is_some())
}

/// Why the container will not come.
fn hopeless(pod: &Pod) -> Option<String> {
    let ended = states(pod).any(|state| state.terminated.is_some());
    let waits = states(pod).filter_map(|state| state.waiting.as_ref()?.reason.as_deref());
    let given_up = waits.into_iter().any(|reason| HOPELESS.contains(&reason));
    let refused = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let refused = refused.into_iter().any(|condition| {
        condition.type_ == NETWORK_RESTORED
            && condition.status == "False"
            && condition.reason.as_deref() != Some("RestoreInProgress")
    });
    (ended || given_up || refused).then(|| standing(pod))
}
