//! Traffic control: queueing disciplines, their classes, filters, chains and actions
//! (`linux/rtnetlink.h`, `linux/pkt_sched.h`, `linux/pkt_cls.h`, `linux/tc_act/*`).
//!
//! What the kernel gives a link by itself has no handle, and is left to the kernel of the place.
//! Kinds are names for which kernels load modules, so that only those of the tables here are sent.

mod action_kinds;
mod actions;
mod chains;
mod classes;
mod classifiers;
mod disciplines;
mod ematches;
mod filters;
mod flower;
mod made;
mod qdiscs;
mod read;
mod steady;
#[cfg(test)]
mod tests;
mod u32_tables;

use crate::netlink::Protocol;
use crate::state::table::{Attr, Fate, Field, Shape, Source};
use crate::state::{Fault, Names, ReadError, Reader, Value};

pub use action_kinds::{ACTIONS, index as action_index, verdict as action_verdict};
pub use actions::TC_ACTIONS;
pub use chains::TC_CHAINS;
pub use classes::TC_CLASSES;
pub use classifiers::actions_of;
pub use filters::TC_FILTERS;
pub use qdiscs::QDISCS;
pub use read::{Place, blocks_of, of_link};
pub use u32_tables::scope;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTCLASS: u16 = 40;
const RTM_DELTCLASS: u16 = 41;
const RTM_GETTCLASS: u16 = 42;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const RTM_NEWACTION: u16 = 48;
const RTM_DELACTION: u16 = 49;
const RTM_GETACTION: u16 = 50;
const RTM_NEWCHAIN: u16 = 100;
const RTM_DELCHAIN: u16 = 101;
const RTM_GETCHAIN: u16 = 102;
/// `RTNLGRP_TC`.
const GROUPS: &[u32] = &[4];

/// Bytes of `struct tcmsg`.
pub const TCMSG: usize = 20;
/// `TC_H_ROOT`, `TC_H_INGRESS` (which is `TC_H_CLSACT`, too).
pub const ROOT: u32 = 0xffff_ffff;
pub const INGRESS: u32 = 0xffff_fff1;
/// The handle of what is below [`INGRESS`].
pub const INGRESS_HANDLE: u32 = 0xffff_0000;
/// `TCM_IFINDEX_MAGIC_BLOCK`: in place of a link, where `tcm_parent` is the number of a shared block.
pub const BLOCK: u32 = u32::MAX;
/// Upper half of a handle.
pub const MAJOR: u32 = 0xffff_0000;
/// `TC_U32_ROOT`: whatever hash table a filter of u32 begins with.
const U32_ROOT: u32 = 0xfff0_0000;
/// What tells the tables of u32 from the keys in them (`TC_U32_KEY`).
pub const U32_KEY: u32 = 0x000f_ffff;

/// `TCA_*`; kind and options have the same numbers in an action.
pub const TCA_KIND: u16 = 1;
pub const TCA_OPTIONS: u16 = 2;
pub const TCA_CHAIN: u16 = 11;
const TCA_INGRESS_BLOCK: u16 = 13;
const TCA_EGRESS_BLOCK: u16 = 14;
/// `TCA_ACT_TAB` of `struct tcamsg`.
pub const TCA_ACT_TAB: u16 = 1;

/// What becomes of the kind that has no attribute of its own in a table.
const NO_OPTIONS: Shape = Shape::Nest(&[]);

/// A class that is read by `read`, and again when `notices` tell of changes.
const fn watched(
    read: fn(&mut Reader) -> Result<Vec<u8>, ReadError>,
    notices: &'static [u16],
) -> Source {
    Source::Watched { read, protocol: Protocol::Route, groups: GROUPS, notices }
}

/// A handle as `tc` writes it: hexadecimal, major and minor.
fn written(handle: u64) -> String {
    match u32::try_from(handle).unwrap_or(ROOT) {
        ROOT => "root".to_owned(),
        INGRESS => "ingress".to_owned(),
        0 => "none".to_owned(),
        handle if handle & !MAJOR == 0 => format!("{:x}:", handle >> 16),
        handle => format!("{:x}:{:x}", handle >> 16, handle & !MAJOR),
    }
}

const HANDLE: Shape = Shape::Fixed(4, &Shape::Written(written));
/// An attribute that is a handle.
const fn handle(id: u16, name: &'static str) -> Attr {
    Attr::keep(id, name, HANDLE)
}

/// `struct nla_bitfield32`.
const BITFIELD: Shape = Shape::Struct(&[
    Field::new("value", 0, Shape::U32, Fate::Keep),
    Field::new("selector", 4, Shape::U32, Fate::Keep),
]);

/// `TCA_STATS2`, `TCA_ACT_STATS`. That there is an estimator of rates is state, but of it the kernel
/// tells only what it estimates.
const STATS: Shape = Shape::Nest(&[
    Attr::strip(1, "basic", Shape::Bytes),
    Attr::leave(2, "rate_est", Shape::Bytes),
    Attr::strip(3, "queue", Shape::Bytes),
    Attr::strip(4, "app", Shape::Bytes),
    Attr::strip(5, "rate_est64", Shape::Bytes),
    Attr::strip(6, "pad", Shape::Bytes),
    Attr::strip(7, "basic_hw", Shape::Bytes),
    Attr::strip(8, "pkt64", Shape::Bytes),
]);

/// The link of a `struct tcmsg`.
const LINK: Field = Field::new("ifindex", 4, Shape::U32, Fate::Ifindex);
/// As [`LINK`], or that the parent is a shared block.
const LINK_OR_BLOCK: Field = Field::new("ifindex", 4, Shape::U32, Fate::IfindexOr(BLOCK as u64));
const PARENT: Field = Field::new("parent", 12, HANDLE, Fate::Keep);

/// Attributes that any message of traffic control may have, and that are never sent.
const fn told(id: u16, name: &'static str) -> Attr {
    Attr::strip(id, name, Shape::Bytes)
}

/// Where an object is, for labels: `of eth0`, or of a shared block, with the parent below a link.
fn place(value: &Value, names: &Names) -> String {
    let parent = value.number("parent").unwrap_or_default();
    match value.number("ifindex").unwrap_or_default() {
        link if link == u64::from(BLOCK) => format!("of block {parent}"),
        link => format!("at {} of {}", side(parent), names.link(link)),
    }
}

/// A parent of filters, with the names of the two sides of clsact.
fn side(parent: u64) -> String {
    match parent {
        0xffff_fff2 => "ingress".to_owned(),
        0xffff_fff3 => "egress".to_owned(),
        other => written(other),
    }
}

/// A kind that is not in `known`, and has no options that would be looked at by its name.
fn kind_fault(value: &Value, what: &str, known: &'static [(&'static str, Shape)]) -> Option<Fault> {
    let kind = value.text("kind").unwrap_or("");
    if known.iter().any(|(name, _)| *name == kind) {
        return None;
    }
    // With options the layout is missed already.
    let told = value.field("options").is_some() && !kind.is_empty();
    (!told).then(|| Fault::Object(format!("{what} of kind {kind:?} are not known")))
}
