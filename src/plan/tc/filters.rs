//! Filters and chains, by what they share: a discipline, or a block.

use std::collections::{BTreeMap, BTreeSet};

use super::super::difference::delta;
use super::super::draft::{CREATE, PLAIN};
use super::trees::Trees;
use super::{Control, Pen, TreeName, link, parent, place, raw, u32_tables};
use crate::netlink::Builder;
use crate::state::classes::tc::{
    BLOCK, INGRESS_HANDLE, MAJOR, Place, TCA_CHAIN, TCA_KIND, blocks_of, scope,
};
use crate::state::classes::{TC_CHAINS, TC_FILTERS};
use crate::state::{Object, replay};

/// Kinds that keep the filters of one preference in the order in which they are looked at.
const ORDERED: [&str; 3] = ["basic", "bpf", "flow"];
/// Of those, kinds that put a new filter before the others.
const FIRST: [&str; 2] = ["basic", "bpf"];

/// For the order of filters: those of one preference, where it counts.
pub fn group(object: &Object) -> Option<String> {
    let kind = raw(object).text(TCA_KIND)?;
    let preference = preference(object);
    let (link, parent, chain) = (link(object), parent(object), chain(object));
    ORDERED.contains(&kind).then(|| format!("{link} {parent} {chain} {preference}"))
}

fn chain(object: &Object) -> u32 {
    raw(object).number(TCA_CHAIN).unwrap_or_default()
}

fn preference(object: &Object) -> u32 {
    raw(object).header_u32(16) >> 16
}

/// What is together: see [`scope`].
type Scope = (u32, u32);

pub struct Filters<'a> {
    scopes: BTreeMap<Scope, Part<'a>>,
    /// Chains with filters that are not to be touched.
    owned: BTreeSet<(Place, u32)>,
}

/// The filters and chains of one scope.
#[derive(Default)]
struct Part<'a> {
    from: Vec<&'a Object>,
    to: Vec<&'a Object>,
    old_chains: Vec<&'a Object>,
    new_chains: Vec<&'a Object>,
    /// All of it goes with its discipline.
    gone: bool,
    /// Not as it shall be.
    differs: bool,
}

impl<'a> Filters<'a> {
    /// Sorts filters and chains. With `all` those that are as they shall be are made anew, too.
    pub fn new(from: &Control<'a>, to: &Control<'a>, trees: &Trees<'_>, all: bool) -> Self {
        let mut scopes: BTreeMap<Scope, Part<'a>> = BTreeMap::new();
        let of = |object: &Object| scope(place(object));
        for filter in &from.filters {
            scopes.entry(of(filter)).or_default().from.push(filter);
        }
        for filter in &to.filters {
            scopes.entry(of(filter)).or_default().to.push(filter);
        }
        for chain in &from.chains {
            scopes.entry(of(chain)).or_default().old_chains.push(chain);
        }
        for chain in &to.chains {
            scopes.entry(of(chain)).or_default().new_chains.push(chain);
        }
        let blocks = stirred(from, to, trees);
        for (scope, part) in &mut scopes {
            part.gone = match scope {
                (BLOCK, block) => blocks.contains(block),
                (link, major) => trees.is_made_anew(tree(*link, *major)),
            };
            part.differs = all || part.gone || part.is_other();
        }
        let owned = from.owned.iter().map(|filter| (place(filter), chain(filter))).collect();
        Self { scopes, owned }
    }

    fn dirty(&self) -> impl Iterator<Item = &Part<'a>> {
        self.scopes.values().filter(|part| part.differs)
    }

    /// Filters that go, be it to be made again.
    pub fn going(&self) -> impl Iterator<Item = &'a Object> {
        self.dirty().flat_map(|part| part.from.iter().copied())
    }

    /// Filters that are made.
    pub fn coming(&self) -> impl Iterator<Item = &'a Object> {
        self.dirty().flat_map(|part| part.to.iter().copied())
    }

    /// Removes the filters and chains of all that differs.
    pub fn clear(&self, pen: &mut Pen<'_>) {
        for part in self.dirty() {
            let all: BTreeSet<(Place, u32)> =
                part.from.iter().map(|filter| (place(filter), chain(filter))).collect();
            for (place, chain) in all {
                if self.owned.contains(&(place, chain)) {
                    part.clear_beside(place, chain, pen);
                    continue;
                }
                let label = format!("remove the filters of chain {chain} {}", told(place, pen));
                let message = about_chain(TC_FILTERS.remove, PLAIN, place, chain);
                pen.send(&TC_FILTERS, label, message, &[libc::ENOENT, libc::EINVAL]);
            }
            for object in part.old_chains.iter().filter(|object| !part.keeps(object)) {
                let label = format!("remove {}", object.label(pen.from));
                let message = about_chain(TC_CHAINS.remove, PLAIN, place(object), chain(object));
                pen.send(&TC_CHAINS, label, message, &[libc::ENOENT, libc::EINVAL]);
            }
        }
    }

    /// Makes the chains and filters of all that differs.
    pub fn make(&self, pen: &mut Pen<'_>) {
        for part in self.dirty() {
            let has = |new: &Object| {
                part.old_chains.iter().any(|old| old.key == new.key && part.keeps(old))
            };
            for object in part.new_chains.iter().filter(|object| !has(object)) {
                let label = format!("make {}", object.label(pen.to));
                let message = replay(&TC_CHAINS, &object.bytes, CREATE);
                pen.send(&TC_CHAINS, label, message, &[]);
            }
            for (place, chain) in part.out_of_turn() {
                let label = format!("make chain {chain} {}", told(place, pen));
                let message = about_chain(TC_CHAINS.make, CREATE, place, chain);
                pen.send(&TC_CHAINS, label, message, &[libc::EEXIST]);
            }
            part.make(pen);
        }
    }
}

/// The tree that a filter hangs in.
pub fn tree_of(filter: &Object) -> TreeName {
    tree(link(filter), parent(filter) & MAJOR)
}

/// The tree that a discipline of this major number is in.
fn tree(link: u32, major: u32) -> TreeName {
    (link, major == INGRESS_HANDLE)
}

/// Blocks to which something is bound that goes or comes.
fn stirred(from: &Control<'_>, to: &Control<'_>, trees: &Trees<'_>) -> BTreeSet<u32> {
    let all = from.qdiscs.iter().chain(&to.qdiscs);
    let anew = all.filter(|qdisc| trees.is_made_anew(super::tree_of(qdisc)));
    anew.flat_map(|qdisc| blocks_of(&qdisc.bytes)).collect()
}

fn about_chain(kind: u16, flags: u16, place: Place, chain: u32) -> Vec<u8> {
    let mut builder = Builder::new(kind, flags, &place.header(0, 0));
    builder.put_u32(TCA_CHAIN, chain);
    builder.finish()
}

fn told(place: Place, pen: &Pen<'_>) -> String {
    match place.link {
        BLOCK => format!("of block {}", place.parent),
        link => {
            let (major, minor) = (place.parent >> 16, place.parent & !MAJOR);
            format!("at {major:x}:{minor:x} of {}", pen.from.link(link.into()))
        }
    }
}

impl<'a> Part<'a> {
    fn is_other(&self) -> bool {
        let differ = |old: &[&Object], new: &[&Object]| {
            let cloned =
                |all: &[&Object]| -> Vec<Object> { all.iter().map(|o| (*o).clone()).collect() };
            let (old, new) = (cloned(old), cloned(new));
            let delta = delta(&old, &new, |_| true);
            !delta.removed.is_empty() || !delta.added.is_empty() || !delta.changed.is_empty()
        };
        let ordered = |all: &[&'a Object]| -> Vec<(String, &'a str)> {
            let mut all: Vec<_> =
                all.iter().filter_map(|o| Some((group(o)?, o.key.as_str()))).collect();
            all.sort_by(|(one, _), (other, _)| one.cmp(other));
            all
        };
        differ(&self.from, &self.to)
            || differ(&self.old_chains, &self.new_chains)
            || ordered(&self.from) != ordered(&self.to)
    }

    /// Removes the filters of a chain preference by preference.
    fn clear_beside(&self, at: Place, of: u32, pen: &mut Pen<'_>) {
        let own = self.from.iter().filter(|filter| (place(filter), chain(filter)) == (at, of));
        let all: BTreeMap<u32, &str> = own
            .filter_map(|one| Some((raw(one).header_u32(16), raw(one).text(TCA_KIND)?)))
            .collect();
        for (info, kind) in all {
            let mut builder = Builder::new(TC_FILTERS.remove, PLAIN, &at.header(0, info));
            builder.put_text(TCA_KIND, kind).put_u32(TCA_CHAIN, of);
            let label =
                format!("remove the filters of preference {} {}", info >> 16, told(at, pen));
            pen.send(&TC_FILTERS, label, builder.finish(), &[libc::ENOENT]);
        }
    }

    /// Whether a chain that is there is as it shall be.
    fn keeps(&self, old: &Object) -> bool {
        let same =
            |new: &&&Object| new.key == old.key && crate::state::compare(old, new).is_empty();
        !self.gone && self.new_chains.iter().any(|new| same(&new))
    }

    /// Chains in the order in which they are told, where those of u32, which are made by the numbers of
    /// their tables, would come in another.
    fn out_of_turn(&self) -> Vec<(Place, u32)> {
        let mut told: BTreeMap<Place, Vec<(u32, Option<u32>)>> = BTreeMap::new();
        for filter in &self.to {
            let chains = told.entry(place(filter)).or_default();
            let number = u32_tables::number(filter);
            match chains.iter_mut().find(|(known, _)| *known == chain(filter)) {
                Some((_, least)) => *least = (*least).into_iter().chain(number).min(),
                None => chains.push((chain(filter), number)),
            }
        }
        told.retain(|_, chains| !chains.iter().filter_map(|(_, number)| *number).is_sorted());
        let all = told.into_iter();
        all.flat_map(|(place, chains)| chains.into_iter().map(move |(chain, _)| (place, chain)))
            .collect()
    }

    /// Makes the filters: by preference as they are told. The keys of u32 come last, when all tables
    /// are there that they may lead to.
    fn make(&self, pen: &mut Pen<'_>) {
        let mut tables = u32_tables::Tables::new(&self.to);
        let mut rest = &self.to[..];
        while let Some(first) = rest.first() {
            let of = |object: &Object| (place(object), chain(object), preference(object));
            let (one, after) =
                rest.split_at(rest.iter().take_while(|object| of(object) == of(first)).count());
            rest = after;
            match raw(first).text(TCA_KIND) {
                Some("u32") => tables.begin(one, pen),
                Some(kind) if FIRST.contains(&kind) => {
                    one.iter().rev().for_each(|filter| add(filter, pen));
                }
                _ => one.iter().for_each(|filter| add(filter, pen)),
            }
        }
        tables.end(pen);
    }
}

pub fn add(filter: &Object, pen: &mut Pen<'_>) {
    let label = format!("make {}", filter.label(pen.to));
    pen.send(&TC_FILTERS, label, replay(&TC_FILTERS, &filter.bytes, CREATE), &[]);
}
