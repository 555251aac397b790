//! Where clients are: in a pod beside the one that moves, in one on the other node, outside of the
//! cluster. Programs of this machine run there in the place's network.

use std::process::Command;

use crate::lab::{Namespace, on_node, run_folder};
use crate::migrate::{INTERFACE, MACHINE, addresses};
use crate::programs::{Client, traffic};
use crate::wire::Wire;

pub struct Place {
    /// Path of its network namespace.
    netns: String,
}

impl Place {
    /// The machine that is no part of the cluster (`tests/cluster/topology.sh`).
    pub fn outside() -> Self {
        Self { netns: format!("/run/netns/{MACHINE}") }
    }

    /// A new pod.
    pub fn pod(namespace: &Namespace, name: &str, node: &str) -> Self {
        namespace.pod(name, node, "true");
        let ips = addresses(&namespace.running(name));
        let netns = format!("/proc/{}/root{}", init(node), netns(node, &ips[0]));
        Self { netns }
    }

    pub fn client(&self, arguments: &[String]) -> Client {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns)).arg(traffic()).args(arguments);
        Client::start(&mut command)
    }

    pub fn ping(&self, address: &str) -> bool {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns));
        command.args(["ping", "-c", "1", "-W", "2", address]);
        command.output().is_ok_and(|output| output.status.success())
    }

    pub fn wire(&self) -> Wire {
        Wire::tap(&self.netns, INTERFACE)
    }
}

/// The namespace of the pod with this address, as its node names it.
pub fn netns(node: &str, address: &str) -> String {
    let script = format!(
        "for ns in /run/netns/*; do \
         nsenter --net=$ns ip -o addr show dev eth0 | grep -q ' {address}/' && echo $ns && exit; \
         done; exit 1"
    );
    on_node(node, &["sh", "-c", &script]).trim().to_owned()
}

/// A node's PID 1, seen from here (`tests/cluster/machines.sh`).
fn init(node: &str) -> String {
    let file = run_folder().join("pids").join(format!("{node}.machine"));
    let text = std::fs::read_to_string(file).expect("the machine is up");
    let holder = text.split_whitespace().next().expect("its holder");
    let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children"));
    let children = children.expect("the holder lives");
    children.split_whitespace().next().expect("it has PID 1").to_owned()
}
