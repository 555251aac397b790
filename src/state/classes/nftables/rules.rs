//! Rules. A rule has no name but its place in its chain, so the key is the chain, and equal keys are
//! told apart by their order.

use super::expressions::{EXPRESSION, expressions_fault};
use super::xtables::compat;
use super::{HEADER, SUBSYSTEM, belongs, dump, family_fault, place, source};
use crate::state::table::{Attr, Class, Shape};
use crate::state::{Fault, Names, Value};

const NFTA_RULE_COMPAT: u16 = 5;

pub static NFT_RULES: Class = Class {
    name: "nft-rules",
    source: source(&[dump(7)]),
    header: HEADER,
    attributes: &[
        Attr::keep(1, "table", Shape::Text),
        Attr::keep(2, "chain", Shape::Text),
        Attr::strip(3, "handle", Shape::Be64),
        Attr::keep(4, "expressions", Shape::List(&Shape::Nest(EXPRESSION))),
        // Not told; made again from the expressions.
        Attr::strip(NFTA_RULE_COMPAT, "compat", Shape::Bytes),
        Attr::strip(6, "position", Shape::Be64),
        Attr::keep(7, "userdata", Shape::Bytes),
        Attr::strip(8, "pad", Shape::Bytes),
        Attr::strip(9, "id", Shape::Be32),
        Attr::strip(10, "position_id", Shape::Be32),
        Attr::strip(11, "chain_id", Shape::Be32),
    ],
    key: &["family", "table", "chain"],
    tells: SUBSYSTEM | 6,
    make: SUBSYSTEM | 6,
    remove: SUBSYSTEM | 8,
    after: &[
        "links",
        "nft-chains",
        "nft-sets",
        "nft-set-elements",
        "nft-objects",
        "nft-flowtables",
        "conntrack-timeouts",
        "accounting",
    ],
    strict: true,
    belongs,
    label,
    faults,
    mend: |value| compat(value).map(|compat| (NFTA_RULE_COMPAT, compat)).into_iter().collect(),
    drifts: |section| section.split(|byte| *byte == 0).any(counts),
    shown_by: "tests/nftables",
    ..Class::BASE
};

/// Whether this is the name of an expression that changes while packets pass, or that may.
fn counts(text: &[u8]) -> bool {
    const ALL: &[&[u8]] =
        &[b"counter", b"quota", b"limit", b"connlimit", b"last", b"match", b"target"];
    ALL.iter().any(|name| text.ends_with(name))
}

fn label(value: &Value, _: &Names) -> String {
    let chain = value.text("chain").unwrap_or_default();
    let handle = value.number("handle").unwrap_or_default();
    format!("rule {handle} of {} {chain}", place(value))
}

fn faults(value: &Value) -> Vec<Fault> {
    let of_expressions = expressions_fault(value, "expressions");
    family_fault(value).into_iter().chain(of_expressions).collect()
}
