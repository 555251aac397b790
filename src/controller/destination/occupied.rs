//! Whether another pod has an address of the image: one of this node, or the captured one wherever it
//! is. The kernel can't tell: behind one bridge two pods with one address are two hosts that answer,
//! and of another node it knows nothing.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::error::RestoreError;

/// Sees that none of `pods` but the one with the UID `own` has one of the addresses. The pod `held`
/// may have them: a captured pod whose traffic is held, and that the new one takes over from.
///
/// # Errors
/// [`RestoreError::Occupied`].
pub fn free<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    addresses: &[IpAddr],
    own: &str,
    held: Option<&str>,
) -> Result<(), RestoreError> {
    for pod in pods {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        if uid == own || Some(uid) == held || !has_network(pod) {
            continue;
        }
        let ips = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
        let mut ips = ips.filter_map(|ip| ip.ip.parse::<IpAddr>().ok());
        if let Some(address) = ips.find(|ip| addresses.contains(ip)) {
            let pod = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
            return Err(RestoreError::Occupied { address, pod });
        }
    }
    Ok(())
}

/// Sees that the captured pod no longer has its addresses. `source` is the pod that has its name now;
/// with another UID than `captured` it is another pod. The pod `held` may have them.
///
/// # Errors
/// [`RestoreError::Occupied`].
pub fn moved(
    source: &Pod,
    captured: &str,
    addresses: &[IpAddr],
    own: &str,
    held: Option<&str>,
) -> Result<(), RestoreError> {
    if source.metadata.uid.as_deref() != Some(captured) {
        return Ok(());
    }
    free([source], addresses, own, held)
}

/// Whether the pod's addresses are its own and still in use.
fn has_network(pod: &Pod) -> bool {
    let host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !host && !matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodIP, PodSpec, PodStatus};

    fn pod(uid: &str, ip: &str, phase: &str, host_network: bool) -> Pod {
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.uid) = (Some(format!("pod-{uid}")), Some(uid.into()));
        pod.metadata.namespace = Some("shop".into());
        pod.spec = Some(PodSpec { host_network: Some(host_network), ..PodSpec::default() });
        let pod_ips = Some(vec![PodIP { ip: ip.into() }]);
        let phase = Some(phase.into());
        pod.status = Some(PodStatus { phase, pod_ips, ..PodStatus::default() });
        pod
    }

    #[test]
    fn who_has_the_address_is_named() {
        let address = ["10.244.1.7".parse().unwrap()];
        let taken = pod("u1", "10.244.1.7", "Running", false);
        let error = free([&taken], &address, "new", None).unwrap_err().to_string();
        assert!(error.contains("shop/pod-u1") && error.contains("10.244.1.7"), "{error}");
        free([&taken], &address, "u1", None).unwrap();
        free([&taken], &address, "new", Some("u1")).unwrap();
        let others = [
            pod("u2", "10.244.1.8", "Running", false),
            pod("u3", "10.244.1.7", "Running", true),
            pod("u4", "10.244.1.7", "Succeeded", false),
        ];
        free(&others, &address, "new", None).unwrap();
    }

    #[test]
    fn the_captured_pod_must_have_left() {
        let address = ["10.244.1.7".parse().unwrap()];
        let source = pod("u1", "10.244.1.7", "Running", false);
        let error = moved(&source, "u1", &address, "new", None).unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("shop/pod-u1"), "{error}");
        moved(&source, "u1", &address, "new", Some("u1")).unwrap();
        moved(&source, "before", &address, "new", None).unwrap();
        moved(&pod("u1", "10.244.1.7", "Succeeded", false), "u1", &address, "new", None).unwrap();
    }
}
