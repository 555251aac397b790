//! The container runtime, over CRI v1.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::PodNetwork;
use super::cri::{self, NamespaceMode, PodSandboxState, method};

/// Longest wait for one answer. A runtime under load answers these within milliseconds; kubelet's own limit is 2 minutes.
const DEADLINE: Duration = Duration::from_secs(10);

/// kubelet's limit for CRI messages.
const MESSAGE_LIMIT: usize = 16 << 20;

/// Label that kubelet gives every sandbox.
const POD_UID: &str = "io.kubernetes.pod.uid";

/// Why the runtime could not tell where a pod's network is.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(
        "the container runtime does not answer on {socket}: {why}; \
         see that the runtime runs and that the agent's --cri-socket names its socket"
    )]
    Unreachable { socket: String, why: String },
    #[error("the container runtime did not answer {call} on {socket} within {DEADLINE:?}")]
    Late { socket: String, call: &'static str },
    #[error("the container runtime on {socket} refused {call}: {why}")]
    Refused { socket: String, call: &'static str, why: String },
    #[error(
        "the container runtime has no ready sandbox for pod UID {uid}; the pod may be starting or ending"
    )]
    NoSandbox { uid: String },
    #[error("the pod with UID {uid} uses the node's network, which belongs to no pod")]
    NodeNetwork { uid: String },
    #[error(
        "the container runtime does not tell the network namespace of sandbox {sandbox} ({why}); \
         containerd 1.6 or later and CRI-O 1.24 or later do"
    )]
    NotTold { sandbox: String, why: String },
}

/// What runtime it is, for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    pub name: String,
    pub version: String,
}

/// A client of the runtime; connects when first used and again after the runtime restarted.
#[derive(Debug, Clone)]
pub struct Runtime {
    socket: PathBuf,
    channel: Channel,
}

impl Runtime {
    /// For the runtime's unix socket, for example `/run/containerd/containerd.sock`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        let path = socket.to_owned();
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The connector dials the unix socket whatever the address says.
        let channel = Endpoint::from_static("http://runtime.invalid")
            .connect_timeout(DEADLINE)
            .connect_with_connector_lazy(connect);
        Self { socket: socket.to_owned(), channel }
    }

    /// Asks the runtime who it is.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn version(&self) -> Result<RuntimeInfo, RuntimeError> {
        let request = cri::VersionRequest { version: "v1".into() };
        let answer: cri::VersionResponse = self.call("Version", method::VERSION, request).await?;
        Ok(RuntimeInfo { name: answer.runtime_name, version: answer.runtime_version })
    }

    /// Finds the network of the pod with this UID.
    ///
    /// # Errors
    /// When there is no ready sandbox, when it has no network of its own, or when the runtime doesn't tell.
    pub async fn network(&self, uid: &str) -> Result<PodNetwork, RuntimeError> {
        let sandbox = self.sandbox(uid).await?;
        let request =
            cri::PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: true };
        let answer: cri::PodSandboxStatusResponse =
            self.call("PodSandboxStatus", method::POD_SANDBOX_STATUS, request).await?;
        network_of(uid, sandbox, &answer)
    }

    /// The newest ready sandbox: one that failed to start may linger beside its successor.
    async fn sandbox(&self, uid: &str) -> Result<String, RuntimeError> {
        let labels = HashMap::from([(POD_UID.to_owned(), uid.to_owned())]);
        let filter = Some(cri::PodSandboxFilter { label_selector: labels });
        let answer: cri::ListPodSandboxResponse = self
            .call("ListPodSandbox", method::LIST_POD_SANDBOX, cri::ListPodSandboxRequest { filter })
            .await?;
        newest_ready(answer.items).ok_or_else(|| RuntimeError::NoSandbox { uid: uid.to_owned() })
    }

    async fn call<Q, A>(
        &self,
        call: &'static str,
        path: &'static str,
        request: Q,
    ) -> Result<A, RuntimeError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut client = Grpc::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        let exchange = async move {
            client.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
            let path = PathAndQuery::from_static(path);
            client.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await
        };
        match tokio::time::timeout(DEADLINE, exchange).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.failed(call, &status)),
            Err(_) => Err(RuntimeError::Late { socket: self.shown(), call }),
        }
    }

    fn failed(&self, call: &'static str, status: &Status) -> RuntimeError {
        let socket = self.shown();
        if status.code() == Code::Unavailable {
            return RuntimeError::Unreachable { socket, why: chain(status) };
        }
        let why = format!("{} ({:?})", status.message(), status.code());
        RuntimeError::Refused { socket, call, why }
    }

    fn shown(&self) -> String {
        self.socket.display().to_string()
    }
}

/// An error with its causes; tonic's own message ("transport error") says nothing.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

fn newest_ready(sandboxes: Vec<cri::PodSandbox>) -> Option<String> {
    sandboxes
        .into_iter()
        .filter(|sandbox| sandbox.state == PodSandboxState::Ready as i32)
        .max_by_key(|sandbox| sandbox.created_at)
        .map(|sandbox| sandbox.id)
}

/// The part of the runtime's verbose JSON that containerd and CRI-O agree on.
#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    pid: u32,
    #[serde(rename = "runtimeSpec")]
    spec: Option<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<SpecNamespace>,
}

/// `linux.namespaces` of the OCI runtime specification.
#[derive(Deserialize)]
struct SpecNamespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: PathBuf,
}

fn network_of(
    uid: &str,
    sandbox: String,
    answer: &cri::PodSandboxStatusResponse,
) -> Result<PodNetwork, RuntimeError> {
    let status = answer.status.clone().unwrap_or_default();
    if status.state != PodSandboxState::Ready as i32 {
        return Err(RuntimeError::NoSandbox { uid: uid.to_owned() });
    }
    let mode = status
        .linux
        .and_then(|linux| linux.namespaces)
        .and_then(|namespaces| namespaces.options)
        .map_or(0, |options| options.network);
    if mode == NamespaceMode::Node as i32 {
        return Err(RuntimeError::NodeNetwork { uid: uid.to_owned() });
    }
    let info = match answer.info.get("info").map(|text| serde_json::from_str::<Info>(text)) {
        Some(Ok(info)) => info,
        Some(Err(error)) => {
            return Err(RuntimeError::NotTold { sandbox, why: error.to_string() });
        }
        None => {
            let why = "its verbose status has no info".to_owned();
            return Err(RuntimeError::NotTold { sandbox, why });
        }
    };
    let path = info
        .spec
        .and_then(|spec| spec.linux)
        .and_then(|linux| linux.namespaces.into_iter().find(|ns| ns.kind == "network"))
        .map(|ns| ns.path)
        .filter(|path| !path.as_os_str().is_empty());
    let pid = Some(info.pid).filter(|pid| *pid != 0);
    if path.is_none() && pid.is_none() {
        let why = "neither a path nor a process".to_owned();
        return Err(RuntimeError::NotTold { sandbox, why });
    }
    Ok(PodNetwork { sandbox, path, pid, addresses: addresses(status.network) })
}

fn addresses(network: Option<cri::PodSandboxNetworkStatus>) -> Vec<IpAddr> {
    let network = network.unwrap_or_default();
    std::iter::once(network.ip)
        .chain(network.additional_ips.into_iter().map(|address| address.ip))
        .filter_map(|text| text.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(info: &str) -> cri::PodSandboxStatusResponse {
        cri::PodSandboxStatusResponse {
            status: Some(cri::PodSandboxStatus {
                state: 0,
                network: Some(cri::PodSandboxNetworkStatus {
                    ip: "10.244.1.7".into(),
                    additional_ips: vec![cri::PodIp { ip: "fd00::7".into() }],
                }),
                linux: None,
            }),
            info: HashMap::from([("info".to_owned(), info.to_owned())]),
        }
    }

    #[test]
    fn path_and_process_are_read_from_the_verbose_status() {
        let info = r#"{"pid": 4711, "processStatus": "running", "runtimeSpec": {"linux": {"namespaces": [
            {"type": "pid"}, {"type": "network", "path": "/var/run/netns/cni-1"}]}}}"#;
        let network = network_of("uid", "s".into(), &answer(info)).unwrap();
        assert_eq!(network.path.as_deref(), Some(Path::new("/var/run/netns/cni-1")));
        assert_eq!(network.pid, Some(4711));
        assert_eq!(network.addresses.len(), 2);
    }

    #[test]
    fn a_process_alone_is_enough_and_nothing_is_not() {
        let network = network_of("uid", "s".into(), &answer(r#"{"pid": 9}"#)).unwrap();
        assert_eq!((network.path, network.pid), (None, Some(9)));
        let error = network_of("uid", "s".into(), &answer("{}")).unwrap_err();
        assert!(matches!(error, RuntimeError::NotTold { .. }), "{error}");
    }

    #[test]
    fn the_node_network_is_refused() {
        let mut status = answer(r#"{"pid": 9}"#);
        let options = Some(cri::NamespaceOption { network: NamespaceMode::Node as i32 });
        status.status.as_mut().unwrap().linux =
            Some(cri::LinuxPodSandboxStatus { namespaces: Some(cri::Namespaces { options }) });
        let error = network_of("uid", "s".into(), &status).unwrap_err();
        assert!(matches!(error, RuntimeError::NodeNetwork { .. }), "{error}");
    }

    #[test]
    fn the_newest_ready_sandbox_counts() {
        let sandbox =
            |id: &str, state, created_at| cri::PodSandbox { id: id.into(), state, created_at };
        let all = vec![sandbox("old", 0, 1), sandbox("new", 0, 2), sandbox("dead", 1, 3)];
        assert_eq!(newest_ready(all).as_deref(), Some("new"));
        assert_eq!(newest_ready(vec![sandbox("dead", 1, 3)]), None);
    }

    #[tokio::test]
    async fn a_missing_socket_names_it() {
        let runtime = Runtime::new(Path::new("/nonexistent/runtime.sock"));
        let error = runtime.version().await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, RuntimeError::Unreachable { .. }), "{text}");
        assert!(text.contains("/nonexistent/runtime.sock: No such file"), "{text}");
    }
}
