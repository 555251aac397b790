//! The source role end to end but for kubelet: a real API server, a real containerd with real
//! sandboxes, the real agent, real stores. Pods are objects whose sandbox the test asks for itself.

#[allow(dead_code, reason = "shared with other test binaries")]
#[path = "../apiserver/mod.rs"]
mod apiserver;
#[allow(dead_code, reason = "shared with other test binaries")]
#[path = "../containerd/mod.rs"]
mod containerd;

mod course;
mod deletion;
mod holds;
mod refusals;
mod restarts;
mod stores;
mod world;
