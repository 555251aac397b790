//! Nexthop objects: single ones before groups.

use std::collections::BTreeSet;

use super::Stage;
use super::difference::delta;
use super::draft::{Draft, PLAIN, REPLACE, Sides};
use super::raw::Raw;
use crate::netlink::Builder;
use crate::state::classes::NEXTHOPS;
use crate::state::{Object, replay};

/// Bytes of `struct nhmsg`.
const HEADER: usize = 8;
/// Bytes of `struct nexthop_grp`.
const MEMBER: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;

fn raw(object: &Object) -> Raw<'_> {
    Raw::new(&object.bytes, HEADER)
}

pub fn id(object: &Object) -> u32 {
    raw(object).number(NHA_ID).unwrap_or_default()
}

fn is_group(object: &Object) -> bool {
    raw(object).has(NHA_GROUP)
}

/// Ids of the members of a group; none for a single nexthop.
fn members(object: &Object) -> impl Iterator<Item = u32> {
    let group = raw(object).attribute(NHA_GROUP).unwrap_or_default();
    let ids = group.chunks_exact(MEMBER).filter_map(|member| member.first_chunk());
    ids.map(|id| u32::from_ne_bytes(*id))
}

/// Ids of the nexthops that go with the links that are removed: those through such a link, and the
/// groups that lose every member.
pub fn lost(objects: &[Object], gone: &BTreeSet<u32>) -> BTreeSet<u32> {
    let through =
        |object: &&Object| raw(object).number(NHA_OIF).is_some_and(|link| gone.contains(&link));
    let mut lost: BTreeSet<u32> = objects.iter().filter(through).map(id).collect();
    for group in objects.iter().filter(|object| is_group(object)) {
        if members(group).all(|member| lost.contains(&member)) {
            lost.insert(id(group));
        }
    }
    lost
}

/// Plans the nexthops. What is not wanted goes last: a group that is emptied by the removal of its
/// members would be removed with its routes.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let (from, to) = (sides.from.of(&NEXTHOPS), sides.to.of(&NEXTHOPS));
    let lost = lost(from, &draft.gone);
    let whole = |object: &&Object| !members(object).any(|member| lost.contains(&member));
    let left = from.iter().filter(|object| !lost.contains(&id(object)));
    let left: Vec<Object> = left.cloned().collect();
    let unchanged: Vec<Object> = left.iter().filter(whole).cloned().collect();
    let changes = delta(&unchanged, to, |_| true);
    let changed = changes.changed.iter().map(|changed| changed.to);
    let mut wanted: Vec<&Object> = changes.added.iter().copied().chain(changed).collect();
    wanted.sort_by_key(|object| is_group(object));
    for object in wanted {
        let label = format!("set {}", object.label(&sides.to.names));
        let message = replay(&NEXTHOPS, &object.bytes, REPLACE);
        draft.send(Stage::Nexthops, &NEXTHOPS, label, message, &[]);
    }
    let mut removed = delta(&left, to, |_| true).removed;
    removed.sort_by_key(|object| !is_group(object));
    for object in removed {
        let mut builder = Builder::new(NEXTHOPS.remove, PLAIN, &[0; HEADER]);
        builder.put_u32(NHA_ID, id(object));
        let label = format!("remove {}", object.label(&sides.from.names));
        draft.send(Stage::Nexthops, &NEXTHOPS, label, builder.finish(), &[libc::ENOENT]);
    }
}
