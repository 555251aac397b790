//! Links (`linux/if_link.h`).

mod bond;
mod bridge;
mod kinds;
mod tunnels;
mod virtual_links;

pub use kinds::{CARRIED, FALLBACK, LEFT, is_carried, port_setting, setting};

use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Dump, Fate, Field, Shape, Source};
use crate::state::{Names, Value};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
/// Sets and removes alternative names (`IFLA_PROP_LIST`), which `RTM_NEWLINK` does not.
pub const RTM_NEWLINKPROP: u16 = 108;
pub const RTM_DELLINKPROP: u16 = 109;
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV6_IFINFO: u32 = 12;
const IFLA_LINK_NETNSID: u16 = 37;

/// `ifinfomsg`, then `IFLA_EXT_MASK` with `RTEXT_FILTER_SKIP_STATS`: counters are not state, and
/// half of the dump's bytes.
const DUMP: &[u8] = &{
    let mut body = [0; 24];
    let length = 8_u16.to_ne_bytes();
    let id = 29_u16.to_ne_bytes();
    let mask = (1_u32 << 3).to_ne_bytes();
    (body[16], body[17], body[18], body[19]) = (length[0], length[1], id[0], id[1]);
    (body[20], body[21], body[22], body[23]) = (mask[0], mask[1], mask[2], mask[3]);
    body
};

/// `IFF_*`. Kept are those that others may set.
const FLAGS: Shape = Shape::Fixed(
    4,
    &Shape::BitsOf(
        &[
            (0x1, "up"),
            (0x2, "broadcast"),
            (0x4, "debug"),
            (0x8, "loopback"),
            (0x10, "pointopoint"),
            (0x20, "notrailers"),
            (0x40, "running"),
            (0x80, "noarp"),
            (0x100, "promisc"),
            (0x200, "allmulti"),
            (0x400, "master"),
            (0x800, "slave"),
            (0x1000, "multicast"),
            (0x2000, "portsel"),
            (0x4000, "automedia"),
            (0x8000, "dynamic"),
            (0x10000, "lower_up"),
            (0x20000, "dormant"),
            (0x40000, "echo"),
        ],
        0xf3a5,
    ),
);

/// `IF_OPER_*` (`linux/if.h`).
const OPERSTATE: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (0, "unknown"),
        (1, "notpresent"),
        (2, "down"),
        (3, "lowerlayerdown"),
        (4, "testing"),
        (5, "dormant"),
        (6, "up"),
    ]),
);

const INET6: &[Attr] = &[
    Attr::strip(1, "flags", Shape::U32),
    // The class of sysctls has these one by one, with names and an order of writing.
    Attr::strip(2, "conf", Shape::Numbers(4)),
    Attr::strip(3, "stats", Shape::Bytes),
    Attr::strip(4, "mcast", Shape::Bytes),
    Attr::strip(5, "cacheinfo", Shape::Bytes),
    Attr::strip(6, "icmp6stats", Shape::Bytes),
    // All zero means none, and is refused on links that can't have one.
    Attr::new(7, "token", Shape::Ip, Fate::Set),
    Attr::keep(8, "addr_gen_mode", Shape::Fixed(1, &Shape::Enum(ADDR_GEN_MODES))),
    // Learned from router advertisements.
    Attr::strip(9, "ra_mtu", Shape::U32),
];
const ADDR_GEN_MODES: &[(u64, &str)] =
    &[(0, "eui64"), (1, "none"), (2, "stable_privacy"), (3, "random")];

const AF_SPEC: &[Attr] = &[
    Attr::keep(2, "inet", Shape::Nest(&[Attr::strip(1, "conf", Shape::Numbers(4))])),
    Attr::keep(10, "inet6", Shape::Nest(INET6)),
    Attr::leave(45, "mctp", Shape::Bytes),
];

const XDP: &[Attr] = &[
    Attr::strip(2, "attached", Shape::U8),
    Attr::strip(3, "flags", Shape::U32),
    Attr::leave(4, "prog_id", Shape::U32),
    Attr::strip(5, "drv_prog_id", Shape::U32),
    Attr::strip(6, "skb_prog_id", Shape::U32),
    Attr::strip(7, "hw_prog_id", Shape::U32),
];

const LINKINFO: &[Attr] = &[
    Attr::keep(1, "kind", Shape::Text),
    Attr::keep(2, "data", Shape::By("kind", kinds::KINDS)),
    Attr::strip(3, "xstats", Shape::Bytes),
    Attr::keep(4, "slave_kind", Shape::Text),
    Attr::keep(5, "slave_data", Shape::By("slave_kind", kinds::PORT_KINDS)),
];

pub static LINKS: Class = Class {
    name: "links",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[Dump { kind: RTM_GETLINK, body: DUMP }],
        groups: &[RTNLGRP_LINK, RTNLGRP_IPV6_IFINFO],
        notices: &[RTM_NEWLINK, RTM_DELLINK],
    },
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Strip),
        // `ARPHRD_*`, by the kind.
        Field::new("type", 2, Shape::U16, Fate::Derived),
        Field::new("index", 4, Shape::U32, Fate::Keep),
        Field::new("flags", 8, FLAGS, Fate::Keep),
        // Which of the flags a message means.
        Field::new("change", 12, Shape::U32, Fate::Fill(0xffff_ffff)),
    ],
    attributes: ATTRIBUTES,
    key: &["index"],
    tells: RTM_NEWLINK,
    make: RTM_NEWLINK,
    remove: RTM_DELLINK,
    label,
    faults: kinds::faults,
    also: awake,
    // Of some settings, such as sizes of GSO, nothing is told.
    drifts: |_| true,
    shown_by: "tests/roundtrip, links",
    ..Class::BASE
};

/// The state of a link follows its carrier, but for one of mode `dormant`, to which someone has to say
/// that it may be used.
fn awake(link: &Value) -> Vec<(&'static str, Value)> {
    const DORMANT: u64 = 1;
    const IF_OPER_UP: u64 = 6;
    let is = |field, number| link.number(field) == Some(number);
    let awake = is("linkmode", DORMANT) && is("operstate", IF_OPER_UP);
    if awake { vec![("awake", Value::Present)] } else { Vec::new() }
}

const ATTRIBUTES: &[Attr] = &[
    Attr::keep(1, "address", Shape::Mac),
    Attr::keep(2, "broadcast", Shape::Mac),
    Attr::keep(3, "ifname", Shape::Text),
    Attr::keep(4, "mtu", Shape::U32),
    Attr::new(
        5,
        "link",
        Shape::U32,
        Fate::Unless(IFLA_LINK_NETNSID, &(Fate::Ifindex, Fate::Outside)),
    ),
    // The class of traffic control, when there is one.
    Attr::strip(6, "qdisc", Shape::Text),
    Attr::strip(7, "stats", Shape::Bytes),
    Attr::strip(8, "cost", Shape::Bytes),
    Attr::strip(9, "priority", Shape::Bytes),
    Attr::link(10, "master"),
    Attr::strip(11, "wireless", Shape::Bytes),
    Attr::strip(12, "protinfo", Shape::Bytes),
    Attr::keep(13, "txqlen", Shape::U32),
    // Where the hardware sits.
    Attr::strip(14, "map", Shape::Bytes),
    Attr::strip(15, "weight", Shape::U32),
    // Follows flags and carrier, up to a second later.
    Attr::strip(16, "operstate", OPERSTATE),
    Attr::keep(17, "linkmode", Shape::Fixed(1, &Shape::Enum(&[(0, "default"), (1, "dormant")]))),
    Attr::keep(18, "linkinfo", Shape::Nest(LINKINFO)),
    // How a request reaches into another namespace; no dump tells them.
    Attr::refuse(19, "net_ns_pid"),
    Attr::keep(20, "ifalias", Shape::Text),
    Attr::strip(21, "num_vf", Shape::U32),
    Attr::leave(22, "vfinfo_list", Shape::Bytes),
    Attr::strip(23, "stats64", Shape::Bytes),
    Attr::leave(24, "vf_ports", Shape::Bytes),
    Attr::leave(25, "port_self", Shape::Bytes),
    Attr::keep(26, "af_spec", Shape::Families(AF_SPEC)),
    Attr::keep(27, "group", Shape::U32),
    Attr::refuse(28, "net_ns_fd"),
    Attr::strip(29, "ext_mask", Shape::U32),
    // How often it was asked for; who asked by the flag is told by the flag.
    Attr::strip(30, "promiscuity", Shape::U32),
    Attr::keep(31, "num_tx_queues", Shape::U32),
    Attr::keep(32, "num_rx_queues", Shape::U32),
    // By the peer's flags, which a restore does not always own.
    Attr::strip(33, "carrier", Shape::U8),
    Attr::strip(34, "phys_port_id", Shape::Bytes),
    Attr::strip(35, "carrier_changes", Shape::U32),
    Attr::strip(36, "phys_switch_id", Shape::Bytes),
    Attr::new(IFLA_LINK_NETNSID, "link_netnsid", Shape::I32, Fate::Outside),
    Attr::strip(38, "phys_port_name", Shape::Text),
    // Most kinds have no way to set it, and refuse even the zero that they tell.
    Attr::new(39, "proto_down", Shape::U8, Fate::Set),
    Attr::keep(40, "gso_max_segs", Shape::U32),
    Attr::keep(41, "gso_max_size", Shape::U32),
    Attr::strip(42, "pad", Shape::Bytes),
    Attr::keep(43, "xdp", Shape::Nest(XDP)),
    Attr::strip(44, "event", Shape::U32),
    Attr::refuse(45, "new_netnsid"),
    Attr::refuse(46, "target_netnsid"),
    Attr::strip(47, "carrier_up_count", Shape::U32),
    Attr::strip(48, "carrier_down_count", Shape::U32),
    Attr::strip(49, "new_ifindex", Shape::U32),
    Attr::strip(50, "min_mtu", Shape::U32),
    Attr::strip(51, "max_mtu", Shape::U32),
    // Set by `RTM_NEWLINKPROP`.
    Attr::new(52, "prop_list", Shape::Repeat(PROPERTIES), Fate::Synthesise),
    Attr::derived(54, "perm_address", Shape::Mac),
    Attr::keep(
        55,
        "proto_down_reason",
        // Without a mask all reasons are meant.
        Shape::Nest(&[Attr::strip(1, "mask", Shape::U32), Attr::keep(2, "value", Shape::U32)]),
    ),
    Attr::strip(56, "parent_dev_name", Shape::Text),
    Attr::strip(57, "parent_dev_bus_name", Shape::Text),
    Attr::keep(58, "gro_max_size", Shape::U32),
    // What the device could do.
    Attr::strip(59, "tso_max_size", Shape::U32),
    Attr::strip(60, "tso_max_segs", Shape::U32),
    Attr::strip(61, "allmulti", Shape::U32),
    Attr::strip(62, "devlink_port", Shape::Bytes),
    Attr::keep(63, "gso_ipv4_max_size", Shape::U32),
    Attr::keep(64, "gro_ipv4_max_size", Shape::U32),
    Attr::strip(65, "dpll_pin", Shape::Bytes),
    Attr::strip(66, "max_pacing_offload_horizon", Shape::Bytes),
    Attr::strip(67, "netns_immutable", Shape::U8),
    Attr::strip(68, "headroom", Shape::U16),
    Attr::strip(69, "tailroom", Shape::U16),
];

const PROPERTIES: &[Attr] = &[Attr::keep(53, "alt_ifname", Shape::Text)];

/// The alternative names of a decoded link, in their order.
#[must_use]
pub fn alternative_names(link: &Value) -> Vec<String> {
    let Some(Value::List(items)) = link.field("prop_list") else { return Vec::new() };
    items.iter().filter_map(|item| item.text("alt_ifname").map(str::to_owned)).collect()
}

fn label(value: &Value, names: &Names) -> String {
    let index = value.number("index").unwrap_or_default();
    value.text("ifname").map_or_else(|| names.link(index), str::to_owned)
}
