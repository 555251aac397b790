//! Light-weight tunnels of routes and nexthops (`linux/lwtunnel.h` and a header for each).

use crate::state::table::{Attr, Fate, Shape};

/// `LWTUNNEL_ENCAP_*`.
pub const ENCAP_TYPE: Shape = Shape::Fixed(
    2,
    &Shape::Enum(&[
        (0, "none"),
        (1, "mpls"),
        (2, "ip"),
        (3, "ila"),
        (4, "ip6"),
        (5, "seg6"),
        (6, "bpf"),
        (7, "seg6local"),
        (8, "rpl"),
        (9, "ioam6"),
        (10, "xfrm"),
    ]),
);

/// By [`ENCAP_TYPE`], which is named `encap_type` beside it.
pub const ENCAP: Shape = Shape::By(
    "encap_type",
    &[
        ("mpls", Shape::Nest(MPLS)),
        ("ip", Shape::Nest(IP)),
        ("ila", Shape::Nest(ILA)),
        ("ip6", Shape::Nest(IP6)),
        ("seg6", Shape::Nest(SEG6)),
        ("bpf", Shape::Nest(BPF)),
        ("seg6local", Shape::Nest(SEG6_LOCAL)),
        ("rpl", Shape::Nest(RPL)),
        ("ioam6", Shape::Nest(IOAM6)),
        ("xfrm", Shape::Nest(XFRM)),
    ],
);

/// `linux/mpls_iptunnel.h`. The labels are a stack as on the wire.
const MPLS: &[Attr] = &[Attr::keep(1, "dst", Shape::Bytes), Attr::keep(2, "ttl", Shape::U8)];

const IP: &[Attr] = &[
    Attr::keep(1, "id", Shape::Be64),
    Attr::keep(2, "dst", Shape::Ip),
    Attr::keep(3, "src", Shape::Ip),
    Attr::keep(4, "ttl", Shape::U8),
    Attr::keep(5, "tos", Shape::U8),
    Attr::keep(6, "flags", Shape::Be16),
    Attr::strip(7, "pad", Shape::Bytes),
    // Options of Geneve, VXLAN and ERSPAN: making them crashes kernels (6.18 among them).
    Attr::refuse(8, "opts"),
];

const IP6: &[Attr] = &[
    Attr::keep(1, "id", Shape::Be64),
    Attr::keep(2, "dst", Shape::Ip),
    Attr::keep(3, "src", Shape::Ip),
    Attr::keep(4, "hoplimit", Shape::U8),
    Attr::keep(5, "tc", Shape::U8),
    Attr::keep(6, "flags", Shape::Be16),
    Attr::strip(7, "pad", Shape::Bytes),
    Attr::refuse(8, "opts"),
];

/// `linux/ila.h`.
const ILA: &[Attr] = &[
    Attr::keep(1, "locator", Shape::U64),
    Attr::strip(6, "pad", Shape::Bytes),
    Attr::keep(7, "csum_mode", Shape::U8),
    Attr::keep(8, "ident_type", Shape::U8),
    Attr::keep(9, "hook_type", Shape::U8),
];

/// `linux/seg6_iptunnel.h`. `srh` is `struct seg6_iptunnel_encap`.
const SEG6: &[Attr] = &[Attr::keep(1, "srh", Shape::Bytes), Attr::keep(2, "src", Shape::Ip)];

/// Programs have no form outside the kernel that loaded them.
const BPF: &[Attr] = &[
    Attr::refuse(1, "in"),
    Attr::refuse(2, "out"),
    Attr::refuse(3, "xmit"),
    Attr::keep(4, "xmit_headroom", Shape::U32),
];

/// `linux/seg6_local.h`.
const SEG6_LOCAL: &[Attr] = &[
    Attr::keep(1, "action", Shape::Fixed(4, &Shape::Enum(SEG6_ACTIONS))),
    Attr::keep(2, "srh", Shape::Bytes),
    Attr::keep(3, "table", Shape::U32),
    Attr::keep(4, "nh4", Shape::Ip),
    Attr::keep(5, "nh6", Shape::Ip),
    Attr::link(6, "iif"),
    Attr::link(7, "oif"),
    Attr::refuse(8, "bpf"),
    Attr::keep(9, "vrftable", Shape::U32),
    // That there are counters is state, their values are not; the kernel wants all three.
    Attr::keep(10, "counters", Shape::Nest(SEG6_COUNTERS)),
    Attr::keep(11, "flavors", Shape::Nest(SEG6_FLAVORS)),
];
const SEG6_ACTIONS: &[(u64, &str)] = &[
    (1, "end"),
    (2, "end.x"),
    (3, "end.t"),
    (4, "end.dx2"),
    (5, "end.dx6"),
    (6, "end.dx4"),
    (7, "end.dt6"),
    (8, "end.dt4"),
    (9, "end.b6"),
    (10, "end.b6.encaps"),
    (11, "end.bm"),
    (12, "end.s"),
    (13, "end.as"),
    (14, "end.am"),
    (15, "end.bpf"),
    (16, "end.dt46"),
];
const SEG6_COUNTERS: &[Attr] = &[
    Attr::strip(1, "pad", Shape::Bytes),
    Attr::new(2, "packets", Shape::U64, Fate::Zero),
    Attr::new(3, "bytes", Shape::U64, Fate::Zero),
    Attr::new(4, "errors", Shape::U64, Fate::Zero),
];
const SEG6_FLAVORS: &[Attr] = &[
    Attr::keep(1, "operation", Shape::U32),
    Attr::keep(2, "lcblock_bits", Shape::U8),
    Attr::keep(3, "lcnode_fn_bits", Shape::U8),
];

/// `linux/rpl_iptunnel.h`.
const RPL: &[Attr] = &[Attr::keep(1, "srh", Shape::Bytes)];

/// `linux/ioam6_iptunnel.h`.
const IOAM6: &[Attr] = &[
    Attr::keep(
        1,
        "mode",
        Shape::Fixed(1, &Shape::Enum(&[(1, "inline"), (2, "encap"), (3, "auto")])),
    ),
    Attr::keep(2, "dst", Shape::Ip),
    Attr::keep(3, "trace", Shape::Bytes),
    Attr::keep(4, "freq_k", Shape::U32),
    Attr::keep(5, "freq_n", Shape::U32),
    Attr::keep(6, "src", Shape::Ip),
];

const XFRM: &[Attr] = &[Attr::keep(1, "if_id", Shape::U32), Attr::link(2, "link")];
