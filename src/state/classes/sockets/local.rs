//! Sockets that no packet comes to from outside: local ones (`linux/unix_diag.h`), of which those with
//! an abstract name are the namespace's, those of netlink (`linux/netlink_diag.h`), and by number those
//! of which the kernel tells nothing else (XDP, SMC, TIPC and others).

use super::super::families::shown;
use super::{SOCK_DIAG_BY_FAMILY, STATES, listed, read};
use crate::state::table::{Attr, Class, Shape, Source};
use crate::state::{Names, Value};

/// `SOCK_*`.
const TYPES: Shape =
    Shape::Fixed(1, &Shape::Enum(&[(1, "stream"), (2, "datagram"), (3, "raw"), (5, "seqpacket")]));

/// `NETLINK_*` of `linux/netlink.h`.
const NETLINK: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (0, "route"),
        (2, "usersock"),
        (4, "sock-diag"),
        (5, "nflog"),
        (6, "xfrm"),
        (9, "audit"),
        (11, "connector"),
        (12, "netfilter"),
        (15, "uevent"),
        (16, "generic"),
        (21, "crypto"),
    ]),
);

const NAME: u16 = 0;

pub static UNIX_SOCKETS: Class = Class {
    name: "unix-sockets",
    source: Source::Inventory(read::local),
    header: &[
        listed("family", 0, Shape::U8),
        listed("type", 1, TYPES),
        listed("state", 2, STATES),
        listed("inode", 4, Shape::U32),
        listed("cookie", 8, Shape::U64),
    ],
    attributes: &[
        Attr::list(NAME, "name", Shape::Bytes),
        Attr::list(1, "vfs", Shape::Bytes),
        Attr::list(2, "peer", Shape::U32),
        Attr::list(3, "waiting", Shape::Bytes),
        Attr::list(4, "queue", Shape::Bytes),
        Attr::list(5, "meminfo", Shape::Bytes),
        Attr::list(6, "shutdown", Shape::U8),
        Attr::list(7, "uid", Shape::U32),
    ],
    key: &["inode", "cookie"],
    tells: SOCK_DIAG_BY_FAMILY,
    label: |value, _| {
        let what = format!("unix {} {}", shown(value, "type"), shown(value, "state"));
        match value.field("name") {
            Some(Value::Bytes(name)) => format!("{what} {}", path(name)),
            _ => format!("{what}, unnamed"),
        }
    },
    shown_by: "tests/sockets.rs",
    ..Class::BASE
};

/// A path, or a name that begins with a zero byte, which is written as `@` as elsewhere.
fn path(name: &[u8]) -> String {
    let (mark, rest) = match name.split_first() {
        Some((0, rest)) => ("@", rest),
        _ => ("", name.strip_suffix(&[0]).unwrap_or(name)),
    };
    format!("{mark}{}", rest.escape_ascii())
}

pub static NETLINK_SOCKETS: Class = Class {
    name: "netlink-sockets",
    source: Source::Inventory(read::netlink),
    header: &[
        listed("family", 0, Shape::U8),
        listed("type", 1, TYPES),
        listed("protocol", 2, NETLINK),
        listed("state", 3, Shape::U8),
        listed("portid", 4, Shape::U32),
        listed("destination", 8, Shape::U32),
        listed("destination_group", 12, Shape::U32),
        listed("inode", 16, Shape::U32),
        listed("cookie", 20, Shape::U64),
    ],
    attributes: &[
        Attr::list(0, "meminfo", Shape::Bytes),
        Attr::list(1, "groups", Shape::Bytes),
        Attr::list(2, "rx_ring", Shape::Bytes),
        Attr::list(3, "tx_ring", Shape::Bytes),
        Attr::list(4, "flags", Shape::U32),
    ],
    key: &["protocol", "portid", "cookie"],
    tells: SOCK_DIAG_BY_FAMILY,
    label: |value, _| {
        let groups = match value.field("groups") {
            Some(Value::Bytes(groups)) if groups.iter().any(|byte| *byte != 0) => ", in groups",
            _ => "",
        };
        format!("netlink {} port {}{groups}", shown(value, "protocol"), shown(value, "portid"))
    },
    shown_by: "tests/sockets.rs",
    ..Class::BASE
};

/// Type of the messages of this class, which no kernel sends: they are made from procfs.
const COUNT: u16 = 0x4b53;
const PROTOCOL_NAME: u16 = 1;

pub static OTHER_SOCKETS: Class = Class {
    name: "other-sockets",
    source: Source::Inventory(|_| read::others(COUNT, PROTOCOL_NAME)),
    header: &[listed("count", 0, Shape::U32)],
    attributes: &[Attr::list(PROTOCOL_NAME, "protocol", Shape::Text)],
    key: &["protocol"],
    tells: COUNT,
    label: |value: &Value, _: &Names| {
        format!("{} sockets of {}", shown(value, "count"), shown(value, "protocol"))
    },
    shown_by: "tests/sockets.rs",
    ..Class::BASE
};

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn names_of_local_sockets_are_written() {
        assert_eq!(path(b"\0name"), "@name");
        assert_eq!(path(b"/run/a.sock\0"), "/run/a.sock");
        assert_eq!(path(b"\0\xff\n"), "@\\xff\\n");
    }
}
