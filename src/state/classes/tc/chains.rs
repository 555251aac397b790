//! Chains of filters that were made for themselves: empty ones, those with a template, and what stands
//! before them.

use super::{
    LINK_OR_BLOCK, PARENT, RTM_DELCHAIN, RTM_DELQDISC, RTM_DELTFILTER, RTM_NEWCHAIN, RTM_NEWQDISC,
    RTM_NEWTFILTER, flower, kind_fault, place, read, told, watched,
};
use crate::netlink::Message;
use crate::state::table::{Attr, Class, Fate, Field, Shape};
use crate::state::{Fault, Names, Value};

/// Those that only came with their filters are left to them: see [`read::chains`].
pub static TC_CHAINS: Class = Class {
    name: "tc-chains",
    source: watched(
        read::chains,
        &[RTM_NEWCHAIN, RTM_DELCHAIN, RTM_NEWTFILTER, RTM_DELTFILTER, RTM_NEWQDISC, RTM_DELQDISC],
    ),
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Strip),
        LINK_OR_BLOCK,
        Field::new("handle", 8, Shape::U32, Fate::Strip),
        PARENT,
        Field::new("info", 16, Shape::U32, Fate::Strip),
    ],
    attributes: &[
        Attr::keep(1, "kind", Shape::Text),
        Attr::keep(2, "options", Shape::By("kind", TEMPLATES)),
        told(9, "pad"),
        Attr::keep(11, "chain", Shape::U32),
        told(16, "ext_warn_msg"),
    ],
    key: &["ifindex", "parent", "chain"],
    tells: RTM_NEWCHAIN,
    make: RTM_NEWCHAIN,
    remove: RTM_DELCHAIN,
    belongs: |_: &Message<'_>| true,
    after: &["tc-classes"],
    label,
    faults,
    shown_by: "tests/tc",
    ..Class::BASE
};

/// Only flower has them.
const TEMPLATES: &[(&str, Shape)] = &[("flower", Shape::Nest(flower::FLOWER))];

fn faults(value: &Value) -> Vec<Fault> {
    let template = value.field("kind").and_then(|_| kind_fault(value, "templates", TEMPLATES));
    template.into_iter().collect()
}

fn label(value: &Value, names: &Names) -> String {
    format!("chain {} {}", value.number("chain").unwrap_or_default(), place(value, names))
}
