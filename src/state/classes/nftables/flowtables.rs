//! Flowtables: which devices forward established flows by themselves. The flows in them are not told.

use super::{DEVICES, HEADER, SUBSYSTEM, dump, family_faults, named, source};
use crate::state::table::{Attr, Class, Shape};

const HOOK: &[Attr] = &[
    Attr::keep(1, "number", Shape::Be32),
    Attr::keep(2, "priority", Shape::Net(&Shape::I32)),
    Attr::keep(3, "devs", Shape::Repeat(DEVICES)),
];

pub static NFT_FLOWTABLES: Class = Class {
    name: "nft-flowtables",
    source: source(&[dump(23)]),
    header: HEADER,
    attributes: &[
        Attr::keep(1, "table", Shape::Text),
        Attr::keep(2, "name", Shape::Text),
        Attr::keep(3, "hook", Shape::Nest(HOOK)),
        Attr::strip(4, "use", Shape::Be32),
        Attr::strip(5, "handle", Shape::Be64),
        Attr::strip(6, "pad", Shape::Bytes),
        Attr::keep(7, "flags", Shape::Net(&Shape::Bits(&[(1, "hw_offload"), (2, "counter")]))),
    ],
    key: &["family", "table", "name"],
    tells: SUBSYSTEM | 22,
    make: SUBSYSTEM | 22,
    remove: SUBSYSTEM | 24,
    after: &["links", "nft-tables"],
    strict: true,
    label: |value, _| format!("flowtable {}", named(value)),
    faults: family_faults,
    shown_by: "tests/nftables (where the kernel has flowtables)",
    ..Class::BASE
};
