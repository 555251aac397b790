//! A registry of one kind of image, on the node's loopback: the checkpoint of a container, as an OCI
//! image that the runtime restores from. It serves what kubelet pulls for the successor of a pod that
//! moves, and nothing else.
//!
//! ```text
//! image of the successor's container:  localhost:5000/NAMESPACE/NETCHECKPOINT:UID
//! ```
//!
//! The request for the manifest waits until the archive is there and the pod's network is ready for
//! it. So a successor can be created before its source is frozen: kubelet builds its sandbox, asks for
//! the image, waits here, and goes on by itself. The UID of the NetCheckpoint, which nobody can guess,
//! is the tag: another process on the node that reaches the port learns nothing without it.
//!
//! Source: OCI distribution specification 1.1, pull only.

mod oci;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;

use crate::http::connections;

pub use oci::{Archive, reference};

/// Connections at once: a runtime uses a few for each pull.
const CONNECTIONS: usize = 64;

/// Which image is asked for: a NetCheckpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub namespace: String,
    pub name: String,
}

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is none, or it is not for this node.
    Unknown(String),
    /// It may come.
    Later(String),
}

/// Where archives come from.
pub trait Archives: Send + Sync + 'static {
    /// The archive of a NetCheckpoint with that UID, once it is there and its pod's network is ready.
    fn ready(
        &self,
        asked: &Asked,
        uid: &str,
    ) -> impl Future<Output = Result<Archive, Refused>> + Send;

    /// The archive with that digest, of one that was ready.
    fn content(
        &self,
        asked: &Asked,
        digest: &str,
    ) -> impl Future<Output = Result<Bytes, Refused>> + Send;

    /// The archive of which the manifest or the configuration has that digest, of one that was ready.
    fn known(&self, asked: &Asked) -> Vec<Archive>;
}

/// Serves until `stop` ends.
///
/// # Errors
/// When the address can't be listened on, or is not of the loopback.
pub async fn serve<A: Archives>(
    address: SocketAddr,
    archives: Arc<A>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    if !address.ip().is_loopback() {
        return Err(io::Error::other("archives hold the memory of processes: loopback only"));
    }
    let listener = TcpListener::bind(address).await?;
    connections::serve(listener, routes(archives), CONNECTIONS, stop).await;
    Ok(())
}

fn routes<A: Archives>(archives: Arc<A>) -> Router {
    Router::new()
        .route("/v2/", get(|| async { axum::Json(json!({})) }))
        .route("/v2/{namespace}/{name}/manifests/{reference}", get(manifest::<A>))
        .route("/v2/{namespace}/{name}/blobs/{digest}", get(blob::<A>))
        .with_state(archives)
}

type Parts = (String, String, String);

async fn manifest<A: Archives>(
    State(archives): State<Arc<A>>,
    Path((namespace, name, reference)): Path<Parts>,
) -> Response {
    let asked = Asked { namespace, name };
    if reference.starts_with("sha256:") {
        let known = archives.known(&asked);
        let mut manifests = known.iter().map(oci::manifest);
        return match manifests.find(|manifest| oci::digest(manifest) == reference) {
            Some(manifest) => blob_of(oci::MANIFEST, &reference, manifest.into()),
            None => unknown("MANIFEST_UNKNOWN", "no such manifest"),
        };
    }
    match archives.ready(&asked, &reference).await {
        Ok(archive) => {
            let manifest = oci::manifest(&archive);
            let digest = oci::digest(&manifest);
            blob_of(oci::MANIFEST, &digest, manifest.into())
        }
        Err(refused) => refused.into_response("MANIFEST_UNKNOWN"),
    }
}

async fn blob<A: Archives>(
    State(archives): State<Arc<A>>,
    Path((namespace, name, digest)): Path<Parts>,
) -> Response {
    let asked = Asked { namespace, name };
    let known = archives.known(&asked);
    if let Some(configuration) =
        known.iter().map(oci::configuration).find(|one| oci::digest(one) == digest)
    {
        return blob_of(oci::CONFIGURATION, &digest, configuration.into());
    }
    if !known.iter().any(|archive| archive.digest == digest) {
        return unknown("BLOB_UNKNOWN", "no such blob");
    }
    match archives.content(&asked, &digest).await {
        Ok(content) => blob_of("application/octet-stream", &digest, content),
        Err(refused) => refused.into_response("BLOB_UNKNOWN"),
    }
}

/// HEAD is answered with the same headers; the length is then the body's that is not sent.
fn blob_of(kind: &'static str, digest: &str, content: Bytes) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(content.len()));
    if let Ok(digest) = HeaderValue::from_str(digest) {
        headers.insert("Docker-Content-Digest", digest);
    }
    (headers, Body::from(content)).into_response()
}

fn unknown(code: &str, why: &str) -> Response {
    answer(StatusCode::NOT_FOUND, code, why)
}

fn answer(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(json!({"errors": [{"code": code, "message": message}]}))).into_response()
}

impl Refused {
    fn into_response(self, code: &str) -> Response {
        match self {
            Self::Unknown(why) => unknown(code, &why),
            Self::Later(why) => answer(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", &why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::http::Request;
    use tower::ServiceExt;

    struct One(Archive, Bytes);

    impl Archives for One {
        async fn ready(&self, asked: &Asked, uid: &str) -> Result<Archive, Refused> {
            match (asked.name.as_str(), uid) {
                ("web", "u1") => Ok(self.0.clone()),
                ("web", _) => Err(Refused::Unknown("another UID".into())),
                _ => Err(Refused::Later("the store is away".into())),
            }
        }

        async fn content(&self, _: &Asked, _: &str) -> Result<Bytes, Refused> {
            Ok(self.1.clone())
        }

        fn known(&self, asked: &Asked) -> Vec<Archive> {
            if asked.name == "web" { vec![self.0.clone()] } else { Vec::new() }
        }
    }

    async fn fetch(router: &Router, method: &str, path: &str) -> (StatusCode, HeaderMap, Bytes) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, to_bytes(body, 1 << 20).await.unwrap())
    }

    #[tokio::test]
    async fn an_image_is_pulled_as_runtimes_do() {
        let content = Bytes::from_static(b"archive");
        let digest = crate::image::digest(&content);
        let archive = Archive { digest: digest.clone(), size: 7, container: "main".into() };
        let router = routes(Arc::new(One(archive, content.clone())));
        assert_eq!(fetch(&router, "GET", "/v2/").await.0, StatusCode::OK);
        let (status, headers, body) = fetch(&router, "HEAD", "/v2/shop/web/manifests/u1").await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        let named = headers["Docker-Content-Digest"].to_str().unwrap().to_owned();
        let path = format!("/v2/shop/web/manifests/{named}");
        let (status, headers, manifest) = fetch(&router, "GET", &path).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[header::CONTENT_TYPE], oci::MANIFEST);
        assert_eq!(crate::image::digest(&manifest), named);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["annotations"]["org.criu.checkpoint.container.name"], "main");
        for (blob, size) in [(&manifest["config"], None), (&manifest["layers"][0], Some(7))] {
            let digest = blob["digest"].as_str().unwrap();
            let (status, _, body) =
                fetch(&router, "GET", &format!("/v2/shop/web/blobs/{digest}")).await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(crate::image::digest(&body), digest);
            assert_eq!(body.len() as u64, size.unwrap_or(blob["size"].as_u64().unwrap()));
        }
    }

    #[tokio::test]
    async fn nothing_else_is_given() {
        let digest = crate::image::digest(b"archive");
        let archive = Archive { digest: digest.clone(), size: 7, container: "main".into() };
        let router = routes(Arc::new(One(archive, Bytes::from_static(b"archive"))));
        let none = format!("sha256:{}", "0".repeat(64));
        for (path, expected) in [
            ("/v2/shop/web/manifests/u2".to_owned(), StatusCode::NOT_FOUND),
            (format!("/v2/shop/web/manifests/{none}"), StatusCode::NOT_FOUND),
            (format!("/v2/shop/web/blobs/{none}"), StatusCode::NOT_FOUND),
            (format!("/v2/shop/other/blobs/{digest}"), StatusCode::NOT_FOUND),
            ("/v2/shop/other/manifests/u1".to_owned(), StatusCode::SERVICE_UNAVAILABLE),
            ("/v2/_catalog".to_owned(), StatusCode::NOT_FOUND),
        ] {
            assert_eq!(fetch(&router, "GET", &path).await.0, expected, "{path}");
        }
        assert_eq!(
            fetch(&router, "PUT", "/v2/shop/web/manifests/u1").await.0,
            StatusCode::METHOD_NOT_ALLOWED
        );
    }

    #[tokio::test]
    async fn only_the_loopback_is_listened_on() {
        let digest = crate::image::digest(b"");
        let one = One(Archive { digest, size: 0, container: "main".into() }, Bytes::new());
        let everywhere = "0.0.0.0:0".parse().unwrap();
        serve(everywhere, Arc::new(one), async {}).await.unwrap_err();
    }
}
