//! Expressions: what rules are made of, and the stateful ones that sets, elements and objects share
//! with them. What is not in these tables is not sent: the kernel loads modules for names that it
//! does not know.

use super::DATA;
use super::xtables::{MATCH, TARGET, xtables_fault};
use crate::state::table::Shape::{self, Be16, Be32, Be64, Bytes, Nest, Net, Text, U8};
use crate::state::table::{Attr, Fate};
use crate::state::{Fault, Value};

const fn k(id: u16, name: &'static str, shape: Shape) -> Attr {
    Attr::keep(id, name, shape)
}

/// Numbers that move as packets pass: sent, not compared.
const fn moves(id: u16, name: &'static str, shape: Shape) -> Attr {
    Attr::new(id, name, shape, Fate::Send)
}

const PAD: &str = "pad";

/// `NFTA_COUNTER_*`.
pub const COUNTER: &[Attr] =
    &[moves(1, "bytes", Be64), moves(2, "packets", Be64), Attr::strip(3, PAD, Bytes)];

/// `NFTA_QUOTA_*`. That it is used up follows from what is consumed.
pub const QUOTA: &[Attr] = &[
    k(1, "bytes", Be64),
    k(2, "flags", Net(&Shape::BitsOf(&[(1, "over"), (2, "depleted")], 1))),
    Attr::strip(3, PAD, Bytes),
    moves(4, "consumed", Be64),
];

/// `NFTA_LIMIT_*`.
pub const LIMIT: &[Attr] = &[
    k(1, "rate", Be64),
    k(2, "unit", Be64),
    k(3, "burst", Be32),
    k(4, "type", Net(&Shape::Enum(&[(0, "packets"), (1, "bytes")]))),
    k(5, "flags", Net(&Shape::Bits(&[(1, "over")]))),
    Attr::strip(6, PAD, Bytes),
];

/// `NFTA_CONNLIMIT_*`.
pub const CONNLIMIT: &[Attr] =
    &[k(1, "count", Be32), k(2, "flags", Net(&Shape::Bits(&[(1, "over")])))];

/// `NFTA_LAST_*`: milliseconds since a packet passed last.
const LAST: &[Attr] = &[moves(1, "set", Be32), moves(2, "msecs", Be64), Attr::strip(3, PAD, Bytes)];

/// `NFTA_SYNPROXY_*`.
pub const SYNPROXY: &[Attr] = &[k(1, "mss", Be16), k(2, "wscale", U8), k(3, "flags", Be32)];

/// Expressions with a state, as elements have them.
pub const STATEFUL: &[Attr] = &[k(1, "name", Text), k(2, "data", Shape::By("name", STATES))];
const STATES: &[(&str, Shape)] = &[
    ("counter", Nest(COUNTER)),
    ("quota", Nest(QUOTA)),
    ("limit", Nest(LIMIT)),
    ("connlimit", Nest(CONNLIMIT)),
    ("last", Nest(LAST)),
];

/// `NFTA_EXPR_*`.
pub const EXPRESSION: &[Attr] = &[k(1, "name", Text), k(2, "data", Shape::By("name", EXPRESSIONS))];

const PAYLOAD: &[Attr] = &[
    k(1, "dreg", Be32),
    k(2, "base", Net(&Shape::Enum(BASES))),
    k(3, "offset", Be32),
    k(4, "len", Be32),
    k(5, "sreg", Be32),
    k(6, "csum_type", Be32),
    k(7, "csum_offset", Be32),
    k(8, "csum_flags", Be32),
];
const BASES: &[(u64, &str)] =
    &[(0, "link"), (1, "network"), (2, "transport"), (3, "inner"), (4, "tunnel")];
const META: &[Attr] =
    &[k(1, "dreg", Be32), k(2, "key", Net(&Shape::Enum(META_KEYS))), k(3, "sreg", Be32)];
/// `NFT_META_*`, as far as a look at rules needs names.
const META_KEYS: &[(u64, &str)] = &[
    (0, "len"),
    (1, "protocol"),
    (2, "priority"),
    (3, "mark"),
    (4, "iif"),
    (5, "oif"),
    (6, "iifname"),
    (7, "oifname"),
    (8, "iiftype"),
    (9, "oiftype"),
    (10, "skuid"),
    (11, "skgid"),
    (12, "nftrace"),
    (13, "rtclassid"),
    (14, "secmark"),
    (15, "nfproto"),
    (16, "l4proto"),
    (19, "pkttype"),
    (20, "cpu"),
    (21, "iifgroup"),
    (22, "oifgroup"),
    (23, "cgroup"),
];
/// An expression within the header of a tunnel.
const INNER: &[Attr] = &[
    k(1, "name", Text),
    k(2, "data", Shape::By("name", &[("payload", Nest(PAYLOAD)), ("meta", Nest(META))])),
];

const OPERATIONS: Shape =
    Net(&Shape::Enum(&[(0, "eq"), (1, "neq"), (2, "lt"), (3, "lte"), (4, "gt"), (5, "gte")]));

const EXTHDR_DREG: u16 = 1;
const EXTHDR_SREG: u16 = 7;
/// The kernel tells everything of each use of a header, and refuses to be told what the use (to
/// load, to set, to take out) has no need of.
const LOADED: Fate = Fate::Unless(EXTHDR_DREG, &(Fate::Strip, Fate::Keep));
const LOADED_OR_SET: Fate = Fate::Unless(EXTHDR_SREG, &(LOADED, Fate::Keep));

/// The name of an expression without data.
const NOTRACK: &str = "notrack";

const EXPRESSIONS: &[(&str, Shape)] = &[
    ("immediate", Nest(&[k(1, "dreg", Be32), k(2, "data", DATA)])),
    (
        "bitwise",
        Nest(&[
            k(1, "sreg", Be32),
            k(2, "dreg", Be32),
            k(3, "len", Be32),
            k(4, "mask", DATA),
            k(5, "xor", DATA),
            k(6, "op", Be32),
            k(7, "data", DATA),
            k(8, "sreg2", Be32),
        ]),
    ),
    (
        "byteorder",
        Nest(&[
            k(1, "sreg", Be32),
            k(2, "dreg", Be32),
            k(3, "op", Be32),
            k(4, "len", Be32),
            k(5, "size", Be32),
        ]),
    ),
    ("cmp", Nest(&[k(1, "sreg", Be32), k(2, "op", OPERATIONS), k(3, "data", DATA)])),
    (
        "range",
        Nest(&[
            k(1, "sreg", Be32),
            k(2, "op", OPERATIONS),
            k(3, "from_data", DATA),
            k(4, "to_data", DATA),
        ]),
    ),
    (
        "lookup",
        Nest(&[
            k(1, "set", Text),
            k(2, "sreg", Be32),
            k(3, "dreg", Be32),
            Attr::strip(4, "set_id", Be32),
            k(5, "flags", Net(&Shape::Bits(&[(1, "inv")]))),
        ]),
    ),
    (
        "dynset",
        Nest(&[
            k(1, "set_name", Text),
            Attr::strip(2, "set_id", Be32),
            k(3, "op", Net(&Shape::Enum(&[(0, "add"), (1, "update"), (2, "delete")]))),
            k(4, "sreg_key", Be32),
            k(5, "sreg_data", Be32),
            // Told as 0 of sets that know no timeouts, which refuse to be told any.
            Attr::new(6, "timeout", Be64, Fate::Set),
            k(7, "expr", Nest(STATEFUL)),
            Attr::strip(8, PAD, Bytes),
            k(9, "flags", Be32),
            k(10, "expressions", Shape::List(&Nest(STATEFUL))),
        ]),
    ),
    ("payload", Nest(PAYLOAD)),
    (
        "exthdr",
        Nest(&[
            k(EXTHDR_DREG, "dreg", Be32),
            k(2, "type", U8),
            Attr::new(3, "offset", Be32, LOADED_OR_SET),
            Attr::new(4, "len", Be32, LOADED_OR_SET),
            Attr::new(5, "flags", Be32, LOADED),
            k(6, "op", Be32),
            k(EXTHDR_SREG, "sreg", Be32),
        ]),
    ),
    ("meta", Nest(META)),
    ("rt", Nest(&[k(1, "dreg", Be32), k(2, "key", Be32)])),
    ("socket", Nest(&[k(1, "key", Be32), k(2, "dreg", Be32), k(3, "level", Be32)])),
    (
        "hash",
        Nest(&[
            k(1, "sreg", Be32),
            k(2, "dreg", Be32),
            k(3, "len", Be32),
            k(4, "modulus", Be32),
            k(5, "seed", Be32),
            k(6, "offset", Be32),
            k(7, "type", Be32),
        ]),
    ),
    (
        "ct",
        Nest(&[k(1, "dreg", Be32), k(2, "key", Be32), k(3, "direction", U8), k(4, "sreg", Be32)]),
    ),
    ("flow_offload", Nest(&[k(1, "table_name", Text)])),
    ("counter", Nest(COUNTER)),
    ("quota", Nest(QUOTA)),
    ("limit", Nest(LIMIT)),
    ("connlimit", Nest(CONNLIMIT)),
    ("last", Nest(LAST)),
    (
        "log",
        Nest(&[
            k(1, "group", Be16),
            k(2, "prefix", Text),
            k(3, "snaplen", Be32),
            k(4, "qthreshold", Be16),
            k(5, "level", Be32),
            k(6, "flags", Be32),
        ]),
    ),
    (
        "queue",
        Nest(&[
            k(1, "num", Be16),
            k(2, "total", Be16),
            k(3, "flags", Be16),
            k(4, "sreg_qnum", Be32),
        ]),
    ),
    ("reject", Nest(&[k(1, "type", Be32), k(2, "icmp_code", U8)])),
    (
        "nat",
        Nest(&[
            k(1, "type", Net(&Shape::Enum(&[(0, "snat"), (1, "dnat")]))),
            k(2, "family", Be32),
            k(3, "reg_addr_min", Be32),
            k(4, "reg_addr_max", Be32),
            k(5, "reg_proto_min", Be32),
            k(6, "reg_proto_max", Be32),
            k(7, "flags", Be32),
        ]),
    ),
    ("tproxy", Nest(&[k(1, "family", Be32), k(2, "reg_addr", Be32), k(3, "reg_port", Be32)])),
    (
        "masq",
        Nest(&[k(1, "flags", Be32), k(2, "reg_proto_min", Be32), k(3, "reg_proto_max", Be32)]),
    ),
    (
        "redir",
        Nest(&[k(1, "reg_proto_min", Be32), k(2, "reg_proto_max", Be32), k(3, "flags", Be32)]),
    ),
    ("dup", Nest(&[k(1, "sreg_addr", Be32), k(2, "sreg_dev", Be32)])),
    ("fwd", Nest(&[k(1, "sreg_dev", Be32), k(2, "sreg_addr", Be32), k(3, "nfproto", Be32)])),
    (
        "objref",
        Nest(&[
            k(1, "imm_type", Be32),
            k(2, "imm_name", Text),
            k(3, "set_sreg", Be32),
            k(4, "set_name", Text),
            Attr::strip(5, "set_id", Be32),
        ]),
    ),
    (
        "numgen",
        Nest(&[
            k(1, "dreg", Be32),
            k(2, "modulus", Be32),
            k(3, "type", Be32),
            k(4, "offset", Be32),
        ]),
    ),
    ("fib", Nest(&[k(1, "dreg", Be32), k(2, "result", Be32), k(3, "flags", Be32)])),
    // Flags are refused where none is set.
    ("osf", Nest(&[k(1, "dreg", Be32), k(2, "ttl", U8), Attr::new(3, "flags", Be32, Fate::Set)])),
    ("synproxy", Nest(SYNPROXY)),
    ("xfrm", Nest(&[k(1, "dreg", Be32), k(2, "key", Be32), k(3, "dir", U8), k(4, "spnum", Be32)])),
    ("tunnel", Nest(&[k(1, "key", Be32), k(2, "dreg", Be32), k(3, "mode", Be32)])),
    (
        "inner",
        Nest(&[
            k(1, "num", Be32),
            k(2, "type", Be32),
            k(3, "flags", Be32),
            k(4, "hdrsize", Be32),
            k(5, "expr", Nest(INNER)),
        ]),
    ),
    ("match", Nest(MATCH)),
    ("target", Nest(TARGET)),
    // It has no data; the entry is here for the list of names to be one.
    (NOTRACK, Nest(&[])),
];

/// `NFT_SOCKET_CGROUPV2`.
const CGROUP: u64 = 3;

/// What is wrong with the expressions in the list at `path`, beside their layouts. A name without
/// data would else be looked at by nobody.
pub fn expressions_fault(value: &Value, path: &str) -> Option<Fault> {
    let Some(Value::List(all)) = value.field(path) else { return None };
    all.iter().find_map(|expression| {
        let Some(name) = expression.text("name") else {
            return Some(Fault::Object("an expression without a name".to_owned()));
        };
        if !EXPRESSIONS.iter().any(|(known, _)| *known == name) {
            return Some(Fault::Object(format!("an expression that is not known ({name})")));
        }
        if name == "socket" && expression.number("data.key") == Some(CGROUP) {
            let why = "compares with the number of a cgroup, which another machine does not share";
            return Some(Fault::Part(why.to_owned()));
        }
        xtables_fault(name, expression)
    })
}
