//! A prepared pod's network is brought to what its source's was when that was held, and its addresses
//! are led here. The restore converges, so that only what has changed since costs anything.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::course;
use super::error::RestoreError;
use super::seen::held_for;
use super::{on_thread, paths};
use crate::api::NetCheckpoint;
use crate::controller::SharedAgent;
use crate::hold::{Element, Hold, Kind, Note};
use crate::host::{self, Record, Ways, flows};
use crate::image::{Image, Unsupported};
use crate::netns::Namespace;
use crate::restore::{self, Options};

/// Brings the pod to the image of the checkpoint, and leads its addresses here.
///
/// # Errors
/// [`RestoreError`]; the pod stays silent then.
pub async fn update(
    agent: &SharedAgent,
    ways: &Arc<Ways>,
    pod: &Pod,
    checkpoint: &NetCheckpoint,
) -> Result<(), RestoreError> {
    let (namespace, name) = (checkpoint.namespace().unwrap_or_default(), checkpoint.name_any());
    let not_ready = |why: &str| RestoreError::NotReady {
        namespace: namespace.clone(),
        name: name.clone(),
        why: why.to_owned(),
        ended: false,
    };
    let status = checkpoint.status.as_ref().ok_or_else(|| not_ready("it has no status"))?;
    let stored = status.image.as_ref().ok_or_else(|| not_ready("its status names no image"))?;
    let image = course::image(agent, &format!("{namespace}/{name}"), stored).await?;
    let uid = pod.uid().unwrap_or_default();
    let known = ways.clone();
    let records = on_thread(move || known.records()).await.map_err(RestoreError::Thread)??;
    let record = records.into_iter().find(|record| record.pod.uid == uid);
    let record = record.ok_or_else(|| not_ready("the pod has no prepared network here"))?;
    let ips: Vec<IpAddr> = status.pod_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let sequence = paths::next(agent, &ips);
    let ways = ways.clone();
    let left = held_for(checkpoint);
    let led = on_thread(move || converge(&ways, &record, &image, &ips, (sequence, left))).await;
    let led = led.map_err(RestoreError::Thread)??;
    if let Err(why) = paths::publish(agent, &led).await {
        // It is tried again; the way on this node is there.
        tracing::warn!(why, pod = led.pod.name, "other nodes can't be told of the pod yet");
    }
    Ok(())
}

fn converge(
    ways: &Ways,
    record: &Record,
    image: &Image,
    pod_ips: &[IpAddr],
    (sequence, left): (i64, Option<Duration>),
) -> Result<Record, RestoreError> {
    let netns = Namespace::open(&record.netns).map_err(restore::Error::from)?;
    let node = Namespace::current().map_err(restore::Error::from)?;
    // What can't be carried was judged when the pod was prepared.
    let options = Options {
        on_unsupported: Unsupported::Report,
        known_ends_only: true,
        led_by_caller: true,
        ..Options::default()
    };
    restore::restore_while(&netns, Some(&node), image, &options, &AtomicBool::new(false))?;
    if let Some(tracked) = image.snapshot.sections.get(flows::SECTION) {
        let inserted = flows::insert(tracked, restore::age(image), pod_ips);
        let untracked = inserted.map_err(host::Error::from)?;
        if !untracked.is_empty() {
            tracing::warn!(?untracked, pod = record.pod.name, "flows of the node");
        }
    }
    // On what there is now: a link that was made anew would speak. What it may already say stays.
    let hold = Hold { id: record.pod.uid.parse()?, kind: Kind::Successor };
    if !hold.covers(&netns, &node)? {
        let note = Note(format!("successor {}/{}", record.pod.namespace, record.pod.name));
        hold.plant(&netns, &node, Element::None, &note)?;
    }
    if let Some(left) = left {
        hold.hush(&netns, &node, left)?;
    }
    Ok(ways.switch(&record.container_id, &record.interface, sequence)?)
}
