//! Reading traffic control. Disciplines come in one dump; all else is asked for by link, parent and
//! kind, and mostly there is nothing to ask for: only disciplines that somebody made have it.

use std::collections::BTreeSet;

use super::action_kinds::ACTIONS;
use super::u32_tables::tidied;
use super::{
    BLOCK, INGRESS_HANDLE, QDISCS, ROOT, RTM_GETACTION, RTM_GETCHAIN, RTM_GETQDISC, RTM_GETTCLASS,
    RTM_GETTFILTER, RTM_NEWACTION, TC_CHAINS, TC_CLASSES, TC_FILTERS, TCA_ACT_TAB, TCA_CHAIN,
    TCA_EGRESS_BLOCK, TCA_INGRESS_BLOCK, TCA_KIND, TCA_OPTIONS, TCMSG,
};
use crate::netlink::{Builder, Message, Protocol, attributes, messages};
use crate::state::table::Class;
use crate::state::{ReadError, Reader};

/// Kinds of which the classes are made one by one.
pub const CLASSFUL: [&str; 4] = ["htb", "hfsc", "drr", "qfq"];
/// Kinds of which each class has filters of its own.
const FILTERED_CLASSES: [&str; 2] = ["htb", "hfsc"];
/// Kinds that the kernel gives a link by itself and that have no filters.
const UNFILTERED: [&str; 7] =
    ["noqueue", "pfifo_fast", "pfifo", "bfifo", "mq", "pfifo_head_drop", "fq"];
/// `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS` below the handle of clsact.
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;

/// `TCA_KIND` of a message with a header of this size.
pub fn kind(message: &Message<'_>, header: usize) -> Option<String> {
    let mut all = message.attributes(header).map_while(Result::ok);
    all.find(|found| found.id == TCA_KIND).map(|found| found.text())
}

/// A number of `struct tcmsg`.
pub fn number_at(message: &Message<'_>, at: usize) -> u32 {
    let four = message.body.get(at..).and_then(|rest| rest.first_chunk());
    four.map_or(0, |four| u32::from_ne_bytes(*four))
}

/// Where filters may be: below a link, or in a shared block (its number in place of the parent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub link: u32,
    pub parent: u32,
}

impl Place {
    fn block(number: u32) -> Self {
        Self { link: BLOCK, parent: number }
    }

    /// A `struct tcmsg` about it.
    pub fn header(self, handle: u32, info: u32) -> [u8; TCMSG] {
        let mut header = [0; TCMSG];
        header[4..8].copy_from_slice(&self.link.to_ne_bytes());
        header[8..12].copy_from_slice(&handle.to_ne_bytes());
        header[12..16].copy_from_slice(&self.parent.to_ne_bytes());
        header[16..].copy_from_slice(&info.to_ne_bytes());
        header
    }
}

pub fn qdiscs(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    dump(reader, QDISCS.name, RTM_GETQDISC, &[0; TCMSG], &mut section)?;
    reader.keep(QDISCS.name, &section);
    Ok(section)
}

/// Classes of the links whose disciplines have such that are made one by one.
pub fn classes(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let disciplines = disciplines(reader)?;
    classes_of(reader, &disciplines)
}

/// Filters of all places, as [`TC_FILTERS`] wants them ordered.
pub fn filters(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let disciplines = disciplines(reader)?;
    filters_of(reader, &disciplines)
}

/// Chains that are more than their filters: those without any, and those with a template. Of a chain
/// with filters the kernel does not tell whether it would be there without. Those that stand before one
/// of the first are told, too, so that it comes to stand after them again.
pub fn chains(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let disciplines = disciplines(reader)?;
    chains_of(reader, &disciplines)
}

/// All that hangs on one link, by class: its disciplines, their classes, chains and filters (those of
/// shared blocks, too). For the outer end of a pod's link, on a reader of its namespace.
///
/// # Errors
/// [`ReadError`].
pub fn of_link(
    reader: &mut Reader,
    link: u32,
) -> Result<Vec<(&'static Class, Vec<u8>)>, ReadError> {
    let all = qdiscs(reader)?;
    let mut section = Vec::new();
    for message in messages(&all).map_while(Result::ok) {
        if number_at(&message, 4) == link && (QDISCS.belongs)(&message) {
            section.extend_from_slice(message.bytes);
            section.resize(crate::netlink::align(section.len()), 0);
        }
    }
    let disciplines: Vec<_> = read_disciplines(&section);
    Ok(vec![
        (&TC_CLASSES, classes_of(reader, &disciplines)?),
        (&TC_CHAINS, chains_of(reader, &disciplines)?),
        (&TC_FILTERS, filters_of(reader, &disciplines)?),
        (&QDISCS, section),
    ])
}

/// What of a discipline tells where to look.
struct Discipline {
    link: u32,
    handle: u32,
    kind: String,
    /// Numbers of the shared blocks of the two sides of clsact (or of ingress).
    sides: [u32; 2],
    /// Numbers of blocks for events (of red).
    blocks: Vec<u32>,
}

/// The disciplines as they were read last, or else now. Whatever changes one of them makes all of
/// traffic control be read again.
fn disciplines(reader: &mut Reader) -> Result<Vec<Discipline>, ReadError> {
    if reader.kept(QDISCS.name).is_none() {
        qdiscs(reader)?;
    }
    Ok(read_disciplines(reader.kept(QDISCS.name).unwrap_or_default()))
}

fn read_disciplines(section: &[u8]) -> Vec<Discipline> {
    messages(section).map_while(Result::ok).filter_map(|message| discipline(&message)).collect()
}

fn discipline(message: &Message<'_>) -> Option<Discipline> {
    let (link, handle, parent) =
        (number_at(message, 4), number_at(message, 8), number_at(message, 12));
    let kind = kind(message, TCMSG)?;
    // One that the kernel gave the link; filters can be on it only where it is the root.
    if handle == 0 && (parent != ROOT || UNFILTERED.contains(&kind.as_str())) {
        return None;
    }
    let number = |id: u16| {
        let mut all = message.attributes(TCMSG).map_while(Result::ok);
        let number = all.find(|found| found.id == id).map_or(0, |found| found.number());
        u32::try_from(number).unwrap_or_default()
    };
    let sides = [TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK].map(number);
    Some(Discipline { link, handle, blocks: event_blocks(message, &kind), sides, kind })
}

/// `TCA_RED_EARLY_DROP_BLOCK` and `TCA_RED_MARK_BLOCK`.
fn event_blocks(message: &Message<'_>, kind: &str) -> Vec<u32> {
    const BLOCKS: [u16; 2] = [5, 6];
    if kind != "red" {
        return Vec::new();
    }
    let mut all = message.attributes(TCMSG).map_while(Result::ok);
    let options = all.find(|found| found.id == TCA_OPTIONS).map_or(&[][..], |found| found.payload);
    let blocks = attributes(options).map_while(Result::ok).filter(|a| BLOCKS.contains(&a.id));
    blocks.filter_map(|block| u32::try_from(block.number()).ok()).filter(|n| *n != 0).collect()
}

/// Numbers of the shared blocks that a discipline (its message with `nlmsghdr`) is bound to.
pub fn blocks_of(qdisc: &[u8]) -> Vec<u32> {
    let Some(Ok(message)) = messages(qdisc).next() else { return Vec::new() };
    let found = discipline(&message);
    let blocks =
        found.map(|one| one.sides.into_iter().chain(one.blocks).filter(|n| *n != 0).collect());
    blocks.unwrap_or_default()
}

fn classes_of(reader: &mut Reader, all: &[Discipline]) -> Result<Vec<u8>, ReadError> {
    let classful = all.iter().filter(|one| CLASSFUL.contains(&one.kind.as_str()));
    let links: BTreeSet<u32> = classful.map(|one| one.link).collect();
    let mut section = Vec::new();
    for link in links {
        let body = Place { link, parent: 0 }.header(0, 0);
        dump(reader, TC_CLASSES.name, RTM_GETTCLASS, &body, &mut section)?;
    }
    Ok(section)
}

/// Where filters may be, each place once.
fn places(reader: &mut Reader, all: &[Discipline]) -> Result<Vec<Place>, ReadError> {
    let mut places = Vec::new();
    for one in all {
        let own = |parent| Place { link: one.link, parent };
        let side = |at: usize, parent| match one.sides[at] {
            0 => own(parent),
            block => Place::block(block),
        };
        match one.kind.as_str() {
            "ingress" => places.push(side(0, INGRESS_HANDLE)),
            "clsact" => places.extend([side(0, CLSACT_INGRESS), side(1, CLSACT_EGRESS)]),
            kind => {
                places.push(own(one.handle));
                if FILTERED_CLASSES.contains(&kind) {
                    let mut classes = Vec::new();
                    let body = own(one.handle).header(0, 0);
                    dump(reader, TC_CLASSES.name, RTM_GETTCLASS, &body, &mut classes)?;
                    let classes = messages(&classes).map_while(Result::ok);
                    places.extend(classes.map(|class| own(number_at(&class, 8))));
                }
            }
        }
        places.extend(one.blocks.iter().map(|block| Place::block(*block)));
    }
    let mut seen = BTreeSet::new();
    places.retain(|place| seen.insert(*place));
    Ok(places)
}

fn filters_of(reader: &mut Reader, all: &[Discipline]) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    for place in places(reader, all)? {
        dump(reader, TC_FILTERS.name, RTM_GETTFILTER, &place.header(0, 0), &mut section)?;
    }
    tidied(reader, section)
}

fn chains_of(reader: &mut Reader, all: &[Discipline]) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    for place in places(reader, all)? {
        let mut found = Vec::new();
        dump(reader, TC_CHAINS.name, RTM_GETCHAIN, &place.header(0, 0), &mut found)?;
        let all: Vec<_> = messages(&found).map_while(Result::ok).collect();
        let mut kept = 0;
        for (at, chain) in all.iter().enumerate() {
            if kind(chain, TCMSG).is_some() || !has_filters(reader, place, chain)? {
                kept = at + 1;
            }
        }
        for chain in &all[..kept] {
            let start = section.len();
            section.extend_from_slice(chain.bytes);
            // The kernel tells the discipline, whichever of its sides the chain is on.
            section[start + PARENT_AT..start + PARENT_AT + 4]
                .copy_from_slice(&place.parent.to_ne_bytes());
            section.resize(crate::netlink::align(section.len()), 0);
        }
    }
    Ok(section)
}

/// Where `tcm_parent` is in a message.
const PARENT_AT: usize = 16 + 12;

fn has_filters(reader: &mut Reader, place: Place, chain: &Message<'_>) -> Result<bool, ReadError> {
    let number = chain.attributes(TCMSG).map_while(Result::ok).find(|found| found.id == TCA_CHAIN);
    let Some(number) = number else { return Ok(false) };
    let mut body = place.header(0, 0).to_vec();
    body.extend(Builder::attribute(TCA_CHAIN, number.payload));
    let mut found = Vec::new();
    dump(reader, TC_CHAINS.name, RTM_GETTFILTER, &body, &mut found)?;
    Ok(!found.is_empty())
}

/// Actions of all kinds; no module is loaded for one that is not there. The kernel tells many in one
/// message; here each has one of its own, as the one that makes it.
pub fn actions(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    /// `TCA_ROOT_FLAGS` with `TCA_FLAG_LARGE_DUMP_ON`: more than 32 in a message.
    const FLAGS: (u16, [u32; 2]) = (2, [1, 1]);
    const TCAMSG: usize = 4;
    let mut told = Vec::new();
    for (kind, _) in ACTIONS {
        let mut kind = kind.as_bytes().to_vec();
        kind.push(0);
        let one = Builder::attribute(1, &Builder::attribute(TCA_KIND, &kind));
        let mut body = vec![0; TCAMSG];
        body.extend(Builder::attribute(TCA_ACT_TAB, &one));
        body.extend(Builder::attribute(FLAGS.0, &FLAGS.1.map(u32::to_ne_bytes).concat()));
        dump(reader, "tc-actions", RTM_GETACTION, &body, &mut told)?;
    }
    let mut section = Vec::new();
    for message in messages(&told).map_while(Result::ok) {
        let tabs = message.attributes(TCAMSG).map_while(Result::ok);
        for tab in tabs.filter(|found| found.id == TCA_ACT_TAB) {
            for action in attributes(tab.payload).map_while(Result::ok) {
                let mut builder = Builder::new(RTM_NEWACTION, 0, &[0; TCAMSG]);
                builder.put(TCA_ACT_TAB, &Builder::attribute(1, action.payload));
                section.extend(builder.finish());
            }
        }
    }
    Ok(section)
}

/// A dump appended to `into`. A kernel without this part of traffic control has nothing of it.
fn dump(
    reader: &mut Reader,
    what: &'static str,
    request: u16,
    body: &[u8],
    into: &mut Vec<u8>,
) -> Result<(), ReadError> {
    match reader.dump(Protocol::Route, request, body, into) {
        Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Ok(()),
        other => other.map_err(|source| ReadError::Netlink { what, source }),
    }
}
