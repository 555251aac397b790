//! Links that stand on another, or on nothing (`linux/if_link.h`).

use crate::state::table::{Attr, Fate, Field, Shape};

pub const VLAN: &[Attr] = &[
    Attr::keep(1, "id", Shape::U16),
    Attr::keep(2, "flags", Shape::Struct(VLAN_FLAGS)),
    Attr::keep(3, "egress_qos", Shape::Repeat(VLAN_QOS)),
    Attr::keep(4, "ingress_qos", Shape::Repeat(VLAN_QOS)),
    Attr::keep(5, "protocol", Shape::Be16),
];
const VLAN_FLAGS: &[Field] = &[
    Field::new("flags", 0, Shape::U32, Fate::Keep),
    Field::new("mask", 4, Shape::U32, Fate::Fill(0xffff_ffff)),
];
const VLAN_QOS: &[Attr] = &[Attr::keep(
    1,
    "mapping",
    Shape::Struct(&[
        Field::new("from", 0, Shape::U32, Fate::Keep),
        Field::new("to", 4, Shape::U32, Fate::Keep),
    ]),
)];

pub const MACVLAN: &[Attr] = &[
    Attr::keep(1, "mode", Shape::Fixed(4, &Shape::Enum(MACVLAN_MODES))),
    Attr::keep(2, "flags", Shape::U16),
    // What to do with the list; a plan puts it beside.
    Attr::strip(3, "macaddr_mode", Shape::U32),
    Attr::keep(4, "macaddr", Shape::Mac),
    Attr::keep(5, "macaddr_data", Shape::List(&Shape::Mac)),
    Attr::derived(6, "macaddr_count", Shape::U32),
    Attr::keep(7, "bc_queue_len", Shape::U32),
    Attr::strip(8, "bc_queue_len_used", Shape::U32),
    Attr::keep(9, "bc_cutoff", Shape::I32),
];
const MACVLAN_MODES: &[(u64, &str)] =
    &[(1, "private"), (2, "vepa"), (4, "bridge"), (8, "passthru"), (16, "source")];

pub const IPVLAN: &[Attr] = &[
    Attr::keep(1, "mode", Shape::Fixed(2, &Shape::Enum(&[(0, "l2"), (1, "l3"), (2, "l3s")]))),
    Attr::keep(2, "flags", Shape::Fixed(2, &Shape::Bits(&[(1, "private"), (2, "vepa")]))),
];

pub const XFRM: &[Attr] = &[
    Attr::link(1, "link"),
    Attr::keep(2, "if_id", Shape::U32),
    Attr::keep(3, "collect_metadata", Shape::Flag),
];

pub const NETKIT: &[Attr] = &[
    Attr::refuse(1, "peer_info"),
    Attr::derived(2, "primary", Shape::U8),
    Attr::keep(3, "policy", Shape::U32),
    Attr::keep(4, "peer_policy", Shape::U32),
    Attr::keep(5, "mode", Shape::Fixed(4, &Shape::Enum(&[(0, "l2"), (1, "l3")]))),
    Attr::keep(6, "scrub", Shape::U32),
    Attr::keep(7, "peer_scrub", Shape::U32),
    Attr::keep(8, "headroom", Shape::U16),
    Attr::keep(9, "tailroom", Shape::U16),
];

/// Made through `/dev/net/tun`.
pub const TUN: &[Attr] = &[
    Attr::new(1, "owner", Shape::U32, Fate::Synthesise),
    Attr::new(2, "group", Shape::U32, Fate::Synthesise),
    Attr::new(
        3,
        "type",
        Shape::Fixed(1, &Shape::Enum(&[(1, "tun"), (2, "tap")])),
        Fate::Synthesise,
    ),
    Attr::new(4, "pi", Shape::U8, Fate::Synthesise),
    Attr::new(5, "vnet_hdr", Shape::U8, Fate::Synthesise),
    Attr::new(6, "persist", Shape::U8, Fate::Synthesise),
    Attr::new(7, "multi_queue", Shape::U8, Fate::Synthesise),
    Attr::strip(8, "num_queues", Shape::U32),
    Attr::strip(9, "num_disabled_queues", Shape::U32),
];
