//! Making a link, and setting what of a link that stays is not as it shall be.

use super::{CREATE, NLMSGHDR, PLAIN, RTM_NEWLINK, RTM_SETLINK, data, header, ports, rise};
use crate::netlink::Builder;
use crate::plan::draft::{Draft, Sides};
use crate::plan::link::{HEADER, Link, Parent};
use crate::plan::{Action, Error, Stage, Terms, link_files, veth};
use crate::state::classes::LINKS;
use crate::state::table::Attr;
use crate::state::{self, replay_where};

const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKMODE: u16 = 17;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_CARRIER: u16 = 33;
const IFLA_PROTO_DOWN: u16 = 39;
const IFLA_GSO_MAX_SEGS: u16 = 40;
const IFLA_GSO_MAX_SIZE: u16 = 41;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_PROTO_DOWN_REASON: u16 = 55;
const IFLA_GRO_MAX_SIZE: u16 = 58;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;

/// The kind of links that no message makes.
const TUN: &str = "tun";

pub const RTM_NEWLINKPROP: u16 = 108;
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
const WHEN_SET: &[u16] = &[IFLA_IFALIAS, IFLA_PROTO_DOWN, IFLA_PROTO_DOWN_REASON];

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

/// Plans the making of a link.
///
/// # Errors
/// [`Error`] where it can't be made on these terms.
pub fn make(
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
    if link.kind == TUN {
        let label = format!("make {} (tun)", link.name);
        let mut tun = data::tun(link);
        tun.flags |= link_files::tun_flags(link.index, sides).cast_signed();
        draft.act(Stage::MakeLinks, &LINKS, label, Action::Tun(tun));
        set(link, |attr| is_settable(link, attr.id) && attr.id != IFLA_IFNAME, draft);
    } else if !twin {
        let mut builder = Builder::new(RTM_NEWLINK, CREATE, &creation(link, terms));
        if link.is_veth() {
            veth::info(link, to, sides, terms, &mut builder)?;
        } else {
            if let Parent::Outside(_) = link.parent {
                let (link, kind) = (link.name.to_owned(), link.kind.to_owned());
                return Err(Error::ParentOutside { link, kind });
            }
            if let Some(lower) = link.lower().filter(|_| !link.has_lower_in_data()) {
                builder.put_u32(IFLA_LINK, lower);
            }
            if link.is_bridge() && !ports::has_address_of_port(link, to, sides) {
                builder.raw(&attributes_of(link, |attr| attr.id == IFLA_ADDRESS));
            }
            data::info(link, &mut builder);
        }
        let label = format!("make {} ({})", link.name, link.kind);
        draft.send(Stage::MakeLinks, &LINKS, label, builder.finish(), &[]);
    }
    let settings = |attr: &Attr| WHEN_SET.contains(&attr.id) && !is_unset(link, attr.id);
    if link.kind != TUN && WHEN_SET.iter().any(|id| link.raw.has(*id) && !is_unset(link, *id)) {
        set(link, settings, draft);
    }
    rename_others(&[], &link.other_names(), link, draft);
    rise::modes(None, link, draft);
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
    body.raw(&attributes_of(link, |attr| {
        let late = link.is_bridge() && attr.id == IFLA_ADDRESS;
        WHEN_MADE.contains(&attr.id) && takes(link, attr.id) && !late
    }));
    let (transmit, receive) = link.queues();
    // Only a veth has them by itself.
    if !link.is_veth() || (transmit, receive) != (terms.queues, terms.queues) {
        body.put_u32(IFLA_NUM_TX_QUEUES, transmit).put_u32(IFLA_NUM_RX_QUEUES, receive);
    }
    body.finish().split_off(NLMSGHDR)
}

/// Whether an attribute is one that a link takes when it is there.
fn is_settable(link: &Link<'_>, id: u16) -> bool {
    (WHEN_MADE.contains(&id) || WHEN_SET.contains(&id)) && takes(link, id)
}

/// Whether a link of the kind can be told an attribute: the addresses of a tunnel of IP are settings of
/// its kind.
fn takes(link: &Link<'_>, id: u16) -> bool {
    link.is_ethernet() || link.is_loopback() || !matches!(id, IFLA_ADDRESS | IFLA_BROADCAST)
}

/// Those attributes of a captured link that are wanted, as the table has them sent.
fn attributes_of(link: &Link<'_>, wanted: impl Fn(&Attr) -> bool) -> Vec<u8> {
    let message = replay_where(&LINKS, &link.object.bytes, RTM_NEWLINK, 0, wanted);
    message.get(NLMSGHDR + HEADER..).unwrap_or_default().to_vec()
}

/// Sets what of a link that stays is not as it shall be.
pub fn change(old: &Link<'_>, new: &Link<'_>, draft: &mut Draft) {
    if old.object.bytes == new.object.bytes {
        return;
    }
    let differences = state::compare(old.object, new.object);
    let differs = |name: &str| {
        differences.iter().any(|difference| difference.path.split('.').next() == Some(name))
    };
    let differing = |attr: &Attr| is_settable(new, attr.id) && differs(attr.name);
    if LINKS.attributes.iter().any(differing) || (old.flags ^ new.flags) & SETTABLE != 0 {
        set(new, differing, draft);
    }
    rename_others(&old.other_names(), &new.other_names(), new, draft);
    data::change(old, new, draft);
    rise::modes(Some(old), new, draft);
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

/// Adds a list of alternative names to a message that gives or takes them.
pub fn put_names(names: &[&str], builder: &mut Builder) {
    let nest = builder.begin(IFLA_PROP_LIST | Builder::NESTED);
    for name in names {
        builder.put_text(IFLA_ALT_IFNAME, name);
    }
    builder.end(nest);
}

/// Tells a link that came up that its protocol is down: its carrier came back with the link below it.
pub fn hold_down(new: &Link<'_>, draft: &mut Draft) {
    let is = |id, value| new.raw.attribute(id).and_then(|it| it.first().copied()) == Some(value);
    if is(IFLA_PROTO_DOWN, 1) && is(IFLA_CARRIER, 0) && draft.raised.contains(&new.index) {
        let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(new.index, 0, 0));
        builder.put(IFLA_PROTO_DOWN, &[1]);
        let label = format!("protocol down on {}", new.name);
        draft.send(Stage::LateLinks, &LINKS, label, builder.finish(), &[]);
    }
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
        put_names(names, &mut builder);
        let label = format!("{word} of {}: {}", link.name, names.join(", "));
        draft.send(Stage::SetLinks, &LINKS, label, builder.finish(), &[]);
    }
}
