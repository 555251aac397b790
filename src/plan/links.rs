//! Links: which can stay, which are made anew, and what is set when.
//!
//! A link can stay where index, kind and number of queues are right, since the kernel changes none
//! of them; and for a pair of veth, where its other end is on the right side. All else is set, but for
//! those settings of its kind that no link changes.

mod data;
mod make;
mod ports;
mod rise;

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{CREATE, Draft, PLAIN, Sides};
use super::link::{HEADER, Link, Parent};
use super::{Error, Stage, Terms, routes, veth};
use crate::netlink::Builder;
use crate::state::Object;
use crate::state::classes::LINKS;

pub use make::{RTM_NEWLINKPROP, creation, put_names};
pub use ports::{PortState, only_port_state, only_while_changing};

/// Bytes of `struct nlmsghdr`.
pub const NLMSGHDR: usize = 16;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

/// Plans all that concerns links.
pub fn plan(sides: &Sides<'_>, terms: &Terms, draft: &mut Draft) -> Result<(), Error> {
    let from = Link::all(sides.from.of(&LINKS));
    let to = Link::all(sides.to.of(&LINKS));
    let kept = kept(&from, &to);
    remove(&from, &kept, draft);
    let mut links = order(&to)?;
    let mut joined = BTreeSet::new();
    for link in &links {
        match kept.get(&link.index) {
            Some(old) => make::change(old, link, draft),
            None => {
                ports::join_below(link, &links, &kept, &mut joined, draft);
                make::make(link, &to, sides, terms, draft)?;
            }
        }
    }
    ports::plan(&links, &kept, &joined, sides, draft);
    let order = routes::order_of_links(sides.to);
    links.sort_by_key(|link| order.iter().position(|index| *index == link.index));
    for link in lower_first(&links) {
        rise::raise(kept.get(&link.index).copied(), link, draft);
        rise::wake(kept.get(&link.index).copied(), link, draft);
        make::hold_down(link, draft);
    }
    ports::states(&to, &kept, draft);
    veth::host(&from, &to, sides, terms, draft)
}

/// The same links, each after the one that it stands on: most kinds can't come up before that.
fn lower_first<'a, 'b>(links: &[&'b Link<'a>]) -> Vec<&'b Link<'a>> {
    let mut sorted: Vec<&Link<'_>> = Vec::with_capacity(links.len());
    for link in links {
        let below =
            |link: &&'b Link<'a>| links.iter().copied().find(|l| Some(l.index) == link.lower());
        // Circles were refused before.
        let mut chain: Vec<&Link<'_>> = std::iter::successors(Some(*link), below).collect();
        chain.reverse();
        for link in chain {
            if sorted.iter().all(|done| done.index != link.index) {
                sorted.push(link);
            }
        }
    }
    sorted
}

/// The links that stay, by index.
fn kept<'a>(from: &[Link<'a>], to: &[Link<'a>]) -> BTreeMap<u32, Link<'a>> {
    let mut kept: BTreeMap<u32, Link<'a>> = BTreeMap::new();
    for link in to {
        if let Some(old) = from.iter().find(|old| old.index == link.index && fits(old, link, from))
        {
            kept.insert(link.index, *old);
        }
    }
    // What stands on a link that goes, goes with it; a veth goes with its other end.
    loop {
        let lost: Vec<u32> = kept
            .values()
            .filter(|link| {
                let twin = match link.parent {
                    Parent::Inside(parent) => Some(parent).filter(|_| link.is_veth()),
                    _ => None,
                };
                twin.or(link.lower()).is_some_and(|below| !kept.contains_key(&below))
            })
            .map(|link| link.index)
            .collect();
        if lost.is_empty() {
            return kept;
        }
        kept.retain(|index, _| !lost.contains(index));
    }
}

fn fits(old: &Link<'_>, new: &Link<'_>, from: &[Link<'_>]) -> bool {
    // A name that another link still has can't be taken in place.
    let named = old.name == new.name || from.iter().all(|link| link.name != new.name);
    let placed = match (old.parent, new.parent) {
        (Parent::Outside(_), Parent::Outside(_)) => true,
        (old, new) => old == new,
    };
    let shaped = old.is_given() || old.queues() == new.queues();
    named && placed && shaped && old.kind == new.kind && data::can_stay(old, new)
}

fn remove(from: &[Link<'_>], kept: &BTreeMap<u32, Link<'_>>, draft: &mut Draft) {
    for link in from.iter().filter(|link| !kept.contains_key(&link.index)) {
        // Nothing removes what the kernel made with the namespace; verify tells of it.
        if link.is_given() {
            continue;
        }
        // The other end of a veth goes with the first of the two.
        let twin = matches!(link.parent, Parent::Inside(other) if link.is_veth() && draft.gone.contains(&other));
        draft.gone.insert(link.index);
        if twin {
            continue;
        }
        let message = Builder::new(RTM_DELLINK, PLAIN, &header(link.index, 0, 0)).finish();
        let label = format!("remove {}", link.name);
        draft.send(Stage::RemoveLinks, &LINKS, label, message, &[libc::ENODEV]);
    }
}

/// Links in an order in which each comes after the one that it stands on, and after the ports of that
/// one, where it can: what a master can do, it hands up when a link is made upon it.
fn order<'a, 'b>(links: &'b [Link<'a>]) -> Result<Vec<&'b Link<'a>>, Error> {
    let mut ordered: Vec<&Link<'_>> = Vec::with_capacity(links.len());
    let mut waiting: Vec<&Link<'_>> = links.iter().collect();
    while !waiting.is_empty() {
        // Two ends of a veth stand on each other, and are made together.
        let ready = |link: &&Link<'_>| match link.lower() {
            Some(lower) => {
                ordered.iter().any(|done| done.index == lower)
                    || links.iter().all(|link| link.index != lower)
            }
            None => true,
        };
        let whole = |link: &&Link<'_>| {
            let below = link.lower();
            let waits = |port: &&Link<'_>| port.master != 0 && Some(port.master) == below;
            ready(link) && !waiting.iter().any(|port| waits(port) && port.index != link.index)
        };
        let (mut now, mut later): (Vec<&Link<'_>>, Vec<&Link<'_>>) =
            waiting.iter().copied().partition(whole);
        if now.is_empty() {
            (now, later) = waiting.iter().copied().partition(ready);
        }
        if now.is_empty() {
            let link = later.first().map_or("", |link| link.name).to_owned();
            return Err(Error::Circle { link });
        }
        ordered.extend(now);
        waiting = later;
    }
    Ok(ordered)
}

/// Whether this is a link that the kernel gives namespaces with a module, and nobody uses it: machines
/// differ in the modules that they have loaded.
pub fn is_idle_fallback(object: &Object) -> bool {
    let link = Link::new(object);
    link.is_fallback() && !link.is_up()
}

/// `struct ifinfomsg` with index, flags and which of them count.
pub fn header(index: u32, flags: u32, change: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}
