//! What is in one table, in the order in which it can be made.
//!
//! Everything in a table has a handle, which grows with each new thing. Made again in the order of
//! their handles, things refer to what is there already, and their new handles are in the same
//! order. Two things are otherwise: elements have no handles and are made as soon as what they lead
//! to is there, and a rule may stand before older ones of its chain.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::netlink::{Builder, attributes, messages};
use crate::plan::draft::{APPEND, CREATE};
use crate::plan::raw::find;
use crate::plan::step::Part;
use crate::state::classes::{
    NFT_CHAINS, NFT_FLOWTABLES, NFT_OBJECTS, NFT_RULES, NFT_SET_ELEMENTS, NFT_SETS,
};
use crate::state::{Names, Object, replay};

use super::{GENMSG, raw};

const NFTA_CHAIN_HANDLE: u16 = 2;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_HANDLE: u16 = 16;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_HANDLE: u16 = 6;
const NFTA_FLOWTABLE_HANDLE: u16 = 5;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_ID: u16 = 9;
const NFTA_RULE_POSITION_ID: u16 = 10;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_SET_ELEM_OBJREF: u16 = 9;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// `NFT_SET_INTERVAL` and `NFT_SET_CONCAT`.
const INTERVAL: u32 = 4;
const CONCAT: u32 = 0x80;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
/// Bytes of elements in one message; a nest can't be longer than 64 KiB.
const LIST: usize = 32 << 10;

/// What is in one table.
#[derive(Debug, Default)]
pub struct Table<'a> {
    /// Chains, sets, objects, flowtables and rules.
    things: Vec<&'a Object>,
    /// By the set's name.
    elements: BTreeMap<&'a [u8], Vec<&'a Object>>,
}

/// What of a table was made so far.
#[derive(Default)]
struct Made<'a> {
    chains: BTreeSet<&'a [u8]>,
    objects: BTreeSet<&'a [u8]>,
    /// Sets whose elements are still to come.
    pending: Vec<Set<'a>>,
    rules: Rules<'a>,
}

struct Set<'a> {
    elements: Vec<&'a Object>,
    /// Chains and objects that the elements lead to.
    chains: BTreeSet<&'a [u8]>,
    objects: BTreeSet<&'a [u8]>,
}

impl<'a> Table<'a> {
    /// Adds an object of the table.
    pub fn add(&mut self, object: &'a Object) {
        if object.class.name == NFT_SET_ELEMENTS.name {
            let set = text(object, NFTA_SET_ELEM_LIST_SET);
            self.elements.entry(set).or_default().push(object);
        } else {
            self.things.push(object);
        }
    }

    /// Adds the messages that make everything in the table.
    pub fn make(mut self, names: &Names, parts: &mut Vec<Part>) {
        let mut made = Made { rules: Rules::of(&self.things), ..Made::default() };
        self.things.sort_by_key(|object| handle(object));
        for object in self.things {
            let label = format!("add {}", object.label(names));
            let class = object.class;
            if class.name == NFT_RULES.name {
                made.elements(false, names, parts);
                parts.push(Part::new(label, made.rules.next(object)));
                continue;
            }
            parts.push(Part::new(label, replay(class, &object.bytes, CREATE)));
            if class.name == NFT_CHAINS.name {
                made.chains.insert(text(object, NFTA_CHAIN_NAME));
            } else if class.name == NFT_OBJECTS.name {
                made.objects.insert(text(object, NFTA_OBJ_NAME));
            } else if class.name == NFT_SETS.name {
                let elements = self.elements.remove(text(object, NFTA_SET_NAME));
                made.pending.extend(elements.map(|elements| Set::of(object, elements)));
            }
        }
        made.elements(true, names, parts);
    }
}

impl Made<'_> {
    /// Adds the elements that can be made now, or all that are left.
    fn elements(&mut self, all: bool, names: &Names, parts: &mut Vec<Part>) {
        let ready = |set: &Set<'_>| {
            all || set.chains.is_subset(&self.chains) && set.objects.is_subset(&self.objects)
        };
        let (now, later): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(ready);
        self.pending = later;
        for set in now {
            set.make(names, parts);
        }
    }
}

impl<'a> Set<'a> {
    fn of(set: &Object, mut elements: Vec<&'a Object>) -> Self {
        // What ended in transit stays ended.
        elements.retain(|element| left(inner(element)).is_none_or(|left| left > 1));
        let flags = raw(set).attribute(NFTA_SET_FLAGS).and_then(|flags| flags.first_chunk());
        let flags = flags.map_or(0, |flags| u32::from_be_bytes(*flags));
        // The kernel tells intervals from the last to the first, and looks for overlaps as they come.
        if flags & (INTERVAL | CONCAT) == INTERVAL {
            elements.reverse();
        }
        let leads = |to: fn(&'a [u8]) -> Option<&'a [u8]>| {
            elements.iter().filter_map(|element| to(inner(element))).collect()
        };
        let (chains, objects) = (leads(chain), leads(objref));
        Self { elements, chains, objects }
    }

    /// Many elements to a message.
    fn make(self, names: &Names, parts: &mut Vec<Part>) {
        let mut rest = &self.elements[..];
        while let Some(first) = rest.first() {
            let mut list = Vec::new();
            let mut count = 0;
            for element in rest {
                let message = replay(&NFT_SET_ELEMENTS, &element.bytes, CREATE);
                let one = attribute(&message, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
                let one = sendable(one);
                if count > 0 && list.len() + one.len() > LIST {
                    break;
                }
                list.extend_from_slice(&one);
                count += 1;
            }
            let label = match count {
                1 => format!("add {}", first.label(names)),
                _ => format!("add {} and {} more", first.label(names), count - 1),
            };
            parts.push(Part::new(label, elements(first, &list)));
            rest = &rest[count..];
        }
    }
}

/// An element as the kernel takes it: where its set has a timeout for all, it tells one of 0 of the end
/// of an interval, and refuses to be told it.
fn sendable(one: &[u8]) -> Cow<'_, [u8]> {
    let ends = |inner| {
        find(attributes(inner), NFTA_SET_ELEM_FLAGS)
            .and_then(|flags| flags.first_chunk())
            .is_some_and(|flags| u32::from_be_bytes(*flags) & INTERVAL_END != 0)
    };
    let Some(Ok(element)) = attributes(one).next() else { return Cow::Borrowed(one) };
    if !ends(element.payload) {
        return Cow::Borrowed(one);
    }
    let told = attributes(element.payload).map_while(Result::ok);
    let kept = told.filter(|attribute| attribute.id != NFTA_SET_ELEM_TIMEOUT);
    let inner: Vec<u8> = kept
        .flat_map(|attribute| Builder::attribute(attribute.id | attribute.flags, attribute.payload))
        .collect();
    Cow::Owned(Builder::attribute(element.id | element.flags, &inner))
}

/// The message that adds a list of elements to the set of `first`.
fn elements(first: &Object, list: &[u8]) -> Vec<u8> {
    let raw = raw(first);
    let mut builder = Builder::new(NFT_SET_ELEMENTS.make, CREATE, &[raw.header_u8(0), 0, 0, 0]);
    for attribute in raw.attributes().map_while(Result::ok) {
        if attribute.id < NFTA_SET_ELEM_LIST_ELEMENTS {
            builder.put(attribute.id, attribute.payload);
        }
    }
    builder.put(NFTA_SET_ELEM_LIST_ELEMENTS | Builder::NESTED, list);
    builder.finish()
}

/// The attributes of an element's one entry.
fn inner(element: &Object) -> &[u8] {
    let list = raw(element).attribute(NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(list).map_while(Result::ok).next().map(|first| first.payload).unwrap_or_default()
}

/// Milliseconds until an element ends.
fn left(element: &[u8]) -> Option<u64> {
    let left = find(attributes(element), NFTA_SET_ELEM_EXPIRATION)?;
    left.first_chunk().map(|left| u64::from_be_bytes(*left))
}

fn chain(element: &[u8]) -> Option<&[u8]> {
    let verdict =
        find(attributes(find(attributes(element), NFTA_SET_ELEM_DATA)?), NFTA_DATA_VERDICT)?;
    find(attributes(verdict), NFTA_VERDICT_CHAIN).map(until_nul)
}

fn objref(element: &[u8]) -> Option<&[u8]> {
    find(attributes(element), NFTA_SET_ELEM_OBJREF).map(until_nul)
}

/// Where rules stand in their chains.
#[derive(Default)]
struct Rules<'a> {
    /// The place of each rule in its chain, by the rule's handle.
    places: BTreeMap<u64, usize>,
    /// By chain, the rules made so far: place to number in the transaction.
    made: BTreeMap<&'a [u8], BTreeMap<usize, u32>>,
    count: u32,
}

impl<'a> Rules<'a> {
    /// `things` has the rules of each chain in their order.
    fn of(things: &[&'a Object]) -> Self {
        let mut rules = Self::default();
        let mut lengths: BTreeMap<&[u8], usize> = BTreeMap::new();
        for rule in things.iter().filter(|object| object.class.name == NFT_RULES.name) {
            let length = lengths.entry(text(rule, NFTA_RULE_CHAIN)).or_default();
            rules.places.insert(handle(rule), *length);
            *length += 1;
        }
        rules
    }

    /// The message that makes a rule at its place among those made so far.
    fn next(&mut self, rule: &'a Object) -> Vec<u8> {
        self.count += 1;
        let place = self.places.get(&handle(rule)).copied().unwrap_or_default();
        let chain = self.made.entry(text(rule, NFTA_RULE_CHAIN)).or_default();
        let before = chain.range(..place).next_back().map(|(_, id)| *id);
        let is_last = chain.range(place..).next().is_none();
        chain.insert(place, self.count);
        // Without NLM_F_APPEND a rule goes to the start.
        let flags = if is_last || before.is_some() { APPEND } else { CREATE & !EXCLUSIVE };
        let mut message = replay(&NFT_RULES, &rule.bytes, flags);
        add(&mut message, NFTA_RULE_ID, self.count);
        if let Some(before) = before.filter(|_| !is_last) {
            add(&mut message, NFTA_RULE_POSITION_ID, before);
        }
        message
    }
}

const EXCLUSIVE: u16 = libc::NLM_F_EXCL as u16;

/// Adds a number to a finished message.
fn add(message: &mut Vec<u8>, id: u16, number: u32) {
    message.extend(Builder::attribute(id, &number.to_be_bytes()));
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
}

/// An attribute of a message that was made here.
fn attribute(message: &[u8], id: u16) -> Option<&[u8]> {
    find(messages(message).next()?.ok()?.attributes(GENMSG), id)
}

fn text(object: &Object, id: u16) -> &[u8] {
    until_nul(raw(object).attribute(id).unwrap_or_default())
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn handle(object: &Object) -> u64 {
    let id = match object.class.name {
        name if name == NFT_CHAINS.name => NFTA_CHAIN_HANDLE,
        name if name == NFT_SETS.name => NFTA_SET_HANDLE,
        name if name == NFT_OBJECTS.name => NFTA_OBJ_HANDLE,
        name if name == NFT_FLOWTABLES.name => NFTA_FLOWTABLE_HANDLE,
        _ => NFTA_RULE_HANDLE,
    };
    let handle = raw(object).attribute(id).and_then(|handle| handle.first_chunk());
    handle.map_or(0, |handle| u64::from_be_bytes(*handle))
}
