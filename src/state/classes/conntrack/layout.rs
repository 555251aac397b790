//! Layouts that entries and expectations share (`linux/netfilter/nfnetlink_conntrack.h`). Numbers are
//! in network byte order.

use crate::state::Value;
use crate::state::classes::families::{FAMILY, shown};
use crate::state::table::{Attr, Fate, Field, Lifetime, Shape};

pub const NFGENMSG: &[Field] = &[
    Field::new("family", 0, FAMILY, Fate::Keep),
    Field::new("version", 1, Shape::U8, Fate::Keep),
    Field::new("res_id", 2, Shape::Be16, Fate::Zero),
];

/// Whole seconds. What ends in transit has ended: it is made no more.
pub const SECONDS: Lifetime = Lifetime { per_second: 1, forever: u32::MAX, least: 0 };

/// IANA's numbers of the protocols that the kernel tracks by more than their addresses.
pub const ICMP: u64 = 1;
pub const TCP: u64 = 6;
pub const UDP: u64 = 17;
pub const DCCP: u64 = 33;
pub const GRE: u64 = 47;
pub const ICMPV6: u64 = 58;
pub const SCTP: u64 = 132;
pub const UDPLITE: u64 = 136;

const PROTOCOLS: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (ICMP, "icmp"),
        (TCP, "tcp"),
        (UDP, "udp"),
        (DCCP, "dccp"),
        (GRE, "gre"),
        (ICMPV6, "icmpv6"),
        (SCTP, "sctp"),
        (UDPLITE, "udplite"),
    ]),
);

const ADDRESSES: &[Attr] = &[
    Attr::keep(1, "v4_src", Shape::Fixed(4, &Shape::Ip)),
    Attr::keep(2, "v4_dst", Shape::Fixed(4, &Shape::Ip)),
    Attr::keep(3, "v6_src", Shape::Fixed(16, &Shape::Ip)),
    Attr::keep(4, "v6_dst", Shape::Fixed(16, &Shape::Ip)),
];

/// What of a protocol tells flows apart. GRE has its keys in the ports.
const PROTOCOL: &[Attr] = &[
    Attr::keep(1, "num", PROTOCOLS),
    Attr::keep(2, "src_port", Shape::Be16),
    Attr::keep(3, "dst_port", Shape::Be16),
    Attr::keep(4, "icmp_id", Shape::Be16),
    Attr::keep(5, "icmp_type", Shape::U8),
    Attr::keep(6, "icmp_code", Shape::U8),
    Attr::keep(7, "icmpv6_id", Shape::Be16),
    Attr::keep(8, "icmpv6_type", Shape::U8),
    Attr::keep(9, "icmpv6_code", Shape::U8),
];

/// `CTA_TUPLE_*`: what a packet of one direction looks like.
pub const TUPLE: &[Attr] = &[
    Attr::keep(1, "ip", Shape::Nest(ADDRESSES)),
    Attr::keep(2, "proto", Shape::Nest(PROTOCOL)),
    // A zone of this direction only.
    Attr::keep(3, "zone", Shape::Be16),
];

/// `tcp 10.0.0.1:40000 to 10.0.0.2:80`.
pub fn flow(value: &Value, tuple: &str) -> String {
    let part = |path: &str| shown(value, &format!("{tuple}.{path}"));
    let end = |side: &str| {
        let address = [part(&format!("ip.v4_{side}")), part(&format!("ip.v6_{side}"))].concat();
        let port = part(&format!("proto.{side}_port"));
        match (port.is_empty(), address.contains(':')) {
            (true, _) => address,
            (false, true) => format!("[{address}]:{port}"),
            (false, false) => format!("{address}:{port}"),
        }
    };
    let id = [part("proto.icmp_id"), part("proto.icmpv6_id")].concat();
    let id = if id.is_empty() { id } else { format!(" id {id}") };
    format!("{} {} to {}{id}", part("proto.num"), end("src"), end("dst"))
}

/// Names of the helpers that are part of the kernel, as its modules register them
/// (`net/netfilter/nf_conntrack_*.c`). The kernel loads a module for a name that it does not know:
/// an image must not choose which, so no other name is ever sent.
pub const HELPERS: &[&str] = &[
    "amanda",
    "ftp",
    "H.245",
    "irc",
    "netbios-ns",
    "pptp",
    "Q.931",
    "RAS",
    "sane",
    "sip",
    "snmp",
    "tftp",
];

/// Whether this is a helper of the kernel. One on another port than usual has it behind its name
/// (`ftp-2121`).
pub fn is_of_the_kernel(helper: &str) -> bool {
    let numbered = helper.rsplit_once('-').filter(|(_, port)| port.parse::<u16>().is_ok());
    HELPERS.contains(&helper) || numbered.is_some_and(|(name, _)| HELPERS.contains(&name))
}
