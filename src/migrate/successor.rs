//! The pod that goes on: the source's spec, on another node, from the checkpoint. Pure.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{PREPARE_FROM, RESTORE_FROM};

/// Annotation of a successor: the pod that it goes on for, by name.
pub const MOVED_FROM: &str = "netckpt.io/moved-from";

/// Volumes that the API server's admission gives every pod anew.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// What makes it another pod.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub name: &'a str,
    pub node: &'a str,
    /// The NetCheckpoint.
    pub checkpoint: &'a str,
    /// An earlier one, that its network is prepared from.
    pub earlier: Option<&'a str>,
    /// The image that its container is restored from.
    pub image: &'a str,
}

/// The successor of a pod with one container.
#[must_use]
pub fn successor(source: &Pod, place: &Place<'_>) -> Pod {
    let mut annotations = source.metadata.annotations.clone().unwrap_or_default();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    annotations.insert(RESTORE_FROM.to_owned(), place.checkpoint.to_owned());
    annotations.remove(PREPARE_FROM);
    if let Some(earlier) = place.earlier {
        annotations.insert(PREPARE_FROM.to_owned(), earlier.to_owned());
    }
    let from = source.metadata.name.clone().unwrap_or_default();
    annotations.insert(MOVED_FROM.to_owned(), from);
    let metadata = ObjectMeta {
        name: Some(place.name.to_owned()),
        namespace: source.metadata.namespace.clone(),
        labels: source.metadata.labels.clone(),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    let spec = source.spec.clone().map(|spec| PodSpec {
        // The process that is carried knows its host name, and may ask for it again.
        hostname: spec.hostname.clone().or_else(|| host_name(source)),
        ..on(spec, place)
    });
    Pod { metadata, spec, status: None }
}

fn on(mut spec: PodSpec, place: &Place<'_>) -> PodSpec {
    spec.node_name = Some(place.node.to_owned());
    // What has run once has left its mark on the process that is carried.
    spec.init_containers = None;
    spec.ephemeral_containers = None;
    let is_token = |name: &str| name.starts_with(TOKEN_VOLUME);
    if let Some(volumes) = &mut spec.volumes {
        volumes.retain(|volume| !is_token(&volume.name));
    }
    for container in &mut spec.containers {
        container.image = Some(place.image.to_owned());
        // The image is this one checkpoint's; nothing that the node has may stand in for it.
        container.image_pull_policy = Some("Always".to_owned());
        if let Some(mounts) = &mut container.volume_mounts {
            mounts.retain(|mount| !is_token(&mount.name));
        }
    }
    spec
}

/// What kubelet makes of the source's name.
fn host_name(source: &Pod) -> Option<String> {
    let name = source.metadata.name.as_deref()?;
    let label = name.len() <= 63 && !name.contains('.');
    label.then(|| name.to_owned())
}

/// A name for the successor, while the source has its own: the name before the first move, and a few
/// letters of the checkpoint's.
#[must_use]
pub fn successor_name(source: &Pod, mark: &str) -> String {
    /// Longest name of a pod that is a host name as well.
    const LONGEST: usize = 63;
    let name = source.metadata.name.clone().unwrap_or_default();
    let moved =
        source.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MOVED_FROM));
    let base = match name.rsplit_once('-') {
        Some((base, _)) if moved => base,
        _ => name.as_str(),
    };
    let room = LONGEST.saturating_sub(mark.len() + 1);
    let base = base.get(..room).unwrap_or(base).trim_end_matches(['-', '.']);
    format!("{base}-{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source() -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7",
                "labels": {"app": "web"}, "annotations": {"org.criu.config": "/etc/criu/x.conf"},
            },
            "spec": {
                "nodeName": "node-a", "serviceAccountName": "default",
                "initContainers": [{"name": "setup", "image": "setup:1"}],
                "containers": [{
                    "name": "main", "image": "web:1", "imagePullPolicy": "IfNotPresent",
                    "env": [{"name": "A", "value": "b"}],
                    "volumeMounts": [
                        {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                        {"name": "config", "mountPath": "/etc/web"},
                    ],
                }],
                "volumes": [
                    {"name": "kube-api-access-x", "projected": {"sources": []}},
                    {"name": "config", "configMap": {"name": "web"}},
                ],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        }))
        .unwrap()
    }

    #[test]
    fn it_is_the_same_pod_in_another_place() {
        let image = "localhost:5000/shop/web-move:u";
        let place =
            Place { name: "web-x", node: "node-b", checkpoint: "web-move", earlier: None, image };
        let pod = serde_json::to_value(successor(&source(), &place)).unwrap();
        assert_eq!(pod["metadata"]["annotations"]["netckpt.io/restore-from"], "web-move");
        assert_eq!(pod["metadata"]["annotations"]["org.criu.config"], "/etc/criu/x.conf");
        assert_eq!(pod["metadata"]["labels"]["app"], "web");
        for own in ["uid", "resourceVersion"] {
            assert!(pod["metadata"].get(own).is_none(), "{own}");
        }
        assert!(pod.get("status").is_none() && pod["spec"].get("initContainers").is_none());
        assert_eq!(pod["spec"]["nodeName"], "node-b");
        assert_eq!(pod["spec"]["hostname"], "web");
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["image"], image);
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["env"][0]["name"], "A");
        assert_eq!(container["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn names_do_not_grow_with_each_move() {
        let mut pod = source();
        assert_eq!(successor_name(&pod, "x7"), "web-x7");
        pod.metadata.name = Some("web-x7".into());
        pod.metadata.annotations.get_or_insert_default().insert(MOVED_FROM.into(), "web".into());
        assert_eq!(successor_name(&pod, "y8"), "web-y8");
        pod.metadata.name = Some(format!("{}-x7", "w".repeat(80)));
        assert!(successor_name(&pod, "y8").len() <= 63);
    }
}
