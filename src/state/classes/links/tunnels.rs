//! Tunnels (`linux/if_link.h`, `linux/if_tunnel.h`).

use crate::state::table::{Attr, Fate, Field, Shape};

const PORT_RANGE: &[Field] = &[
    Field::new("low", 0, Shape::Be16, Fate::Keep),
    Field::new("high", 2, Shape::Be16, Fate::Keep),
];

pub const VXLAN: &[Attr] = &[
    Attr::keep(1, "id", Shape::U32),
    Attr::keep(2, "group", Shape::Ip),
    Attr::link(3, "link"),
    Attr::keep(4, "local", Shape::Ip),
    Attr::keep(5, "ttl", Shape::U8),
    Attr::keep(6, "tos", Shape::U8),
    Attr::keep(7, "learning", Shape::U8),
    Attr::keep(8, "ageing", Shape::U32),
    Attr::keep(9, "limit", Shape::U32),
    Attr::keep(10, "port_range", Shape::Struct(PORT_RANGE)),
    Attr::keep(11, "proxy", Shape::U8),
    Attr::keep(12, "rsc", Shape::U8),
    Attr::keep(13, "l2miss", Shape::U8),
    Attr::keep(14, "l3miss", Shape::U8),
    Attr::keep(15, "port", Shape::Be16),
    Attr::keep(16, "group6", Shape::Ip),
    Attr::keep(17, "local6", Shape::Ip),
    Attr::keep(18, "udp_csum", Shape::U8),
    Attr::keep(19, "udp_zero_csum6_tx", Shape::U8),
    Attr::keep(20, "udp_zero_csum6_rx", Shape::U8),
    // To say that they are off takes bits of the header that may be reserved.
    Attr::new(21, "remcsum_tx", Shape::U8, Fate::Set),
    Attr::new(22, "remcsum_rx", Shape::U8, Fate::Set),
    Attr::keep(23, "gbp", Shape::Flag),
    Attr::keep(24, "remcsum_nopartial", Shape::Flag),
    Attr::keep(25, "collect_metadata", Shape::U8),
    Attr::keep(26, "label", Shape::Be32),
    Attr::keep(27, "gpe", Shape::Flag),
    // Told as a number, taken as a flag.
    Attr::new(28, "ttl_inherit", Shape::U8, Fate::AsFlag),
    Attr::keep(29, "df", Shape::U8),
    Attr::keep(30, "vnifilter", Shape::U8),
    Attr::keep(31, "localbypass", Shape::U8),
    Attr::keep(32, "label_policy", Shape::U32),
    Attr::keep(33, "reserved_bits", Shape::Bytes),
    Attr::keep(34, "mc_route", Shape::U8),
];

pub const GENEVE: &[Attr] = &[
    Attr::keep(1, "id", Shape::U32),
    Attr::keep(2, "remote", Shape::Ip),
    Attr::keep(3, "ttl", Shape::U8),
    Attr::keep(4, "tos", Shape::U8),
    Attr::keep(5, "port", Shape::Be16),
    Attr::keep(6, "collect_metadata", Shape::Flag),
    Attr::keep(7, "remote6", Shape::Ip),
    Attr::keep(8, "udp_csum", Shape::U8),
    Attr::keep(9, "udp_zero_csum6_tx", Shape::U8),
    Attr::keep(10, "udp_zero_csum6_rx", Shape::U8),
    Attr::keep(11, "label", Shape::Be32),
    Attr::keep(12, "ttl_inherit", Shape::U8),
    Attr::keep(13, "df", Shape::U8),
    Attr::keep(14, "inner_proto_inherit", Shape::Flag),
    Attr::keep(15, "port_range", Shape::Struct(PORT_RANGE)),
];

/// gre, gretap, ip6gre, ip6gretap, erspan, ip6erspan.
pub const GRE: &[Attr] = &[
    Attr::link(1, "link"),
    Attr::keep(2, "iflags", Shape::Be16),
    Attr::keep(3, "oflags", Shape::Be16),
    Attr::keep(4, "ikey", Shape::Be32),
    Attr::keep(5, "okey", Shape::Be32),
    Attr::keep(6, "local", Shape::Ip),
    Attr::keep(7, "remote", Shape::Ip),
    Attr::keep(8, "ttl", Shape::U8),
    Attr::keep(9, "tos", Shape::U8),
    Attr::keep(10, "pmtudisc", Shape::U8),
    Attr::keep(11, "encap_limit", Shape::U8),
    Attr::keep(12, "flowinfo", Shape::Be32),
    Attr::keep(13, "flags", Shape::U32),
    Attr::keep(14, "encap_type", Shape::U16),
    Attr::keep(15, "encap_flags", Shape::U16),
    Attr::keep(16, "encap_sport", Shape::Be16),
    Attr::keep(17, "encap_dport", Shape::Be16),
    Attr::keep(18, "collect_metadata", Shape::Flag),
    Attr::keep(19, "ignore_df", Shape::U8),
    Attr::keep(20, "fwmark", Shape::U32),
    Attr::keep(21, "erspan_index", Shape::U32),
    Attr::keep(22, "erspan_ver", Shape::U8),
    Attr::keep(23, "erspan_dir", Shape::U8),
    Attr::keep(24, "erspan_hwid", Shape::U16),
];

/// ipip, sit, ip6tnl.
pub const IP: &[Attr] = &[
    Attr::link(1, "link"),
    Attr::keep(2, "local", Shape::Ip),
    Attr::keep(3, "remote", Shape::Ip),
    Attr::keep(4, "ttl", Shape::U8),
    Attr::keep(5, "tos", Shape::U8),
    Attr::keep(6, "encap_limit", Shape::U8),
    Attr::keep(7, "flowinfo", Shape::Be32),
    // 16 bits wide for sit, 32 for ip6tnl.
    Attr::keep(8, "flags", Shape::Bytes),
    Attr::keep(9, "proto", Shape::U8),
    Attr::keep(10, "pmtudisc", Shape::U8),
    Attr::keep(11, "6rd_prefix", Shape::Ip),
    Attr::keep(12, "6rd_relay_prefix", Shape::Ip),
    Attr::keep(13, "6rd_prefixlen", Shape::U16),
    Attr::keep(14, "6rd_relay_prefixlen", Shape::U16),
    Attr::keep(15, "encap_type", Shape::U16),
    Attr::keep(16, "encap_flags", Shape::U16),
    Attr::keep(17, "encap_sport", Shape::Be16),
    Attr::keep(18, "encap_dport", Shape::Be16),
    Attr::keep(19, "collect_metadata", Shape::Flag),
    Attr::keep(20, "fwmark", Shape::U32),
];

pub const VTI: &[Attr] = &[
    Attr::link(1, "link"),
    Attr::keep(2, "ikey", Shape::Be32),
    Attr::keep(3, "okey", Shape::Be32),
    Attr::keep(4, "local", Shape::Ip),
    Attr::keep(5, "remote", Shape::Ip),
    Attr::keep(6, "fwmark", Shape::U32),
];

pub const BAREUDP: &[Attr] = &[
    Attr::keep(1, "port", Shape::Be16),
    Attr::keep(2, "ethertype", Shape::Be16),
    Attr::keep(3, "srcport_min", Shape::U16),
    Attr::keep(4, "multiproto_mode", Shape::Flag),
];
