//! Holds of real pods, seen on the wire by the one who talks to them.

#[path = "../netns/mod.rs"]
mod netns;

mod locks;
mod silence;
mod successors;
mod times;
mod world;
