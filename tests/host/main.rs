//! The node's side of restored pods, with real nodes, bridges and pods.

mod flows;
#[path = "../netns/mod.rs"]
mod netns;
mod outer;
mod outer_side;
mod paths;
mod ways;
mod world;
