//! The kinds of filters: their options (`linux/pkt_cls.h`).

use super::action_kinds::INSTRUCTION;
use super::actions::{LIST, OLD_POLICE};
use super::ematches::EMATCHES;
use super::{flower, handle, told};
use crate::state::table::Shape::{Be16, Be32, Headed, I16, I32, Nest, Struct, Text, U16, U32};
use crate::state::table::{Attr, Fate, Field, Shape};

const fn k(id: u16, name: &'static str, shape: Shape) -> Attr {
    Attr::keep(id, name, shape)
}

const fn f(name: &'static str, at: usize, shape: Shape) -> Field {
    Field::new(name, at, shape, Fate::Keep)
}

/// The names of the lists in which [`CLASSIFIERS`] have actions and matches.
pub const ACT: &str = "act";
pub const MATCHES: &str = "ematches";

/// `TCA_OPTIONS` by `TCA_KIND`. What is here may be asked for by an image.
pub const CLASSIFIERS: &[(&str, Shape)] = &[
    ("basic", Nest(BASIC)),
    ("bpf", Nest(BPF)),
    ("cgroup", Nest(CGROUP)),
    ("flow", Nest(FLOW)),
    ("flower", Nest(flower::FLOWER)),
    ("fw", Nest(FW)),
    ("matchall", Nest(MATCHALL)),
    ("route", Nest(ROUTE)),
    ("u32", Nest(U32_FILTER)),
];

/// `TCA_CLS_FLAGS_*`. What the hardware took of it is not for others to say.
pub const FLAGS: Shape = Shape::Fixed(
    4,
    &Shape::BitsOf(
        &[(1, "skip_hw"), (2, "skip_sw"), (4, "in_hw"), (8, "not_in_hw"), (16, "verbose")],
        0b1_0011,
    ),
);

/// `TCA_U32_*`.
const U32_FILTER: &[Attr] = &[
    handle(1, "classid"),
    k(2, "hash", U32),
    k(3, "link", U32),
    k(4, "divisor", U32),
    k(5, "sel", Headed(16, U32_SEL, &Shape::Array(16, U32_KEY))),
    k(6, "police", OLD_POLICE),
    k(7, ACT, LIST),
    k(8, "indev", Text),
    told(9, "pcnt"),
    // Of it the last number counts packets.
    k(
        10,
        "mark",
        Struct(&[f("val", 0, U32), f("mask", 4, U32), Field::new("success", 8, U32, Fate::Strip)]),
    ),
    k(11, "flags", FLAGS),
    told(12, "pad"),
];
/// `struct tc_u32_sel`.
const U32_SEL: &[Field] = &[
    f("flags", 0, Shape::U8),
    f("offshift", 1, Shape::U8),
    f("nkeys", 2, Shape::U8),
    f("offmask", 4, Be16),
    f("off", 6, U16),
    f("offoff", 8, I16),
    f("hoff", 10, I16),
    f("hmask", 12, Be32),
];
/// `struct tc_u32_key`.
const U32_KEY: &[Field] =
    &[f("mask", 0, Be32), f("val", 4, Be32), f("off", 8, I32), f("offmask", 12, I32)];

/// `TCA_BPF_*`. Classic programs are told in full; of others only number, name and tag are.
const BPF: &[Attr] = &[
    k(1, ACT, LIST),
    k(2, "police", OLD_POLICE),
    handle(3, "classid"),
    k(4, "ops_len", U16),
    k(5, "ops", Shape::Array(8, INSTRUCTION)),
    Attr::refuse(6, "fd"),
    Attr::strip(7, "name", Text),
    k(8, "flags", U32),
    k(9, "flags_gen", FLAGS),
    told(10, "tag"),
    // What the faults of the class name and refuse.
    Attr::strip(11, "id", U32),
];

/// `TCA_BASIC_*`.
const BASIC: &[Attr] = &[
    handle(1, "classid"),
    k(2, MATCHES, EMATCHES),
    k(3, ACT, LIST),
    k(4, "police", OLD_POLICE),
    told(5, "pcnt"),
    told(6, "pad"),
];

/// `TCA_CGROUP_*`.
const CGROUP: &[Attr] = &[k(1, ACT, LIST), k(2, "police", OLD_POLICE), k(3, MATCHES, EMATCHES)];

/// `TCA_FLOW_*`.
const FLOW: &[Attr] = &[
    k(1, "keys", U32),
    k(2, "mode", Shape::Fixed(4, &Shape::Enum(&[(0, "map"), (1, "hash")]))),
    handle(3, "baseclass"),
    k(4, "rshift", U32),
    k(5, "addend", U32),
    k(6, "mask", U32),
    k(7, "xor", U32),
    k(8, "divisor", U32),
    k(9, ACT, LIST),
    k(10, "police", OLD_POLICE),
    k(11, MATCHES, EMATCHES),
    k(12, "perturb", U32),
];

/// `TCA_FW_*`.
const FW: &[Attr] = &[
    handle(1, "classid"),
    k(2, "police", OLD_POLICE),
    k(3, "indev", Text),
    k(4, ACT, LIST),
    k(5, "mask", U32),
];

/// `TCA_MATCHALL_*`.
const MATCHALL: &[Attr] =
    &[handle(1, "classid"), k(2, ACT, LIST), k(3, "flags", FLAGS), told(4, "pcnt"), told(5, "pad")];

/// `TCA_ROUTE4_*`.
const ROUTE: &[Attr] = &[
    handle(1, "classid"),
    k(2, "to", U32),
    k(3, "from", U32),
    Attr::link(4, "iif"),
    k(5, "police", OLD_POLICE),
    k(6, ACT, LIST),
];

/// The attribute in which filters of a kind have their actions.
pub fn actions_of(kind: &str) -> Option<u16> {
    let (_, shape) = CLASSIFIERS.iter().find(|(known, _)| *known == kind)?;
    let Nest(table) = shape else { return None };
    table.iter().find(|attr| attr.name == ACT).map(|attr| attr.id)
}
