//! From the kernel's block of entries to messages.
//!
//! What iptables makes is chains: those of hooks first, each ended by its policy; then the others, each
//! begun by an entry that names it and ended by a return; at last an entry that ends the table. A
//! block that is not just that, by whoever made, is told as one message that can't be carried.

use std::collections::BTreeMap;

use super::extensions::{Kind, without_private};
use super::family::{
    COUNTERS, ERROR, ERROR_NAME, EXTENSION, EXTENSION_NAME, EXTENSION_REVISION, Family, STANDARD,
};
use super::kernel::Table;
use super::together::{Block, together};
use super::{
    CHAIN, COUNTED, DATA, HOOK, HOOKS, IRREGULAR, JUMP, MATCHED, MATCHES, NAME, NFCACHE, POLICY,
    REVISION, RULE, TABLE, TARGET, VERDICT,
};
use crate::netlink::Builder;
use crate::state::objects;

/// Bytes that a message's attribute can have.
const LARGEST: usize = 0xf000;

/// One entry, as it lies in the block.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    at: usize,
    bytes: &'a [u8],
    family: &'static Family,
}

/// A match or target with its header.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

/// Adds the messages of a table.
pub fn apart(family: &'static Family, name: &str, table: &Table, section: &mut Vec<u8>) {
    let told = regular(family, name, table).filter(|told| is_same(family, table, told));
    match told {
        Some(told) => section.extend(told),
        None => {
            let mut message = start(family, name);
            message.put(IRREGULAR, &[]);
            section.extend(message.finish());
        }
    }
}

/// Whether the messages make the same block again, but for counters and what is the kernel's own.
fn is_same(family: &'static Family, table: &Table, told: &[u8]) -> bool {
    let Ok(objects) = objects(family.class(), told) else { return false };
    let objects: Vec<_> = objects.iter().collect();
    let Ok(block) = together(family, &objects) else { return false };
    let Block { hooks, first, policy, count, entries, .. } = block;
    let of_hooks = |offsets: &[u32]| -> Vec<u32> {
        let known = offsets.iter().enumerate().filter(|(hook, _)| table.hooks & 1 << hook != 0);
        known.map(|(_, offset)| *offset).collect()
    };
    hooks == table.hooks
        && count == table.count
        && of_hooks(&first) == of_hooks(&table.first)
        && of_hooks(&policy) == of_hooks(&table.policy)
        && stripped(family, &entries) == stripped(family, &table.entries)
}

/// The block without what is the kernel's own; `None` where it is not entries to its end.
fn stripped(family: &'static Family, block: &[u8]) -> Option<Vec<u8>> {
    let mut stripped = block.to_vec();
    for entry in entries(family, block)? {
        // `comefrom` is between the offsets and the counters.
        let own = entry.at + family.target_offset + 4..entry.at + family.entry;
        stripped[own].fill(0);
        let (matches, target) = entry.parts()?;
        let kinds = matches.iter().map(|part| (Kind::Match, part));
        for (kind, part) in kinds.chain([(Kind::Target, &target)]) {
            let at = part.bytes.as_ptr().addr() - block.as_ptr().addr();
            let data = &mut stripped[at + EXTENSION..at + part.bytes.len()];
            without_private(kind, part.name, part.bytes[EXTENSION_REVISION], data);
        }
    }
    Some(stripped)
}

fn start(family: &Family, table: &str) -> Builder {
    let mut message = Builder::new(family.class().tells, 0, &[]);
    message.put_text(TABLE, table);
    message
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|number| usize::from(u16::from_ne_bytes(*number)))
}

/// All entries, each in its bounds.
fn entries<'a>(family: &'static Family, block: &'a [u8]) -> Option<Vec<Entry<'a>>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < block.len() {
        let length = u16_at(block, at + family.target_offset + 2)?;
        let bytes = block.get(at..at + length).filter(|bytes| bytes.len() > family.entry)?;
        all.push(Entry { at, bytes, family });
        at += length;
    }
    Some(all)
}

impl<'a> Entry<'a> {
    fn next(&self) -> usize {
        self.at + self.bytes.len()
    }

    /// Matches and target.
    fn parts(&self) -> Option<(Vec<Part<'a>>, Part<'a>)> {
        let target_at = u16_at(self.bytes, self.family.target_offset)?;
        let mut matches = Vec::new();
        let mut at = self.family.entry;
        while at < target_at {
            let found = Part::at(self.bytes.get(..target_at)?, at)?;
            at += found.bytes.len();
            matches.push(found);
        }
        let target = Part::at(self.bytes, at).filter(|_| at == target_at)?;
        (at + target.bytes.len() == self.bytes.len()).then_some((matches, target))
    }

    fn counters(&self) -> &'a [u8] {
        &self.bytes[self.family.counters..self.family.counters + COUNTERS]
    }
}

impl<'a> Part<'a> {
    fn at(bytes: &'a [u8], at: usize) -> Option<Self> {
        let length = u16_at(bytes, at)?;
        let bytes = bytes.get(at..at + length).filter(|bytes| bytes.len() >= EXTENSION)?;
        let name = bytes[EXTENSION_NAME].split(|byte| *byte == 0).next()?;
        Some(Self { name: std::str::from_utf8(name).ok()?, bytes })
    }

    /// What a standard target says.
    fn verdict(&self) -> Option<i32> {
        let number = self.bytes.get(EXTENSION..STANDARD)?.first_chunk()?;
        Some(i32::from_ne_bytes(*number))
    }

    /// The name of the chain that the entry begins.
    fn chain(&self) -> Option<&'a str> {
        let name = self.bytes.get(EXTENSION..ERROR)?.split(|byte| *byte == 0).next()?;
        std::str::from_utf8(name).ok()
    }
}

/// A chain in the making: its rules come before the entry that ends it.
struct Open<'a> {
    name: &'a str,
    hook: Option<usize>,
    rules: Vec<Entry<'a>>,
}

fn regular(family: &'static Family, name: &str, table: &Table) -> Option<Vec<u8>> {
    let entries = entries(family, &table.entries)?;
    let chains = chains(family, table, &entries)?;
    let mut places: BTreeMap<usize, &str> = BTreeMap::new();
    for chain in &chains {
        places.insert(chain.rules.first()?.at, chain.name);
    }
    let mut message = start(family, name);
    message.put_u32(HOOKS, table.hooks);
    let mut told = message.finish();
    for chain in &chains {
        let (end, rules) = chain.rules.split_last()?;
        let mut message = start(family, name);
        message.put_text(CHAIN, chain.name);
        if let Some(hook) = chain.hook {
            message.put_u32(HOOK, hook as u32);
            message.put_u32(POLICY, returned(end.parts()?.1.verdict()?)?);
        }
        message.put(COUNTED, end.counters());
        told.extend(message.finish());
        for (at, rule) in rules.iter().enumerate() {
            let mut message = start(family, name);
            message.put_text(CHAIN, chain.name);
            message.put_u32(RULE, at as u32 + 1);
            tell(rule, &places, &mut message)?;
            told.extend(message.finish());
        }
    }
    Some(told)
}

fn chains<'a>(
    family: &'static Family,
    table: &Table,
    entries: &[Entry<'a>],
) -> Option<Vec<Open<'a>>> {
    let mut chains: Vec<Open<'a>> = Vec::new();
    for entry in entries {
        let (_, target) = entry.parts()?;
        if target.name == ERROR_NAME {
            if entry.next() == table.entries.len() {
                return Some(chains);
            }
            chains.push(Open { name: target.chain()?, hook: None, rules: Vec::new() });
            continue;
        }
        let first = |hook: &usize| {
            table.hooks & 1 << hook != 0 && table.first.get(*hook) == Some(&(entry.at as u32))
        };
        if let Some(hook) = (0..family.hooks.len()).find(first) {
            let name = family.hooks[hook];
            chains.push(Open { name, hook: Some(hook), rules: Vec::new() });
        }
        chains.last_mut()?.rules.push(*entry);
    }
    None
}

/// A verdict as a number without a sign.
fn returned(verdict: i32) -> Option<u32> {
    u32::try_from(-(i64::from(verdict)) - 1).ok()
}

/// Adds what a rule says.
fn tell(rule: &Entry<'_>, places: &BTreeMap<usize, &str>, message: &mut Builder) -> Option<()> {
    let family = rule.family;
    message.put(COUNTED, rule.counters());
    message.put(MATCHED, &rule.bytes[..family.matched]);
    if let Some(at) = family.nfcache {
        message.put(NFCACHE, &rule.bytes[at..at + 4]);
    }
    let (matches, target) = rule.parts()?;
    let mut list = Vec::new();
    for found in &matches {
        list.extend(Builder::attribute(1 | Builder::NESTED, &extension(Kind::Match, found)));
    }
    if list.len() > LARGEST || target.bytes.len() > LARGEST {
        return None;
    }
    if !list.is_empty() {
        message.put(MATCHES | Builder::NESTED, &list);
    }
    if !target.name.is_empty() {
        message.put(TARGET | Builder::NESTED, &extension(Kind::Target, &target));
        return Some(());
    }
    match target.verdict()? {
        verdict if verdict < 0 => {
            message.put_u32(VERDICT, returned(verdict)?);
        }
        // On to the next rule: one without a target.
        next if next as usize == rule.next() => {}
        place => {
            message.put_text(JUMP, places.get(&(place as usize))?);
        }
    }
    Some(())
}

fn extension(kind: Kind, part: &Part<'_>) -> Vec<u8> {
    let mut data = part.bytes[EXTENSION..].to_vec();
    let revision = part.bytes[EXTENSION_REVISION];
    without_private(kind, part.name, revision, &mut data);
    let mut name = part.name.as_bytes().to_vec();
    name.push(0);
    let mut nest = Builder::attribute(NAME, &name);
    nest.extend(Builder::attribute(REVISION, &[revision]));
    if !data.is_empty() {
        nest.extend(Builder::attribute(DATA, &data));
    }
    nest
}
