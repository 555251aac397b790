//! `netckpt store`: an S3 endpoint over a folder, for those who have no object storage.
//!
//! It speaks the part of S3 that images need (whole objects in one request, conditional create,
//! ranges, lists) with signatures of version 4 by `s3s`. One set of credentials may do everything;
//! requests without a signature are refused. Plain HTTP: signatures keep content from being forged
//! and secrets off the wire, and not content from being read.

mod folder;
mod list;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleError;
use axum::http::StatusCode;
use axum::routing::get;
use s3s::HttpError;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

use folder::Folder;

use crate::http::connections;

/// Connections at once. An agent uses a few; what is over it waits.
const CONNECTIONS: usize = 256;

/// How long requests under way may take once the server is told to end.
const GRACE: Duration = Duration::from_secs(10);

/// The keys that requests must be signed with.
#[derive(Clone)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The server could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("folder {folder}: {source}")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("bucket {0:?}: names have 3 to 63 lower-case letters, digits, `.` and `-`")]
    Bucket(String),
}

/// Serves a folder, with a sub-folder for each bucket, until `shutdown` is done; then lets the
/// requests under way end, for ten seconds at most. `/healthz` answers without a signature.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    folder: PathBuf,
    keys: Keys,
    buckets: &[String],
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let folder = Folder::open(folder, buckets).await?;
    let mut builder = S3ServiceBuilder::new(folder);
    builder.set_auth(SimpleAuth::from_single(keys.access_key, keys.secret_key));
    let s3 = HandleError::new(builder.build(), |error: HttpError| async move {
        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
        tracing::warn!(%error, "S3 request");
        StatusCode::INTERNAL_SERVER_ERROR
    });
    let router = Router::new().route("/healthz", get(|| async { "ok\n" })).fallback_service(s3);

    let (ending, ended) = tokio::sync::oneshot::channel();
    let signal = async move {
        shutdown.await;
        // Nobody waits for it where the server has failed.
        let _ = ending.send(());
    };
    let grace = async move {
        match ended.await {
            Ok(()) => tokio::time::sleep(GRACE).await,
            Err(_) => std::future::pending().await,
        }
    };
    let server = connections::serve(listener, router, CONNECTIONS, signal);
    tokio::select! {
        () = server => Ok(()),
        () = grace => {
            tracing::warn!("requests were cut off: they took longer than the grace period");
            Ok(())
        }
    }
}
