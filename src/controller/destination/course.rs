//! The course of one restore: checkpoint, image, rebuild.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::RestoreError;
use super::occupied;
use super::paths;
use super::rebuild::{Rebuild, Rebuilt, Wait};
use super::seen;
use super::tell::Timings;
use super::wanted::{self, Wanted};
use super::{lock, on_thread};
use crate::api::{ConditionType, ImageStatus, NetCheckpoint, is_true};
use crate::controller::Agent;
use crate::gate::attachment::Checked;
use crate::host::{self, Ways};
use crate::image::{Image, Limits, Lost};

/// Bytes of a stored image from which on only one is worked on at a time. Read it is many times that.
const LARGE: i64 = 16 << 20;

/// One restore, from the request to the answer.
pub struct Course<'a> {
    pub agent: &'a Agent,
    pub ways: &'a Arc<Ways>,
    pub wanted: &'a Wanted,
    /// For images over [`LARGE`]: with many at once the node's memory would be theirs.
    pub large: &'a Arc<Semaphore>,
    /// Where it is, for the message of one that takes too long.
    pub step: Mutex<&'static str>,
    pub timings: Mutex<Timings>,
    pub checkpoint: Mutex<Option<NetCheckpoint>>,
}

impl Course<'_> {
    /// Runs it; to be dropped when the time is over.
    pub async fn run(&self, request: Checked) -> Result<Rebuilt, RestoreError> {
        let (checkpoint, stored) = wanted::checkpoint(self.agent, self.wanted).await?;
        let pod_ips: Vec<IpAddr> = checkpoint
            .status
            .iter()
            .flat_map(|status| &status.pod_ips)
            .filter_map(|ip| ip.parse().ok())
            .collect();
        let waits = held(&checkpoint).is_some() || self.wanted.waits;
        // Who waits for its turn does not mind that the source still has the addresses.
        let status = checkpoint.status.as_ref();
        let held = status.and_then(|status| status.source_pod_uid.clone()).filter(|_| waits);
        let left = seen::held_for(&checkpoint);
        let criu_lock = status.and_then(|status| status.criu_lock.clone());
        let source = wanted::source(self.agent, &checkpoint).await;
        let captured = checkpoint.status.as_ref().and_then(|status| status.source_pod_uid.clone());
        *lock(&self.checkpoint) = Some(checkpoint);
        if let (Some(source), Some(captured)) = (source?, captured) {
            occupied::moved(&source, &captured, &pod_ips, &request.uid, held.as_deref())?;
        }
        let pods = self.agent.pods.state();
        let pods = pods.iter().map(AsRef::as_ref);
        occupied::free(pods, &pod_ips, &request.uid, held.as_deref())?;
        let alone = self.alone(stored.size_bytes).await;
        let image = self.download(&stored).await?;
        self.carried(&image)?;
        self.at("rebuilding");
        let given_up = GiveUp::default();
        let flag = given_up.flag.clone();
        let ways = self.ways.clone();
        let pod = host::Pod {
            namespace: request.namespace.clone(),
            name: request.pod.clone(),
            uid: request.uid.clone(),
            checkpoint: self.wanted.checkpoint.clone(),
        };
        let sequence = paths::next(self.agent, &pod_ips);
        let on_unsupported = self.wanted.on_unsupported;
        let is_prepared = self.wanted.is_prepared;
        let rebuilt = on_thread(move || {
            // The thread has the image, even when nobody waits for it any more.
            let _alone = alone;
            let rebuild = Rebuild {
                container_id: &request.container_id,
                interface: &request.interface,
                pod,
                netns: &request.netns,
                path: Path::new(request.netns.name()),
                image: &image,
                pod_ips: &pod_ips,
                sequence: (!is_prepared).then_some(sequence),
                on_unsupported,
                given_up: &flag,
                wait: waits.then_some(Wait { lock: criu_lock.as_deref(), left }),
            };
            rebuild.run(&ways)
        });
        let mut rebuilt = rebuilt.await.map_err(RestoreError::Thread)??;
        self.at("telling other nodes");
        if !is_prepared && let Err(why) = paths::publish(self.agent, &rebuilt.record).await {
            rebuilt.lacks.push(why);
        }
        given_up.not();
        Ok(rebuilt)
    }

    /// The turn of a large image; none for the others.
    async fn alone(&self, bytes: i64) -> Option<OwnedSemaphorePermit> {
        if bytes <= LARGE {
            return None;
        }
        self.at("waiting for another large image");
        // The semaphore is never closed; if it were, there would be no bound, which is no error here.
        self.large.clone().acquire_owned().await.ok()
    }

    async fn download(&self, stored: &ImageStatus) -> Result<Image, RestoreError> {
        self.at("downloading the image");
        let started = Instant::now();
        let image = image(self.agent, &self.wanted.shown(), stored).await;
        lock(&self.timings).download = Some(started.elapsed());
        image
    }

    /// Refuses an image that leaves out what matters, unless the pod is content with that.
    fn carried(&self, image: &Image) -> Result<(), RestoreError> {
        let judged = self.wanted.on_unsupported.judge(&image.manifest.not_carried);
        let Err(Lost(left)) = judged else { return Ok(()) };
        let what: Vec<_> = left
            .iter()
            .take(4)
            .map(|one| format!("{} {}", one.class, one.object).trim_end().to_owned())
            .collect();
        let more = left.len().saturating_sub(what.len());
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let what = format!("{}{more}", what.join(", "));
        Err(RestoreError::NotCarried { checkpoint: self.wanted.shown(), what })
    }

    fn at(&self, step: &'static str) {
        *lock(&self.step) = step;
    }
}

/// The image of a checkpoint, from its store.
///
/// # Errors
/// [`RestoreError::Storage`] and [`RestoreError::Image`].
pub async fn image(
    agent: &Agent,
    checkpoint: &str,
    stored: &ImageStatus,
) -> Result<Image, RestoreError> {
    let failed = |source| {
        let (checkpoint, source) = (checkpoint.to_owned(), Box::new(source));
        RestoreError::Storage { checkpoint, source }
    };
    let storage = agent.storages.open(Some(&stored.storage_name)).await.map_err(failed)?;
    let limits = Limits::DEFAULT;
    let size = u64::try_from(stored.size_bytes).unwrap_or_default().min(limits.file);
    let bytes = storage.store().get(&stored.key, &stored.digest, size).await;
    let bytes = bytes.map_err(|error| failed(storage.failed(error)))?;
    let image = on_thread(move || Image::from_bytes(&bytes, &limits)).await;
    let image = image.map_err(RestoreError::Thread)?;
    image.map_err(|source| RestoreError::Image { checkpoint: checkpoint.to_owned(), source })
}

/// Tells a thread that nobody waits for it any more, unless [`Self::not`] was said first.
#[derive(Default)]
struct GiveUp {
    flag: Arc<AtomicBool>,
    not: bool,
}

impl GiveUp {
    fn not(mut self) {
        self.not = true;
    }
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.flag.store(!self.not, Ordering::SeqCst);
    }
}

/// The UID of the captured pod, if its traffic is held.
fn held(checkpoint: &NetCheckpoint) -> Option<&str> {
    let status = checkpoint.status.as_ref()?;
    let is_held = is_true(&status.conditions, ConditionType::Held);
    status.source_pod_uid.as_deref().filter(|_| is_held)
}
