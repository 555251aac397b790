//! What bridges and vxlan links forward by: VLANs and network identifiers when the ports have joined,
//! addresses and groups when all is up.

use std::collections::BTreeSet;

use super::Stage;
use super::difference::delta;
use super::draft::{APPEND, CREATE, Draft, PLAIN, REPLACE, Sides};
use super::link::{Link, UP};
use super::links::header;
use super::raw::Raw;
use crate::netlink::{Builder, messages};
use crate::state::classes::{
    BRIDGE_FDB, BRIDGE_MDB, BRIDGE_MST, BRIDGE_VLAN_OPTIONS, BRIDGE_VLANS, LINKS, VXLAN_VNIS,
    bridges,
};
use crate::state::table::Class;
use crate::state::{Object, replay, replay_where, set_field};

const RTM_SETLINK: u16 = 19;
const NTF_SELF: u64 = 0x02;
const NTF_MASTER: u64 = 0x04;
/// Bytes of `struct ndmsg`, and of the headers of the others.
const NDMSG: usize = 12;
const HEADER: usize = 8;
const NDA_LLADDR: u16 = 2;
const NDA_MASTER: u16 = 9;
const NUD_PERMANENT: u16 = 0x80;
const IFLA_ADDRESS: u16 = 1;

/// Plans all of it.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let links = Links::of(sides, draft);
    for class in [&BRIDGE_VLANS, &BRIDGE_VLAN_OPTIONS, &VXLAN_VNIS, &BRIDGE_MST] {
        settings(class, &links, sides, draft);
    }
    addresses(&links, sides, draft);
    groups(&links, sides, draft);
}

/// The links that shall be.
struct Links<'a> {
    to: Vec<Link<'a>>,
    /// Indexes of links of which no bridge keeps what it has now: they go, or leave it.
    lost: BTreeSet<u32>,
    /// Indexes of links that are made, or join another master.
    fresh: BTreeSet<u32>,
}

impl<'a> Links<'a> {
    fn of(sides: &Sides<'a>, draft: &Draft) -> Self {
        let (from, to) = (Link::all(sides.from.of(&LINKS)), Link::all(sides.to.of(&LINKS)));
        let master = |links: &[Link<'_>], index| {
            links.iter().find(|link| link.index == index).map_or(0, |link| link.master)
        };
        let goes = |link: &&Link<'_>| {
            let remade = draft.gone.contains(&link.master) || draft.made.contains(&link.master);
            draft.gone.contains(&link.index) || remade || link.master != master(&to, link.index)
        };
        let lost: BTreeSet<u32> = from.iter().filter(goes).map(|link| link.index).collect();
        let comes = |link: &&Link<'_>| {
            draft.made.contains(&link.index)
                || lost.contains(&link.index)
                || link.master != master(&from, link.index)
        };
        let fresh = to.iter().filter(comes).map(|link| link.index).collect();
        Self { to, lost, fresh }
    }

    fn get(&self, index: u32) -> Option<&Link<'a>> {
        self.to.iter().find(|link| link.index == index)
    }
}

/// The link that an object is of.
fn index(object: &Object) -> u32 {
    Raw::new(&object.bytes, HEADER).header_u32(4)
}

/// Objects that go only when they are told to.
fn staying(class: &'static Class, links: &Links<'_>, sides: &Sides<'_>) -> Vec<Object> {
    let stays = |object: &&Object| {
        let master = match class.name {
            name if name == BRIDGE_FDB.name => Raw::new(&object.bytes, NDMSG).number(NDA_MASTER),
            _ => None,
        };
        !links.lost.contains(&index(object))
            && master.is_none_or(|master| !links.lost.contains(&master))
    };
    sides.from.of(class).iter().filter(stays).cloned().collect()
}

/// VLANs, network identifiers, and what a bridge keeps of them.
fn settings(class: &'static Class, links: &Links<'_>, sides: &Sides<'_>, draft: &mut Draft) {
    let from = staying(class, links, sides);
    let delta = delta(&from, sides.to.of(class), |_| true);
    for object in delta.removed.iter().filter(|_| class.remove != 0) {
        let message = replay_where(class, &object.bytes, class.remove, PLAIN, |_| true);
        let label = format!("remove {}", object.label(&sides.from.names));
        draft.send(Stage::RemoveNeighbours, class, label, message, &[libc::ENOENT]);
    }
    let changed = delta.changed.iter().map(|changed| changed.to);
    // States of trees can be told when the ports have a carrier.
    let late = class.name == BRIDGE_MST.name;
    let stage = if late { Stage::Forwarding } else { Stage::JoinLinks };
    for object in delta.added.iter().copied().chain(changed) {
        let label = format!("set {}", object.label(&sides.to.names));
        let message = with_command(class, replay(class, &object.bytes, PLAIN));
        draft.send(stage, class, label, message, &[]);
    }
}

/// A VLAN's tunnel is set by a number beside it (`BRIDGE_VLANDB_TINFO_CMD`).
fn with_command(class: &Class, message: Vec<u8>) -> Vec<u8> {
    const ENTRY: u16 = 1;
    const TUNNEL_INFO: u16 = 4;
    const CMD: u16 = 2;
    let raw = Raw::new(&message, HEADER);
    if class.name != BRIDGE_VLANS.name || raw.within(ENTRY, TUNNEL_INFO).is_none() {
        return message;
    }
    let Some(Ok(old)) = messages(&message).next() else { return Vec::new() };
    let mut builder = Builder::new(old.kind, old.flags, old.body.get(..HEADER).unwrap_or_default());
    let entry = builder.begin(ENTRY | Builder::NESTED);
    let parts = crate::netlink::attributes(raw.attribute(ENTRY).unwrap_or_default());
    for part in parts.map_while(Result::ok) {
        if part.id == TUNNEL_INFO {
            let tunnel = builder.begin(TUNNEL_INFO | Builder::NESTED);
            builder.raw(part.payload).put_u32(CMD, u32::from(RTM_SETLINK));
            builder.end(tunnel);
        } else {
            builder.put(part.id | part.flags, part.payload);
        }
    }
    builder.end(entry);
    builder.finish()
}

/// Entries of forwarding databases.
fn addresses(links: &Links<'_>, sides: &Sides<'_>, draft: &mut Draft) {
    let class = &BRIDGE_FDB;
    let from = staying(class, links, sides);
    let delta = delta(&from, sides.to.of(class), |_| true);
    for object in delta.removed {
        let mut message = replay_where(class, &object.bytes, class.remove, PLAIN, |_| true);
        address_to(object, &mut message);
        let label = format!("remove {}", object.label(&sides.from.names));
        let tolerated = &[libc::ENOENT, libc::ENODEV];
        draft.send(Stage::RemoveNeighbours, class, label, message, tolerated);
    }
    let changed = delta.changed.iter().map(|changed| changed.to);
    let comes_along = |object: &&Object| !is_of_port_itself(object, links);
    for object in delta.added.iter().copied().filter(comes_along).chain(changed) {
        let raw = Raw::new(&object.bytes, NDMSG);
        let address = raw.attribute(NDA_LLADDR).unwrap_or_default();
        let is_bridged = raw.has(NDA_MASTER);
        let many = address.first().is_some_and(|byte| byte & 1 != 0)
            || address.iter().all(|byte| *byte == 0);
        let flags = match is_bridged {
            true => REPLACE,
            false if bridges::is_of_device(&object.value()) => CREATE,
            // To several remote ends.
            false if many => APPEND,
            false => REPLACE,
        };
        let mut message = replay(class, &object.bytes, flags);
        address_to(object, &mut message);
        let label = format!("set {}", object.label(&sides.to.names));
        draft.send(Stage::Forwarding, class, label, message, &[libc::EEXIST]);
    }
}

/// Tells whether the bridge of a port is meant, or the link itself.
fn address_to(object: &Object, message: &mut [u8]) {
    let raw = Raw::new(&object.bytes, NDMSG);
    let flags = u64::from(raw.header_u8(10)) & 0xd0;
    let port = raw.number(NDA_MASTER).is_some_and(|master| master != index(object));
    let to = if port { NTF_MASTER } else { NTF_SELF };
    let _ = set_field(&BRIDGE_FDB, message, "flags", flags | to);
}

/// Whether the kernel makes the entry when a link joins: for the link's own address. To be told it as
/// well would keep it when the address changes.
fn is_of_port_itself(object: &Object, links: &Links<'_>) -> bool {
    let raw = Raw::new(&object.bytes, NDMSG);
    let Some(link) = links.get(index(object)) else { return false };
    raw.has(NDA_MASTER)
        && raw.header_u16(8) & NUD_PERMANENT != 0
        && raw.attribute(NDA_LLADDR) == link.raw.attribute(IFLA_ADDRESS)
        && links.fresh.contains(&link.index)
}

/// Multicast groups. A bridge takes them only while it is up.
fn groups(links: &Links<'_>, sides: &Sides<'_>, draft: &mut Draft) {
    const MDBA_SET_ENTRY_ATTRS: u16 = 2;
    const MDBE_ATTR_SOURCE: u16 = 1;
    let class = &BRIDGE_MDB;
    let from = staying(class, links, sides);
    let delta = delta(&from, sides.to.of(class), |_| true);
    for object in delta.removed {
        let message = replay_where(class, &object.bytes, class.remove, PLAIN, |_| true);
        let label = format!("remove {}", object.label(&sides.from.names));
        let tolerated = &[libc::ENOENT, libc::EINVAL];
        draft.send(Stage::RemoveNeighbours, class, label, message, tolerated);
    }
    let changed = delta.changed.iter().map(|changed| (changed.to, REPLACE));
    let added = delta.added.iter().map(|object| (*object, CREATE));
    let mut wanted: Vec<(&Object, u16)> = added.chain(changed).collect();
    // One of all sources may make those of single ones.
    wanted.sort_by_key(|(object, _)| {
        Raw::new(&object.bytes, HEADER).within(MDBA_SET_ENTRY_ATTRS, MDBE_ATTR_SOURCE).is_some()
    });
    let masters: BTreeSet<u32> = wanted.iter().map(|(object, _)| index(object)).collect();
    let down: Vec<&Link<'_>> = masters
        .into_iter()
        .filter_map(|index| links.get(index))
        .filter(|link| !link.is_up())
        .collect();
    stir(&down, UP, "raise", draft);
    for (object, flags) in wanted {
        let label = format!("set {}", object.label(&sides.to.names));
        let message = replay(class, &object.bytes, flags);
        draft.send(Stage::Forwarding, class, label, message, &[libc::EEXIST]);
    }
    stir(&down, 0, "lower", draft);
}

fn stir(links: &[&Link<'_>], flags: u32, word: &str, draft: &mut Draft) {
    for link in links {
        let message = Builder::new(RTM_SETLINK, PLAIN, &header(link.index, flags, UP)).finish();
        let label = format!("{word} {} for its groups", link.name);
        draft.send(Stage::Forwarding, &LINKS, label, message, &[]);
    }
}
