//! Addresses: added in an order that gives back the kernel's own, and never tentative.
//!
//! A new IPv6 address goes to the head of its device's list (among those of its scope), a new IPv4
//! address to the tail. So those of IPv4 are added in the order of the dump, those of IPv6 in the
//! opposite one. An IPv6 address is added with `IFA_F_NODAD`, so that duplicate address detection
//! does not make it unusable for a second; since that flag stays, the address is then replaced by
//! itself without it.

use super::Stage;
use super::difference::{Pair, groups};
use super::draft::{CREATE, Draft, Objects, PLAIN, REPLACE, Sides};
use super::raw::Raw;
use super::routes;
use crate::netlink::{Builder, messages};
use crate::state::classes::ADDRESSES;
use crate::state::{self, Object, replay, replay_where};

/// Bytes of `struct ifaddrmsg`.
const HEADER: usize = 8;
const IFA_FLAGS: u16 = 8;
const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
/// What detection made of an address, or how the kernel came to it: nothing takes that away but a
/// new start.
const STICKY: u32 = IFA_F_SECONDARY | IFA_F_OPTIMISTIC | IFA_F_DADFAILED | IFA_F_TENTATIVE;

/// What is different of an IPv4 address and still needs no new one.
const REPLACEABLE_IPV4: &[&str] = &["cacheinfo", "rt_priority"];

/// Addresses of one device and family, for IPv6 also of one scope: the kernel keeps such in order.
pub fn group(object: &Object) -> Option<String> {
    let raw = Raw::new(&object.bytes, HEADER);
    let (family, index) = (raw.header_u8(0), raw.header_u32(4));
    let scope = if is_ipv6(object) { raw.header_u8(3) } else { 0 };
    Some(format!("{index} {family} {scope}"))
}

fn is_ipv6(object: &Object) -> bool {
    i32::from(Raw::new(&object.bytes, HEADER).header_u8(0)) == libc::AF_INET6
}

fn index(object: &Object) -> u32 {
    Raw::new(&object.bytes, HEADER).header_u32(4)
}

fn flags(object: &Object) -> u32 {
    let raw = Raw::new(&object.bytes, HEADER);
    raw.number(IFA_FLAGS).unwrap_or_else(|| u32::from(raw.header_u8(2)))
}

/// Link and address of an IPv6 address that was still tentative when it was captured. Its local route
/// came later; a rebuilt address has it at once.
pub fn tentative(object: &Object) -> Option<(u32, Vec<u8>)> {
    const IFA_ADDRESS: u16 = 1;
    if !is_ipv6(object) || flags(object) & IFA_F_TENTATIVE == 0 {
        return None;
    }
    let address = Raw::new(&object.bytes, HEADER).attribute(IFA_ADDRESS)?;
    Some((index(object), address.to_vec()))
}

/// Whether a link has this IPv6 address.
pub fn has(objects: &Objects, link: u32, address: &[u8]) -> bool {
    const IFA_ADDRESS: u16 = 1;
    objects.of(&ADDRESSES).iter().any(|object| {
        let raw = Raw::new(&object.bytes, HEADER);
        is_ipv6(object) && index(object) == link && raw.attribute(IFA_ADDRESS) == Some(address)
    })
}

/// Whether lo gets the address from the kernel when it comes up.
fn is_given(object: &Object) -> bool {
    const IFA_ADDRESS: u16 = 1;
    let address = Raw::new(&object.bytes, HEADER).attribute(IFA_ADDRESS);
    matches!(address, Some([127, 0, 0, 1]))
        || address == Some(&std::net::Ipv6Addr::LOCALHOST.octets()[..])
}

/// Plans the addresses.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let gone = draft.gone.clone();
    let from = sides.from.of(&ADDRESSES).iter().filter(|object| !gone.contains(&index(object)));
    let mut lists = groups(from, sides.to.of(&ADDRESSES), group);
    in_order_of(&routes::order_of_shared(sides.to), &mut lists);
    for (mut old, mut new) in lists {
        if new.first().or(old.first()).is_some_and(|object| is_ipv6(object)) {
            old.reverse();
            new.reverse();
        }
        one_list(&old, &new, sides, draft);
    }
}

/// Puts the IPv6 lists of these links into this order, and leaves all others where they are.
fn in_order_of(links: &[u32], lists: &mut [Pair<'_>]) {
    let place = |(_, new): &Pair<'_>| {
        let first = new.first().filter(|object| is_ipv6(object))?;
        links.iter().position(|link| *link == index(first))
    };
    let slots: Vec<usize> =
        (0..lists.len()).filter(|slot| place(&lists[*slot]).is_some()).collect();
    let mut moved: Vec<_> = slots.iter().map(|slot| std::mem::take(&mut lists[*slot])).collect();
    moved.sort_by_key(place);
    for (slot, list) in slots.into_iter().zip(moved) {
        lists[slot] = list;
    }
}

/// One list, oldest address first.
fn one_list(old: &[&Object], new: &[&Object], sides: &Sides<'_>, draft: &mut Draft) {
    let fits = |old: &&&Object| new.iter().any(|new| new.key == old.key && can_stay(old, new));
    let staying: Vec<&&Object> = old.iter().filter(fits).collect();
    let same = staying.iter().zip(new).take_while(|(old, new)| old.key == new.key).count();
    let (kept, added) = new.split_at(same);
    // The newest first, so that no secondary address is lost, or promoted, with its primary one.
    let going = |old: &&&Object| kept.iter().all(|kept| kept.key != old.key);
    for object in old.iter().filter(going).rev() {
        let message = replay_where(&ADDRESSES, &object.bytes, ADDRESSES.remove, PLAIN, |_| true);
        let label = format!("remove {}", object.label(&sides.from.names));
        let tolerated = &[libc::EADDRNOTAVAIL];
        draft.send(Stage::RemoveAddresses, &ADDRESSES, label, message, tolerated);
    }
    for (old, new) in staying.iter().zip(kept) {
        if !state::compare(old, new).is_empty() && !only_history(old, new) {
            let label = format!("change {}", new.label(&sides.to.names));
            let message = replay(&ADDRESSES, &new.bytes, REPLACE);
            draft.send(Stage::Addresses, &ADDRESSES, label, message, &[]);
        }
    }
    for object in added {
        add(object, sides, draft);
    }
}

fn can_stay(old: &Object, new: &Object) -> bool {
    if is_ipv6(old) {
        // What an address shall have of these can't be given to it in any way.
        return flags(old) & !flags(new) & STICKY == 0;
    }
    let replaceable =
        |path: &str| REPLACEABLE_IPV4.iter().any(|name| path.split('.').next() == Some(name));
    state::compare(old, new).iter().all(|difference| replaceable(&difference.path))
}

/// Whether two addresses of IPv6 differ only in what the kernel made of them: nobody can make an
/// address temporary, or failed.
pub fn only_history(old: &Object, new: &Object) -> bool {
    is_ipv6(old)
        && (flags(old) ^ flags(new)) & !STICKY == 0
        && state::compare(old, new).iter().all(|difference| difference.path == "flags")
}

fn add(object: &Object, sides: &Sides<'_>, draft: &mut Draft) {
    if is_given(object) && draft.raised.contains(&index(object)) {
        return;
    }
    let name = object.label(&sides.to.names);
    let mut send = |label, message| {
        draft.send(Stage::Addresses, &ADDRESSES, label, message, &[]);
    };
    let message = replay(&ADDRESSES, &object.bytes, CREATE);
    if !is_ipv6(object) {
        return send(format!("add {name}"), message);
    }
    let flags = flags(object) & !STICKY;
    send(format!("add {name}"), with_flags(&message, flags | IFA_F_NODAD));
    if flags & IFA_F_NODAD == 0 {
        let message = replay(&ADDRESSES, &object.bytes, REPLACE);
        send(format!("settle {name}"), with_flags(&message, flags));
    }
}

/// The message with other `IFA_FLAGS`.
fn with_flags(message: &[u8], flags: u32) -> Vec<u8> {
    let Some(Ok(old)) = messages(message).next() else { return Vec::new() };
    let mut builder = Builder::new(old.kind, old.flags, old.body.get(..HEADER).unwrap_or_default());
    for attribute in old.attributes(HEADER).map_while(Result::ok) {
        if attribute.id != IFA_FLAGS {
            builder.put(attribute.id | attribute.flags, attribute.payload);
        }
    }
    builder.put_u32(IFA_FLAGS, flags);
    builder.finish()
}
