//! What can be moved. Pure. What would lose state or be fought over is refused, by name.

use std::fmt;

use k8s_openapi::api::core::v1::{Node, Pod, Volume};

/// Annotation that names CRIU's configuration file on the nodes (runc and crun read it).
pub const CRIU_CONFIGURATION: &str = "org.criu.config";

/// Why a pod can't be moved there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    NotRunning(String),
    Ending,
    HostNetwork,
    Containers(Vec<String>),
    Volume { name: String, kind: &'static str },
    Controlled { kind: String, name: String },
    NoCriuConfiguration,
    SameNode(String),
    NodeNotReady(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(phase) => {
                write!(f, "its phase is {phase}; only what runs has something to carry")
            }
            Self::Ending => f.write_str("it is being deleted"),
            Self::HostNetwork => {
                f.write_str("it has hostNetwork: true, and with it no network of its own")
            }
            Self::Containers(names) => write!(
                f,
                "it has {} containers ({}); kubelet's checkpoint API freezes one at a time, so that \
                 several would not be one instant",
                names.len(),
                names.join(", ")
            ),
            Self::Volume { name, kind } => write!(
                f,
                "its volume {name} ({kind}) holds state of its node or may be used from one node \
                 only; move pods whose volumes are configMap, secret, downwardAPI or projected"
            ),
            Self::Controlled { kind, name } => write!(
                f,
                "{kind} {name} controls it, and would replace the source or remove the successor as \
                 one too many; move pods without a controller, or let the controller do the moving"
            ),
            Self::NoCriuConfiguration => write!(
                f,
                "it has no annotation {CRIU_CONFIGURATION}; open connections are carried only with a \
                 configuration of CRIU on the nodes that says tcp-established and network-lock \
                 nftables, and the annotation must name it when the pod is created"
            ),
            Self::SameNode(node) => write!(f, "it is on {node} already"),
            Self::NodeNotReady(node) => write!(f, "the node {node} is not ready"),
        }
    }
}

/// Judges whether a pod can be moved to a node.
///
/// # Errors
/// [`Refused`] with the first reason not to.
pub fn judge(pod: &Pod, to: &Node) -> Result<(), Refused> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    let phase = phase.unwrap_or_else(|| "Unknown".to_owned());
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(Refused::Ending);
    }
    if phase != "Running" {
        return Err(Refused::NotRunning(phase));
    }
    let Some(spec) = &pod.spec else { return Err(Refused::NotRunning(phase)) };
    if spec.host_network == Some(true) {
        return Err(Refused::HostNetwork);
    }
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let all: Vec<_> =
        spec.containers.iter().chain(sidecars).map(|container| container.name.clone()).collect();
    if all.len() != 1 {
        return Err(Refused::Containers(all));
    }
    let volumes = spec.volumes.iter().flatten();
    if let Some((name, kind)) = volumes.filter_map(|one| Some((&one.name, state(one)?))).next() {
        return Err(Refused::Volume { name: name.clone(), kind });
    }
    let mut owners = pod.metadata.owner_references.iter().flatten();
    if let Some(owner) = owners.find(|owner| owner.controller == Some(true)) {
        let (kind, name) = (owner.kind.clone(), owner.name.clone());
        return Err(Refused::Controlled { kind, name });
    }
    let annotations = pod.metadata.annotations.as_ref();
    if annotations.is_none_or(|all| !all.contains_key(CRIU_CONFIGURATION)) {
        return Err(Refused::NoCriuConfiguration);
    }
    let node = to.metadata.name.clone().unwrap_or_default();
    if spec.node_name.as_deref() == Some(node.as_str()) {
        return Err(Refused::SameNode(node));
    }
    if is_ready(to) { Ok(()) } else { Err(Refused::NodeNotReady(node)) }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// The kind of a volume that can't be made anew on another node with the same content.
fn state(volume: &Volume) -> Option<&'static str> {
    let again = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some();
    if again {
        return None;
    }
    Some(if volume.empty_dir.is_some() {
        "emptyDir"
    } else if volume.host_path.is_some() {
        "hostPath"
    } else if volume.persistent_volume_claim.is_some() {
        "persistentVolumeClaim"
    } else {
        "of another kind"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(name: &str, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn judged(change: fn(&mut Value)) -> Result<(), Refused> {
        let mut pod = json!({
            "metadata": {"name": "web", "annotations": {"org.criu.config": "/etc/criu/x.conf"}},
            "spec": {
                "nodeName": "node-a",
                "containers": [{"name": "main", "image": "web:1"}],
                "volumes": [{"name": "kube-api-access-x", "projected": {"sources": []}}],
            },
            "status": {"phase": "Running"},
        });
        change(&mut pod);
        judge(&serde_json::from_value(pod).unwrap(), &node("node-b", "True"))
    }

    #[test]
    fn a_plain_pod_can_be_moved() {
        judged(|_| {}).unwrap();
    }

    #[test]
    fn what_would_lose_state_is_refused_by_name() {
        let refused = [
            judged(|pod| pod["status"]["phase"] = json!("Pending")),
            judged(|pod| pod["spec"]["hostNetwork"] = json!(true)),
            judged(|pod| {
                pod["spec"]["containers"] = json!([{"name": "main"}, {"name": "proxy"}]);
            }),
            judged(|pod| {
                pod["spec"]["initContainers"] =
                    json!([{"name": "mesh", "restartPolicy": "Always"}]);
            }),
            judged(|pod| pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}])),
            judged(|pod| {
                pod["spec"]["volumes"] = json!([{"name": "data", "hostPath": {"path": "/data"}}]);
            }),
            judged(|pod| {
                pod["metadata"]["ownerReferences"] = json!([{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7", "uid": "u",
                    "controller": true,
                }]);
            }),
            judged(|pod| pod["metadata"]["annotations"] = json!({})),
            judged(|pod| pod["spec"]["nodeName"] = json!("node-b")),
        ];
        let words = [
            "phase is Pending",
            "hostNetwork",
            "2 containers (main, proxy)",
            "2 containers (main, mesh)",
            "volume data (emptyDir)",
            "volume data (hostPath)",
            "ReplicaSet web-7",
            "org.criu.config",
            "on node-b already",
        ];
        for (refused, words) in refused.into_iter().zip(words) {
            let told = refused.unwrap_err().to_string();
            assert!(told.contains(words), "{words}: {told}");
        }
    }

    #[test]
    fn a_node_that_is_not_ready_is_refused() {
        let pod = json!({
            "metadata": {"annotations": {"org.criu.config": "x"}},
            "spec": {"nodeName": "node-a", "containers": [{"name": "main"}]},
            "status": {"phase": "Running"},
        });
        let pod = serde_json::from_value(pod).unwrap();
        let refused = judge(&pod, &node("node-b", "Unknown")).unwrap_err();
        assert_eq!(refused, Refused::NodeNotReady("node-b".into()));
    }
}
