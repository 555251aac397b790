//! Nexthop objects: single ones before groups.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::delta;
use super::draft::{Draft, PLAIN, REPLACE, Sides};
use super::raw::Raw;
use super::{Stage, Terms, scaffold};
use crate::netlink::Builder;
use crate::state::classes::NEXTHOPS;
use crate::state::{Object, replay};

/// Bytes of `struct nhmsg`.
const HEADER: usize = 8;
/// Bytes of `struct nexthop_grp`.
const MEMBER: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_OIF: u16 = 5;
const NHA_FDB: u16 = 11;
const NHA_RES_GROUP: u16 = 12;
const NHA_RES_GROUP_BUCKETS: u16 = 1;

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

/// What of a nexthop the kernel changes for none that is there: whether it is a group, of which type
/// and with how many buckets, and whether it is for bridges.
fn shape(object: &Object) -> (bool, bool, Option<&[u8]>, Option<&[u8]>) {
    let raw = raw(object);
    let buckets = raw.within(NHA_RES_GROUP, NHA_RES_GROUP_BUCKETS);
    (is_group(object), raw.has(NHA_FDB), raw.attribute(NHA_GROUP_TYPE), buckets)
}

/// Nexthops whose id shall be that of one of another shape.
fn reshaped<'a>(sides: &Sides<'a>) -> impl Iterator<Item = &'a Object> {
    let to: BTreeMap<u32, &Object> =
        sides.to.of(&NEXTHOPS).iter().map(|object| (id(object), object)).collect();
    let differs =
        move |object: &&Object| to.get(&id(object)).is_some_and(|new| shape(new) != shape(object));
    sides.from.of(&NEXTHOPS).iter().filter(differs)
}

/// Ids of the nexthops that go before others are made: those through a link that is removed, those
/// that are to be of another shape, and the groups that lose every member.
pub fn lost(sides: &Sides<'_>, gone: &BTreeSet<u32>) -> BTreeSet<u32> {
    let objects = sides.from.of(&NEXTHOPS);
    let through =
        |object: &&Object| raw(object).number(NHA_OIF).is_some_and(|link| gone.contains(&link));
    let mut lost: BTreeSet<u32> = objects.iter().filter(through).map(id).collect();
    lost.extend(reshaped(sides).map(id));
    for group in objects.iter().filter(|object| is_group(object)) {
        if members(group).all(|member| lost.contains(&member)) {
            lost.insert(id(group));
        }
    }
    lost
}

/// Plans the nexthops. What is not wanted goes last: a group that is emptied by the removal of its
/// members would be removed with its routes.
pub fn plan(sides: &Sides<'_>, terms: &Terms, draft: &mut Draft) {
    let (from, to) = (sides.from.of(&NEXTHOPS), sides.to.of(&NEXTHOPS));
    let lost = lost(sides, &draft.gone);
    for object in reshaped(sides) {
        remove(Stage::RemoveRoutes, object, sides, draft);
    }
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
        let gateways = if terms.scaffold { scaffold::of_nexthop(&raw(object)) } else { Vec::new() };
        let name = object.label(&sides.to.names);
        scaffold::around(&gateways, Stage::Nexthops, &name, draft, |draft| {
            draft.send(Stage::Nexthops, &NEXTHOPS, label, message, &[]);
        });
    }
    let mut removed = delta(&left, to, |_| true).removed;
    removed.sort_by_key(|object| !is_group(object));
    for object in removed {
        remove(Stage::Nexthops, object, sides, draft);
    }
}

fn remove(stage: Stage, object: &Object, sides: &Sides<'_>, draft: &mut Draft) {
    let mut builder = Builder::new(NEXTHOPS.remove, PLAIN, &[0; HEADER]);
    builder.put_u32(NHA_ID, id(object));
    let label = format!("remove {}", object.label(&sides.from.names));
    draft.send(stage, &NEXTHOPS, label, builder.finish(), &[libc::ENOENT]);
}
