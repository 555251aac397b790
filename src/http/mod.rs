//! What the agent tells over HTTP: that it lives, whether it is ready, and its metrics. Nothing can
//! be changed here.

pub mod connections;
mod metrics;
mod readiness;

pub use metrics::{InFlight, Metrics, Role};
pub use readiness::{NotYet, Readiness};

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// Connections at once: kubelet's probes, a scraper or two, and a person.
const CONNECTIONS: usize = 32;

/// Serves `/healthz`, `/readyz` and `/metrics` until `stop` ends.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listen(address).await?;
    connections::serve(listener, routes(readiness, metrics), CONNECTIONS, stop).await;
    Ok(())
}

/// Every address of the node is `[::]`, and `0.0.0.0` where the kernel was started without IPv6.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) => match without_v6(address, &error) {
            Some(v4) => TcpListener::bind(v4).await,
            None => Err(error),
        },
        listener => listener,
    }
}

fn without_v6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let has_no_v6 = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    (has_no_v6 && address.ip() == Ipv6Addr::UNSPECIFIED)
        .then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

fn routes(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
}

/// 200, or 503 with the names of what is waited for, one a line.
async fn ready(State(readiness): State<Readiness>) -> Response {
    let waiting = readiness.waiting_for();
    if waiting.is_empty() {
        return "ok\n".into_response();
    }
    let body = waiting.into_iter().map(|name| format!("waiting for {name}\n")).collect::<String>();
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn fetch(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn not_ready_names_what_is_missing() {
        let readiness = Readiness::default();
        let socket = readiness.wait_for("socket");
        let watches = readiness.wait_for("watches");
        let router = routes(readiness.clone(), Metrics::default());
        let (status, body) = fetch(&router, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "waiting for socket\nwaiting for watches\n");
        assert_eq!(fetch(&router, "/healthz").await.0, StatusCode::OK);
        drop((socket, watches));
        assert_eq!(fetch(&router, "/readyz").await.0, StatusCode::OK);
    }

    #[test]
    fn every_address_needs_no_v6() {
        let none = io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
        let taken = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let every = "[::]:9310".parse().unwrap();
        assert_eq!(without_v6(every, &none), Some("0.0.0.0:9310".parse().unwrap()));
        assert_eq!(without_v6(every, &taken), None);
        assert_eq!(without_v6("[::1]:9310".parse().unwrap(), &none), None);
    }

    #[tokio::test]
    async fn metrics_are_counted_by_reason() {
        let metrics = Metrics::default();
        metrics.captured("Captured");
        metrics.captured("PodReplaced");
        metrics.captured("PodReplaced");
        let working = metrics.in_flight(Role::Source);
        let router = routes(Readiness::default(), metrics.clone());
        let text = fetch(&router, "/metrics").await.1;
        assert!(text.contains("netckpt_captures_total{reason=\"PodReplaced\"} 2"), "{text}");
        assert!(text.contains("netckpt_in_flight{role=\"source\"} 1"), "{text}");
        drop(working);
        let text = fetch(&router, "/metrics").await.1;
        assert!(text.contains("netckpt_in_flight{role=\"source\"} 0"), "{text}");
    }
}
