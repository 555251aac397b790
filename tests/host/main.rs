//! The node's side of restored pods, with real nodes, bridges and pods.

#[path = "../netns/mod.rs"]
mod netns;
mod paths;
mod ways;
mod world;
