//! From a pod to its network namespace, with a real containerd.

#[allow(dead_code, reason = "shared with other test binaries")]
mod containerd;

use std::path::PathBuf;

use containerd::Containerd;
use netckpt::pod::{Runtime, RuntimeError};

fn cache() -> PathBuf {
    std::env::var_os("NETCKPT_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/netckpt"),
        PathBuf::from,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_s_network_is_found_by_its_uid() {
    let containerd = Containerd::start(&cache());
    let runtime = Runtime::new(&containerd.socket());
    assert_eq!(runtime.version().await.unwrap().name, "containerd");

    let error = runtime.network("uid-1").await.unwrap_err();
    assert!(matches!(error, RuntimeError::NoSandbox { .. }), "{error}");

    let id = containerd.sandbox("web", "uid-1", false).await;
    containerd.sandbox("other", "uid-2", false).await;
    let network = runtime.network("uid-1").await.unwrap();
    assert_eq!(network.sandbox, id);
    assert!(network.pid.is_some());
    let path = network.path.expect("containerd tells the path");
    assert!(path.to_string_lossy().contains("/run/netns/cni-"), "{}", path.display());
    let shown = containerd.ip(&path, &["-o", "addr", "show", "dev", "eth0"]);
    assert_eq!(network.addresses.len(), 2, "{:?}", network.addresses);
    for address in &network.addresses {
        assert!(shown.contains(&format!("{address}/")), "{address} is not in {shown}");
    }

    containerd.sandbox("host", "uid-3", true).await;
    let error = runtime.network("uid-3").await.unwrap_err();
    assert!(matches!(error, RuntimeError::NodeNetwork { .. }), "{error}");

    containerd.stop(&id).await;
    let error = runtime.network("uid-1").await.unwrap_err();
    assert!(matches!(error, RuntimeError::NoSandbox { .. }), "{error}");
}
