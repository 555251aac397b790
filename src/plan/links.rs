//! Links: which can stay, which are made anew, and what is set when.
//!
//! A link can stay where index, kind and number of queues are right, since the kernel changes none
//! of them; and for a pair of veth, where its other end is on the right side. All else is set.

use std::collections::BTreeMap;

use super::draft::{CREATE, Draft, PLAIN, Sides};
use super::link::{HEADER, Link, Parent, UP};
use super::{Error, Stage, Terms, routes, veth};
use crate::netlink::Builder;
use crate::state::classes::LINKS;
use crate::state::table::Attr;
use crate::state::{self, replay_where};

const IFLA_MTU: u16 = 4;
const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKMODE: u16 = 17;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_PROTO_DOWN: u16 = 39;
const IFLA_GSO_MAX_SEGS: u16 = 40;
const IFLA_GSO_MAX_SIZE: u16 = 41;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_GRO_MAX_SIZE: u16 = 58;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;
const IFLA_INET6_TOKEN: u16 = 7;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// `IN6_ADDR_GEN_MODE_EUI64`, the kernel's default, and `IN6_ADDR_GEN_MODE_NONE`.
const EUI64: u8 = 0;
const NO_ADDRESS: u8 = 1;

/// Bytes of `struct nlmsghdr`.
pub const NLMSGHDR: usize = 16;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWLINKPROP: u16 = 108;
const RTM_DELLINKPROP: u16 = 109;

/// Attributes that a link takes when it is made (`rtnl_create_link` of the kernel).
const WHEN_MADE: &[u16] = &[
    IFLA_ADDRESS,
    IFLA_BROADCAST,
    IFLA_IFNAME,
    IFLA_MTU,
    IFLA_TXQLEN,
    IFLA_LINKMODE,
    IFLA_GROUP,
    IFLA_GSO_MAX_SEGS,
    IFLA_GSO_MAX_SIZE,
    IFLA_GRO_MAX_SIZE,
    IFLA_GSO_IPV4_MAX_SIZE,
    IFLA_GRO_IPV4_MAX_SIZE,
];
/// Attributes that only a later message sets.
const WHEN_SET: &[u16] = &[IFLA_IFALIAS, IFLA_PROTO_DOWN];

/// Flags that others may set, beside `IFF_UP` (`__dev_change_flags` of the kernel).
const SETTABLE: u32 = (libc::IFF_DEBUG
    | libc::IFF_NOTRAILERS
    | libc::IFF_NOARP
    | libc::IFF_PROMISC
    | libc::IFF_ALLMULTI
    | libc::IFF_MULTICAST
    | libc::IFF_PORTSEL
    | libc::IFF_AUTOMEDIA
    | libc::IFF_DYNAMIC) as u32;

/// Plans all that concerns links.
pub fn plan(sides: &Sides<'_>, terms: &Terms, draft: &mut Draft) -> Result<(), Error> {
    let from = Link::all(sides.from.of(&LINKS));
    let to = Link::all(sides.to.of(&LINKS));
    let kept = kept(&from, &to);
    remove(&from, &kept, draft);
    let mut links = order(&to)?;
    for link in &links {
        match kept.get(&link.index) {
            Some(old) => change(old, link, draft),
            None => make(link, &to, sides, terms, draft)?,
        }
        join(kept.get(&link.index).copied(), link, draft);
    }
    let order = routes::order_of_links(sides.to);
    links.sort_by_key(|link| order.iter().position(|index| *index == link.index));
    for link in links {
        raise(kept.get(&link.index).copied(), link, draft);
        wake(kept.get(&link.index).copied(), link, draft);
    }
    veth::host(&from, &to, sides, terms, draft)
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
            .filter(|link| match link.parent {
                Parent::Inside(parent) => !kept.contains_key(&parent),
                _ => false,
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
    named && placed && shaped && old.kind == new.kind && same_data(old, new)
}

/// Whether the settings of the kind are the same. Those of a veth only tell its other end.
fn same_data(old: &Link<'_>, new: &Link<'_>) -> bool {
    old.is_veth()
        || state::compare(old.object, new.object)
            .iter()
            .all(|difference| !difference.path.starts_with("linkinfo.data"))
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

/// Links in an order in which each comes after the one that it stands on.
fn order<'a, 'b>(links: &'b [Link<'a>]) -> Result<Vec<&'b Link<'a>>, Error> {
    let mut ordered: Vec<&Link<'_>> = Vec::with_capacity(links.len());
    let mut waiting: Vec<&Link<'_>> = links.iter().collect();
    while !waiting.is_empty() {
        let ready = |link: &&Link<'_>| match link.parent {
            // Two ends of a veth stand on each other, and are made together.
            Parent::Inside(parent) if !link.is_veth() => {
                ordered.iter().any(|done| done.index == parent)
                    || links.iter().all(|link| link.index != parent)
            }
            _ => true,
        };
        let (now, later): (Vec<&Link<'_>>, Vec<&Link<'_>>) =
            waiting.iter().copied().partition(ready);
        if now.is_empty() {
            let link = later.first().map_or("", |link| link.name).to_owned();
            return Err(Error::Circle { link });
        }
        ordered.extend(now);
        waiting = later;
    }
    Ok(ordered)
}

fn make(
    link: &Link<'_>,
    to: &[Link<'_>],
    sides: &Sides<'_>,
    terms: &Terms,
    draft: &mut Draft,
) -> Result<(), Error> {
    if link.is_given() {
        return Ok(());
    }
    let twin = matches!(link.parent, Parent::Inside(other) if link.is_veth() && draft.made.contains(&other));
    draft.made.insert(link.index);
    if !twin {
        let mut builder = Builder::new(RTM_NEWLINK, CREATE, &creation(link, terms));
        if link.is_veth() {
            veth::info(link, to, sides, terms, &mut builder)?;
        } else {
            if let Parent::Outside(_) = link.parent {
                let (link, kind) = (link.name.to_owned(), link.kind.to_owned());
                return Err(Error::ParentOutside { link, kind });
            }
            if let Parent::Inside(parent) = link.parent {
                builder.put_u32(IFLA_LINK, parent);
            }
            builder.raw(&attributes_of(link, |attr| attr.id == IFLA_LINKINFO));
        }
        let label = format!("make {} ({})", link.name, link.kind);
        draft.send(Stage::MakeLinks, &LINKS, label, builder.finish(), &[]);
    }
    let settings = |attr: &Attr| WHEN_SET.contains(&attr.id) && !is_unset(link, attr.id);
    if WHEN_SET.iter().any(|id| link.raw.has(*id) && !is_unset(link, *id)) {
        set(link, settings, draft);
    }
    rename_others(&[], &link.other_names(), link, draft);
    modes(None, link, draft);
    Ok(())
}

/// Zero and empty: what a new link has by itself, and what some kinds refuse to be told.
fn is_unset(link: &Link<'_>, id: u16) -> bool {
    link.raw.attribute(id).is_none_or(|payload| payload.iter().all(|byte| *byte == 0))
}

/// Header and attributes of a link in the making: flags, but never `IFF_UP`, which costs the kernel
/// a half-made link, and all that it takes at this moment.
pub fn creation(link: &Link<'_>, terms: &Terms) -> Vec<u8> {
    let flags = link.flags & SETTABLE;
    let mut body = Builder::new(0, 0, &header(link.index, flags, SETTABLE));
    body.raw(&attributes_of(link, |attr| WHEN_MADE.contains(&attr.id)));
    let (transmit, receive) = link.queues();
    if (transmit, receive) != (terms.queues, terms.queues) {
        body.put_u32(IFLA_NUM_TX_QUEUES, transmit).put_u32(IFLA_NUM_RX_QUEUES, receive);
    }
    body.finish().split_off(NLMSGHDR)
}

/// Those attributes of a captured link that are wanted, as the table has them sent.
fn attributes_of(link: &Link<'_>, wanted: impl Fn(&Attr) -> bool) -> Vec<u8> {
    let message = replay_where(&LINKS, &link.object.bytes, RTM_NEWLINK, 0, wanted);
    message.get(NLMSGHDR + HEADER..).unwrap_or_default().to_vec()
}

/// Sets what of a link that stays is not as it shall be.
fn change(old: &Link<'_>, new: &Link<'_>, draft: &mut Draft) {
    if old.object.bytes == new.object.bytes {
        return;
    }
    let differences = state::compare(old.object, new.object);
    let differs = |name: &str| {
        differences.iter().any(|difference| difference.path.split('.').next() == Some(name))
    };
    let settable = |id: &u16| WHEN_MADE.contains(id) || WHEN_SET.contains(id);
    let differing = |attr: &Attr| settable(&attr.id) && differs(attr.name);
    if LINKS.attributes.iter().any(differing) || (old.flags ^ new.flags) & SETTABLE != 0 {
        set(new, differing, draft);
    }
    rename_others(&old.other_names(), &new.other_names(), new, draft);
    modes(Some(old), new, draft);
}

/// One message with the flags and those attributes that are wanted.
fn set(link: &Link<'_>, wanted: impl Fn(&Attr) -> bool, draft: &mut Draft) {
    let header = header(link.index, link.flags & SETTABLE, SETTABLE);
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header);
    builder.raw(&attributes_of(link, |attr| attr.id != IFLA_IFALIAS && wanted(attr)));
    // Without the NUL of the dump, which the longest alias has no room for. One that shall not be is
    // set to nothing.
    let alias = LINKS.attributes.iter().find(|attr| attr.id == IFLA_IFALIAS);
    if alias.is_some_and(&wanted) {
        let text = link.raw.attribute(IFLA_IFALIAS).unwrap_or_default();
        builder.put(IFLA_IFALIAS, text.strip_suffix(&[0]).unwrap_or(text));
    }
    draft.send(Stage::SetLinks, &LINKS, format!("set {}", link.name), builder.finish(), &[]);
}

/// Alternative names are kept in the order in which they were added.
fn rename_others(old: &[&str], new: &[&str], link: &Link<'_>, draft: &mut Draft) {
    let (less, more) = if new.starts_with(old) { (&[][..], &new[old.len()..]) } else { (old, new) };
    let less = (RTM_DELLINKPROP, "remove names", less);
    let more = (RTM_NEWLINKPROP, "add names", more);
    for (kind, word, names) in [less, more] {
        if names.is_empty() {
            continue;
        }
        let mut builder = Builder::new(kind, PLAIN, &header(link.index, 0, 0));
        let nest = builder.begin(IFLA_PROP_LIST | Builder::NESTED);
        for name in names {
            builder.put_text(IFLA_ALT_IFNAME, name);
        }
        builder.end(nest);
        let label = format!("{word} of {}: {}", link.name, names.join(", "));
        draft.send(Stage::SetLinks, &LINKS, label, builder.finish(), &[]);
    }
}

/// How the link makes its IPv6 addresses. While it comes up it makes none by itself: the captured
/// ones are added as they were, without the second of duplicate address detection.
fn modes(old: Option<&Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    let Some(mode) = new.address_mode() else { return };
    let now = old.map_or(Some(EUI64), Link::address_mode);
    let rises = new.is_up() && !old.is_some_and(Link::is_up);
    let quiet = rises && !new.is_loopback();
    if quiet && now != Some(NO_ADDRESS) {
        let message = inet6(new, IFLA_INET6_ADDR_GEN_MODE, &[NO_ADDRESS]);
        let label = format!("no addresses by itself on {}", new.name);
        draft.send(Stage::SetLinks, &LINKS, label, message, &[]);
    }
    if now != Some(mode) || quiet && mode != NO_ADDRESS {
        let message = inet6(new, IFLA_INET6_ADDR_GEN_MODE, &[mode]);
        let label = format!("address generation of {}", new.name);
        draft.send(Stage::LateLinks, &LINKS, label, message, &[]);
    }
    let token = new.ipv6(IFLA_INET6_TOKEN).filter(|token| token.iter().any(|byte| *byte != 0));
    let had = old.and_then(|old| old.ipv6(IFLA_INET6_TOKEN));
    if let Some(token) = token.filter(|token| had != Some(*token)) {
        let message = inet6(new, IFLA_INET6_TOKEN, token);
        draft.send(Stage::LateLinks, &LINKS, format!("token of {}", new.name), message, &[]);
    }
}

fn inet6(link: &Link<'_>, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(link.index, 0, 0));
    let families = builder.begin(IFLA_AF_SPEC | Builder::NESTED);
    let family = builder.begin(libc::AF_INET6 as u16 | Builder::NESTED);
    builder.put(id, payload).end(family);
    builder.end(families);
    builder.finish()
}

fn join(old: Option<Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    if old.map_or(0, |old| old.master) == new.master {
        return;
    }
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(new.index, 0, 0));
    builder.put_u32(IFLA_MASTER, new.master);
    let label = format!("master of {}", new.name);
    draft.send(Stage::JoinLinks, &LINKS, label, builder.finish(), &[]);
}

fn raise(old: Option<Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    let was = old.is_some_and(|old| old.is_up());
    if was == new.is_up() || new.is_given() && old.is_none() {
        return;
    }
    let (word, flags) = if new.is_up() { ("raise", UP) } else { ("lower", 0) };
    let message = Builder::new(RTM_SETLINK, PLAIN, &header(new.index, flags, UP)).finish();
    draft.send(Stage::RaiseLinks, &LINKS, format!("{word} {}", new.name), message, &[]);
    if new.is_up() {
        draft.raised.insert(new.index);
        // The kernel tells the rest of itself about a carrier from delayed work. To ask for one link
        // has that work done first (`linkwatch_sync_dev`), so that IPv6 is ready for addresses.
        let message = Builder::new(RTM_GETLINK, PLAIN, &header(new.index, 0, 0)).finish();
        draft.send(Stage::RaiseLinks, &LINKS, format!("wait for {}", new.name), message, &[]);
    }
}

/// A link of mode `dormant` carries traffic once someone says so (802.1X), which coming up takes back.
fn wake(old: Option<Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    const DORMANT: u8 = 1;
    const IF_OPER_DORMANT: u8 = 5;
    const IF_OPER_UP: u8 = 6;
    let first =
        |link: &Link<'_>, id| link.raw.attribute(id).and_then(|state| state.first().copied());
    let awake = |link: &Link<'_>| first(link, IFLA_OPERSTATE) == Some(IF_OPER_UP);
    if first(new, IFLA_LINKMODE) != Some(DORMANT) || !new.is_up() {
        return;
    }
    let (was, shall) = (old.as_ref().is_some_and(awake), awake(new));
    if was != shall || shall && draft.raised.contains(&new.index) {
        let state = if shall { IF_OPER_UP } else { IF_OPER_DORMANT };
        let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(new.index, 0, 0));
        builder.put(IFLA_OPERSTATE, &[state]);
        let label = format!("state of {}", new.name);
        draft.send(Stage::LateLinks, &LINKS, label, builder.finish(), &[]);
    }
}

/// `struct ifinfomsg` with index, flags and which of them count.
pub fn header(index: u32, flags: u32, change: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}
