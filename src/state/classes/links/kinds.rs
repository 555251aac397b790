//! The kinds of links: their data, and that of ports of a master.

use super::{bridge, tunnels};
use crate::state::table::{Attr, Fate, Field, Shape};
use crate::state::{Fault, Value};

/// Kinds whose links come back. The other tables serve to print and compare, and wait for their test.
pub const CARRIED: &[&str] = &["veth"];

/// `IFLA_INFO_DATA` by `IFLA_INFO_KIND`.
pub const KINDS: &[(&str, Shape)] = &[
    ("bond", Shape::Nest(BOND)),
    ("bridge", Shape::Nest(bridge::BRIDGE)),
    ("erspan", Shape::Nest(tunnels::GRE)),
    ("geneve", Shape::Nest(tunnels::GENEVE)),
    ("gre", Shape::Nest(tunnels::GRE)),
    ("gretap", Shape::Nest(tunnels::GRE)),
    ("ip6erspan", Shape::Nest(tunnels::GRE)),
    ("ip6gre", Shape::Nest(tunnels::GRE)),
    ("ip6gretap", Shape::Nest(tunnels::GRE)),
    ("ip6tnl", Shape::Nest(tunnels::IP)),
    ("ipip", Shape::Nest(tunnels::IP)),
    ("ipvlan", Shape::Nest(IPVLAN)),
    ("ipvtap", Shape::Nest(IPVLAN)),
    ("macvlan", Shape::Nest(MACVLAN)),
    ("macvtap", Shape::Nest(MACVLAN)),
    ("netkit", Shape::Nest(NETKIT)),
    ("sit", Shape::Nest(tunnels::IP)),
    ("tun", Shape::Nest(TUN)),
    // Told only to make one.
    ("veth", Shape::Nest(&[Attr::refuse(1, "peer")])),
    ("vlan", Shape::Nest(VLAN)),
    ("vrf", Shape::Nest(&[Attr::keep(1, "table", Shape::U32)])),
    ("vti", Shape::Nest(tunnels::VTI)),
    ("vti6", Shape::Nest(tunnels::VTI)),
    ("vxlan", Shape::Nest(tunnels::VXLAN)),
    ("xfrm", Shape::Nest(XFRM)),
];

/// `IFLA_INFO_SLAVE_DATA` by `IFLA_INFO_SLAVE_KIND`.
pub const PORT_KINDS: &[(&str, Shape)] = &[
    ("bond", Shape::Nest(BOND_PORT)),
    ("bridge", Shape::Nest(bridge::PORT)),
    ("vrf", Shape::Nest(&[Attr::derived(1, "table", Shape::U32)])),
];

/// Why this version does not bring the link back, if so.
pub fn faults(link: &Value) -> Vec<Fault> {
    const ARPHRD_LOOPBACK: u64 = 772;
    let why = match link.text("linkinfo.kind") {
        Some(kind) if CARRIED.contains(&kind) => return Vec::new(),
        Some(kind) => format!("links of kind {kind} are not carried yet"),
        None if link.number("type") == Some(ARPHRD_LOOPBACK) => return Vec::new(),
        None => "a link of a device is not carried: it belongs to the machine".to_owned(),
    };
    vec![Fault::Object(why)]
}

const VLAN: &[Attr] = &[
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

const MACVLAN: &[Attr] = &[
    Attr::keep(1, "mode", Shape::Fixed(4, &Shape::Enum(MACVLAN_MODES))),
    Attr::keep(2, "flags", Shape::U16),
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

const IPVLAN: &[Attr] = &[
    Attr::keep(1, "mode", Shape::Fixed(2, &Shape::Enum(&[(0, "l2"), (1, "l3"), (2, "l3s")]))),
    Attr::keep(2, "flags", Shape::Fixed(2, &Shape::Bits(&[(1, "private"), (2, "vepa")]))),
];

const XFRM: &[Attr] = &[
    Attr::link(1, "link"),
    Attr::keep(2, "if_id", Shape::U32),
    Attr::keep(3, "collect_metadata", Shape::Flag),
];

const NETKIT: &[Attr] = &[
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

/// Made through `/dev/net/tun`; told only.
const TUN: &[Attr] = &[
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

const BOND: &[Attr] = &[
    Attr::keep(1, "mode", Shape::Fixed(1, &Shape::Enum(BOND_MODES))),
    Attr::link(2, "active_slave"),
    Attr::keep(3, "miimon", Shape::U32),
    Attr::keep(4, "updelay", Shape::U32),
    Attr::keep(5, "downdelay", Shape::U32),
    Attr::keep(6, "use_carrier", Shape::U8),
    Attr::keep(7, "arp_interval", Shape::U32),
    Attr::keep(8, "arp_ip_target", Shape::List(&Shape::Ip)),
    Attr::keep(9, "arp_validate", Shape::U32),
    Attr::keep(10, "arp_all_targets", Shape::U32),
    Attr::link(11, "primary"),
    Attr::keep(12, "primary_reselect", Shape::U8),
    Attr::keep(13, "fail_over_mac", Shape::U8),
    Attr::keep(14, "xmit_hash_policy", Shape::U8),
    Attr::keep(15, "resend_igmp", Shape::U32),
    Attr::keep(16, "num_peer_notif", Shape::U8),
    Attr::keep(17, "all_slaves_active", Shape::U8),
    Attr::keep(18, "min_links", Shape::U32),
    Attr::keep(19, "lp_interval", Shape::U32),
    Attr::keep(20, "packets_per_slave", Shape::U32),
    Attr::keep(21, "ad_lacp_rate", Shape::U8),
    Attr::keep(22, "ad_select", Shape::U8),
    Attr::strip(23, "ad_info", Shape::Bytes),
    Attr::keep(24, "ad_actor_sys_prio", Shape::U16),
    Attr::keep(25, "ad_user_port_key", Shape::U16),
    Attr::keep(26, "ad_actor_system", Shape::Mac),
    Attr::keep(27, "tlb_dynamic_lb", Shape::U8),
    Attr::keep(28, "peer_notif_delay", Shape::U32),
    Attr::keep(29, "ad_lacp_active", Shape::U8),
    Attr::keep(30, "missed_max", Shape::U8),
    Attr::keep(31, "ns_ip6_target", Shape::List(&Shape::Ip)),
    Attr::keep(32, "coupled_control", Shape::U8),
    Attr::keep(33, "broadcast_neigh", Shape::U8),
];
const BOND_MODES: &[(u64, &str)] = &[
    (0, "balance-rr"),
    (1, "active-backup"),
    (2, "balance-xor"),
    (3, "broadcast"),
    (4, "802.3ad"),
    (5, "balance-tlb"),
    (6, "balance-alb"),
];

const BOND_PORT: &[Attr] = &[
    Attr::strip(1, "state", Shape::U8),
    Attr::strip(2, "mii_status", Shape::U8),
    Attr::strip(3, "link_failure_count", Shape::U32),
    Attr::strip(4, "perm_hwaddr", Shape::Mac),
    Attr::keep(5, "queue_id", Shape::U16),
    Attr::strip(6, "ad_aggregator_id", Shape::U16),
    Attr::strip(7, "ad_actor_oper_port_state", Shape::U8),
    Attr::strip(8, "ad_partner_oper_port_state", Shape::U16),
    Attr::keep(9, "prio", Shape::I32),
    Attr::keep(10, "actor_port_prio", Shape::U16),
];
