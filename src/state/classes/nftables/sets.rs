//! Sets and maps. Their elements are a class of their own.

use super::expressions::{STATEFUL, expressions_fault};
use super::{HEADER, SUBSYSTEM, belongs, dump, family_fault, named, source};
use crate::state::table::{Attr, Class, Shape};
use crate::state::{Fault, Value};

/// `NFT_SET_*`. An anonymous set belongs to the rule that looks into it.
const FLAGS: &[(u64, &str)] = &[
    (1, "anonymous"),
    (2, "constant"),
    (4, "interval"),
    (8, "map"),
    (0x10, "timeout"),
    (0x20, "eval"),
    (0x40, "object"),
    (0x80, "concat"),
    (0x100, "expr"),
];

/// `NFTA_SET_DESC_*`.
const DESCRIPTION: &[Attr] = &[
    Attr::keep(1, "size", Shape::Be32),
    Attr::keep(2, "concat", Shape::List(&Shape::Nest(&[Attr::keep(1, "len", Shape::Be32)]))),
];

const NFTA_SET_ID: u16 = 10;

pub static NFT_SETS: Class = Class {
    name: "nft-sets",
    source: source(&[dump(10)]),
    header: HEADER,
    attributes: &[
        Attr::keep(1, "table", Shape::Text),
        Attr::keep(2, "name", Shape::Text),
        Attr::keep(3, "flags", Shape::Net(&Shape::Bits(FLAGS))),
        Attr::keep(4, "key_type", Shape::Be32),
        Attr::keep(5, "key_len", Shape::Be32),
        Attr::keep(6, "data_type", Shape::Be32),
        Attr::keep(7, "data_len", Shape::Be32),
        Attr::keep(8, "policy", Shape::Net(&Shape::Enum(&[(0, "performance"), (1, "memory")]))),
        Attr::keep(9, "desc", Shape::Nest(DESCRIPTION)),
        Attr::strip(NFTA_SET_ID, "id", Shape::Be32),
        // Milliseconds.
        Attr::keep(11, "timeout", Shape::Be64),
        Attr::keep(12, "gc_interval", Shape::Be32),
        Attr::keep(13, "userdata", Shape::Bytes),
        Attr::strip(14, "pad", Shape::Bytes),
        Attr::keep(15, "obj_type", Shape::Be32),
        Attr::strip(16, "handle", Shape::Be64),
        Attr::keep(17, "expr", Shape::Nest(STATEFUL)),
        Attr::keep(18, "expressions", Shape::List(&Shape::Nest(STATEFUL))),
        // Since Linux 6.16: an address in the kernel as text, and the number of elements.
        Attr::strip(19, "type", Shape::Text),
        Attr::strip(20, "count", Shape::Be32),
    ],
    key: &["family", "table", "name"],
    tells: SUBSYSTEM | 9,
    make: SUBSYSTEM | 9,
    remove: SUBSYSTEM | 11,
    after: &["nft-tables"],
    strict: true,
    belongs,
    label: |value, _| format!("set {}", named(value)),
    faults,
    mend: identity,
    shown_by: "tests/nftables",
    ..Class::BASE
};

fn faults(value: &Value) -> Vec<Fault> {
    let of_expressions = expressions_fault(value, "expressions");
    family_fault(value).into_iter().chain(of_expressions).collect()
}

/// The kernel wants a number for each new set in a transaction. Nobody asks by it: names do.
fn identity(value: &Value) -> Vec<(u16, Vec<u8>)> {
    let handle = value.number("handle").unwrap_or_default() as u32;
    vec![(NFTA_SET_ID, handle.to_be_bytes().to_vec())]
}
