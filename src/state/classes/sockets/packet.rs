//! Packet sockets (`linux/packet_diag.h`): who receives or sends whole frames.

use super::super::families::FAMILY;
use super::{SOCK_DIAG_BY_FAMILY, listed, read};
use crate::state::table::{Attr, Class, Shape, Source};
use crate::state::{Names, Value};

pub static PACKET_SOCKETS: Class = Class {
    name: "packet-sockets",
    source: Source::Inventory(read::packet),
    header: &[
        listed("family", 0, FAMILY),
        listed("type", 1, Shape::Fixed(1, &Shape::Enum(&[(2, "datagram"), (3, "raw")]))),
        // `ETH_P_*`; 3 is every one.
        listed("protocol", 2, Shape::U16),
        listed("inode", 4, Shape::U32),
        listed("cookie", 8, Shape::U64),
    ],
    attributes: &[
        Attr::list(
            0,
            "info",
            Shape::Struct(&[
                listed("ifindex", 0, Shape::U32),
                listed("version", 4, Shape::U32),
                listed("reserve", 8, Shape::U32),
                listed("copy_threshold", 12, Shape::U32),
                listed("timestamp", 16, Shape::U32),
                listed("flags", 20, Shape::U32),
            ]),
        ),
        Attr::list(1, "memberships", Shape::Bytes),
        Attr::list(2, "rx_ring", Shape::Bytes),
        Attr::list(3, "tx_ring", Shape::Bytes),
        Attr::list(4, "fanout", Shape::U32),
        Attr::list(5, "uid", Shape::U32),
        Attr::list(6, "meminfo", Shape::Bytes),
        Attr::list(7, "filter", Shape::Bytes),
    ],
    key: &["cookie", "inode"],
    tells: SOCK_DIAG_BY_FAMILY,
    after: &["links"],
    label,
    shown_by: "tests/sockets.rs",
    ..Class::BASE
};

fn label(value: &Value, names: &Names) -> String {
    let shown = |path: &str| value.field(path).map(ToString::to_string).unwrap_or_default();
    let index = value.number("info.ifindex").unwrap_or_default();
    let link = if index == 0 { "any link".to_owned() } else { names.link(index) };
    let protocol = value.number("protocol").unwrap_or_default();
    format!("packet {} {protocol:#06x} on {link}", shown("type"))
}
