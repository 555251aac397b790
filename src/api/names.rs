//! Names and numbers that netckpt, its users and the node agree on.

/// API group.
pub const GROUP: &str = "netckpt.io";

/// API version.
pub const VERSION: &str = "v1alpha1";

/// Finalizer of a `NetCheckpoint` whose image or hold the agent has still to take away.
pub const FINALIZER: &str = "netckpt.io/image";

/// Pod annotation: the `NetCheckpoint` of the pod's own namespace whose network the pod gets before
/// its first container is created.
pub const RESTORE_FROM: &str = "netckpt.io/restore-from";

/// Pod annotation: an earlier `NetCheckpoint` of the same source. The pod's network is built from it at
/// once, while the source still runs, and the pod waits, silent; what has changed since comes from that of
/// `netckpt.io/restore-from`, which may be created later, before the first container is.
pub const PREPARE_FROM: &str = "netckpt.io/prepare-from";

/// Pod annotation, `Report` or `Fail` (default): whether the pod may start without what the
/// checkpoint names as not carried and what changes how the network behaves.
pub const ON_UNSUPPORTED: &str = "netckpt.io/on-unsupported";

/// Annotation of a `NetCheckpoint`: file name of the archive that kubelet's checkpoint API wrote of the
/// pod's container, as the last part of the path in its answer. The agent of the pod's node then stores
/// the archive beside the network's image.
pub const ARCHIVE: &str = "netckpt.io/archive";

/// Annotation of a `NetCheckpoint` whose source goes on running, with any value: it is the early one of a
/// pod that is to be held and captured again within two minutes. The agent keeps what it has read current
/// by what the kernel tells, so that little is left to read once the pod is silent.
pub const STAND_BY: &str = "netckpt.io/stand-by";

/// Port of the agents' registry on their nodes' loopback, for the image that a successor's container is
/// restored from.
pub const REGISTRY_PORT: u16 = 5000;

/// Pod annotation, `Held`: the successor waits, silent, from the first moment on also when its source is
/// not held yet (an early capture), and speaks once it takes over from it.
pub const TRAFFIC: &str = "netckpt.io/traffic";

/// Pod annotation, `Started` (default), `Manual` or `Live`: when a successor whose processes CRIU does not
/// restore is live: with its containers; when somebody says so, by `Live` in the place of `Manual` or by
/// `netckpt release` on its node; now.
pub const RELEASE: &str = "netckpt.io/release";

/// Pod condition: the pod's network was rebuilt from the `NetCheckpoint` and verified.
pub const NETWORK_RESTORED: &str = "netckpt.io/NetworkRestored";

/// Protocol number (`rtm_protocol` of `linux/rtnetlink.h`, above `RTPROT_STATIC`) of the routes that
/// agents make on nodes, so that they know their own and take nobody else's away.
pub const ROUTE_PROTOCOL: u8 = 78;

/// The agent's unix socket on the node.
pub const AGENT_SOCKET: &str = "/run/netckpt/agent.sock";

/// TCP port of the agent's health and metrics.
pub const AGENT_PORT: u16 = 9310;
