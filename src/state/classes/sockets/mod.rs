//! Sockets: listed, so that a hold, a release and a report know the listeners and the flows. They are
//! the programs' own, and come back with them (`linux/sock_diag.h`, `inet_diag.h`, `packet_diag.h`).
//!
//! The kernel has one table of TCP sockets for all namespaces and walks all of it for a dump. Which
//! protocols have sockets in a namespace is told by two small files; the rest is not asked for.

mod local;
mod packet;
mod read;

pub use local::{NETLINK_SOCKETS, OTHER_SOCKETS, UNIX_SOCKETS};
pub use packet::PACKET_SOCKETS;

use std::net::{IpAddr, SocketAddr};

use super::families::FAMILY;
use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{Names, Value};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The protocol of the question, which the kernel leaves out of its answers. Added to each message, far
/// above `INET_DIAG_MAX`.
const PROTOCOL: u16 = 0x1000;

const PROTOCOLS: Shape = Shape::Enum(&[
    (1, "icmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (58, "icmp6"),
    (132, "sctp"),
    (136, "udplite"),
    (255, "raw"),
    (262, "mptcp"),
]);

/// `TCP_*` of `linux/tcp_states.h`; other protocols use the first and the seventh.
const STATES: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (1, "established"),
        (2, "syn-sent"),
        (3, "syn-recv"),
        (4, "fin-wait-1"),
        (5, "fin-wait-2"),
        (6, "time-wait"),
        (7, "unconnected"),
        (8, "close-wait"),
        (9, "last-ack"),
        (10, "listening"),
        (11, "closing"),
        (12, "new-syn-recv"),
        (13, "bound-inactive"),
    ]),
);

const fn listed(name: &'static str, at: usize, shape: Shape) -> Field {
    Field::new(name, at, shape, Fate::List)
}

pub static SOCKETS: Class = Class {
    name: "sockets",
    source: Source::Inventory(read::internet),
    header: &[
        listed("family", 0, FAMILY),
        listed("state", 1, STATES),
        listed("timer", 2, Shape::U8),
        listed("retrans", 3, Shape::U8),
        listed("local_port", 4, Shape::Be16),
        listed("remote_port", 6, Shape::Be16),
        listed("local", 8, Shape::AddressBy("family")),
        listed("remote", 24, Shape::AddressBy("family")),
        listed("ifindex", 40, Shape::U32),
        listed("cookie", 44, Shape::U64),
        listed("expires", 52, Shape::U32),
        listed("received", 56, Shape::U32),
        listed("unsent", 60, Shape::U32),
        listed("uid", 64, Shape::U32),
        listed("inode", 68, Shape::U32),
    ],
    attributes: &[
        Attr::list(1, "meminfo", Shape::Bytes),
        Attr::list(2, "info", Shape::Bytes),
        Attr::list(3, "vegasinfo", Shape::Bytes),
        Attr::list(4, "cong", Shape::Text),
        Attr::list(5, "tos", Shape::U8),
        Attr::list(6, "tclass", Shape::U8),
        Attr::list(7, "skmeminfo", Shape::Bytes),
        Attr::list(8, "shutdown", Shape::U8),
        Attr::list(10, "raw_protocol", Shape::U8),
        Attr::list(11, "v6only", Shape::U8),
        Attr::list(15, "mark", Shape::U32),
        Attr::list(17, "class_id", Shape::U32),
        // Of TCP MD5 signatures.
        Attr::list(18, "md5sig", Shape::Secret),
        Attr::list(19, "ulp_info", Shape::Bytes),
        Attr::list(20, "bpf_storages", Shape::Bytes),
        Attr::list(21, "cgroup", Shape::U64),
        Attr::list(22, "sockopt", Shape::Bytes),
        Attr::list(PROTOCOL, "protocol", Shape::Fixed(2, &PROTOCOLS)),
    ],
    key: &["protocol", "local", "local_port", "remote", "remote_port", "ifindex", "cookie"],
    tells: SOCK_DIAG_BY_FAMILY,
    after: &["links"],
    label,
    shown_by: "tests/sockets.rs",
    ..Class::BASE
};

/// `tcp listening 0.0.0.0:80`, `tcp established 10.0.0.2:80 to 10.0.0.9:40000`.
fn label(value: &Value, names: &Names) -> String {
    let end = |address: &str, port: &str| {
        let port = u16::try_from(value.number(port).unwrap_or_default()).unwrap_or_default();
        value.address(address).map(|address| SocketAddr::new(address, port))
    };
    let shown = |path: &str| value.field(path).map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{} {}", shown("protocol"), shown("state"));
    if let Some(local) = end("local", "local_port") {
        text.push_str(&format!(" {local}"));
    }
    if let Some(index) = value.number("ifindex").filter(|index| *index != 0) {
        text.push_str(&format!("%{}", names.link(index)));
    }
    let is_none = |end: &SocketAddr| end.port() == 0 && is_zero(end.ip());
    if let Some(remote) = end("remote", "remote_port").filter(|end| !is_none(end)) {
        text.push_str(&format!(" to {remote}"));
    }
    text
}

fn is_zero(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_unspecified(),
        IpAddr::V6(address) => address.is_unspecified(),
    }
}
