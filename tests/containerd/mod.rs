//! A real containerd without kubelet, and pod sandboxes in it (see `run.sh`).

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hyper_util::rt::TokioIo;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// The sandboxes' image, as `tests/cluster/images.sh` builds it.
const PAUSE: &str = "localhost/netckpt-pause:lab";

pub struct Containerd {
    folder: PathBuf,
    /// A process in its PID and mount namespaces.
    inside: u32,
    cgroup: String,
    /// Its standard input, open as long as this process lives.
    _runs: Child,
}

impl Containerd {
    pub fn start(cache: &Path) -> Self {
        let archive = cache.join("images/localhost-netckpt-pause-lab.oci.tar");
        assert!(archive.exists(), "{} is missing: `make test` builds it", archive.display());
        let mut runs =
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containerd/run.sh"))
                .arg(cache.join("bin"))
                .arg(archive)
                .arg(PAUSE)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("bash runs");
        let mut line = String::new();
        BufReader::new(runs.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        let [folder, inside, cgroup] = words[..] else {
            panic!("containerd did not start; it said why above")
        };
        Self {
            folder: folder.into(),
            inside: inside.parse().unwrap(),
            cgroup: cgroup.to_owned(),
            _runs: runs,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }

    /// A folder that is gone with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command in its PID and mount namespaces, where `/run/netns` and `/proc` are a node's.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.inside.to_string(), "-m", "-p"]).arg(program);
        command
    }

    /// Runs `ip` in a namespace of a sandbox, by its path.
    pub fn ip(&self, netns: &Path, arguments: &[&str]) -> String {
        let mut command = self.command(Path::new("nsenter"));
        command.arg(format!("--net={}", netns.display())).arg("ip").args(arguments);
        let output = command.output().expect("ip runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A pod's sandbox, as kubelet asks for one; answers its id.
    pub async fn sandbox(&self, name: &str, uid: &str, on_host_network: bool) -> String {
        let network = if on_host_network { NODE } else { POD };
        let request = RunPodSandboxRequest {
            config: Some(PodSandboxConfig {
                metadata: Some(PodSandboxMetadata {
                    name: name.into(),
                    uid: uid.into(),
                    namespace: "default".into(),
                    attempt: 0,
                }),
                labels: HashMap::from([("io.kubernetes.pod.uid".into(), uid.into())]),
                linux: Some(LinuxPodSandboxConfig {
                    cgroup_parent: format!("/{}", self.cgroup),
                    security_context: Some(SecurityContext {
                        options: Some(NamespaceOption { network }),
                    }),
                }),
            }),
        };
        let answer: RunPodSandboxResponse = self.call("RunPodSandbox", request).await;
        answer.id
    }

    pub async fn stop(&self, sandbox: &str) {
        let request = StopPodSandboxRequest { id: sandbox.into() };
        let _: Nothing = self.call("StopPodSandbox", request).await;
    }

    async fn call<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut client = Grpc::new(self.channel());
        client.ready().await.expect("containerd answers");
        let path = format!("/runtime.v1.RuntimeService/{method}").parse().unwrap();
        let codec = ProstCodec::<Q, A>::default();
        client.unary(tonic::Request::new(request), path, codec).await.expect(method).into_inner()
    }

    fn channel(&self) -> Channel {
        let socket = self.socket();
        Endpoint::from_static("http://containerd.invalid").connect_with_connector_lazy(
            tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
            }),
        )
    }
}

const POD: i32 = 0;
const NODE: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(uint32, tag = "4")]
    attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<SecurityContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SecurityContext {
    #[prost(message, optional, tag = "1")]
    options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunPodSandboxResponse {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StopPodSandboxRequest {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}
