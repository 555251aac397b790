//! The agent's side of the socket: root only, one question a connection, everything bounded.

use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::protocol::{
    Answer, Attachment, LONGEST_ANSWER, LONGEST_REQUEST, Refused, Request, frame, length,
};

/// ADDs and CHECKs that are worked on at once; more wait, within their own patience. A DEL waits for
/// none of them: its pod is not taken down before, and it may be what a restore is waiting for.
const AT_ONCE: usize = 16;
/// Connections that are held at once; more are closed at once, and the plugin says so.
const CONNECTIONS: usize = 256;
/// How long a peer may take to put its question or to take its answer.
const TALK: Duration = Duration::from_secs(5);
/// Most that a question may take, whatever patience the plugin claims.
const LONGEST: Duration = Duration::from_secs(210);
/// The answer leaves this much before the plugin's patience ends, so that it is the agent's message
/// that a person sees.
const MARGIN: Duration = Duration::from_millis(500);
/// Pause after a failed accept (too many open files), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// The socket could not be opened or served.
#[derive(Debug, thiserror::Error)]
#[error("the agent's socket {path} ({step}): {source}")]
pub struct Error {
    pub path: PathBuf,
    pub step: &'static str,
    pub source: io::Error,
}

/// What the agent does with the questions. `end` is when an answer is of no more use.
pub trait Attachments: Send + Sync + 'static {
    fn add(&self, attachment: Attachment, end: Instant) -> impl Future<Output = Answer> + Send;
    fn check(&self, attachment: Attachment, end: Instant) -> impl Future<Output = Answer> + Send;
    fn del(&self, attachment: Attachment) -> impl Future<Output = ()> + Send;
    fn gc(&self) -> impl Future<Output = ()> + Send;
}

/// A socket that is listened on.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
}

impl Server {
    /// Listens on `path`, in the place of whatever socket was there: it is made beside it and
    /// renamed, so that there is never a moment without one when an agent follows another.
    ///
    /// # Errors
    /// [`Error`] with the failing step.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |step| move |source| Error { path: path.to_owned(), step, source };
        if let Some(folder) = path.parent() {
            let mut builder = std::fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(failed("make its folder"))?;
        }
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove a left-over")(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&beside).map_err(failed("bind"))?;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&beside, mode).map_err(failed("restrict to root"))?;
        std::fs::rename(&beside, path).map_err(failed("put in place"))?;
        Ok(Self { listener })
    }

    /// Serves until `stop`, then lets the work in hand end within `grace`.
    pub async fn serve<A: Attachments>(
        self,
        attachments: Arc<A>,
        stop: impl Future<Output = ()>,
        grace: Duration,
    ) {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        let mut work = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => accepted,
            };
            while work.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) if root(&stream) && work.len() < CONNECTIONS => {
                    let (attachments, at_once) = (attachments.clone(), at_once.clone());
                    work.spawn(async move {
                        if let Err(error) = converse(stream, &*attachments, &at_once).await {
                            tracing::warn!(%error, "a question of the CNI plugin went wrong");
                        }
                    });
                }
                Ok(_) => tracing::warn!(
                    "a connection from a peer that is not root, or one too many, was closed"
                ),
                Err(error) => {
                    tracing::warn!(%error, "accepting on the agent's socket");
                    sleep(PAUSE).await;
                }
            }
        }
        // The file stays: an agent that follows has perhaps put its own socket there already, and to
        // look and then to remove is not one step. Who connects to it is told that nobody listens.
        drop(self.listener);
        let rest = async { while work.join_next().await.is_some() {} };
        if timeout(grace, rest).await.is_err() {
            tracing::warn!(
                left = work.len(),
                "questions of the CNI plugin were given up at the end"
            );
        }
    }
}

/// The mode of the file says the same; this holds also where a folder is mounted elsewhere.
fn root(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0)
}

/// One question and its answer.
async fn converse<A: Attachments>(
    mut stream: UnixStream,
    attachments: &A,
    at_once: &Semaphore,
) -> io::Result<()> {
    let body = timeout(TALK, receive(&mut stream)).await.map_err(io::Error::from)??;
    let answer = match serde_json::from_slice(&body) {
        Ok(request) => answer(request, attachments, at_once).await,
        Err(error) => Answer::Refused(Refused {
            transient: false,
            message:
                "the agent does not understand this plugin; they must be of neighbouring versions"
                    .into(),
            details: error.to_string(),
        }),
    };
    let framed = frame(&answer, LONGEST_ANSWER)?;
    timeout(TALK, stream.write_all(&framed)).await.map_err(io::Error::from)?
}

async fn receive(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let mut body = vec![0; length(header, LONGEST_REQUEST)?];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

async fn answer<A: Attachments>(request: Request, attachments: &A, at_once: &Semaphore) -> Answer {
    let patience = match &request {
        Request::Add(one) | Request::Check(one) | Request::Del(one) => one.patience_millis,
        Request::Gc => u64::MAX,
    };
    let patience = Duration::from_millis(patience).min(LONGEST);
    let end = Instant::now() + patience.saturating_sub(MARGIN).max(patience / 2);
    let work = async {
        // The semaphore is never closed; if it were, there would be no bound, which is no error here.
        let _permit = match &request {
            Request::Add(_) | Request::Check(_) => Some(at_once.acquire().await),
            Request::Del(_) | Request::Gc => None,
        };
        match request {
            Request::Add(one) => attachments.add(one, end).await,
            Request::Check(one) => attachments.check(one, end).await,
            Request::Del(one) => {
                attachments.del(one).await;
                Answer::Untouched
            }
            Request::Gc => {
                attachments.gc().await;
                Answer::Untouched
            }
        }
    };
    timeout_at(end, work).await.unwrap_or_else(|_| late(patience))
}

fn late(patience: Duration) -> Answer {
    Answer::Refused(Refused {
        transient: true,
        message: format!(
            "the agent did not finish within the {} s it was given",
            patience.as_secs()
        ),
        details: "the pod's events and the agent's log tell how far it came".into(),
    })
}
