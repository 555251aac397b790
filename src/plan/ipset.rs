//! Sets, each at its index, and their members.
//!
//! Rules of xtables know a set by its index. The kernel gives a new set the lowest that is free, so that
//! gaps below it are filled for the time being. A set that must give way can't while rules look into
//! it: then the rules are cleared first ([`Draft::sets_again`]), and made again by their own part of
//! the plan.

use std::collections::{BTreeMap, BTreeSet};

use super::Stage;
use super::difference::{Delta, delta};
use super::draft::{CREATE, Draft, PLAIN, Sides};
use super::raw::{Raw, text};
use crate::netlink::{Builder, Protocol};
use crate::state::classes::ipset::{
    ADT, DATA, GENMSG, INDEX, LINENO, LIST, MOST_INDEX, NAME, PROTOCOL, SETNAME, SPOKEN, TIMEOUT,
    TYPENAME,
};
use crate::state::classes::{IPSET_MEMBERS, IPSETS};
use crate::state::table::Class;
use crate::state::{Object, replay, replay_where};

/// Without `NLM_F_EXCL`: a member that is there takes on what is told of it.
const SET: u16 = CREATE & !(libc::NLM_F_EXCL as u16);
/// Bytes of members in one message; a nest can't be longer than 64 KiB.
const MOST: usize = 32 << 10;

fn raw(object: &Object) -> Raw<'_> {
    Raw::new(&object.bytes, GENMSG)
}

fn name(object: &Object) -> &str {
    raw(object).text(SETNAME).unwrap_or_default()
}

fn index(set: &Object) -> Option<u16> {
    raw(set).attribute(INDEX)?.first_chunk().map(|index| u16::from_be_bytes(*index))
}

fn is_list(set: &Object) -> bool {
    raw(set).text(TYPENAME) == Some(LIST)
}

/// Members of lists are looked at in their order; of other sets nobody sees it.
pub fn list_of(member: &Object) -> Option<String> {
    raw(member).within(DATA, NAME)?;
    Some(name(member).to_owned())
}

/// Takes out members of sets that are not there, and of lists those that name none: the set was left out by
/// choice.
pub fn prune(classes: &mut BTreeMap<&'static str, Vec<Object>>) {
    let sets = classes.get(IPSETS.name).map(Vec::as_slice).unwrap_or_default();
    let there: BTreeSet<String> = sets.iter().map(|set| name(set).to_owned()).collect();
    if let Some(members) = classes.get_mut(IPSET_MEMBERS.name) {
        members.retain(|member| {
            let named = raw(member).within(DATA, NAME).and_then(text);
            there.contains(name(member)) && named.is_none_or(|named| there.contains(named))
        });
    }
}

/// Plans the sets, then the members.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let sets = delta(sides.from.of(&IPSETS), sides.to.of(&IPSETS), |_| true);
    let changed: BTreeSet<&str> = sets.changed.iter().map(|changed| name(changed.to)).collect();
    let made: Vec<&Object> =
        sides.to.of(&IPSETS).iter().filter(|set| is_made(set, &sets, &changed)).collect();
    let mut gone = sets.removed.clone();
    gone.extend(sets.changed.iter().map(|changed| changed.from));
    // Lists hold on to their members.
    gone.sort_by_key(|set| !is_list(set));
    let again = !gone.is_empty() && !made.is_empty();
    draft.sets_again |= again;
    let stage = if again { Stage::FreeIpsets } else { Stage::UnusedIpsets };

    let emptied: BTreeSet<&str> = gone.iter().chain(&made).map(|set| name(set)).collect();
    members(sides, &emptied, draft);
    for set in &gone {
        let label = format!("remove {}", set.label(&sides.from.names));
        let message = replay_where(&IPSETS, &set.bytes, IPSETS.remove, PLAIN, |attr| {
            matches!(attr.id, PROTOCOL | SETNAME)
        });
        send(draft, stage, &IPSETS, label, message);
    }
    let gone: BTreeSet<&str> = gone.iter().map(|set| name(set)).collect();
    let stay = sides.from.of(&IPSETS).iter().filter(|set| !gone.contains(name(set)));
    make(made, stay.filter_map(index).collect(), sides, draft);
}

fn is_made(set: &Object, sets: &Delta<'_>, changed: &BTreeSet<&str>) -> bool {
    changed.contains(name(set)) || sets.added.iter().any(|added| std::ptr::eq(*added, set))
}

/// Makes sets in the order of their indexes; those of which the index is not known last.
fn make(mut made: Vec<&Object>, mut taken: BTreeSet<u16>, sides: &Sides<'_>, draft: &mut Draft) {
    made.sort_by_key(|set| index(set).map_or(u32::MAX, u32::from));
    let mut fillers = Vec::new();
    let mut free = 0;
    for set in made {
        let wanted = index(set).filter(|index| u64::from(*index) <= MOST_INDEX);
        for gap in free..wanted.unwrap_or_default() {
            if taken.insert(gap) {
                let name = format!("netckpt-filler-{gap}");
                let label = format!("fill index {gap}");
                send(draft, Stage::Ipsets, &IPSETS, label, filler(&name));
                fillers.push(name);
            }
        }
        let label = format!("make {}", set.label(&sides.to.names));
        send(draft, Stage::Ipsets, &IPSETS, label, replay(&IPSETS, &set.bytes, CREATE));
        if let Some(wanted) = wanted {
            taken.insert(wanted);
            free = free.max(wanted + 1);
        }
    }
    for name in fillers {
        let mut builder = Builder::new(IPSETS.remove, PLAIN, &[0; GENMSG]);
        builder.put(PROTOCOL, &[SPOKEN]).put_text(SETNAME, &name);
        let label = format!("remove {name}");
        send(draft, Stage::Ipsets, &IPSETS, label, builder.finish());
    }
}

/// The smallest set there is.
fn filler(name: &str) -> Vec<u8> {
    const REVISION: u16 = 4;
    const FAMILY: u16 = 5;
    const PORT: u16 = 4;
    const PORT_TO: u16 = 5;
    let mut builder = Builder::new(IPSETS.make, CREATE, &[0; GENMSG]);
    builder.put(PROTOCOL, &[SPOKEN]).put_text(SETNAME, name).put_text(TYPENAME, "bitmap:port");
    builder.put(REVISION, &[0]).put(FAMILY, &[0]);
    let data = builder.begin(DATA | Builder::NESTED);
    builder.put(PORT | Builder::NET_BYTEORDER, &[0, 0]);
    builder.put(PORT_TO | Builder::NET_BYTEORDER, &[0, 0]);
    builder.end(data);
    builder.finish()
}

/// Members of sets that stay are mended, those of sets in `emptied` go with them or come new.
fn members(sides: &Sides<'_>, emptied: &BTreeSet<&str>, draft: &mut Draft) {
    let class = &IPSET_MEMBERS;
    let stays = |member: &&Object| !emptied.contains(name(member));
    let from: Vec<Object> = sides.from.of(class).iter().filter(stays).cloned().collect();
    let disordered = disordered(&from, sides.to.of(class));
    let delta = delta(&from, sides.to.of(class), |member| {
        !disordered.contains(list_of(member).unwrap_or_default().as_str())
    });
    let whole =
        |member: &&Object| list_of(member).is_some_and(|list| disordered.contains(list.as_str()));
    let removed = delta.removed.iter().copied().chain(from.iter().filter(whole));
    for (label, message) in together(removed, class.remove, PLAIN, "remove", sides) {
        send(draft, Stage::RemoveMembers, class, label, message);
    }
    let changed = delta.changed.iter().map(|changed| changed.to);
    let again = sides.to.of(class).iter().filter(whole);
    let added: Vec<&Object> = delta
        .added
        .iter()
        .copied()
        .chain(changed)
        .chain(again)
        .filter(|member| !is_over(member))
        .collect();
    let (of_lists, of_sets): (Vec<_>, Vec<_>) =
        added.into_iter().partition(|member| list_of(member).is_some());
    for added in [of_sets, of_lists] {
        for (label, message) in together(added, class.make, SET, "add", sides) {
            send(draft, Stage::IpsetMembers, class, label, message);
        }
    }
}

/// Lists whose members are not the wanted ones in their order.
fn disordered(from: &[Object], to: &[Object]) -> BTreeSet<String> {
    let mut lists: BTreeMap<String, [Vec<&str>; 2]> = BTreeMap::new();
    for (side, members) in [from, to].into_iter().enumerate() {
        for member in members {
            if let Some(list) = list_of(member) {
                lists.entry(list).or_default()[side].push(member.key.as_str());
            }
        }
    }
    lists.into_iter().filter(|(_, [old, new])| old != new).map(|(list, _)| list).collect()
}

/// What ended in transit stays ended.
fn is_over(member: &Object) -> bool {
    let left = raw(member).within(DATA, TIMEOUT).and_then(|left| left.first_chunk());
    left.is_some_and(|left| u32::from_be_bytes(*left) == 1)
}

/// Messages with many members each, and what each is about.
fn together<'a>(
    members: impl IntoIterator<Item = &'a Object>,
    kind: u16,
    flags: u16,
    verb: &str,
    sides: &Sides<'_>,
) -> Vec<(String, Vec<u8>)> {
    let mut by_set: Vec<(&str, Vec<&Object>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members {
        let set = name(member);
        let place = *places.entry(set).or_insert(by_set.len());
        if place == by_set.len() {
            by_set.push((set, Vec::new()));
        }
        by_set[place].1.push(member);
    }
    let mut parts = Vec::new();
    for (set, members) in by_set {
        let mut rest = &members[..];
        while let Some(first) = rest.first() {
            let mut list = Vec::new();
            let mut count = 0;
            for member in rest {
                let message = replay(&IPSET_MEMBERS, &member.bytes, 0);
                let data = data(&message);
                if count > 0 && list.len() + data.len() > MOST {
                    break;
                }
                list.extend(Builder::attribute(DATA | Builder::NESTED, data));
                count += 1;
            }
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            let label = format!("{verb} {}{more}", first.label(&sides.to.names));
            parts.push((label, list_message(set, kind, flags, &list)));
            rest = &rest[count..];
        }
    }
    parts
}

fn list_message(set: &str, kind: u16, flags: u16, list: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(kind, flags, &[0; GENMSG]);
    builder.put(PROTOCOL, &[SPOKEN]).put_text(SETNAME, set);
    // The kernel wants it with a list, and tells by it in which line of a file an error was.
    builder.put_u32(LINENO, 0);
    builder.put(ADT | Builder::NESTED, list);
    builder.finish()
}

/// The data of a member in a message that was made here.
fn data(message: &[u8]) -> &[u8] {
    Raw::new(message, GENMSG).attribute(DATA).unwrap_or_default()
}

fn send(draft: &mut Draft, stage: Stage, class: &'static Class, label: String, message: Vec<u8>) {
    draft.send_over(Protocol::Netfilter, stage, class, label, message);
}
