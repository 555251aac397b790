//! From a captured message to the one that makes its object again.

use super::decode::{DEPTH, beside, host_order, layout, nexthops, number, width};
use super::table::{Attr, Class, Fate, Field, NEXTHOP, Shape};
use crate::netlink::{Builder, align, attributes, messages};

/// The message that makes the object of `message`, with these `nlmsg_flags` (the caller chooses
/// among `NLM_F_CREATE`, `NLM_F_EXCL`, `NLM_F_REPLACE`, `NLM_F_APPEND`; `NLM_F_REQUEST` is its business too).
///
/// Only what the table knows and means to be sent is in it. Run [`super::check`] first on what comes
/// from outside: here, what does not fit its shape is left out without a word. Empty where the bytes
/// are no message, or one too short for its class.
#[must_use]
pub fn replay(class: &Class, message: &[u8], flags: u16) -> Vec<u8> {
    replay_where(class, message, class.make, flags, |_| true)
}

/// As [`replay`], as a message of type `kind` and with only those attributes of the first level that
/// `wanted` says yes to (for steps that set a part: a link's master, its name).
#[must_use]
pub fn replay_where(
    class: &Class,
    message: &[u8],
    kind: u16,
    flags: u16,
    wanted: impl Fn(&Attr) -> bool,
) -> Vec<u8> {
    let Some(Ok(captured)) = messages(message).next() else { return Vec::new() };
    let size = align(super::decode::header_size(class.header));
    let Some((header, rest)) = captured.body.split_at_checked(size) else { return Vec::new() };
    let mut builder = Builder::new(kind, flags, &fields(header, class.header));
    builder.raw(&nest(rest, class.attributes, &wanted, 0));
    let mended = match class.mends() {
        true => (class.mend)(&super::decode(class, message)),
        false => Vec::new(),
    };
    for (id, payload) in mended {
        if class.attributes.iter().find(|attr| attr.id == id).is_none_or(&wanted) {
            builder.put(id, &payload);
        }
    }
    builder.finish()
}

/// Writes a field of the header of a message made by [`replay`]; `false` if the class has no such
/// field or the message no room for it.
#[must_use]
pub fn set_field(class: &Class, message: &mut [u8], name: &str, value: u64) -> bool {
    let Some(field) = class.header.iter().find(|field| field.name == name) else { return false };
    let start = 16 + field.at;
    let Some(place) = message.get_mut(start..start + width(&field.shape).unwrap_or(0)) else {
        return false;
    };
    write_number(place, value);
    true
}

fn write_number(place: &mut [u8], value: u64) {
    let length = place.len().min(8);
    let bytes = value.to_ne_bytes();
    let from = if cfg!(target_endian = "big") { &bytes[8 - length..] } else { &bytes[..length] };
    place[..length].copy_from_slice(from);
}

/// A struct with the fields that are not sent as zero. Bytes that no field covers are not sent either.
fn fields(captured: &[u8], fields: &[Field]) -> Vec<u8> {
    let mut out = vec![0; captured.len()];
    for field in fields {
        let range = field.at..field.at + width(&field.shape).unwrap_or(0);
        let (Some(from), Some(to)) = (captured.get(range.clone()), out.get_mut(range)) else {
            continue;
        };
        match sent(field.fate, from) {
            // A struct has no flags.
            Sent::No | Sent::Flag => {}
            Sent::Number(value) => write_number(to, value),
            Sent::Captured => to.copy_from_slice(&payload(from, &field.shape, &[], &[], 0)),
        }
    }
    out
}

enum Sent {
    No,
    Flag,
    Number(u64),
    Captured,
}

fn sent(fate: Fate, payload: &[u8]) -> Sent {
    match fate {
        Fate::Keep | Fate::Send | Fate::Ifindex | Fate::IfindexOr(_) | Fate::Lifetime(_) => {
            Sent::Captured
        }
        Fate::Set if payload.iter().any(|byte| *byte != 0) => Sent::Captured,
        Fate::SetBut(unset) if number(payload) != unset => Sent::Captured,
        Fate::AsFlag if payload.iter().any(|byte| *byte != 0) => Sent::Flag,
        Fate::Zero => Sent::Number(0),
        Fate::Fill(value) => Sent::Number(value),
        Fate::Map(map) => Sent::Number((map.sent)(number(payload))),
        Fate::Set
        | Fate::SetBut(_)
        | Fate::AsFlag
        | Fate::Unless(..)
        | Fate::Leave
        | Fate::Derived
        | Fate::Strip
        | Fate::Outside
        | Fate::Synthesise
        | Fate::Made(_)
        | Fate::Refuse
        | Fate::List => Sent::No,
    }
}

fn nest(
    bytes: &[u8],
    table: &'static [Attr],
    wanted: &dyn Fn(&Attr) -> bool,
    depth: usize,
) -> Vec<u8> {
    let mut out = Vec::new();
    for attribute in attributes(bytes).map_while(Result::ok) {
        let Some(attr) = table.iter().find(|attr| attr.id == attribute.id && wanted(attr)) else {
            continue;
        };
        let captured = attribute.payload;
        if !super::check::fits(&attr.shape, captured) {
            continue;
        }
        // Told without the flag by old interfaces, wanted by new ones, and no one minds it.
        let nested = if is_nest(&attr.shape) { Builder::NESTED } else { 0 };
        let id = attribute.id | attribute.flags | nested;
        match sent(beside(attr.fate, bytes), captured) {
            Sent::No => {}
            Sent::Flag => put(&mut out, id, &[]),
            Sent::Number(value) => {
                let mut number = vec![0; captured.len()];
                write_number(&mut number, value);
                put(&mut out, id, &number);
            }
            Sent::Captured => {
                let payload = payload(captured, &attr.shape, bytes, table, depth);
                // A nest of which nothing is sent is not sent: some (IFLA_AF_SPEC) must not be empty.
                if !payload.is_empty() || captured.is_empty() {
                    put(&mut out, id, &payload);
                }
            }
        }
    }
    for attr in table.iter().filter(|attr| wanted(attr)) {
        if let Fate::Made(make) = attr.fate
            && let Some(payload) = make(bytes)
        {
            put(&mut out, attr.id, &payload);
        }
    }
    out
}

fn is_nest(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Nest(_) | Shape::Families(_) | Shape::Repeat(_) | Shape::List(_) | Shape::By(..)
    )
}

fn put(out: &mut Vec<u8>, id: u16, payload: &[u8]) {
    // Only what is made ([`Fate::Made`]) lets a payload grow, and of a few of it a kernel would not
    // have told so many in one message: what is too long is left out, and found missing.
    if payload.len() > usize::from(u16::MAX) - 4 {
        return;
    }
    out.extend_from_slice(&((4 + payload.len()) as u16).to_ne_bytes());
    out.extend_from_slice(&id.to_ne_bytes());
    out.extend_from_slice(payload);
    out.resize(align(out.len()), 0);
}

fn payload(
    captured: &[u8],
    shape: &Shape,
    siblings: &[u8],
    table: &'static [Attr],
    depth: usize,
) -> Vec<u8> {
    if depth >= DEPTH {
        return Vec::new();
    }
    match *shape {
        Shape::Nest(table) | Shape::Families(table) | Shape::Repeat(table) => {
            nest(captured, table, &|_| true, depth + 1)
        }
        Shape::List(item) => {
            let mut out = Vec::new();
            for attribute in attributes(captured).map_while(Result::ok) {
                let payload = payload(attribute.payload, item, &[], &[], depth + 1);
                put(&mut out, attribute.id | attribute.flags, &payload);
            }
            out
        }
        Shape::By(sibling, layouts) => layout(sibling, layouts, siblings, table)
            .map(|layout| payload(captured, layout, &[], &[], depth + 1))
            .unwrap_or_default(),
        Shape::Fixed(_, inner) => payload(captured, inner, siblings, table, depth),
        Shape::Net(inner) => {
            host_order(&payload(&host_order(captured), inner, siblings, table, depth))
        }
        Shape::BitsOf(_, kept) => {
            let mut out = captured.to_vec();
            write_number(&mut out, number(captured) & kept);
            out
        }
        Shape::Struct(of) => fields(captured, of),
        Shape::Headed(size, of, tail) => {
            let (head, rest) = captured.split_at(align(size).min(captured.len()));
            let mut out = fields(head, of);
            out.extend(payload(rest, tail, &[], &[], depth + 1));
            out
        }
        Shape::Trailing(of, last) => {
            let (first, rest) = captured.split_at(last.at.min(captured.len()));
            let mut out = fields(first, of);
            if let Sent::Captured = sent(last.fate, rest) {
                out.extend(payload(rest, &last.shape, &[], &[], depth + 1));
            }
            out
        }
        Shape::Array(size, of) => {
            captured.chunks_exact(size.max(1)).flat_map(|item| fields(item, of)).collect()
        }
        Shape::Nexthops(table) => {
            let mut out = Vec::new();
            for (header, rest) in nexthops(captured) {
                let mut header = fields(header, NEXTHOP);
                let rest = nest(rest, table, &|_| true, depth + 1);
                let length = ((8 + rest.len()) as u16).to_ne_bytes();
                header[..2].copy_from_slice(&length);
                out.extend_from_slice(&header);
                out.extend_from_slice(&rest);
            }
            out
        }
        _ => captured.to_vec(),
    }
}
