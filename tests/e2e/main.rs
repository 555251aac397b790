//! On the real two-node cluster with the agents that the chart installed (`tests/cluster/up.sh` and
//! `deploy.sh`): what a user sees with kubectl. One file per behaviour.

#[path = "../programs/mod.rs"]
mod programs;
#[path = "../criu/wire.rs"]
mod wire;

mod agent_dies;
mod checkpoint;
mod deletion;
mod hold;
mod lab;
mod migrate;
mod paths;
mod places;
mod pods;
mod restored;
mod storages;
mod traffic;
mod turns;
