//! The kinds of actions: their options (`linux/tc_act/*`).

use super::{flower, made, told};
use crate::netlink::attributes;
use crate::state::table::Shape::{
    Be16, Be32, Bytes, Fixed, I32, Ip, Mac, Nest, Struct, Text, U8, U16, U32, U64,
};
use crate::state::table::{Attr, Fate, Field, Shape};

const fn k(id: u16, name: &'static str, shape: Shape) -> Attr {
    Attr::keep(id, name, shape)
}

const fn f(name: &'static str, at: usize, shape: Shape) -> Field {
    Field::new(name, at, shape, Fate::Keep)
}

/// `tc_gen`, which the struct of each action begins with.
const INDEX: Field = f("index", 0, U32);
const CAPAB: Field = Field::new("capab", 4, U32, Fate::Strip);
const ACTION: Field = f("action", 8, CONTROL);
const REFCNT: Field = Field::new("refcnt", 12, I32, Fate::Strip);
const BINDCNT: Field = Field::new("bindcnt", 16, I32, Fate::Strip);
const GENERIC: &[Field] = &[INDEX, CAPAB, ACTION, REFCNT, BINDCNT];

/// `TC_ACT_*`; a jump or the number of a chain is in the lower bits.
const CONTROL: Shape = Fixed(4, &Shape::Written(control));

fn control(verdict: u64) -> String {
    const CHAIN: u32 = 2 << 28;
    const JUMP: u32 = 1 << 28;
    const BITS: u32 = 0xf000_0000;
    let verdict = u32::try_from(verdict).unwrap_or(u32::MAX);
    match verdict {
        u32::MAX => "continue".to_owned(),
        0 => "pass".to_owned(),
        1 => "reclassify".to_owned(),
        2 => "drop".to_owned(),
        3 => "pipe".to_owned(),
        4 => "stolen".to_owned(),
        5 => "queued".to_owned(),
        6 => "repeat".to_owned(),
        7 => "redirect".to_owned(),
        8 => "trap".to_owned(),
        other if other & BITS == CHAIN => format!("goto chain {}", other & !BITS),
        other if other & BITS == JUMP => format!("jump {}", other & !BITS),
        other => format!("{other:#x}"),
    }
}

/// `TCA_ACT_OPTIONS` by `TCA_ACT_KIND`. What is here may be asked for by an image.
pub const ACTIONS: &[(&str, Shape)] = &[
    ("bpf", Nest(BPF)),
    ("connmark", Nest(&[k(1, "parms", Struct(CONNMARK)), told(2, "tm"), told(3, "pad")])),
    ("csum", Nest(&[k(1, "parms", Struct(CSUM)), told(2, "tm"), told(3, "pad")])),
    ("ct", Nest(CT)),
    ("ctinfo", Nest(CTINFO)),
    ("gact", Nest(GACT)),
    ("gate", Nest(GATE)),
    ("ife", Nest(IFE)),
    ("mirred", Nest(MIRRED)),
    ("mpls", Nest(MPLS)),
    ("nat", Nest(&[k(1, "parms", Struct(NAT)), told(2, "tm"), told(3, "pad")])),
    ("pedit", Nest(PEDIT)),
    ("police", Nest(POLICE)),
    ("sample", Nest(SAMPLE)),
    ("simple", Nest(SIMPLE)),
    ("skbedit", Nest(SKBEDIT)),
    ("skbmod", Nest(SKBMOD)),
    ("tunnel_key", Nest(TUNNEL_KEY)),
    ("vlan", Nest(VLAN)),
];

/// `TCA_GACT_*`.
const GACT: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(GENERIC)),
    k(3, "prob", Struct(&[f("ptype", 0, U16), f("pval", 2, U16), f("paction", 4, CONTROL)])),
    told(4, "pad"),
];

/// `TCA_MIRRED_*`.
const MIRRED: &[Attr] = &[
    told(1, "tm"),
    k(
        2,
        "parms",
        Struct(&[
            INDEX,
            CAPAB,
            ACTION,
            REFCNT,
            BINDCNT,
            f("eaction", 20, Fixed(4, &Shape::Enum(MIRRED_ACTIONS))),
            Field::new("ifindex", 24, U32, Fate::Ifindex),
        ]),
    ),
    told(3, "pad"),
    k(4, "blockid", U32),
];
const MIRRED_ACTIONS: &[(u64, &str)] =
    &[(1, "egress_redir"), (2, "egress_mirror"), (3, "ingress_redir"), (4, "ingress_mirror")];

/// `TCA_SKBEDIT_*`.
const SKBEDIT: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(GENERIC)),
    k(3, "priority", U32),
    k(4, "queue_mapping", U16),
    k(5, "mark", U32),
    told(6, "pad"),
    k(7, "ptype", U16),
    k(8, "mask", U32),
    k(9, "flags", U64),
    k(10, "queue_mapping_max", U16),
];

/// `TCA_PEDIT_*`: what is changed, and for the extended form in which header.
const PEDIT: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", PEDIT_SEL),
    told(3, "pad"),
    k(4, "parms_ex", PEDIT_SEL),
    k(5, "keys_ex", Shape::List(&Nest(&[k(1, "htype", U16), k(2, "cmd", U16)]))),
];
/// `struct tc_pedit_sel`.
const PEDIT_SEL: Shape = Shape::Headed(
    24,
    &[INDEX, CAPAB, ACTION, REFCNT, BINDCNT, f("nkeys", 20, U8), f("flags", 21, U8)],
    &Shape::Array(24, PEDIT_KEY),
);
/// `struct tc_pedit_key`.
const PEDIT_KEY: &[Field] = &[
    f("mask", 0, U32),
    f("val", 4, U32),
    f("off", 8, U32),
    f("at", 12, U32),
    f("offmask", 16, U32),
    f("shift", 20, U32),
];

/// `TCA_POLICE_*`.
pub const POLICE: &[Attr] = &[
    k(1, "tbf", Struct(POLICE_PARMS)),
    Attr::new(2, "rate", Bytes, Fate::Made(made::police_rate)),
    Attr::new(3, "peakrate", Bytes, Fate::Made(made::police_peak_rate)),
    k(4, "avrate", U32),
    k(5, "result", CONTROL),
    told(6, "tm"),
    told(7, "pad"),
    k(8, "rate64", U64),
    k(9, "peakrate64", U64),
    k(10, "pktrate64", U64),
    k(11, "pktburst64", U64),
];
/// `struct tc_police`.
const POLICE_PARMS: &[Field] = &[
    f("index", 0, U32),
    f("action", 4, CONTROL),
    f("limit", 8, U32),
    f("burst", 12, U32),
    f("mtu", 16, U32),
    f("rate", 20, Fixed(12, &Struct(made::RATE_OF_TABLE))),
    f("peakrate", 32, Fixed(12, &Struct(made::RATE_OF_TABLE))),
    Field::new("refcnt", 44, I32, Fate::Strip),
    Field::new("bindcnt", 48, I32, Fate::Strip),
    Field::new("capab", 52, U32, Fate::Strip),
];

/// `TCA_VLAN_*`.
const VLAN: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(&[INDEX, CAPAB, ACTION, REFCNT, BINDCNT, f("v_action", 20, I32)])),
    k(3, "push_vlan_id", U16),
    k(4, "push_vlan_protocol", Be16),
    told(5, "pad"),
    k(6, "push_vlan_priority", U8),
    k(7, "push_eth_dst", Mac),
    k(8, "push_eth_src", Mac),
];

/// `TCA_MPLS_*`.
const MPLS: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(&[INDEX, CAPAB, ACTION, REFCNT, BINDCNT, f("m_action", 20, I32)])),
    told(3, "pad"),
    k(4, "proto", Be16),
    k(5, "label", U32),
    k(6, "tc", U8),
    k(7, "ttl", U8),
    k(8, "bos", U8),
];

/// `TCA_TUNNEL_KEY_*`.
const TUNNEL_KEY: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(&[INDEX, CAPAB, ACTION, REFCNT, BINDCNT, f("t_action", 20, I32)])),
    k(3, "enc_ipv4_src", Ip),
    k(4, "enc_ipv4_dst", Ip),
    k(5, "enc_ipv6_src", Ip),
    k(6, "enc_ipv6_dst", Ip),
    k(7, "enc_key_id", Be32),
    told(8, "pad"),
    k(9, "enc_dst_port", Be16),
    k(10, "no_csum", U8),
    k(11, "enc_opts", Shape::Repeat(flower::TUNNEL_OPTIONS)),
    k(12, "enc_tos", U8),
    k(13, "enc_ttl", U8),
    k(14, "no_frag", Shape::Flag),
];

/// `struct tc_nat`.
const NAT: &[Field] = &[
    INDEX,
    CAPAB,
    ACTION,
    REFCNT,
    BINDCNT,
    f("old_addr", 20, Fixed(4, &Ip)),
    f("new_addr", 24, Fixed(4, &Ip)),
    f("mask", 28, Fixed(4, &Ip)),
    f("flags", 32, U32),
];
/// `struct tc_csum`.
const CSUM: &[Field] = &[INDEX, CAPAB, ACTION, REFCNT, BINDCNT, f("update_flags", 20, U32)];
/// `struct tc_connmark`.
const CONNMARK: &[Field] = &[INDEX, CAPAB, ACTION, REFCNT, BINDCNT, f("zone", 20, U16)];

/// `TCA_CTINFO_*`.
const CTINFO: &[Attr] = &[
    told(1, "pad"),
    told(2, "tm"),
    k(3, "parms", Struct(GENERIC)),
    k(4, "zone", U16),
    k(5, "parms_dscp_mask", U32),
    k(6, "parms_dscp_statemask", U32),
    k(7, "parms_cpmark_mask", U32),
    told(8, "stats_dscp_set"),
    told(9, "stats_dscp_error"),
    told(10, "stats_cpmark_set"),
];

/// `TCA_CT_*`.
const CT: &[Attr] = &[
    k(1, "parms", Struct(GENERIC)),
    told(2, "tm"),
    k(3, "action", U16),
    k(4, "zone", U16),
    k(5, "mark", U32),
    k(6, "mark_mask", U32),
    k(7, "labels", Bytes),
    k(8, "labels_mask", Bytes),
    k(9, "nat_ipv4_min", Ip),
    k(10, "nat_ipv4_max", Ip),
    k(11, "nat_ipv6_min", Ip),
    k(12, "nat_ipv6_max", Ip),
    k(13, "nat_port_min", Be16),
    k(14, "nat_port_max", Be16),
    told(15, "pad"),
    k(16, "helper_name", Text),
    k(17, "helper_family", U8),
    k(18, "helper_proto", U8),
];

/// `TCA_SKBMOD_*`.
const SKBMOD: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(&[INDEX, CAPAB, ACTION, REFCNT, BINDCNT, f("flags", 24, U64)])),
    k(3, "dmac", Mac),
    k(4, "smac", Mac),
    k(5, "etype", U16),
    told(6, "pad"),
];

/// `TCA_DEF_*`.
const SIMPLE: &[Attr] =
    &[told(1, "tm"), k(2, "parms", Struct(GENERIC)), k(3, "data", Text), told(4, "pad")];

/// `TCA_SAMPLE_*`.
const SAMPLE: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(GENERIC)),
    k(3, "rate", U32),
    k(4, "trunc_size", U32),
    k(5, "psample_group", U32),
    told(6, "pad"),
];

/// `TCA_IFE_*`.
const IFE: &[Attr] = &[
    k(1, "parms", Struct(&[INDEX, CAPAB, ACTION, REFCNT, BINDCNT, f("flags", 20, U16)])),
    told(2, "tm"),
    k(3, "dmac", Mac),
    k(4, "smac", Mac),
    k(5, "type", U16),
    k(6, "metalst", Nest(IFE_METADATA)),
    told(7, "pad"),
];
/// `IFE_META_*`: a value to be written, or without one that of the packet. Each has a module.
const IFE_METADATA: &[Attr] = &[
    k(1, "skbmark", Bytes),
    k(2, "hashid", Bytes),
    k(3, "prio", Bytes),
    k(4, "qmap", Bytes),
    k(5, "tcindex", Bytes),
];

/// `TCA_GATE_*`.
const GATE: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(GENERIC)),
    told(3, "pad"),
    k(4, "priority", I32),
    k(5, "entry_list", Shape::List(&Nest(GATE_ENTRY))),
    k(6, "base_time", U64),
    k(7, "cycle_time", U64),
    k(8, "cycle_time_ext", U64),
    k(9, "flags", U32),
    k(10, "clockid", I32),
];
const GATE_ENTRY: &[Attr] = &[
    k(1, "index", U32),
    k(2, "gate", Shape::Flag),
    k(3, "interval", U32),
    k(4, "ipv", I32),
    k(5, "max_octets", I32),
];

/// `TCA_ACT_BPF_*`. Classic programs are told in full; of others only number, name and tag are.
const BPF: &[Attr] = &[
    told(1, "tm"),
    k(2, "parms", Struct(GENERIC)),
    k(3, "ops_len", U16),
    k(4, "ops", Shape::Array(8, INSTRUCTION)),
    Attr::refuse(5, "fd"),
    Attr::strip(6, "name", Text),
    told(7, "pad"),
    told(8, "tag"),
    // What the faults of the class name and refuse.
    Attr::strip(9, "id", U32),
];

/// `struct sock_filter` (`linux/filter.h`).
pub const INSTRUCTION: &[Field] =
    &[f("code", 0, U16), f("jt", 2, U8), f("jf", 3, U8), f("k", 4, U32)];

/// Where in its options an action of a kind tells what refers to it: the attribute, and in it the
/// places of `refcnt` and `bindcnt`.
pub fn references(kind: &str) -> Option<(u16, usize, usize)> {
    match kind {
        "police" => Some((1, 44, 48)),
        "connmark" | "csum" | "ct" | "ife" | "nat" => Some((1, 12, 16)),
        "ctinfo" => Some((3, 12, 16)),
        "bpf" | "gact" | "gate" | "mirred" | "mpls" | "pedit" | "sample" | "simple" | "skbedit"
        | "skbmod" | "tunnel_key" | "vlan" => Some((2, 12, 16)),
        _ => None,
    }
}

/// The number of an action of this kind: the first of the struct in its options.
pub fn index(kind: &str, options: &[u8]) -> Option<u32> {
    number(kind, options, 0)
}

/// What becomes of a packet after an action of this kind (`TC_ACT_*`).
pub fn verdict(kind: &str, options: &[u8]) -> Option<u32> {
    number(kind, options, if kind == "police" { 4 } else { 8 })
}

fn number(kind: &str, options: &[u8], at: usize) -> Option<u32> {
    /// Of the extended form of pedit.
    const PARMS_EX: u16 = 4;
    let (id, ..) = references(kind)?;
    let find = |id| {
        let mut all = attributes(options).map_while(Result::ok);
        all.find(|found| found.id == id).map(|found| found.payload)
    };
    let parms = find(id).or_else(|| find(PARMS_EX))?;
    parms.get(at..)?.first_chunk().map(|four| u32::from_ne_bytes(*four))
}
