//! Elements of sets and maps, one message for each.

use super::expressions::{STATEFUL, expressions_fault};
use super::{DATA, GROUPS, HEADER, NOTICES, SUBSYSTEM, belongs, family_fault, place};
use crate::netlink::{Builder, Message, Protocol, attributes, messages};
use crate::state::table::{Attr, Class, Fate, Lifetime, Shape, Source};
use crate::state::{Fault, Names, ReadError, Reader, Value};

const NFT_MSG_GETSET: u16 = SUBSYSTEM | 10;
const NFT_MSG_NEWSETELEM: u16 = SUBSYSTEM | 12;
const NFT_MSG_GETSETELEM: u16 = SUBSYSTEM | 13;
const NFT_MSG_DELSETELEM: u16 = SUBSYSTEM | 14;
/// Bytes of `struct nfgenmsg`.
const GENMSG: usize = 4;
/// The same numbers in `NFTA_SET_*` and `NFTA_SET_ELEM_LIST_*`.
const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const LIST_ELEM: u16 = 1;

/// Milliseconds under which an element may end while a restore is at work.
const NEARLY_OVER: u64 = 5_000;
/// 0 would stand for the whole timeout.
const LEFT: Lifetime = Lifetime { per_second: 1_000, forever: u32::MAX, least: 1 };

/// `NFTA_SET_ELEM_*`.
const ELEMENT: &[Attr] = &[
    Attr::keep(1, "key", DATA),
    Attr::keep(2, "data", DATA),
    Attr::keep(3, "flags", Shape::Net(&Shape::Bits(&[(1, "interval_end"), (2, "catchall")]))),
    // Milliseconds, both.
    Attr::keep(4, "timeout", Shape::Be64),
    Attr::new(5, "expiration", Shape::Be64, Fate::Lifetime(LEFT)),
    Attr::keep(6, "userdata", Shape::Bytes),
    Attr::keep(7, "expr", Shape::Nest(STATEFUL)),
    Attr::strip(8, "pad", Shape::Bytes),
    Attr::keep(9, "objref", Shape::Text),
    Attr::keep(10, "key_end", DATA),
    Attr::keep(11, "expressions", Shape::List(&Shape::Nest(STATEFUL))),
];

pub static NFT_SET_ELEMENTS: Class = Class {
    name: "nft-set-elements",
    source: Source::Watched {
        read,
        protocol: Protocol::Netfilter,
        groups: GROUPS,
        notices: NOTICES,
    },
    header: HEADER,
    attributes: &[
        Attr::keep(TABLE, "table", Shape::Text),
        Attr::keep(SET, "set", Shape::Text),
        Attr::keep(ELEMENTS, "elements", Shape::List(&Shape::Nest(ELEMENT))),
        Attr::strip(4, "set_id", Shape::Be32),
    ],
    key: &["family", "table", "set", "elements.0.key", "elements.0.key_end", "elements.0.flags"],
    tells: NFT_MSG_NEWSETELEM,
    make: NFT_MSG_NEWSETELEM,
    remove: NFT_MSG_DELSETELEM,
    after: &["nft-sets", "nft-chains", "nft-objects"],
    strict: true,
    belongs,
    label,
    faults,
    fleeting: |value| left(value).is_some_and(|left| left <= NEARLY_OVER),
    // Packets add elements and count in them; and elements end.
    drifts: |_| true,
    shown_by: "tests/nftables",
    ..Class::BASE
};

/// Milliseconds until the element ends.
fn left(value: &Value) -> Option<u64> {
    value.number("elements.0.expiration")
}

fn label(value: &Value, _: &Names) -> String {
    let set = value.text("set").unwrap_or_default();
    let mut text = format!("element of set {} {set}:", place(value));
    match value.field("elements.0.key.value") {
        Some(key) => text.push_str(&format!(" {key}")),
        None => text.push_str(" all others"),
    }
    if let Some(end) = value.field("elements.0.key_end.value") {
        text.push_str(&format!("-{end}"));
    }
    if value.number("elements.0.flags") == Some(1) {
        text.push_str(" (end of an interval)");
    }
    text
}

fn faults(value: &Value) -> Vec<Fault> {
    let mut faults: Vec<_> = family_fault(value).into_iter().collect();
    if let Some(Value::List(elements)) = value.field("elements") {
        let of = elements.iter().flat_map(|element| expressions_fault(element, "expressions"));
        faults.extend(of);
        if elements.len() != 1 {
            faults.push(Fault::Object(format!("{} elements in one message", elements.len())));
        }
    }
    faults
}

/// The kernel dumps the elements of one set at a time.
fn read(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut sets = Vec::new();
    let failed = |what| move |source| ReadError::Netlink { what, source };
    match reader.dump(Protocol::Netfilter, NFT_MSG_GETSET, &[0; GENMSG], &mut sets) {
        Ok(()) => {}
        // The kernel has no nftables, or no netfilter at all.
        Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EPROTONOSUPPORT)) => {}
        Err(source) => return Err(failed("dump of sets")(source)),
    }
    let (mut section, mut dumped) = (Vec::new(), Vec::new());
    for set in messages(&sets).map_while(Result::ok) {
        dumped.clear();
        let body = request(&set);
        match reader.dump(Protocol::Netfilter, NFT_MSG_GETSETELEM, &body, &mut dumped) {
            Ok(()) => split(&dumped, &mut section),
            // It went since: what is told of that has all be read again.
            Err(error) if error.errno() == Some(libc::ENOENT) => {}
            Err(source) => return Err(failed("dump of the elements of a set")(source)),
        }
    }
    Ok(section)
}

/// Family, table and name of a set.
fn request(set: &Message<'_>) -> Vec<u8> {
    let mut body = vec![set.body.first().copied().unwrap_or_default(), 0, 0, 0];
    for attribute in set.attributes(GENMSG).map_while(Result::ok) {
        if matches!(attribute.id, TABLE | SET) {
            body.extend(Builder::attribute(attribute.id, attribute.payload));
        }
    }
    body
}

/// One message for each element, so that each is an object.
fn split(dumped: &[u8], section: &mut Vec<u8>) {
    for message in messages(dumped).map_while(Result::ok) {
        let mut start =
            Builder::new(message.kind, 0, message.body.get(..GENMSG).unwrap_or_default());
        let mut elements: &[u8] = &[];
        for attribute in message.attributes(GENMSG).map_while(Result::ok) {
            match attribute.id {
                ELEMENTS => elements = attribute.payload,
                id => drop(start.put(id, attribute.payload)),
            }
        }
        for element in attributes(elements).map_while(Result::ok) {
            let mut one = start.clone();
            let list = one.begin(ELEMENTS | Builder::NESTED);
            one.put(LIST_ELEM | element.flags, element.payload);
            one.end(list);
            section.extend(one.finish());
        }
    }
}
