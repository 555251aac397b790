//! Chains, with their hooks.

use super::expressions::COUNTER;
use super::{DEVICES, HEADER, SUBSYSTEM, belongs, dump, family_fault, named, source};
use crate::netlink::{Message, messages};
use crate::state::table::{Attr, Class, Fate, Shape};
use crate::state::{Fault, Value};

/// `NFTA_CHAIN_COUNTERS`.
const COUNTERS: u16 = 8;

/// `NFT_CHAIN_*`. A chain with `binding` is the nameless one of a rule (`jump { … }`).
const FLAGS: &[(u64, &str)] = &[(1, "base"), (2, "hw_offload"), (4, "binding")];
/// Types that the kernel has. It would load a module for any other name.
const TYPES: [&str; 3] = ["filter", "nat", "route"];

const HOOK: &[Attr] = &[
    Attr::keep(1, "number", Shape::Be32),
    Attr::keep(2, "priority", Shape::Net(&Shape::I32)),
    Attr::keep(3, "dev", Shape::Text),
    Attr::keep(4, "devs", Shape::Repeat(DEVICES)),
];

pub static NFT_CHAINS: Class = Class {
    name: "nft-chains",
    source: source(&[dump(4)]),
    header: HEADER,
    attributes: &[
        Attr::keep(1, "table", Shape::Text),
        Attr::strip(2, "handle", Shape::Be64),
        Attr::keep(3, "name", Shape::Text),
        Attr::keep(4, "hook", Shape::Nest(HOOK)),
        Attr::keep(5, "policy", Shape::Net(&Shape::Enum(&[(0, "drop"), (1, "accept")]))),
        Attr::strip(6, "use", Shape::Be32),
        Attr::keep(7, "type", Shape::Text),
        Attr::new(COUNTERS, "counters", Shape::Nest(COUNTER), Fate::Send),
        Attr::strip(9, "pad", Shape::Bytes),
        Attr::keep(10, "flags", Shape::Net(&Shape::Bits(FLAGS))),
        Attr::strip(11, "id", Shape::Be32),
        Attr::keep(12, "userdata", Shape::Bytes),
    ],
    key: &["family", "table", "name"],
    tells: SUBSYSTEM | 3,
    make: SUBSYSTEM | 3,
    remove: SUBSYSTEM | 5,
    after: &["links", "nft-tables"],
    strict: true,
    belongs,
    label: |value, _| named(value),
    faults,
    drifts: |section| messages(section).map_while(Result::ok).any(|chain| counts(&chain)),
    shown_by: "tests/nftables",
    ..Class::BASE
};

fn faults(value: &Value) -> Vec<Fault> {
    let mut faults: Vec<_> = family_fault(value).into_iter().collect();
    if let Some(kind) = value.text("type").filter(|kind| !TYPES.contains(kind)) {
        faults.push(Fault::Object(format!("a chain of a type that is not known ({kind})")));
    }
    faults
}

/// Whether what its policy took is counted.
fn counts(chain: &Message<'_>) -> bool {
    chain.attributes(4).map_while(Result::ok).any(|attribute| attribute.id == COUNTERS)
}
