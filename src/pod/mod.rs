//! From a pod to its network namespace: the container runtime is asked over its CRI socket, and
//! `/proc` serves where the runtime's path can't be opened from here.

mod cri;
mod namespace;
mod runtime;

pub use namespace::{NamespaceError, open};
pub use runtime::{Runtime, RuntimeError, RuntimeInfo};

use std::net::IpAddr;
use std::path::PathBuf;

/// Where a pod's network is, as the runtime tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNetwork {
    /// The sandbox's id.
    pub sandbox: String,
    /// Path of the network namespace as the runtime knows it (in the node's mount namespace), for
    /// example `/var/run/netns/cni-…`. `None` where the runtime doesn't tell.
    pub path: Option<PathBuf>,
    /// The sandbox's process (the pause container), in the node's PID namespace.
    pub pid: Option<u32>,
    /// The addresses that CNI answered, the first one first.
    pub addresses: Vec<IpAddr>,
}
