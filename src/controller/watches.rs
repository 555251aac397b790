//! What the agent keeps in memory of the cluster: its node's pods, and the storages.

use std::future::Future;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource};
use tokio::sync::watch;

use super::Ending;
use crate::api::NetCheckpointStorage;

/// A watched kind of objects: its store, and the task that keeps it current until the agent ends.
#[derive(Debug)]
pub struct Watched<K, T>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    pub store: reflector::Store<K>,
    pub task: T,
}

/// Changes of the watched pods, as a stream that never lags: several changes may be told as one.
#[derive(Debug, Clone)]
pub struct Changes(watch::Receiver<()>);

impl Changes {
    /// One item for each time that something changed; ends with the watch.
    pub fn stream(self) -> impl Stream<Item = ()> + Send + 'static {
        futures::stream::unfold(self.0, |mut receiver| async move {
            receiver.changed().await.ok().map(|()| ((), receiver))
        })
    }
}

/// The pods of a node.
pub fn pods(
    client: Client,
    node: &str,
    ending: &Ending,
) -> (Watched<Pod, impl Future<Output = ()> + Send + 'static + use<>>, Changes) {
    let (sender, receiver) = watch::channel(());
    let only = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let (store, writer) = reflector::store();
    let events =
        watcher(Api::<Pod>::all(client), only).modify(|pod| pod.metadata.managed_fields = None);
    let events = reflector::reflector(writer, events).default_backoff();
    let events = events.inspect_ok(move |_| {
        sender.send_replace(());
    });
    (Watched { store, task: follow(events, ending, "pods") }, Changes(receiver))
}

/// All storages.
pub fn storages(
    client: Client,
    ending: &Ending,
) -> Watched<NetCheckpointStorage, impl Future<Output = ()> + Send + 'static + use<>> {
    let (store, writer) = reflector::store();
    let events = watcher(Api::<NetCheckpointStorage>::all(client), watcher::Config::default());
    let events = reflector::reflector(writer, events).default_backoff();
    Watched { store, task: follow(events, ending, "storages") }
}

/// Polls a watch until the agent ends; it begins again by itself after an error, with growing pauses.
fn follow<T: Send + 'static, S>(
    events: S,
    ending: &Ending,
    what: &'static str,
) -> impl Future<Output = ()> + Send + 'static + use<T, S>
where
    S: Stream<Item = Result<T, watcher::Error>> + Send + 'static,
{
    events.take_until(ending.begun()).for_each(move |event| async move {
        if let Err(error) = event {
            tracing::warn!(%error, what, "a watch broke off; it is begun again");
        }
    })
}
