//! What the agent keeps in memory of the cluster: its node's pods, and the storages.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource};
use tokio::sync::watch;

use super::Ending;
use crate::api::{NetCheckpointStorage, PodRoute};
use crate::http::Readiness;

/// A watch that was begun again and has nothing to tell says nothing; one that can't be begun says so
/// after a minute at the latest, which is the longest pause between two attempts.
const QUIET: Duration = Duration::from_secs(70);

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
    readiness: Readiness,
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
    (Watched { store, task: follow(events, ending, readiness, "watch of pods") }, Changes(receiver))
}

/// All storages.
pub fn storages(
    client: Client,
    ending: &Ending,
    readiness: Readiness,
) -> Watched<NetCheckpointStorage, impl Future<Output = ()> + Send + 'static + use<>> {
    let (store, writer) = reflector::store();
    let events = watcher(Api::<NetCheckpointStorage>::all(client), watcher::Config::default());
    let events = reflector::reflector(writer, events).default_backoff();
    Watched { store, task: follow(events, ending, readiness, "watch of storages") }
}

/// Where restored pods are, in the whole cluster: few objects, each changed once in its life.
pub fn routes(
    client: Client,
    ending: &Ending,
    readiness: Readiness,
) -> (Watched<PodRoute, impl Future<Output = ()> + Send + 'static + use<>>, Changes) {
    let (sender, receiver) = watch::channel(());
    let (store, writer) = reflector::store();
    let events = watcher(Api::<PodRoute>::all(client), watcher::Config::default())
        .modify(|route| route.metadata.managed_fields = None);
    let events = reflector::reflector(writer, events).default_backoff();
    let events = events.inspect_ok(move |_| {
        sender.send_replace(());
    });
    let task = follow(events, ending, readiness, "watch of pod routes");
    (Watched { store, task }, Changes(receiver))
}

/// Polls a watch until the agent ends; it begins again by itself after an error, with growing pauses.
/// The agent is not ready from an error on until the watch tells something or is quiet for long.
fn follow<T: Send + 'static, S>(
    events: S,
    ending: &Ending,
    readiness: Readiness,
    what: &'static str,
) -> impl Future<Output = ()> + Send + 'static + use<T, S>
where
    S: Stream<Item = Result<T, watcher::Error>> + Send + 'static,
{
    let events = events.take_until(ending.begun());
    async move {
        let mut events = pin!(events);
        let mut not_yet = None;
        loop {
            let quiet = tokio::time::sleep(QUIET);
            tokio::select! {
                event = events.next() => match event {
                    None => return,
                    Some(Ok(_)) => not_yet = None,
                    Some(Err(error)) => {
                        tracing::warn!(%error, what, "it broke off and is begun again");
                        not_yet.get_or_insert_with(|| readiness.wait_for(what));
                    }
                },
                () = quiet, if not_yet.is_some() => not_yet = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::ending;

    #[tokio::test]
    async fn a_broken_watch_is_told_until_it_tells_again() {
        let (send, events) = futures::channel::mpsc::unbounded();
        let (_end, ending) = ending();
        let readiness = Readiness::default();
        let task = tokio::spawn(follow(events, &ending, readiness.clone(), "watch of pods"));
        let settle = || tokio::time::sleep(Duration::from_millis(50));
        assert_eq!(readiness.waiting_for(), Vec::<&str>::new());
        send.unbounded_send(Err(watcher::Error::NoResourceVersion)).unwrap();
        send.unbounded_send(Err(watcher::Error::NoResourceVersion)).unwrap();
        settle().await;
        assert_eq!(readiness.waiting_for(), ["watch of pods"]);
        send.unbounded_send(Ok(())).unwrap();
        settle().await;
        assert_eq!(readiness.waiting_for(), Vec::<&str>::new());
        drop(send);
        task.await.unwrap();
    }
}
