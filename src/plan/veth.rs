//! Pairs of veth: made with both ends in one message, the outer one in the host's namespace.

use std::collections::BTreeMap;

use super::draft::{Draft, Objects, PLAIN, Sides};
use super::link::{HEADER, Link, Parent, UP};
use super::links::{NLMSGHDR, RTM_NEWLINKPROP, creation, header, put_names};
use super::outer;
use super::raw::Raw;
use super::{Error, Host, Side, Stage, Terms};
use crate::netlink::{Builder, attributes};
use crate::state::Object;
use crate::state::classes::{LINKS, NEIGHBOURS};

const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
/// `VETH_INFO_PEER` of `linux/veth.h`: `struct ifinfomsg` and link attributes of the other end.
const VETH_INFO_PEER: u16 = 1;
const RTM_SETLINK: u16 = 19;
/// Names that are tried for an outer end whose own name is taken.
const SPARE_NAMES: u32 = 3;

/// An outer end, as its link message tells it.
#[derive(Debug, Clone)]
pub struct HostEnd(Object);

impl HostEnd {
    /// Name and index on its host.
    #[must_use]
    pub fn identity(&self) -> (String, u32) {
        let link = Link::new(&self.0);
        (link.name.to_owned(), link.index)
    }

    /// The names that it may get, best first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let own = Link::new(&self.0).name;
        let spare = (1..=SPARE_NAMES).map(|attempt| format!("veth{:08x}", hash(own, attempt)));
        std::iter::once(own.to_owned()).chain(spare).collect()
    }
}

/// FNV-1a: names must be the same each time, nothing more.
fn hash(name: &str, attempt: u32) -> u32 {
    let bytes = name.bytes().chain(attempt.to_le_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The outer ends of a snapshot, by the inner link's name.
#[must_use]
pub fn host_ends(objects: &Objects) -> BTreeMap<String, HostEnd> {
    let ends = Link::all(objects.of(&LINKS)).into_iter().filter_map(|link| {
        Some((link.name.to_owned(), HostEnd(outer_of(&link, &objects.outer)?.clone())))
    });
    ends.collect()
}

/// The outer end of an inner link, among these.
pub fn outer_of<'a>(link: &Link<'_>, outer: &'a [Object]) -> Option<&'a Object> {
    let Parent::Outside(index) = link.parent else { return None };
    outer.iter().find(|object| link.is_veth() && Link::new(object).index == index)
}

/// The outer end that a link shall have.
struct Wanted<'a> {
    /// As it was captured, here or there; without one the kernel's defaults serve.
    end: Option<Link<'a>>,
    name: String,
    index: u32,
    up: bool,
    /// Index of the host's bridge, where the node's own setup had put it there; 0 for none.
    master: u32,
}

fn wanted<'a>(link: &Link<'_>, sides: &'a Sides, host: &'a Host) -> Result<Wanted<'a>, Error> {
    if let Some(HostEnd(own)) = host.own.get(link.name) {
        let own = Link::new(own);
        let (name, index, up, master) = (own.name.to_owned(), own.index, own.is_up(), own.master);
        return Ok(Wanted { end: Some(own), name, index, up, master });
    }
    let end = outer_of(link, &sides.to.outer).map(|object| HostEnd(object.clone()));
    if end.is_none() && host.known_only {
        return Err(Error::NoEnd { link: link.name.to_owned() });
    }
    let (names, index) = match &end {
        Some(end) => (end.names(), end.identity().1),
        None => ((1..=SPARE_NAMES).map(|n| format!("veth{:08x}", hash(link.name, n))).collect(), 0),
    };
    let free = names.iter().find(|name| !host.names.contains(*name));
    let Some(name) = free.cloned() else {
        return Err(Error::NoName { link: link.name.to_owned(), tried: names.join(", ") });
    };
    let index = if host.indexes.contains(&index) { 0 } else { index };
    let end = outer_of(link, &sides.to.outer).map(Link::new);
    let up = end.is_none_or(|end| end.is_up());
    Ok(Wanted { end, name, index, up, master: 0 })
}

/// Adds `IFLA_LINKINFO` with the other end to the message that makes `link`.
pub fn info(
    link: &Link<'_>,
    to: &[Link<'_>],
    sides: &Sides<'_>,
    terms: &Terms,
    builder: &mut Builder,
) -> Result<(), Error> {
    let peer = match link.parent {
        Parent::Inside(other) => {
            to.iter().find(|peer| peer.index == other).map(|peer| creation(peer, terms))
        }
        Parent::Outside(_) => Some(outside(link, sides, terms)?),
        Parent::None => None,
    };
    let info = builder.begin(IFLA_LINKINFO | Builder::NESTED);
    builder.put_text(IFLA_INFO_KIND, "veth");
    if let Some(peer) = peer {
        let data = builder.begin(IFLA_INFO_DATA | Builder::NESTED);
        builder.put(VETH_INFO_PEER | Builder::NESTED, &peer);
        builder.end(data);
    }
    builder.end(info);
    Ok(())
}

fn outside(link: &Link<'_>, sides: &Sides<'_>, terms: &Terms) -> Result<Vec<u8>, Error> {
    let Some(host) = &terms.host else {
        return Err(Error::NoHost { link: link.name.to_owned() });
    };
    let wanted = wanted(link, sides, host)?;
    let like = match &wanted.end {
        Some(end) => creation(end, terms),
        None => header(0, 0, 0).to_vec(),
    };
    // As it was, with the name and the index that are free here.
    let (head, settings) = like.split_at(HEADER);
    let mut head = head.to_vec();
    head[4..8].copy_from_slice(&wanted.index.to_ne_bytes());
    let mut body = Builder::new(0, 0, &head);
    for attribute in attributes(settings).map_while(Result::ok) {
        if attribute.id != IFLA_IFNAME {
            body.put(attribute.id | attribute.flags, attribute.payload);
        }
    }
    body.put_text(IFLA_IFNAME, &wanted.name);
    body.put(IFLA_NET_NS_FD, &host.descriptor.to_ne_bytes());
    Ok(body.finish().split_off(NLMSGHDR))
}

/// Plans what is left to do for the outer ends: alias, master, up.
pub fn host(
    from: &[Link<'_>],
    to: &[Link<'_>],
    sides: &Sides<'_>,
    terms: &Terms,
    draft: &mut Draft,
) -> Result<(), Error> {
    let Some(host) = &terms.host else { return Ok(()) };
    for link in to {
        let Parent::Outside(_) = link.parent else { continue };
        if !link.is_veth() {
            continue;
        }
        if draft.made.contains(&link.index) {
            finish(&wanted(link, sides, host)?, draft);
        } else if let Some(old) = from.iter().find(|old| old.index == link.index) {
            mend(old, link, sides, host, draft);
        }
    }
    Ok(())
}

/// After the pair was made, by name.
fn finish(wanted: &Wanted<'_>, draft: &mut Draft) {
    let flags = if wanted.up { UP } else { 0 };
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(0, flags, UP));
    builder.put_text(IFLA_IFNAME, &wanted.name);
    if let Some(alias) = wanted.end.and_then(|end| end.raw.attribute(IFLA_IFALIAS)) {
        builder.put(IFLA_IFALIAS, alias);
    }
    if wanted.master != 0 {
        builder.put_u32(IFLA_MASTER, wanted.master);
    }
    let word = if wanted.up { "raise" } else { "set" };
    draft.send_host(Stage::HostLinks, &LINKS, format!("{word} {}", wanted.name), builder.finish());
    // One by one: the host may have given a name to another link.
    for name in wanted.end.map(|end| end.other_names()).unwrap_or_default() {
        let mut builder = Builder::new(RTM_NEWLINKPROP, PLAIN, &header(0, 0, 0));
        builder.put_text(IFLA_IFNAME, &wanted.name);
        put_names(&[name], &mut builder);
        let label = format!("add name of {}: {name}", wanted.name);
        let taken = &[libc::EEXIST];
        draft.send_on(Side::Host, Stage::HostLinks, &LINKS, label, builder.finish(), taken);
    }
}

/// Of a pair that stays: what was cut off in the middle is done again. Name, index and master are the
/// node's own; the rest is as it was where the pod came from.
fn mend(old: &Link<'_>, link: &Link<'_>, sides: &Sides<'_>, host: &Host, draft: &mut Draft) {
    let Some(now) = outer_of(old, &sides.from.outer).map(Link::new) else { return };
    let own = host.own.get(link.name).map(|end| Link::new(&end.0));
    let captured = outer_of(link, &sides.to.outer).map(Link::new);
    let up = own.or(captured).is_none_or(|end| end.is_up());
    let master = own.map_or(now.master, |end| end.master);
    if let Some(captured) = captured {
        outer::mend(&now, &captured, is_known(link, &now, &captured, sides.to), draft);
    }
    if now.is_up() == up && now.master == master {
        return;
    }
    let flags = if up { UP } else { 0 };
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(now.index, flags, UP));
    if now.master != master {
        builder.put_u32(IFLA_MASTER, master);
    }
    draft.send_host(Stage::HostLinks, &LINKS, format!("set {}", now.name), builder.finish());
}

/// Whether an outer end is known by its hardware address: a neighbour of the inner link has it. A port
/// of a bridge is not, the bridge is; and where a namespace becomes again what it was, all counts.
fn is_known(inner: &Link<'_>, now: &Link<'_>, captured: &Link<'_>, to: &Objects) -> bool {
    const NDMSG: usize = 12;
    const NDA_LLADDR: u16 = 2;
    let address = captured.raw.attribute(outer::IFLA_ADDRESS);
    let has = |object: &Object| {
        let raw = Raw::new(&object.bytes, NDMSG);
        raw.header_u32(4) == inner.index && raw.attribute(NDA_LLADDR) == address
    };
    let routed = now.master == 0 && captured.master == 0;
    !to.adds || routed && to.of(&NEIGHBOURS).iter().any(has)
}
