//! `NetCheckpoint`: the wish to have one pod's network as an image.

#![allow(
    clippy::duplicated_attributes,
    reason = "printer columns are repeated attributes of a derive, which the lint can't tell from mistakes"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::NetCheckpointStatus;

/// Seconds until a checkpoint that is not completed fails, unless the spec says otherwise.
pub const DEFAULT_TIMEOUT_SECONDS: i32 = 60;

/// Seconds until a held pod is released, unless the spec says otherwise.
pub const DEFAULT_HOLD_TIMEOUT_SECONDS: i32 = 60;

/// What is asked for. All but `traffic` and `deletionPolicy` is fixed from the creation on.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "netckpt.io",
    version = "v1alpha1",
    kind = "NetCheckpoint",
    plural = "netcheckpoints",
    shortname = "nckpt",
    category = "all",
    category = "netckpt",
    namespaced,
    status = "NetCheckpointStatus",
    derive = "PartialEq",
    doc = "NetCheckpoint asks for the network of a running pod of its own namespace as an image in an object store, and tells how that went. A pod with the annotation netckpt.io/restore-from gets that network back.",
    selectable = ".spec.sourcePodName",
    selectable = ".status.nodeName",
    printcolumn(
        name = "Pod",
        type_ = "string",
        json_path = ".spec.sourcePodName",
        description = "Pod whose network is captured."
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".status.nodeName",
        description = "Node whose agent does the work."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the image is stored and can be restored from."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Reason of the condition Ready."
    ),
    printcolumn(
        name = "Size",
        type_ = "integer",
        json_path = ".status.image.sizeBytes",
        description = "Bytes of the image."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Held",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Held\")].status",
        description = "Whether the source's traffic is held.",
        priority = 1
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.image.digest",
        description = "SHA-256 of the image.",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "Message of the condition Ready.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.sourcePodUID) == has(oldSelf.sourcePodUID)")
        .message("sourcePodUID can't be added or removed later: create another NetCheckpoint"),
    validation = Rule::new("has(self.storageName) == has(oldSelf.storageName)")
        .message("storageName can't be added or removed later: create another NetCheckpoint")
)]
pub struct NetCheckpointSpec {
    /// Name of the pod, in the namespace of this object. It must run, and not on the host's network.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("sourcePodName is fixed: create another NetCheckpoint for another pod"),
        validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()")
            .message("sourcePodName must be the name of a pod: lower-case letters, digits, '-' and '.'")
    )]
    pub source_pod_name: String,

    /// UID of the pod. When given, another pod of that name (one made anew by its controller) is
    /// refused with the reason SourcePodReplaced.
    #[serde(rename = "sourcePodUID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("sourcePodUID is fixed: create another NetCheckpoint for another incarnation of the pod"))]
    pub source_pod_uid: Option<String>,

    /// NetCheckpointStorage that keeps the image; without it the one that is marked as default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("storageName is fixed: create another NetCheckpoint to store the image elsewhere"))]
    pub storage_name: Option<String>,

    /// Held keeps the pod's traffic off from before the capture on, until this is set to Running, the
    /// object is deleted, or holdTimeoutSeconds are over. It no longer ends once a successor is live
    /// or the pod is being deleted. A hold that is not in force fails the checkpoint before anything
    /// is captured.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf || self == 'Running'")
        .message("traffic can only go from Held to Running, which releases the pod: to hold it, create another NetCheckpoint with traffic: Held"))]
    pub traffic: Traffic,

    /// Seconds from the hold on after which the kernel releases the pod's traffic by itself, whatever
    /// happens to agents and controllers.
    #[serde(default = "default_hold_timeout_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("holdTimeoutSeconds is fixed: set traffic: Running to release the pod earlier"))]
    pub hold_timeout_seconds: i32,

    /// Seconds from the creation of this object on after which a checkpoint that is not completed
    /// fails with the reason TimedOut.
    #[serde(default = "default_timeout_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("timeoutSeconds is fixed: create another NetCheckpoint with the time it needs"))]
    pub timeout_seconds: i32,

    /// What to do when the pod's network holds something that can't be carried: name it in
    /// status.notCarried and go on, or fail with the reason NotCarried.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("onUnsupported is fixed: create another NetCheckpoint with the policy you want"))]
    pub on_unsupported: OnUnsupported,

    /// What becomes of the image when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl NetCheckpointSpec {
    /// The spec that the API server makes of a bare pod name.
    #[must_use]
    pub fn of_pod(name: impl Into<String>) -> Self {
        Self {
            source_pod_name: name.into(),
            source_pod_uid: None,
            storage_name: None,
            traffic: Traffic::default(),
            hold_timeout_seconds: DEFAULT_HOLD_TIMEOUT_SECONDS,
            timeout_seconds: DEFAULT_TIMEOUT_SECONDS,
            on_unsupported: OnUnsupported::default(),
            deletion_policy: DeletionPolicy::default(),
        }
    }
}

/// What the source's traffic does from the capture on.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// Flows.
    #[default]
    Running,
    /// Is held: no frame enters or leaves the pod.
    Held,
}

/// What to do with state that can't be carried.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnsupported {
    /// Name it and go on.
    #[default]
    Report,
    /// Name it and fail.
    Fail,
}

/// What becomes of an image whose object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It is deleted from the store.
    #[default]
    Delete,
    /// It stays in the store.
    Retain,
}

fn default_hold_timeout_seconds() -> i32 {
    DEFAULT_HOLD_TIMEOUT_SECONDS
}

fn default_timeout_seconds() -> i32 {
    DEFAULT_TIMEOUT_SECONDS
}
