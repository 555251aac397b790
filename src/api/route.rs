//! `PodRoute`: on which node the addresses of a restored pod are.

#![allow(
    clippy::duplicated_attributes,
    reason = "printer columns are repeated attributes of a derive, which the lint can't tell from mistakes"
)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Where a pod with kept addresses is. The agent of that node writes it when the pod's network is
/// rebuilt; those of all nodes lead there; it goes with its pod.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "netckpt.io",
    version = "v1alpha1",
    kind = "PodRoute",
    plural = "podroutes",
    shortname = "podroute",
    category = "netckpt",
    namespaced,
    derive = "PartialEq",
    doc = "PodRoute tells all nodes on which of them the addresses of a restored pod are. Agents write and follow it; it goes with its pod.",
    selectable = ".spec.nodeName",
    printcolumn(
        name = "Pod",
        type_ = "string",
        json_path = ".spec.podName",
        description = "Pod that has the addresses."
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".spec.nodeName",
        description = "Node of the pod."
    ),
    printcolumn(
        name = "Addresses",
        type_ = "string",
        json_path = ".spec.addresses",
        description = "Addresses that lead there."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Sequence",
        type_ = "integer",
        json_path = ".spec.sequence",
        description = "Of several for one address the highest counts.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PodRouteSpec {
    /// UID of the pod, which is the name of this object as well.
    #[serde(rename = "podUID")]
    #[schemars(length(min = 1, max = 64))]
    pub pod_uid: String,

    /// Name of the pod.
    #[schemars(length(min = 1, max = 253))]
    pub pod_name: String,

    /// Node of the pod.
    #[schemars(length(min = 1, max = 253))]
    pub node_name: String,

    /// InternalIPs of that node: the next hop of nodes on the same link.
    #[serde(rename = "nodeIPs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 64)))]
    pub node_ips: Vec<String>,

    /// Addresses of that node's own pod range. Where a node has a route to them (through a tunnel,
    /// for example), the pod is led to the same way.
    #[serde(rename = "rangeIPs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 64)))]
    pub range_ips: Vec<String>,

    /// Addresses of the pod that lead there: those that Kubernetes knew the captured pod by.
    #[schemars(length(min = 1, max = 16), inner(length(max = 64)))]
    pub addresses: Vec<String>,

    /// Hardware address of the pod's interface, for neighbours on the link that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub mac: Option<String>,

    /// Of several for one address the highest counts: each move takes the next number.
    #[schemars(range(min = 1))]
    pub sequence: i64,
}
