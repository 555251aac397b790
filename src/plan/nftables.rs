//! nftables: one transaction, which the kernel takes or leaves as a whole.
//!
//! Tables know nothing of each other, but within one nearly everything refers to something else, and
//! hooks of one priority are looked at in the order in which they were made. So there is no mending:
//! where anything differs, all tables are removed and made again, and packets see the rules of
//! before or those of after, never something between.

mod table;

use std::collections::{BTreeMap, BTreeSet};

use super::difference::of_class;
use super::draft::{CREATE, Draft, Objects, Sides};
use super::raw::Raw;
use super::step::Part;
use super::{Finding, Stage};
use crate::netlink::{Builder, Protocol};
use crate::state::classes::nftables;
use crate::state::classes::{
    NFT_CHAINS, NFT_FLOWTABLES, NFT_OBJECTS, NFT_RULES, NFT_SET_ELEMENTS, NFT_SETS, NFT_TABLES,
};
use crate::state::table::Class;
use crate::state::{Object, replay};

use table::Table;

/// Bytes of `struct nfgenmsg`.
const GENMSG: usize = 4;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`, and whose batch it is (`NFNL_SUBSYS_NFTABLES`).
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const BATCH_OF: [u8; GENMSG] = [0, 0, 0, 10];

const NFTA_TABLE_NAME: u16 = 1;
/// The table that an object of any other class is in.
const TABLE: u16 = 1;

/// All of it, tables first.
const CLASSES: [&Class; 7] = [
    &NFT_TABLES,
    &NFT_CHAINS,
    &NFT_SETS,
    &NFT_OBJECTS,
    &NFT_FLOWTABLES,
    &NFT_SET_ELEMENTS,
    &NFT_RULES,
];

/// A table's family and name.
type TableName = (u8, Vec<u8>);

fn raw(object: &Object) -> Raw<'_> {
    Raw::new(&object.bytes, GENMSG)
}

fn name_of(object: &Object, id: u16) -> TableName {
    let raw = raw(object);
    let name = raw.attribute(id).unwrap_or_default();
    (raw.header_u8(0), name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

/// Takes out tables that a process owns, which only that process can make and remove, and what is in
/// them or in no table at all.
pub fn prune(classes: &mut BTreeMap<&'static str, Vec<Object>>) {
    let Some(tables) = classes.get_mut(NFT_TABLES.name) else { return };
    tables.retain(|table| !nftables::is_owned(&table.value()));
    let there: BTreeSet<_> = tables.iter().map(|table| name_of(table, NFTA_TABLE_NAME)).collect();
    for class in &CLASSES[1..] {
        if let Some(objects) = classes.get_mut(class.name) {
            objects.retain(|object| there.contains(&name_of(object, TABLE)));
        }
    }
}

/// For the order of tables.
pub fn of_all(_: &Object) -> Option<String> {
    Some(String::new())
}

/// For the order of what is in a table.
pub fn of_table(object: &Object) -> Option<String> {
    let (family, name) = name_of(object, TABLE);
    Some(format!("{family} {}", hex::encode(name)))
}

/// Plans all tables.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let (mut old, new) = (sides.from.of(&NFT_TABLES), sides.to.of(&NFT_TABLES));
    let cleared = draft.sets_again && looks_into_sets(sides.from);
    if cleared {
        clear(old, sides.from, draft);
        old = &[];
    }
    // Mostly there is nothing to look at one by one: a bare target, or no nftables at all.
    let same = !cleared && old.len() == new.len();
    if same && !CLASSES.into_iter().any(|class| differs(class, sides)) {
        return;
    }
    let mut parts = removals(old, sides.from);
    for table in new {
        let label = format!("add {}", table.label(&sides.to.names));
        parts.push(Part::new(label, replay(&NFT_TABLES, &table.bytes, CREATE)));
    }
    let mut contents = tables(sides.to);
    for table in new {
        if let Some(contents) = contents.remove(&name_of(table, NFTA_TABLE_NAME)) {
            contents.make(&sides.to.names, &mut parts);
        }
    }
    parts.push(end());
    let (was, is) = (listed(old, sides.from), listed(new, sides.to));
    let label = match (old.is_empty(), new.is_empty()) {
        (true, _) => format!("make {is}"),
        (_, true) => format!("remove {was}"),
        _ => format!("replace {was} by {is}"),
    };
    draft.transaction(Stage::Nftables, &NFT_TABLES, label, Protocol::Netfilter, parts);
}

/// A transaction's beginning, and the removal of tables.
fn removals(old: &[Object], from: &Objects) -> Vec<Part> {
    let mut parts = vec![Part::new("begin", Builder::new(BATCH_BEGIN, 0, &BATCH_OF).finish())];
    for table in old {
        let label = format!("remove {}", table.label(&from.names));
        parts.push(Part::new(label, removal(table)));
    }
    parts
}

fn end() -> Part {
    Part::new("end", Builder::new(BATCH_END, 0, &BATCH_OF).finish())
}

/// Whether rules that iptables-nft made hold on to sets of ipset.
fn looks_into_sets(side: &Objects) -> bool {
    side.of(&NFT_RULES).iter().any(|rule| nftables::looks_into_sets(&rule.value()))
}

/// Removes all tables before sets of ipset are.
fn clear(old: &[Object], from: &Objects, draft: &mut Draft) {
    let mut parts = removals(old, from);
    parts.push(end());
    let label = format!("remove {}", listed(old, from));
    draft.transaction(Stage::ClearRules, &NFT_TABLES, label, Protocol::Netfilter, parts);
}

fn differs(class: &'static Class, sides: &Sides<'_>) -> bool {
    let mut findings = Vec::new();
    of_class(class, sides.from, sides.to, &mut findings);
    findings.iter().any(Finding::matters)
}

fn listed(tables: &[Object], side: &Objects) -> String {
    tables.iter().map(|table| table.label(&side.names)).collect::<Vec<_>>().join(", ")
}

/// With everything in it.
fn removal(table: &Object) -> Vec<u8> {
    let raw = raw(table);
    let mut builder = Builder::new(NFT_TABLES.remove, 0, &[raw.header_u8(0), 0, 0, 0]);
    builder.put(NFTA_TABLE_NAME, raw.attribute(NFTA_TABLE_NAME).unwrap_or_default());
    builder.finish()
}

/// What is to be in each table.
fn tables(to: &Objects) -> BTreeMap<TableName, Table<'_>> {
    let mut tables: BTreeMap<TableName, Table<'_>> = BTreeMap::new();
    for class in &CLASSES[1..] {
        for object in to.of(class) {
            tables.entry(name_of(object, TABLE)).or_default().add(object);
        }
    }
    tables
}
