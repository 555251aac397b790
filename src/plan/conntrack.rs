//! Entries of connection tracking, and what is expected of them.
//!
//! What the image has not is removed: an entry of an earlier stay makes packets of a flow invalid that
//! came back with other numbers, and may hold the ports that another one needs. What traffic has made
//! of a flow that goes on, it makes again.

use std::collections::{BTreeMap, BTreeSet};

use super::Stage;
use super::difference::delta;
use super::draft::{CREATE, Draft, PLAIN, Sides};
use super::raw::Raw;
use crate::state::classes::conntrack::{CTA_TUPLE_MASTER, CTA_TUPLE_ORIG, CTA_ZONE};
use crate::state::classes::{CONNTRACK, CONNTRACK_EXPECTATIONS};
use crate::state::{Object, replay, replay_where};

/// Bytes of `struct nfgenmsg`.
const HEADER: usize = 4;
const CTA_EXPECT_TUPLE: u16 = 2;
/// Masters of masters that are looked at. Helpers make at most two (H.323).
const DEPTH: usize = 8;

/// Plans the entries, then the expectations.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let again = entries(sides, draft);
    expectations(sides, &again, draft);
}

fn tuple(object: &Object, id: u16) -> Option<&[u8]> {
    Raw::new(&object.bytes, HEADER).attribute(id)
}

/// Answers the first tuples of the entries that are removed, be it to be made again: what is expected
/// of them goes with them.
fn entries<'a>(sides: &Sides<'a>, draft: &mut Draft) -> BTreeSet<&'a [u8]> {
    let class = &CONNTRACK;
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    let changed: Vec<&Object> = delta.changed.iter().map(|changed| changed.to).collect();
    let mut removed = BTreeSet::new();
    for object in delta.removed.iter().chain(&changed) {
        // Without it the kernel would take the message for one about all entries.
        let Some(first) = tuple(object, CTA_TUPLE_ORIG) else { continue };
        removed.insert(first);
        let key = |id| [CTA_TUPLE_ORIG, CTA_ZONE].contains(&id);
        let message = replay_where(class, &object.bytes, class.remove, PLAIN, |a| key(a.id));
        let label = format!("remove {}", object.label(&sides.from.names));
        draft.send(Stage::Conntrack, class, label, message, &[libc::ENOENT]);
    }
    let mut made: Vec<&Object> = delta.added.iter().copied().chain(changed).collect();
    let wanted = sides.to.of(class);
    let by_tuple: BTreeMap<&[u8], &Object> =
        wanted.iter().filter_map(|object| Some((tuple(object, CTA_TUPLE_ORIG)?, object))).collect();
    made.sort_by_cached_key(|object| depth(object, &by_tuple));
    for object in made {
        let label = format!("make {}", object.label(&sides.to.names));
        // A flow whose master has ended in transit goes on without.
        let master = tuple(object, CTA_TUPLE_MASTER).is_some_and(|of| by_tuple.contains_key(of));
        let kept = |id| master || id != CTA_TUPLE_MASTER;
        let message = replay_where(class, &object.bytes, class.make, CREATE, |a| kept(a.id));
        draft.send(Stage::Conntrack, class, label, message, &[]);
    }
    removed
}

/// How many masters stand above an entry.
fn depth(object: &Object, by_tuple: &BTreeMap<&[u8], &Object>) -> usize {
    let master = |object: &&Object| {
        tuple(object, CTA_TUPLE_MASTER).and_then(|master| by_tuple.get(master).copied())
    };
    std::iter::successors(master(&object), master).take(DEPTH).count()
}

fn expectations(sides: &Sides<'_>, again: &BTreeSet<&[u8]>, draft: &mut Draft) {
    const CTA_EXPECT_MASTER: u16 = 1;
    let class = &CONNTRACK_EXPECTATIONS;
    let stays = |object: &&Object| {
        tuple(object, CTA_EXPECT_MASTER).is_none_or(|master| !again.contains(master))
    };
    let from: Vec<Object> = sides.from.of(class).iter().filter(stays).cloned().collect();
    let delta = delta(&from, sides.to.of(class), |_| true);
    let changed: Vec<&Object> = delta.changed.iter().map(|changed| changed.to).collect();
    for object in delta.removed.iter().chain(&changed) {
        if tuple(object, CTA_EXPECT_TUPLE).is_none() {
            continue;
        }
        let message = replay_where(class, &object.bytes, class.remove, PLAIN, |a| {
            a.id == CTA_EXPECT_TUPLE || a.name == "zone"
        });
        let label = format!("remove {}", object.label(&sides.from.names));
        draft.send(Stage::Conntrack, class, label, message, &[libc::ENOENT]);
    }
    for object in delta.added.iter().copied().chain(changed) {
        let label = format!("expect {}", object.label(&sides.to.names));
        let message = replay(class, &object.bytes, CREATE);
        draft.send(Stage::Conntrack, class, label, message, &[]);
    }
}
