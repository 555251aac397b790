//! One NetCheckpoint, kept current by a watch of its own: whoever takes over from a held source learns
//! of each step as it is told.

use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::NetCheckpoint;

/// Longest wait for the API server's answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// The object of one name.
pub(super) struct Watched {
    api: Api<NetCheckpoint>,
    /// Namespace and name.
    pub(super) about: (String, String),
    /// Unset while the watch has told nothing, or has broken off.
    told: watch::Receiver<Option<Option<NetCheckpoint>>>,
    /// What came of the last write, until the watch tells more.
    written: Option<NetCheckpoint>,
    /// Whether what was told was outdated.
    in_doubt: bool,
}

impl Watched {
    /// Begins to watch; it ends with the value.
    pub(super) fn new(client: Client, about: (String, String)) -> Self {
        let (namespace, name) = about.clone();
        let api: Api<NetCheckpoint> = Api::namespaced(client, &namespace);
        let (sender, told) = watch::channel(None);
        let events = watch_object(api.clone(), &name).default_backoff();
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            loop {
                let event = tokio::select! {
                    () = sender.closed() => return,
                    event = events.next() => event,
                };
                let Some(told) = event else { return };
                // After an error nothing is known.
                sender.send_replace(told.ok());
            }
        });
        Self { api, about, told, written: None, in_doubt: false }
    }

    /// The object as it is known, or else as it is.
    ///
    /// # Errors
    /// Why the API server can't be asked, as a sentence.
    pub(super) async fn object(&mut self) -> Result<Option<NetCheckpoint>, String> {
        if let Some(written) = &self.written {
            return Ok(Some(written.clone()));
        }
        let told = self.told.borrow_and_update().clone();
        if let Some(told) = told.filter(|_| !self.in_doubt) {
            return Ok(told);
        }
        let asked = timeout(DEADLINE, self.api.get_opt(&self.about.1)).await;
        let asked = asked.map_err(|_| format!("no answer within {DEADLINE:?}"))?;
        let asked = asked.map_err(|error| error.to_string())?;
        self.in_doubt = false;
        Ok(asked)
    }

    /// It was changed by its own watcher.
    pub(super) fn written(&mut self, object: NetCheckpoint) {
        self.written = Some(object);
    }

    /// What was told was outdated.
    pub(super) fn doubt(&mut self) {
        self.in_doubt = true;
        self.written = None;
    }

    /// Waits until the watch tells something.
    pub(super) async fn changed(&mut self) {
        match self.told.changed().await {
            Ok(()) => self.written = None,
            Err(_) => std::future::pending().await,
        }
    }
}
