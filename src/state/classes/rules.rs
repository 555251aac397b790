//! Policy rules (`linux/fib_rules.h`).

use super::families::{FAMILY, PROTOCOL, TABLE, prefix, shown};
use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Dump, Fate, Field, Shape, Source};
use crate::state::{Names, Value};

const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;
const FRA_PRIORITY: u16 = 6;
/// `RTNL_FAMILY_IPMR`, `RTNL_FAMILY_IP6MR`.
const IPMR: u8 = 128;
const IP6MR: u8 = 129;
const RTNLGRP_IPV4_RULE: u32 = 8;
const RTNLGRP_IPV6_RULE: u32 = 19;

/// `FR_ACT_*`.
const ACTION: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (1, "lookup"),
        (2, "goto"),
        (3, "nop"),
        (6, "blackhole"),
        (7, "unreachable"),
        (8, "prohibit"),
    ]),
);

/// `FIB_RULE_*`. What is unresolved or detached is so because of links and rules that are there or not.
const FLAGS: Shape = Shape::Fixed(
    4,
    &Shape::BitsOf(
        &[
            (1, "permanent"),
            (2, "not"),
            (4, "unresolved"),
            (8, "iif_detached"),
            (0x10, "oif_detached"),
            (0x10000, "find_saddr"),
        ],
        0x10003,
    ),
);

const UID_RANGE: &[Field] =
    &[Field::new("start", 0, Shape::U32, Fate::Keep), Field::new("end", 4, Shape::U32, Fate::Keep)];
const PORT_RANGE: &[Field] =
    &[Field::new("start", 0, Shape::U16, Fate::Keep), Field::new("end", 2, Shape::U16, Fate::Keep)];

/// A rule has no name of its own: two rules differ if anything in them does, so everything is key.
/// Rules of one priority keep the order in which they were made.
pub static RULES: Class = UNICAST;

const UNICAST: Class = Class {
    name: "rules",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[
            Dump { kind: RTM_GETRULE, body: &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
            Dump { kind: RTM_GETRULE, body: &[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
        ],
        groups: &[RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE],
        notices: &[RTM_NEWRULE, RTM_DELRULE],
    },
    header: &[
        Field::new("family", 0, FAMILY, Fate::Keep),
        Field::new("dst_len", 1, Shape::U8, Fate::Keep),
        Field::new("src_len", 2, Shape::U8, Fate::Keep),
        Field::new("tos", 3, Shape::U8, Fate::Keep),
        // Eight bits of what the attribute `table` says in full.
        Field::new("header_table", 4, Shape::U8, Fate::Strip),
        Field::new("action", 7, ACTION, Fate::Keep),
        Field::new("flags", 8, FLAGS, Fate::Keep),
    ],
    attributes: &[
        Attr::keep(1, "dst", Shape::Ip),
        Attr::keep(2, "src", Shape::Ip),
        Attr::keep(3, "iifname", Shape::Text),
        Attr::keep(4, "goto", Shape::U32),
        Attr::keep(FRA_PRIORITY, "priority", Shape::U32),
        Attr::keep(10, "fwmark", Shape::U32),
        Attr::keep(11, "flow", Shape::U32),
        Attr::keep(12, "tun_id", Shape::Be64),
        Attr::keep(13, "suppress_ifgroup", Shape::I32),
        Attr::keep(14, "suppress_prefixlen", Shape::I32),
        Attr::keep(15, "table", Shape::Fixed(4, &TABLE)),
        Attr::keep(16, "fwmask", Shape::U32),
        Attr::keep(17, "oifname", Shape::Text),
        Attr::strip(18, "pad", Shape::Bytes),
        Attr::keep(19, "l3mdev", Shape::U8),
        Attr::keep(20, "uid_range", Shape::Struct(UID_RANGE)),
        Attr::keep(21, "protocol", Shape::Fixed(1, &PROTOCOL)),
        Attr::keep(22, "ip_proto", Shape::U8),
        Attr::keep(23, "sport_range", Shape::Struct(PORT_RANGE)),
        Attr::keep(24, "dport_range", Shape::Struct(PORT_RANGE)),
        Attr::keep(25, "dscp", Shape::U8),
        Attr::keep(26, "flowlabel", Shape::Be32),
        Attr::keep(27, "flowlabel_mask", Shape::Be32),
        Attr::keep(28, "sport_mask", Shape::U16),
        Attr::keep(29, "dport_mask", Shape::U16),
        Attr::keep(30, "dscp_mask", Shape::U8),
    ],
    key: &[
        "family",
        "priority",
        "src",
        "src_len",
        "dst",
        "dst_len",
        "tos",
        "iifname",
        "oifname",
        "fwmark",
        "fwmask",
        "action",
        "table",
        "goto",
        "uid_range",
        "ip_proto",
        "sport_range",
        "dport_range",
        "l3mdev",
        "tun_id",
        "dscp",
        "flowlabel",
        "suppress_prefixlen",
        "suppress_ifgroup",
        "protocol",
    ],
    tells: RTM_NEWRULE,
    make: RTM_NEWRULE,
    remove: RTM_DELRULE,
    after: &["links"],
    label,
    mend: first_priority,
    shown_by: "tests/roundtrip, rules",
    ..Class::BASE
};

/// Rules of multicast routing (`ip mrule`), of which the kernel tells nobody. It has them for tables
/// that no daemon has opened as well.
pub static MULTICAST_RULES: Class = Class {
    name: "multicast-rules",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[
            Dump { kind: RTM_GETRULE, body: &[IPMR, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
            Dump { kind: RTM_GETRULE, body: &[IP6MR, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
        ],
        groups: &[],
        notices: &[],
    },
    shown_by: "tests/multicast.rs",
    ..UNICAST
};

/// Priority 0 is told by saying nothing, and nothing said means any that is free.
fn first_priority(value: &Value) -> Vec<(u16, Vec<u8>)> {
    match value.field("priority") {
        Some(_) => Vec::new(),
        None => vec![(FRA_PRIORITY, 0_u32.to_ne_bytes().to_vec())],
    }
}

fn label(value: &Value, _names: &Names) -> String {
    let priority = value.number("priority").unwrap_or_default();
    let family = match value.number("family") {
        Some(10) => " (ipv6)",
        Some(128) => " (ipv4 multicast)",
        Some(129) => " (ipv6 multicast)",
        _ => "",
    };
    let mut text = format!("rule {priority}{family}: from ");
    match value.field("src") {
        Some(_) => text.push_str(&prefix(value, "src", "src_len")),
        None => text.push_str("all"),
    }
    if value.field("dst").is_some() {
        text.push_str(&format!(" to {}", prefix(value, "dst", "dst_len")));
    }
    for (path, word) in [("iifname", "iif"), ("oifname", "oif"), ("fwmark", "fwmark")] {
        if value.field(path).is_some() {
            text.push_str(&format!(" {word} {}", shown(value, path)));
        }
    }
    let action = shown(value, "action");
    let target = match value.number("action") {
        Some(1) if value.field("l3mdev").is_some() => format!("{action} l3mdev"),
        Some(1) => format!("{action} {}", shown(value, "table")),
        Some(2) => format!("{action} {}", shown(value, "goto")),
        _ => action,
    };
    format!("{text} {target}")
}
