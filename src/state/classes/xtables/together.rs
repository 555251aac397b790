//! From messages to the block of entries that the kernel takes.
//!
//! Sizes and offsets are worked out here, whatever the messages say: what comes from an image can only
//! be a wrong table, which the kernel refuses, and never one that reaches past its end.

use std::collections::BTreeMap;

use super::extensions::{Kind, without_private};
use super::family::{
    CHAIN_NAME, COUNTERS, ERROR, ERROR_NAME, EXTENSION, EXTENSION_NAME, EXTENSION_REVISION, Family,
    STANDARD, TABLE_NAME,
};
use super::{
    CHAIN, COUNTED, DATA, HOOK, HOOKS, JUMP, MATCHED, MATCHES, NAME, NFCACHE, POLICY, REVISION,
    RULE, TABLE, TARGET, VERDICT,
};
use crate::netlink::{Attributes, attributes, messages};
use crate::state::Object;

/// `NF_ACCEPT` and [`super::RETURN`].
const ACCEPT: u32 = 1;
const RETURN: u32 = super::RETURN;

/// A table as the kernel takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    pub hooks: u32,
    /// For each hook of the family the offset of its first entry, and of its policy.
    pub first: Vec<u32>,
    pub policy: Vec<u32>,
    pub count: u32,
    pub entries: Vec<u8>,
    /// `struct xt_counters` of each entry.
    pub counters: Vec<u8>,
}

/// Messages that do not make a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{0} is in no chain of the image, or not after it")]
    NoChain(String),
    #[error("it leads to chain {0}, which is not in the image")]
    NoTarget(String),
    #[error("chain {0} is there twice")]
    Twice(String),
    #[error("the hooks and the chains of the table do not fit each other")]
    Hooks,
    #[error("a rule has more than the 64 KiB that an entry can have")]
    TooLong,
    #[error("what packets are compared with is not as long as it must be")]
    Header,
}

/// Everything of one entry but its offsets.
struct Entry {
    head: Vec<u8>,
    matches: Vec<u8>,
    target: Target,
    counters: [u8; COUNTERS],
}

enum Target {
    Verdict(u32),
    /// On to the next entry.
    Next,
    Jump(String),
    /// With its header.
    Other(Vec<u8>),
}

struct Chain {
    name: String,
    hook: Option<u32>,
    policy: u32,
    counters: [u8; COUNTERS],
    rules: Vec<Entry>,
}

impl Block {
    /// The argument of `SO_SET_REPLACE`: but for the counters of before, which only the caller knows.
    #[must_use]
    pub fn replace(&self, family: &Family, table: &str) -> Vec<u8> {
        let mut argument = vec![0; TABLE_NAME];
        let length = table.len().min(TABLE_NAME - 1);
        argument[..length].copy_from_slice(&table.as_bytes()[..length]);
        let numbers = [self.hooks, self.count, self.entries.len() as u32];
        for number in numbers.iter().chain(&self.first).chain(&self.policy) {
            argument.extend_from_slice(&number.to_ne_bytes());
        }
        argument.resize(family.replace(), 0);
        argument.extend_from_slice(&self.entries);
        argument
    }
}

/// Puts the messages of one table together, in their order.
///
/// # Errors
/// [`Unfit`] where they do not make a table.
pub fn together(family: &'static Family, table: &[&Object]) -> Result<Block, Unfit> {
    let mut hooks = 0;
    let mut chains: Vec<Chain> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for object in table {
        let raw = Raw::of(object);
        if let Some(number) = raw.number(HOOKS) {
            hooks = number;
            continue;
        }
        let name = raw.text(CHAIN);
        let known = places.get(&name).copied();
        if raw.get(RULE).is_some() {
            let chain = known.and_then(|place| chains.get_mut(place));
            let chain = chain.ok_or_else(|| Unfit::NoChain(object.key.clone()))?;
            chain.rules.push(Entry::of(family, &raw)?);
            continue;
        }
        if known.is_some() {
            return Err(Unfit::Twice(name));
        }
        places.insert(name.clone(), chains.len());
        chains.push(Chain {
            name,
            hook: raw.number(HOOK),
            policy: raw.number(POLICY).unwrap_or(RETURN),
            counters: raw.counters(),
            rules: Vec::new(),
        });
    }
    make(family, hooks, &chains)
}

/// A table with no chain but those of its hooks, which let everything pass: what a new one is.
///
/// # Errors
/// [`Unfit`] where the messages do not tell the hooks.
pub fn empty(family: &'static Family, table: &[&Object]) -> Result<Block, Unfit> {
    let hooks = table.iter().find_map(|object| Raw::of(object).number(HOOKS)).unwrap_or_default();
    let of_hooks = (0..family.hooks.len()).filter(|hook| hooks & 1 << hook != 0);
    let chains: Vec<_> = of_hooks
        .map(|hook| Chain {
            name: family.hooks[hook].to_owned(),
            hook: Some(hook as u32),
            policy: ACCEPT,
            counters: [0; COUNTERS],
            rules: Vec::new(),
        })
        .collect();
    make(family, hooks, &chains)
}

/// Whether messages say what [`empty`] does.
pub fn is_empty(table: &[&Object]) -> bool {
    table.iter().all(|object| {
        let raw = Raw::of(object);
        let base = raw.get(HOOK).is_some() && raw.number(POLICY) == Some(ACCEPT);
        raw.number(HOOKS).is_some() || base && raw.get(RULE).is_none()
    })
}

fn make(family: &'static Family, hooks: u32, chains: &[Chain]) -> Result<Block, Unfit> {
    let mut of_hooks: Vec<u32> = chains.iter().filter_map(|chain| chain.hook).collect();
    of_hooks.sort_unstable();
    if of_hooks
        != (0..family.hooks.len() as u32).filter(|h| hooks & 1 << h != 0).collect::<Vec<_>>()
        || hooks >> family.hooks.len() != 0
    {
        return Err(Unfit::Hooks);
    }
    let mut starts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut at = 0;
    for chain in chains {
        if chain.hook.is_none() {
            at += family.entry + ERROR;
        }
        starts.insert(&chain.name, at as u32);
        at += chain.rules.iter().map(|rule| rule.size(family)).sum::<usize>();
        at += family.entry + STANDARD;
        if u32::try_from(at).is_err() {
            return Err(Unfit::TooLong);
        }
    }
    let none = vec![0; family.hooks.len()];
    let mut block = Block { hooks, first: none.clone(), policy: none, ..Block::default() };
    for chain in chains {
        if chain.hook.is_none() {
            block.add(family, &Entry::bare(family, Target::Other(named(&chain.name))), &starts)?;
        }
        let start = block.entries.len() as u32;
        for rule in &chain.rules {
            block.add(family, rule, &starts)?;
        }
        let end = block.entries.len() as u32;
        let mut last = Entry::bare(family, Target::Verdict(chain.policy));
        last.counters = chain.counters;
        block.add(family, &last, &starts)?;
        if let Some(hook) = chain.hook {
            block.first[hook as usize] = start;
            block.policy[hook as usize] = end;
        }
    }
    block.add(family, &Entry::bare(family, Target::Other(named(ERROR_NAME))), &starts)?;
    Ok(block)
}

impl Block {
    fn add(
        &mut self,
        family: &'static Family,
        entry: &Entry,
        starts: &BTreeMap<&str, u32>,
    ) -> Result<(), Unfit> {
        let start = self.entries.len();
        let size = entry.size(family);
        let target = family.entry + entry.matches.len();
        let (Ok(target), Ok(next)) = (u16::try_from(target), u16::try_from(size)) else {
            return Err(Unfit::TooLong);
        };
        self.entries.extend_from_slice(&entry.head);
        let at = start + family.target_offset;
        self.entries[at..at + 2].copy_from_slice(&target.to_ne_bytes());
        self.entries[at + 2..at + 4].copy_from_slice(&next.to_ne_bytes());
        self.entries.extend_from_slice(&entry.matches);
        match &entry.target {
            Target::Other(target) => self.entries.extend_from_slice(target),
            Target::Verdict(verdict) => self.standard(-i64::from(*verdict) - 1),
            Target::Next => self.standard((start + size) as i64),
            Target::Jump(chain) => {
                let place = starts.get(chain.as_str());
                let place = place.ok_or_else(|| Unfit::NoTarget(chain.clone()))?;
                self.standard(i64::from(*place));
            }
        }
        self.counters.extend_from_slice(&entry.counters);
        self.count += 1;
        Ok(())
    }

    fn standard(&mut self, verdict: i64) {
        self.entries.extend(header("", 0, STANDARD));
        self.entries.extend_from_slice(&(verdict as i32).to_ne_bytes());
        self.entries.extend_from_slice(&[0; 4]);
    }
}

impl Entry {
    fn bare(family: &Family, target: Target) -> Self {
        let head = vec![0; family.entry];
        Self { head, matches: Vec::new(), target, counters: [0; COUNTERS] }
    }

    fn of(family: &Family, rule: &Raw<'_>) -> Result<Self, Unfit> {
        let mut head = vec![0; family.entry];
        let matched = rule.get(MATCHED).filter(|matched| matched.len() == family.matched);
        head[..family.matched].copy_from_slice(matched.ok_or(Unfit::Header)?);
        if let (Some(at), Some(nfcache)) = (family.nfcache, rule.number(NFCACHE)) {
            head[at..at + 4].copy_from_slice(&nfcache.to_ne_bytes());
        }
        let mut matches = Vec::new();
        for found in attributes(rule.get(MATCHES).unwrap_or_default()).map_while(Result::ok) {
            matches.extend(extension(Kind::Match, found.payload)?);
        }
        let target = if let Some(target) = rule.get(TARGET) {
            Target::Other(extension(Kind::Target, target)?)
        } else if let Some(verdict) = rule.number(VERDICT) {
            Target::Verdict(verdict)
        } else if rule.get(JUMP).is_some() {
            Target::Jump(rule.text(JUMP))
        } else {
            Target::Next
        };
        Ok(Self { head, matches, target, counters: rule.counters() })
    }

    fn size(&self, family: &Family) -> usize {
        let target = match &self.target {
            Target::Other(target) => target.len(),
            _ => STANDARD,
        };
        family.entry + self.matches.len() + target
    }
}

/// The header of a match or target of this size.
fn header(name: &str, revision: u8, size: usize) -> Vec<u8> {
    let mut header = vec![0; EXTENSION];
    header[..2].copy_from_slice(&(size as u16).to_ne_bytes());
    let room = &mut header[EXTENSION_NAME];
    let length = name.len().min(room.len() - 1);
    room[..length].copy_from_slice(&name.as_bytes()[..length]);
    header[EXTENSION_REVISION] = revision;
    header
}

/// A match or target with its header, padded.
fn extension(kind: Kind, nest: &[u8]) -> Result<Vec<u8>, Unfit> {
    let raw = Raw(attributes(nest));
    let name = raw.text(NAME);
    let revision = raw.get(REVISION).and_then(|one| one.first().copied()).unwrap_or_default();
    let mut data = raw.get(DATA).unwrap_or_default().to_vec();
    data.resize(data.len().next_multiple_of(8), 0);
    without_private(kind, &name, revision, &mut data);
    let size = EXTENSION + data.len();
    if u16::try_from(size).is_err() {
        return Err(Unfit::TooLong);
    }
    let mut whole = header(&name, revision, size);
    whole.extend(data);
    Ok(whole)
}

/// The target that begins a chain, or ends a table.
fn named(name: &str) -> Vec<u8> {
    let mut target = header(ERROR_NAME, 0, ERROR);
    let length = name.len().min(CHAIN_NAME - 1);
    target.extend_from_slice(&name.as_bytes()[..length]);
    target.resize(ERROR, 0);
    target
}

/// The attributes of a message, or of a nest.
#[derive(Clone)]
struct Raw<'a>(Attributes<'a>);

impl<'a> Raw<'a> {
    fn of(object: &'a Object) -> Self {
        let body = messages(&object.bytes).map_while(Result::ok).next().map(|found| found.body);
        Self(attributes(body.unwrap_or_default()))
    }

    fn get(&self, id: u16) -> Option<&'a [u8]> {
        self.0.clone().map_while(Result::ok).find(|found| found.id == id).map(|found| found.payload)
    }

    fn number(&self, id: u16) -> Option<u32> {
        self.get(id)?.first_chunk().map(|number| u32::from_ne_bytes(*number))
    }

    fn text(&self, id: u16) -> String {
        let text = self.get(id).unwrap_or_default().split(|byte| *byte == 0).next();
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    }

    fn counters(&self) -> [u8; COUNTERS] {
        self.get(COUNTED).and_then(|found| found.first_chunk().copied()).unwrap_or_default()
    }
}

/// The table that an object is of.
#[must_use]
pub fn table_of(object: &Object) -> String {
    Raw::of(object).text(TABLE)
}
