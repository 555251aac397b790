//! What makes "before the pod resumes" true: a chained CNI plugin in last place (but
//! for those that need the restored addresses, see [`conflist`]), and the agent's
//! unix socket behind it.
//!
//! ```text
//! kubelet ─► runtime ─► bridge, ptp, … ─► netckpt-cni ─► prevResult, as it came     (no annotation)
//!                                             │
//!                                             └─► agent's socket ─► rebuild, verify ─► result with
//!                                                                                the restored addresses
//! ```
//!
//! The runtime creates a pod's containers only when the whole chain has answered, so what ADD has
//! not finished, no container sees. Sources: CNI specification 1.1.0; containerd's `internal/cri`.

pub mod attachment;
mod client;
pub mod cni;
pub mod conflist;
pub mod install;
pub mod plugin;
pub mod protocol;
mod result;
pub mod server;

pub use crate::api::{AGENT_SOCKET as SOCKET, RESTORE_FROM};

/// Name of the plugin: its file in the CNI folder and its `type` in a conflist.
pub const PLUGIN: &str = "netckpt-cni";
/// The capability through which a runtime hands all annotations of a pod to a plugin.
pub const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";
