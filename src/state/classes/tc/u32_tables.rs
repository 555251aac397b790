//! Whose the tables of u32 are.
//!
//! All filters of this kind below one discipline (or in one shared block) share their hash tables. A
//! dump of one of them tells the tables and keys of all that have its preference, be they of another
//! parent or chain: two filters at ingress and egress, to which the kernel gave the same preference, are
//! told twice each. Here each table is left once, at the filter that begins with it.

use std::collections::{BTreeMap, BTreeSet};

use super::read::{Place, kind, number_at};
use super::{BLOCK, MAJOR, RTM_GETTFILTER, TC_FILTERS, TCA_CHAIN, TCMSG, U32_KEY, U32_ROOT};
use crate::netlink::{Builder, Message, Protocol, align, messages};
use crate::state::{ReadError, Reader};

/// What shares its tables: a link and the major number of a discipline on it, or a block.
type Scope = (u32, u32);

pub fn scope(place: Place) -> Scope {
    let parent = if place.link == BLOCK { place.parent } else { place.parent & MAJOR };
    (place.link, parent)
}

/// A place in the order of filters: all objects of one preference in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Filter {
    place: Place,
    chain: u32,
    /// Preference and protocol.
    info: u32,
}

impl Filter {
    fn of(message: &Message<'_>) -> Self {
        let mut all = message.attributes(TCMSG).map_while(Result::ok);
        let chain = all.find(|found| found.id == TCA_CHAIN).map_or(0, |found| found.number());
        Self {
            place: Place { link: number_at(message, 4), parent: number_at(message, 12) },
            chain: u32::try_from(chain).unwrap_or_default(),
            info: number_at(message, 16),
        }
    }

    fn preference(&self) -> u32 {
        self.info >> 16
    }
}

/// The section of filters without what is told twice, the first table of each filter of u32 first.
pub fn tidied(reader: &mut Reader, section: Vec<u8>) -> Result<Vec<u8>, ReadError> {
    let is_u32 = |message: &Message<'_>| kind(message, TCMSG).as_deref() == Some("u32");
    let mut tables: BTreeMap<Filter, Vec<u32>> = BTreeMap::new();
    for message in messages(&section).map_while(Result::ok).filter(|message| is_u32(message)) {
        let (handle, of) =
            (number_at(&message, 8), tables.entry(Filter::of(&message)).or_default());
        if handle != 0 && handle & U32_KEY == 0 {
            of.push(handle);
        }
    }
    if tables.is_empty() {
        return Ok(section);
    }
    let roots = roots(reader, &tables)?;
    let mut seen: BTreeSet<(Scope, u32)> = BTreeSet::new();
    // The place of each filter's table in what is kept, and all of that.
    let mut kept: Vec<(Filter, bool, &[u8])> = Vec::new();
    for message in messages(&section).map_while(Result::ok) {
        let (filter, handle) = (Filter::of(&message), number_at(&message, 8));
        if !is_u32(&message) {
            kept.push((filter, false, message.bytes));
            continue;
        }
        let scope = scope(filter.place);
        let table = handle & !U32_KEY;
        let of_other = roots.iter().any(|(other, root)| {
            *other != filter && self::scope(other.place) == scope && *root == table
        });
        if of_other || handle != 0 && !seen.insert((scope, handle)) {
            continue;
        }
        let is_root = handle != 0 && roots.get(&filter) == Some(&handle);
        kept.push((filter, is_root, message.bytes));
    }
    let mut out = Vec::with_capacity(section.len());
    let mut add = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        out.resize(align(out.len()), 0);
    };
    let mut begun: BTreeSet<Filter> = BTreeSet::new();
    for (filter, is_root, bytes) in &kept {
        // What comes before the first table moves behind it.
        if roots.contains_key(filter) && begun.insert(*filter) {
            kept.iter()
                .filter(|(of, root, _)| of == filter && *root)
                .for_each(|(.., root)| add(root));
        }
        if !is_root {
            add(bytes);
        }
    }
    Ok(out)
}

/// The table that each filter begins with: the one made first, which a dump tells last; where other
/// filters' tables are among those told, the kernel is asked.
fn roots(
    reader: &mut Reader,
    tables: &BTreeMap<Filter, Vec<u32>>,
) -> Result<BTreeMap<Filter, u32>, ReadError> {
    let mut roots = BTreeMap::new();
    for (filter, told) in tables {
        let shares = |other: &Filter| {
            other != filter
                && scope(other.place) == scope(filter.place)
                && other.preference() == filter.preference()
        };
        let root = match tables.keys().any(shares) {
            true => asked(reader, filter)?.or(told.last().copied()),
            false => told.last().copied(),
        };
        roots.extend(root.map(|root| (*filter, root)));
    }
    Ok(roots)
}

fn asked(reader: &mut Reader, filter: &Filter) -> Result<Option<u32>, ReadError> {
    let failed = |source| ReadError::Netlink { what: TC_FILTERS.name, source };
    let mut body = filter.place.header(U32_ROOT, filter.info).to_vec();
    body.extend(Builder::attribute(TCA_CHAIN, &filter.chain.to_ne_bytes()));
    let socket = reader.socket(Protocol::Route).map_err(failed)?;
    match socket.get(RTM_GETTFILTER, &body) {
        Ok(answer) => {
            let answer = messages(&answer).map_while(Result::ok).next();
            Ok(answer.map(|message| number_at(&message, 8)))
        }
        // It went meanwhile, and everything is read again.
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
