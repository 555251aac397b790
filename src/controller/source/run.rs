//! The source role's two watches: checkpoints that nobody has claimed, and this node's own.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{Stream, StreamExt};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::{reflector, watcher};
use kube::{Api, ResourceExt};

use super::record::RecordError;
use super::spool::Spool;
use super::{claim, standing, work};
use crate::api::NetCheckpoint;
use crate::controller::SharedAgent;
use crate::http::NotYet;

/// Unclaimed checkpoints looked at together; a look is a request or two.
const CLAIMS: u16 = 16;

/// Own checkpoints in work together. Most of the time of one is waiting for the store.
const WORKS: u16 = 16;

/// Pause after a write that the API server did not take.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// Runs until the agent is to end and the work in hand has.
///
/// `pods` tells of each change of this node's pods; `not_yet` goes once all watches have told.
pub async fn run(
    agent: SharedAgent,
    pods: impl Stream<Item = ()> + Send + 'static,
    not_yet: NotYet,
) {
    let api: Api<NetCheckpoint> = Api::all(agent.client.clone());
    let unclaimed =
        Controller::new(api.clone(), watcher::Config::default().fields("status.nodeName="))
            .with_config(controller::Config::default().concurrency(CLAIMS))
            .reconcile_all_on(pods)
            .graceful_shutdown_on(agent.ending.begun());
    let own = format!("status.nodeName={}", agent.node);
    let own = Controller::new(api, watcher::Config::default().fields(&own))
        .with_config(controller::Config::default().concurrency(WORKS))
        .graceful_shutdown_on(agent.ending.begun());
    // Set once: the role is started once.
    let _ = agent.checkpoints.set(own.store());
    let synced = synced(agent.clone(), unclaimed.store(), own.store(), not_yet);
    tokio::join!(
        synced,
        standing::run(agent.ending.begun()),
        drive(unclaimed, agent.clone(), claim::reconcile, "claim"),
        drive(own, agent, work::reconcile, "work"),
    );
}

/// Ready once both watches have told what there is; then images of checkpoints that are gone go, too.
async fn synced(
    agent: SharedAgent,
    unclaimed: reflector::Store<NetCheckpoint>,
    own: reflector::Store<NetCheckpoint>,
    not_yet: NotYet,
) {
    let start = SystemTime::now();
    let told = async { tokio::try_join!(unclaimed.wait_until_ready(), own.wait_until_ready()) };
    let told = tokio::select! {
        told = told => told.is_ok(),
        () = agent.ending.begun() => false,
    };
    if !told {
        return;
    }
    drop(not_yet);
    let uids: HashSet<_> = own.state().iter().filter_map(|checkpoint| checkpoint.uid()).collect();
    if let Err(error) = Spool::new(&agent.state_dir).keep_only(&uids, start).await {
        tracing::warn!(%error, "captured images of former checkpoints could not be removed");
    }
}

async fn drive<F>(
    controller: Controller<NetCheckpoint>,
    agent: SharedAgent,
    reconcile: impl FnMut(Arc<NetCheckpoint>, SharedAgent) -> F,
    what: &'static str,
) where
    F: Future<Output = Result<Action, RecordError>> + Send + 'static,
{
    controller
        .run(reconcile, |_, _, _| Action::requeue(AFTER_ERROR), agent)
        .for_each(|outcome| async move {
            match outcome {
                Ok(_) => {}
                // Deleted between its notice and the look.
                Err(controller::Error::ObjectNotFound(_)) => {}
                Err(error) => tracing::warn!(%error, what, "looking at a checkpoint"),
            }
        })
        .await;
}
