//! netckpt checkpoints and restores the network of a Kubernetes pod: the namespace that the pod
//! lives in and the host end of its veth pairs.
//!
//! The data goes one way: [`capture`] reads a namespace into a [`image::Snapshot`], [`image`] packs
//! it, [`store`] keeps it, [`plan`] turns two snapshots into steps, and [`restore`] applies them and
//! verifies the outcome. [`state`] holds what is known of each class of objects, as tables.
//! `docs/architecture.md` tells the reason for each room.

pub mod agent;
pub mod api;
pub mod archive;
pub mod capture;
pub mod cli;
pub mod controller;
pub mod gate;
pub mod hold;
pub mod host;
pub mod http;
pub mod image;
pub mod migrate;
pub mod netlink;
pub mod netns;
pub mod plan;
pub mod pod;
pub mod registry;
pub mod restore;
pub mod state;
pub mod store;
