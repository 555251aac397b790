//! `netckpt agent`: one process a node, both roles.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::api::{AGENT_PORT, AGENT_SOCKET, REGISTRY_PORT};
use crate::archive;
use crate::controller::{
    Agent, End, Ending, NodeArchives, SharedAgent, Storages, destination, ending, health, source,
    watches,
};
use crate::http::{self, Metrics, NotYet, Readiness};
use crate::pod::Runtime;
use crate::registry;

/// How long the work in hand may take once the agent is to end. What takes longer is gone on with by
/// the next agent on the node. Together with the hook before it (`netckpt cni-uninstall`, at most ten
/// seconds) it stays well within the chart's `terminationGracePeriodSeconds` of 60.
const GRACE: Duration = Duration::from_secs(40);

/// How the agent is started.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Name of the node, as the API server knows it.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// The agent's namespace, where the Secrets of storages are.
    #[arg(long, env = "POD_NAMESPACE", default_value = "netckpt-system")]
    pub namespace: String,
    /// Unix socket of the container runtime (CRI).
    #[arg(long, default_value = "/run/containerd/containerd.sock", value_name = "PATH")]
    pub cri_socket: PathBuf,
    /// Unix socket that the CNI plugin asks.
    #[arg(long, default_value = AGENT_SOCKET, value_name = "PATH")]
    pub socket: PathBuf,
    /// Folder for what outlives the agent and not the node.
    #[arg(long, default_value = "/run/netckpt", value_name = "PATH")]
    pub state_dir: PathBuf,
    /// InternalIPs of the node, by which other nodes reach its restored pods.
    #[arg(long, env = "NODE_IPS", value_delimiter = ',', value_name = "IP")]
    pub node_ips: Vec<IpAddr>,
    /// Folder of the node's CNI configuration.
    #[arg(long, default_value = "/etc/cni/net.d", value_name = "PATH")]
    pub cni_conf_dir: PathBuf,
    /// Folder of the reservations of the IPAM plugin host-local.
    #[arg(long, default_value = "/var/lib/cni/networks", value_name = "PATH")]
    pub cni_networks_dir: PathBuf,
    /// Address of /healthz, /readyz and /metrics; without a host, every one.
    #[arg(long, default_value_t = Listen::default(), value_name = "[HOST]:PORT")]
    pub listen: Listen,
    /// Folder of kubelet's checkpoint archives.
    #[arg(long, default_value = archive::FOLDER, value_name = "PATH")]
    pub checkpoints_dir: PathBuf,
    /// Port on the loopback of the registry that successors' images are pulled from; 0 for none.
    #[arg(long, default_value_t = REGISTRY_PORT, value_name = "PORT")]
    pub registry_port: u16,
    /// The node's /proc.
    #[arg(long, default_value = "/proc", value_name = "PATH")]
    pub proc: PathBuf,
}

/// An address to listen on: `HOST:PORT`, or `:PORT` for every address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Default for Listen {
    fn default() -> Self {
        Self(SocketAddr::from((Ipv6Addr::UNSPECIFIED, AGENT_PORT)))
    }
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = match text.strip_prefix(':') {
            Some(port) => format!("[::]:{port}"),
            None => text.to_owned(),
        };
        whole.parse().map(Self).map_err(|_| "write IP:PORT, [IP]:PORT or :PORT".to_owned())
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Why the agent could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(
        "no way to the API server: {0}; inside a pod its service account serves, elsewhere KUBECONFIG"
    )]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("state folder {path}: {source}", path = path.display())]
    State { path: PathBuf, source: io::Error },
    #[error("signals can't be caught: {0}")]
    Signals(io::Error),
    #[error("{address} can't be listened on: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the CNI plugin's requests can't be served: {0}")]
    Gate(#[source] destination::Error),
    #[error("the agent's part {part} ended unexpectedly: {why}")]
    Part { part: &'static str, why: String },
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start, or when one of its parts breaks off; what it had in hand is gone on with by
/// the next agent.
pub async fn run(options: Options) -> Result<(), AgentError> {
    let client = kube::Client::try_default().await;
    let client = client.map_err(|error| AgentError::Client(Box::new(error)))?;
    tokio::fs::create_dir_all(&options.state_dir)
        .await
        .map_err(|source| AgentError::State { path: options.state_dir.clone(), source })?;
    let (end, ending) = ending();
    let mut parts = Parts::default();
    let readiness = Readiness::default();
    let (pods, changes) =
        watches::pods(client.clone(), &options.node_name, &ending, readiness.clone());
    let storages = watches::storages(client.clone(), &ending, readiness.clone());
    let (routes, moves) = watches::routes(client.clone(), &ending, readiness.clone());
    parts.add_steady("watch of pods", pods.task);
    parts.add_steady("watch of pod routes", routes.task);
    parts.add_steady("watch of storages", storages.task);
    let agent = Arc::new(Agent {
        node: options.node_name.clone(),
        namespace: options.namespace.clone(),
        state_dir: options.state_dir.clone(),
        checkpoints_dir: options.checkpoints_dir.clone(),
        runtime: Runtime::new(&options.cri_socket),
        proc: options.proc.clone(),
        pods: pods.store,
        pods_known: OnceCell::new(),
        routes: routes.store,
        checkpoints: OnceLock::new(),
        ways: OnceLock::new(),
        node_ips: options.node_ips.clone(),
        cni: destination::paths::Cni {
            configurations: options.cni_conf_dir.clone(),
            networks: options.cni_networks_dir.clone(),
        },
        storages: Storages::new(client.clone(), options.namespace.clone(), storages.store),
        metrics: Metrics::default(),
        readiness,
        events: Agent::recorder(client.clone(), &options.node_name),
        ending,
        client,
    });
    start(&mut parts, &agent, (changes, moves), &options);
    tracing::info!(node = options.node_name, "started");
    wait(parts, end, agent.ending.clone()).await
}

/// Whatever must be ready first is waited for before the first probe can be answered.
fn start(
    parts: &mut Parts,
    agent: &SharedAgent,
    (changes, moves): (watches::Changes, watches::Changes),
    options: &Options,
) {
    let wait_for = |name| agent.readiness.wait_for(name);
    let (watches, storage) = (wait_for("watches"), wait_for("storage"));
    let (runtime, socket) = (wait_for("container runtime"), wait_for("socket"));
    let listen = options.listen.0;
    let served =
        http::serve(listen, agent.readiness.clone(), agent.metrics.clone(), agent.ending.begun());
    parts.add("http", async move {
        served.await.map_err(|source| AgentError::Listen { address: listen, source })
    });
    if options.registry_port != 0 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.registry_port));
        let archives = Arc::new(NodeArchives::new(agent.clone(), options.registry_port));
        let served = registry::serve(address, archives, agent.ending.begun());
        parts.add("registry", async move {
            served.await.map_err(|source| AgentError::Listen { address, source })
        });
    }
    parts.add_steady("storages", health::run(agent.clone(), storage));
    parts.add_steady("source", source_role(agent.clone(), changes, watches));
    parts.add_steady("holds", destination::succession::run(agent.clone()));
    parts.add_steady("runtime", meet_runtime(agent.clone(), runtime));
    let gate = destination::run(agent.clone(), options.socket.clone(), moves.stream());
    parts.add("gate", async move {
        let mut gate = pin!(gate);
        let mut socket = Some(socket);
        // With its first step it waits for its socket by itself.
        let gate = poll_fn(|context| {
            let outcome = gate.as_mut().poll(context);
            socket.take();
            outcome
        });
        gate.await.map_err(AgentError::Gate)
    });
}

/// Starts once the pods are known: without them every checkpoint would look like another node's.
async fn source_role(agent: SharedAgent, changes: watches::Changes, not_yet: NotYet) {
    let known = tokio::select! {
        known = agent.knows_pods() => known,
        () = agent.ending.begun() => false,
    };
    if known {
        source::run(agent, changes.stream(), not_yet).await;
    }
}

/// The agent is ready once the runtime has answered.
async fn meet_runtime(agent: SharedAgent, not_yet: NotYet) {
    const PAUSE: Duration = Duration::from_secs(2);
    loop {
        match agent.runtime.version().await {
            Ok(runtime) => {
                tracing::info!(runtime.name, runtime.version, "container runtime");
                break;
            }
            Err(error) => tracing::warn!(%error, "container runtime"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = agent.ending.begun() => return,
        }
    }
    drop(not_yet);
    agent.ending.begun().await;
}

/// The tasks of the agent.
#[derive(Default)]
struct Parts(JoinSet<(&'static str, Result<(), AgentError>)>);

impl Parts {
    fn add(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<(), AgentError>> + Send + 'static,
    ) {
        self.0.spawn(async move { (name, part.await) });
    }

    /// A part that does not fail: it retries by itself.
    fn add_steady(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            part.await;
            (name, Ok(()))
        });
    }
}

/// Waits for a signal or a broken part, and then for the rest within the grace.
async fn wait(mut parts: Parts, end: End, ending: Ending) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Signals)?;
    let mut outcome = Ok(());
    let grace = tokio::time::sleep(Duration::MAX);
    tokio::pin!(grace);
    loop {
        let stop = tokio::select! {
            _ = terminate.recv(), if !ending.has_begun() => true,
            _ = interrupt.recv(), if !ending.has_begun() => true,
            () = &mut grace => {
                tracing::warn!("the grace is over; the work in hand is left to the next agent");
                return outcome;
            }
            part = parts.0.join_next() => match part {
                None => return outcome,
                Some(part) => {
                    let broken = broken(part, ending.has_begun());
                    let is_broken = broken.is_err();
                    outcome = outcome.and(broken);
                    is_broken && !ending.has_begun()
                }
            },
        };
        if stop {
            tracing::info!("ending; no new work is taken");
            end.begin();
            grace.as_mut().reset(tokio::time::Instant::now() + GRACE);
        }
    }
}

/// A part ends without an error only after the agent's end has begun.
fn broken(
    part: Result<(&'static str, Result<(), AgentError>), tokio::task::JoinError>,
    is_ending: bool,
) -> Result<(), AgentError> {
    match part {
        Ok((_, Ok(()))) if is_ending => Ok(()),
        Ok((part, Ok(()))) => Err(AgentError::Part { part, why: "it ended".to_owned() }),
        Ok((_, Err(error))) => Err(error),
        Err(panic) => Err(AgentError::Part { part: "task", why: panic.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        assert_eq!(":9310".parse(), Ok(Listen::default()));
        let local: Listen = "127.0.0.1:80".parse().unwrap();
        assert_eq!(local.to_string(), "127.0.0.1:80");
        assert!("nonsense".parse::<Listen>().is_err());
        assert_eq!(Listen::default().to_string().parse(), Ok(Listen::default()));
    }

    #[tokio::test]
    async fn a_part_that_ends_ends_the_agent() {
        let (end, ending) = ending();
        let mut parts = Parts::default();
        parts.add("short", async { Ok(()) });
        let until = ending.begun();
        parts.add("long", async move {
            until.await;
            Ok(())
        });
        let error = wait(parts, end, ending).await.unwrap_err();
        assert!(matches!(error, AgentError::Part { part: "short", .. }), "{error}");
    }
}
