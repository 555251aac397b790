//! Opens the network namespace that the runtime named, from inside the agent's own container.

use std::path::{Path, PathBuf};

use super::PodNetwork;
use crate::netns::{self, Namespace};

/// Why a pod's network namespace could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    #[error(
        "the network namespace of sandbox {sandbox} can't be opened: {}; \
         the agent needs /run/netns of the node with mountPropagation HostToContainer, or hostPID",
        tried(.attempts)
    )]
    NotOpened { sandbox: String, attempts: Vec<(PathBuf, netns::Error)> },
    #[error("sandbox {sandbox} uses the node's network namespace, which belongs to no pod")]
    NodeNetwork { sandbox: String },
}

fn tried(attempts: &[(PathBuf, netns::Error)]) -> String {
    attempts.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>().join("; ")
}

/// Opens the pod's namespace; `proc` is the node's `/proc`. Blocks for some system calls only.
///
/// # Errors
/// When no way leads to it, or when it is the agent's own, which is the node's.
pub fn open(network: &PodNetwork, proc: &Path) -> Result<Namespace, NamespaceError> {
    let mut attempts = Vec::new();
    for path in candidates(network, proc) {
        match Namespace::open(&path) {
            Ok(found) if is_own(&found) => {
                return Err(NamespaceError::NodeNetwork { sandbox: network.sandbox.clone() });
            }
            Ok(found) => return Ok(found),
            Err(error) => attempts.push((path, error)),
        }
    }
    Err(NamespaceError::NotOpened { sandbox: network.sandbox.clone(), attempts })
}

fn is_own(namespace: &Namespace) -> bool {
    Namespace::current().is_ok_and(|own| own.id() == namespace.id())
}

/// The runtime's path; the same below `/run`, since a container from scratch has no link from
/// `/var/run` to it; then the sandbox's process.
fn candidates(network: &PodNetwork, proc: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some(path) = &network.path {
        paths.push(path.clone());
        if let Ok(rest) = path.strip_prefix("/var/run") {
            paths.push(Path::new("/run").join(rest));
        }
    }
    if let Some(pid) = network.pid {
        paths.push(proc.join(format!("{pid}/ns/net")));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(path: Option<&str>, pid: Option<u32>) -> PodNetwork {
        PodNetwork {
            sandbox: "s".into(),
            path: path.map(PathBuf::from),
            pid,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn every_way_is_tried_in_order() {
        let ways = candidates(&network(Some("/var/run/netns/cni-1"), Some(7)), Path::new("/proc"));
        let wanted = ["/var/run/netns/cni-1", "/run/netns/cni-1", "/proc/7/ns/net"];
        assert_eq!(ways, wanted.map(PathBuf::from));
        assert_eq!(
            candidates(&network(Some("/x"), None), Path::new("/proc")),
            [PathBuf::from("/x")]
        );
    }

    #[test]
    fn the_own_namespace_is_the_nodes() {
        let own = network(None, Some(std::process::id()));
        assert!(matches!(open(&own, Path::new("/proc")), Err(NamespaceError::NodeNetwork { .. })));
    }

    #[test]
    fn a_failure_names_every_attempt() {
        let error = open(&network(Some("/var/run/netns/there-is-none"), None), Path::new("/proc"))
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/var/run/netns/there-is-none"), "{text}");
        assert!(text.contains(" /run/netns/there-is-none"), "{text}");
    }
}
