//! The pods that are measured, made with the ecosystem's tools.

use std::fmt::Write;

use netckpt::netlink::{Protocol, Socket};

use crate::netns::Pair;
use crate::netns::flows::udp;

/// What is in a pod beside lo and one veth.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub name: &'static str,
    /// Beside the two default routes and those of the links.
    pub routes: u32,
    pub rules: u32,
    pub elements: u32,
    pub flows: u32,
}

pub const SMALL: Size = Size { name: "small", routes: 0, rules: 0, elements: 0, flows: 0 };
pub const TYPICAL: Size = Size { name: "typical", routes: 1, rules: 20, elements: 0, flows: 0 };
pub const BIG: Size =
    Size { name: "big", routes: 1_000, rules: 2_000, elements: 10_000, flows: 5_000 };

impl Size {
    /// A part of it, in percent.
    pub fn part(self, name: &'static str, percent: u32) -> Self {
        let part = |of: u32| of * percent / 100;
        Self {
            name,
            routes: part(self.routes),
            rules: part(self.rules),
            elements: part(self.elements),
            flows: part(self.flows),
        }
    }

    pub fn objects(self) -> u32 {
        self.routes + self.rules + self.elements + self.flows
    }

    /// For `ip -batch` inside, after the veth is there.
    pub fn ip(self) -> String {
        let mut lines = String::from(
            "link set lo up\nlink set eth0 up\naddr add 10.61.0.2/24 dev eth0\n\
             addr add fd61::2/64 dev eth0 nodad\nroute add default via 10.61.0.1\n\
             route add default via fd61::1\n",
        );
        for n in 0..self.routes {
            let (high, low) = (n / 250, n % 250);
            let _ = writeln!(lines, "route add 10.{}.{low}.0/24 via 10.61.0.1", 100 + high);
        }
        lines
    }

    /// For `ip -batch` on the node.
    pub fn node(self, pod: &str) -> String {
        format!(
            "link add veth0 type veth peer name eth0 netns {pod}\nlink set lo up\n\
             addr add 10.61.0.1/24 dev veth0\naddr add fd61::1/64 dev veth0 nodad\n\
             link set veth0 up\n"
        )
    }

    /// For `nft -f`; empty where there are no rules.
    pub fn nft(self) -> String {
        let mut text = String::new();
        if self.rules == 0 {
            return text;
        }
        text.push_str("table inet filter {\n");
        if self.elements > 0 {
            text.push_str(" set blocked {\n  type ipv4_addr\n  elements = {\n");
            for n in 0..self.elements {
                let _ = writeln!(text, "   172.{}.{}.{},", 16 + n / 62_500, n / 250 % 250, n % 250);
            }
            text.push_str("  }\n }\n");
        }
        text.push_str(" chain input {\n  type filter hook input priority filter; policy accept;\n");
        for n in 0..self.rules {
            let _ = writeln!(text, "  tcp dport {} counter accept", 1_000 + n);
        }
        text.push_str(" }\n}\n");
        text
    }

    /// Makes it.
    pub fn make(self) -> Pair {
        let pair = Pair::bare(self.name);
        pair.pod.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
        pair.node.ip(&self.node(pair.pod.name()));
        pair.pod.ip(&self.ip());
        let nft = self.nft();
        if !nft.is_empty() {
            let file = tempfile::NamedTempFile::new().expect("a file for nft -f");
            std::fs::write(file.path(), nft).expect("rules for nft -f");
            pair.pod.run(&["nft", "-f", file.path().to_str().expect("a path in UTF-8")]);
        }
        self.flow(&pair);
        pair
    }

    /// Entries of connection tracking: `conntrack -I` would start a process for each.
    fn flow(self, pair: &Pair) {
        if self.flows == 0 {
            return;
        }
        let messages: Vec<_> = (0..self.flows).map(entry).collect();
        let refused = pair.pod.open().run(|| {
            let mut socket = Socket::open(Protocol::Netfilter).expect("a socket");
            socket.batch(messages.iter().map(Vec::as_slice)).expect("entries")
        });
        let refused = refused.expect("inside");
        assert!(refused.is_empty(), "{:?}", refused.first());
    }
}

fn entry(number: u32) -> Vec<u8> {
    udp([10, 61, 0, 2], [10, 62, (number >> 8) as u8, number as u8])
}
