//! HTTP connections with bounds: how many there are, and how long one may take to say what it wants.
//! `axum::serve` has neither.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Longest time for a request's head, and for a connection to be kept without one.
pub const HEAD: Duration = Duration::from_secs(5);

/// Pause after the system had no descriptor for a connection.
const EXHAUSTED: Duration = Duration::from_millis(500);

/// Serves at most `most` connections at once, HTTP/1 only, until `stop` ends; then lets the requests
/// under way end. Who comes when there are as many waits in the kernel's queue.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    most: usize,
    stop: impl Future<Output = ()> + Send,
) {
    let room = Arc::new(Semaphore::new(most));
    let (end, ending) = watch::channel(());
    let mut served = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let next = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, ending) = (router.clone(), ending.clone());
                served.spawn(async move {
                    connection(stream, router, ending).await;
                    drop(permit);
                });
            }
            // The client went away before it was taken.
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
        while served.try_join_next().is_some() {}
    }
    drop(listener);
    drop(end);
    while served.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, mut ending: watch::Receiver<()>) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        // The sender says nothing; it goes.
        _ = ending.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error, "an HTTP connection broke off");
    }
}

fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn answer(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let _ = tokio::time::timeout(HEAD * 3, stream.read_to_end(&mut text)).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn one_that_says_nothing_gives_way_and_others_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = Router::new().route("/", get(|| async { "here" }));
        let server = tokio::spawn(serve(listener, router, 1, async move {
            let _ = stopped.await;
        }));
        let start = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut next = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        next.write_all(request).await.unwrap();
        assert!(answer(&mut next).await.ends_with("here"));
        // It had to wait until the silent one was given up.
        assert!(start.elapsed() >= HEAD - Duration::from_millis(100), "{:?}", start.elapsed());
        assert!(!answer(&mut silent).await.contains("200 OK"));
        stop.send(()).unwrap();
        tokio::time::timeout(HEAD, server).await.unwrap().unwrap();
    }
}
