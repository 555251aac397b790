//! Nexthop objects (`linux/nexthop.h`).

use super::encapsulations::{ENCAP, ENCAP_TYPE};
use super::families::{FAMILY, PROTOCOL, SCOPE, shown};
use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Dump, Fate, Field, Shape, Source};
use crate::state::{Names, Value};

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const RTNLGRP_NEXTHOP: u32 = 32;

/// `struct nexthop_grp`. The weight is one less than people write it.
const MEMBER: &[Field] = &[
    Field::new("id", 0, Shape::U32, Fate::Keep),
    Field::new("weight", 4, Shape::U8, Fate::Keep),
    Field::new("weight_high", 5, Shape::U8, Fate::Keep),
];

/// Times are in hundredths of a second. Which bucket leads where is the kernel's business.
const RESILIENT: &[Attr] = &[
    Attr::strip(0, "pad", Shape::Bytes),
    Attr::keep(1, "buckets", Shape::U16),
    Attr::keep(2, "idle_timer", Shape::U32),
    Attr::keep(3, "unbalanced_timer", Shape::U32),
    Attr::strip(4, "unbalanced_time", Shape::U64),
];

pub static NEXTHOPS: Class = Class {
    name: "nexthops",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[Dump { kind: RTM_GETNEXTHOP, body: &[0, 0, 0, 0, 0, 0, 0, 0] }],
        groups: &[RTNLGRP_NEXTHOP],
        notices: &[RTM_NEWNEXTHOP, RTM_DELNEXTHOP],
    },
    header: &[
        Field::new("family", 0, FAMILY, Fate::Keep),
        // Told only; the kernel refuses to be told it.
        Field::new("scope", 1, SCOPE, Fate::Strip),
        Field::new("protocol", 2, Shape::Fixed(1, &PROTOCOL), Fate::Keep),
        Field::new("flags", 4, super::routes::PATH_FLAGS, Fate::Keep),
    ],
    attributes: &[
        Attr::keep(1, "id", Shape::U32),
        Attr::keep(2, "group", Shape::Array(8, MEMBER)),
        Attr::keep(
            3,
            "group_type",
            Shape::Fixed(2, &Shape::Enum(&[(0, "mpath"), (1, "resilient")])),
        ),
        Attr::keep(4, "blackhole", Shape::Flag),
        Attr::link(5, "oif"),
        Attr::keep(6, "gateway", Shape::Ip),
        Attr::keep(7, "encap_type", ENCAP_TYPE),
        Attr::keep(8, "encap", ENCAP),
        Attr::strip(9, "groups", Shape::Flag),
        Attr::strip(10, "master", Shape::U32),
        Attr::keep(11, "fdb", Shape::Flag),
        Attr::keep(12, "res_group", Shape::Nest(RESILIENT)),
        Attr::strip(13, "res_bucket", Shape::Bytes),
        Attr::strip(14, "op_flags", Shape::U32),
        Attr::strip(15, "group_stats", Shape::Bytes),
        Attr::keep(16, "hw_stats_enable", Shape::U32),
        Attr::strip(17, "hw_stats_used", Shape::U32),
    ],
    key: &["id"],
    tells: RTM_NEWNEXTHOP,
    make: RTM_NEWNEXTHOP,
    remove: RTM_DELNEXTHOP,
    after: &["links", "addresses"],
    label,
    shown_by: "tests/roundtrip, nexthops",
    ..Class::BASE
};

fn label(value: &Value, names: &Names) -> String {
    let mut text = format!("nexthop {}", value.number("id").unwrap_or_default());
    if let Some(Value::List(members)) = value.field("group") {
        let ids: Vec<_> = members.iter().map(|member| shown(member, "id")).collect();
        text.push_str(&format!(" group {}", ids.join("/")));
    }
    if value.field("blackhole").is_some() {
        text.push_str(" blackhole");
    }
    if value.field("gateway").is_some() {
        text.push_str(&format!(" via {}", shown(value, "gateway")));
    }
    if let Some(link) = value.number("oif") {
        text.push_str(&format!(" dev {}", names.link(link)));
    }
    text
}
