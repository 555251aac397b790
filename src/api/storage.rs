//! `NetCheckpointStorage`: where images are kept. Only it knows a URL or a credential.

#![allow(
    clippy::duplicated_attributes,
    reason = "printer columns are repeated attributes of a derive, which the lint can't tell from mistakes"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object store: one of its kinds, named by `type`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "netckpt.io",
    version = "v1alpha1",
    kind = "NetCheckpointStorage",
    plural = "netcheckpointstorages",
    shortname = "nckptstorage",
    category = "netckpt",
    status = "NetCheckpointStorageStatus",
    derive = "PartialEq",
    doc = "NetCheckpointStorage is an object store for the images of NetCheckpoints.",
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = ".spec.type",
        description = "Kind of store."
    ),
    printcolumn(
        name = "Default",
        type_ = "boolean",
        json_path = ".spec.isDefault",
        description = "Whether NetCheckpoints without a storageName use it."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether agents reach it."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Reason of the condition Ready."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Bucket",
        type_ = "string",
        json_path = ".spec.s3.bucket",
        description = "Bucket of an S3 store.",
        priority = 1
    ),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".spec.s3.endpoint",
        description = "Endpoint of an S3 store.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'S3') == has(self.s3)")
        .message("s3 must be set when type is S3, and only then"),
    validation = Rule::new("(self.type == 'File') == has(self.file)")
        .message("file must be set when type is File, and only then")
)]
pub struct NetCheckpointStorageSpec {
    /// Which kind of store it is; the field of that name says where it is.
    #[serde(rename = "type")]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("type is fixed: images would be lost from sight; create another NetCheckpointStorage"))]
    pub type_: StorageType,

    /// Whether NetCheckpoints without a storageName use it. Mark one at most.
    #[serde(default)]
    pub is_default: bool,

    /// An S3 bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,

    /// A folder, the same on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStorage>,
}

/// Kind of store.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageType {
    /// An S3 endpoint over HTTP.
    S3,
    /// Files.
    File,
}

/// An S3 bucket, at AWS or at any endpoint that speaks its protocol and honours conditional puts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.prefix) == has(oldSelf.prefix)")
    .message("prefix can't be added or removed later: images would be lost from sight; create another NetCheckpointStorage"))]
#[x_kube(validation = Rule::new(
    "!has(self.endpoint) || !self.endpoint.startsWith('http://') || (has(self.allowHTTP) && self.allowHTTP)")
    .message("endpoint is http://, which sends images and signatures unencrypted: use https:// or set allowHTTP: true"))]
pub struct S3Storage {
    /// Name of the bucket. It must exist.
    #[schemars(length(min = 3, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("bucket is fixed: images would be lost from sight; create another NetCheckpointStorage"))]
    pub bucket: String,

    /// Put before every key, without slashes at its ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("prefix is fixed: images would be lost from sight; create another NetCheckpointStorage"),
        validation = Rule::new("!self.startsWith('/') && !self.endsWith('/')")
            .message("prefix must not begin or end with a slash")
    )]
    pub prefix: Option<String>,

    /// URL of the endpoint; without it AWS's own for the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && (self.startsWith('https://') || self.startsWith('http://'))")
        .message("endpoint must be a URL that begins with https:// or http://"))]
    pub endpoint: Option<String>,

    /// Region that requests are signed for.
    #[serde(default = "default_region")]
    #[schemars(length(min = 1, max = 64))]
    pub region: String,

    /// Whether an endpoint without TLS may be used.
    #[serde(rename = "allowHTTP", default)]
    pub allow_http: bool,

    /// Secret with accessKeyID, secretAccessKey and, for temporary credentials, sessionToken.
    /// Without it the agent signs with what its own environment gives: AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY, a web identity token, or the credentials of its container or machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Certificates in PEM that the endpoint's own is checked against, beside the well-known ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')")
        .message("caBundle must hold certificates in PEM (-----BEGIN CERTIFICATE-----)"))]
    pub ca_bundle: Option<String>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

/// A folder of the nodes: one machine's own in tests, a shared file system elsewhere.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FileStorage {
    /// Path of the folder, as the agents see it.
    #[schemars(length(min = 2, max = 1024))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("path is fixed: images would be lost from sight; create another NetCheckpointStorage"),
        validation = Rule::new("self.startsWith('/') && !self.split('/').exists(part, part == '..')")
            .message("path must be absolute and without '..'")
    )]
    pub path: String,
}

/// A Secret.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace; without it the agents' own, which is the only one that they may read unless
    /// a Role of yours says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What agents found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetCheckpointStorageStatus {
    /// Generation of the spec that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready tells whether the agents reach the store and may write to it; written by the agent
    /// that sees it change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
