//! Sets of addresses, ports and the like that rules look into (`linux/netfilter/ipset/ip_set.h`), and
//! their members.
//!
//! Rules of xtables name a set by its index, which the kernel gives: the lowest that is free. So the
//! index is state of a set, and a plan makes each at its own. The kernel tells it since Linux 4.20
//! (protocol 7).

mod members;
mod sets;

use std::path::Path;

use crate::netlink::{Builder, Message, Protocol, align, attributes, messages};
use crate::state::table::{Attr, Fate, Field, Shape};
use crate::state::{ReadError, Reader};

pub use members::IPSET_MEMBERS;
pub use sets::{IPSETS, LIST, MOST_INDEX};

/// `NFNL_SUBSYS_IPSET` in the upper byte of message types, with `IPSET_CMD_*`.
const SUBSYSTEM: u16 = 6 << 8;
const IPSET_CMD_CREATE: u16 = SUBSYSTEM | 2;
const IPSET_CMD_DESTROY: u16 = SUBSYSTEM | 3;
const IPSET_CMD_LIST: u16 = SUBSYSTEM | 7;
const IPSET_CMD_ADD: u16 = SUBSYSTEM | 9;
const IPSET_CMD_DEL: u16 = SUBSYSTEM | 10;

/// Bytes of `struct nfgenmsg`.
pub const GENMSG: usize = 4;
/// `IPSET_ATTR_*`, first level.
pub const PROTOCOL: u16 = 1;
pub const SETNAME: u16 = 2;
pub const TYPENAME: u16 = 3;
const FLAGS: u16 = 6;
pub const DATA: u16 = 7;
pub const ADT: u16 = 8;
pub const LINENO: u16 = 9;
pub const INDEX: u16 = 11;
/// `IPSET_ATTR_NAME` within the data of a member of a `list:set`.
pub const NAME: u16 = 18;
/// `IPSET_ATTR_TIMEOUT` within the data of a member.
pub const TIMEOUT: u16 = 6;

/// The protocol that is spoken: what all kernels take. Only dumps ask for 7, which tells indexes.
pub const SPOKEN: u8 = 6;
const WITH_INDEX: u8 = 7;
/// `IPSET_ERR_PROTOCOL`.
const OTHER_PROTOCOL: i32 = 4097;
/// `IPSET_ERR_FIND_TYPE`: the kernel has no such type of set, or not in this revision.
pub const NO_TYPE: i32 = 4098;
/// `IPSET_ERR_BUSY`: a rule or another set holds on to the set.
pub const BUSY: i32 = 4100;
/// `IPSET_FLAG_LIST_HEADER`: sets without their members.
const HEADERS: u32 = 1 << 2;

/// `struct nfgenmsg`.
const HEADER: &[Field] = &[
    Field::new("nfgen_family", 0, Shape::U8, Fate::Strip),
    Field::new("version", 1, Shape::U8, Fate::Zero),
    Field::new("res_id", 2, Shape::Be16, Fate::Zero),
];

/// `IPSET_ATTR_IPADDR_*`.
const ADDRESS: Shape =
    Shape::Nest(&[Attr::keep(1, "ipv4", Shape::Ip), Attr::keep(2, "ipv6", Shape::Ip)]);

/// `IPSET_FLAG_*` of sets and members.
const CADT_FLAGS: Shape = Shape::Net(&Shape::Fixed(
    4,
    &Shape::Bits(&[
        (1, "before"),
        (1 << 1, "physdev"),
        (1 << 2, "nomatch"),
        (1 << 3, "counters"),
        (1 << 4, "comment"),
        (1 << 5, "forceadd"),
        (1 << 6, "skbinfo"),
        (1 << 7, "wildcard"),
    ]),
));

/// What the kernel's own error numbers of ipset say (`enum ipset_errno`, from 4096 on); the system has
/// no words for them.
#[must_use]
pub fn error_words(errno: i32) -> Option<&'static str> {
    const FIRST: i32 = 4097;
    const WORDS: [&str; 19] = [
        "the message is not as the protocol wants it",
        "this kernel has no such type of set, or not in this revision",
        "the kernel has no room for another set",
        "a rule or another set holds on to it",
        "there is a set of that name",
        "the types of the two sets do not fit",
        "there is such a member, or there is none to remove",
        "the length of the prefix is not valid",
        "the netmask is not valid",
        "the family is not valid for this type of set",
        "the set has no timeouts",
        "a rule or another set holds on to it",
        "an IPv4 address is wanted",
        "an IPv6 address is wanted",
        "the set has no counters",
        "the set has no comments",
        "the mask of marks is not valid",
        "the set has no information for packets",
        "a netmask and a bitmask exclude each other",
    ];
    WORDS.get(usize::try_from(errno.checked_sub(FIRST)?).ok()?).copied()
}

/// Dumps the namespace's sets, with their members or without.
fn dump(reader: &mut Reader, with_members: bool) -> Result<Vec<u8>, ReadError> {
    let mut dumped = Vec::new();
    // The question would load the module.
    if !Path::new("/sys/module/ip_set").exists() {
        return Ok(dumped);
    }
    let failed = |source| ReadError::Netlink { what: "dump of ipset", source };
    for protocol in [WITH_INDEX, SPOKEN] {
        let mut body = vec![libc::AF_INET as u8, 0, 0, 0];
        body.extend(Builder::attribute(PROTOCOL, &[protocol]));
        if !with_members {
            let id = FLAGS | Builder::NET_BYTEORDER;
            body.extend(Builder::attribute(id, &HEADERS.to_be_bytes()));
        }
        match reader.dump(Protocol::Netfilter, IPSET_CMD_LIST, &body, &mut dumped) {
            Err(error) if error.errno() == Some(OTHER_PROTOCOL) && protocol != SPOKEN => {}
            outcome => {
                outcome.map_err(failed)?;
                break;
            }
        }
    }
    Ok(dumped)
}

fn read_sets(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let dumped = dump(reader, false)?;
    let mut section = Vec::with_capacity(dumped.len());
    for message in messages(&dumped).map_while(Result::ok) {
        section.extend(retold(&message, IPSET_CMD_CREATE, |_| true).finish());
    }
    Ok(section)
}

/// One message for each member, so that each is an object.
fn read_members(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let dumped = dump(reader, true)?;
    let mut section = Vec::with_capacity(dumped.len());
    for message in messages(&dumped).map_while(Result::ok) {
        let start = retold(&message, IPSET_CMD_ADD, |id| matches!(id, PROTOCOL | SETNAME));
        let lists = message.attributes(GENMSG).map_while(Result::ok).filter(|a| a.id == ADT);
        for list in lists {
            for member in attributes(list.payload).map_while(Result::ok) {
                let mut one = start.clone();
                one.put(DATA | Builder::NESTED, &in_order(member.payload));
                section.extend(one.finish());
            }
        }
    }
    Ok(section)
}

/// A message of another type with these attributes of a dumped one.
fn retold(message: &Message<'_>, kind: u16, wanted: impl Fn(u16) -> bool) -> Builder {
    let mut builder = Builder::new(kind, 0, &[0; GENMSG]);
    for attribute in message.attributes(GENMSG).map_while(Result::ok).filter(|a| wanted(a.id)) {
        let id = attribute.id | attribute.flags;
        match attribute.id {
            DATA => builder.put(id, &in_order(attribute.payload)),
            _ => builder.put(id, attribute.payload),
        };
    }
    builder
}

/// Data with addresses as the kernel wants them: it tells them without the flag for the network's
/// order, and takes them only with it.
fn in_order(data: &[u8]) -> Vec<u8> {
    let mut ordered = data.to_vec();
    let mut at = 0;
    for attribute in attributes(data).map_while(Result::ok) {
        // After the attribute's own header comes the length of the address, then its type.
        let kind = at + 4 + 2..at + 4 + 4;
        if attribute.flags & Builder::NESTED != 0
            && let Some(kind) = ordered.get_mut(kind)
        {
            let ordered = u16::from_ne_bytes([kind[0], kind[1]]) | Builder::NET_BYTEORDER;
            kind.copy_from_slice(&ordered.to_ne_bytes());
        }
        at += align(4 + attribute.payload.len());
    }
    ordered
}
