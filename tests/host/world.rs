//! Nodes, bridges and pods.

use std::net::IpAddr;

use netckpt::host::{Attached, Error, Pod, Way, Ways};

use crate::netns::Ns;

/// Two nodes on a wire. Each has the bridge `cni0` with a pod range of its own, as the CNI plugin
/// `bridge` makes it, and knows the way to the other's range.
pub struct Nodes {
    pub a: Ns,
    pub b: Ns,
}

impl Nodes {
    pub fn new(label: &str) -> Self {
        let nodes = Self { a: Ns::new(&format!("{label}-a")), b: Ns::new(&format!("{label}-b")) };
        nodes.a.ip(&format!("link add eth0 type veth peer name eth0 netns {}", nodes.b.name()));
        for (node, own, other) in [(&nodes.a, 1, 2), (&nodes.b, 2, 1)] {
            // Duplicate detection takes a second, and says nothing about what is tested.
            node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
                     net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0");
            node.ip(&format!(
                "link set lo up
                 addr add 192.168.77.{own}/24 dev eth0
                 addr add fd77::{own}/64 dev eth0 nodad
                 link set eth0 up
                 link add cni0 type bridge
                 addr add 10.244.{own}.1/24 dev cni0
                 addr add fd00:{own}::1/64 dev cni0 nodad
                 link set cni0 up
                 route add 10.244.{other}.0/24 via 192.168.77.{other}
                 route add fd00:{other}::/64 via fd77::{other}"
            ));
        }
        nodes
    }
}

/// A pod on `node` with the address of `range` and `host`, and the range's gateway.
pub fn pod(node: &Ns, label: &str, range: u8, host: u8) -> Ns {
    pod_behind(node, label, range, host, &format!("veth{range}{host}"))
}

/// As [`pod`], behind an outer end of this name.
pub fn pod_behind(node: &Ns, label: &str, range: u8, host: u8, outer: &str) -> Ns {
    let pod = Ns::new(label);
    pod.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    node.ip(&format!(
        "link add {outer} type veth peer name eth0 netns {}
         link set {outer} master cni0
         link set {outer} up",
        pod.name()
    ));
    pod.ip(&format!(
        "link set lo up
         link set eth0 up
         addr add 10.244.{range}.{host}/24 dev eth0
         addr add fd00:{range}::{host}/64 dev eth0 nodad
         route add default via 10.244.{range}.1
         route add default via fd00:{range}::1"
    ));
    pod
}

/// What Kubernetes knew the pods here by.
pub fn pod_ips() -> Vec<IpAddr> {
    let all = ["10.244.1.7", "10.244.1.8", "fd00:1::7", "fd00:1::8"];
    all.iter().map(|ip| ip.parse().unwrap()).collect()
}

/// As the agent does it, on a thread in the node's namespace.
pub fn attach(node: &Ns, ways: &Ways, pod: &Ns, container: &str) -> Result<Attached, Error> {
    let netns = pod.open();
    let pod_ips = pod_ips();
    let way = Way {
        container_id: container,
        interface: "eth0",
        pod: Pod::default(),
        netns: &netns,
        path: pod.path(),
        pod_ips: &pod_ips,
        bridge: None,
        range: &[],
    };
    node.open().run(|| ways.attach(&way)).unwrap()
}

pub fn inside<T: Send>(node: &Ns, work: impl FnOnce() -> T + Send) -> T {
    node.open().run(work).unwrap()
}

#[track_caller]
pub fn reaches(from: &Ns, to: &str) {
    let ping = from.try_run(&["ping", "-n", "-q", "-c", "1", "-W", "2", to]);
    assert!(ping.is_ok(), "{} does not reach {to}: {ping:?}", from.name());
}

/// What of the node could have been changed.
pub fn state(node: &Ns) -> String {
    node.sh(
        "(ip -4 route; ip -6 route) | grep -v '^fe80\\|^multicast' | sed 's, linkdown,,'; ip -o addr show | grep -v ': veth' | sed 's/valid_lft.*//; s/ tentative//'
         ip -4 neigh show proxy; ip -6 neigh show proxy
         sysctl net.ipv4.conf.cni0.proxy_arp net.ipv4.neigh.cni0.proxy_delay \
                net.ipv6.conf.cni0.proxy_ndp net.ipv6.neigh.cni0.proxy_delay",
    )
}

/// The nodes and a client of neither on one switch.
pub struct Lan {
    pub a: Ns,
    pub b: Ns,
    pub client: Ns,
    _switch: Ns,
}

impl Lan {
    pub fn new(label: &str) -> Self {
        let switch = Ns::new(&format!("{label}-switch"));
        switch.ip("link add br0 type bridge mcast_snooping 0\nlink set br0 up");
        let [a, b, client] = [("a", 1), ("b", 2), ("client", 9)].map(|(name, own)| {
            let machine = Ns::new(&format!("{label}-{name}"));
            switch.ip(&format!(
                "link add to-{name} type veth peer name eth0 netns {}\nlink set to-{name} master br0 up",
                machine.name()
            ));
            machine.sh(
                "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
                        net.ipv6.conf.eth0.accept_dad=0",
            );
            machine.ip(&format!(
                "link set lo up
                 addr add 192.168.77.{own}/24 dev eth0
                 addr add fd77::{own}/64 dev eth0 nodad
                 link set eth0 up"
            ));
            machine
        });
        for (node, own) in [(&a, 1), (&b, 2)] {
            node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
            // As the plugin `bridge` does, it fixes the bridge's address: without that it is the lowest
            // of its ports' and changes as they come and go.
            node.ip(&format!(
                "link add cni0 address 02:00:00:00:0{own}:01 type bridge
                 addr add 10.244.{own}.1/24 dev cni0
                 addr add fd00:{own}::1/64 dev cni0 nodad
                 link set cni0 up"
            ));
        }
        for (from, ranges) in [(&a, &[2][..]), (&b, &[1]), (&client, &[1, 2])] {
            for range in ranges {
                from.ip(&format!(
                    "route add 10.244.{range}.0/24 via 192.168.77.{range}
                     route add fd00:{range}::/64 via fd77::{range}"
                ));
            }
        }
        Self { a, b, client, _switch: switch }
    }
}
