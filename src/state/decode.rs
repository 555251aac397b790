//! From bytes to values by the tables. Never fails: what does not fit its shape is shown as bytes,
//! and [`super::check`] names it.

use std::borrow::Cow;

use super::Value;
use super::table::{Attr, Class, Fate, Field, Shape, Source};
use super::value::Secret;
use crate::netlink::{align, attributes, ip, messages};

/// Nests deeper than this are shown as bytes. Tables may refer to themselves; the kernel's own limit
/// for nested actions and expressions is lower.
pub(super) const DEPTH: usize = 16;

/// What of a message is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    All,
    /// As the fates say, for comparison.
    Compared,
}

type Entries = Vec<(Cow<'static, str>, Value)>;

/// Everything that a message (with its `nlmsghdr`; for sysctls an entry) says, unknown attributes as
/// `#7` with their bytes.
#[must_use]
pub fn decode(class: &Class, message: &[u8]) -> Value {
    view(class, message, View::All)
}

/// As [`decode`], of the fields and attributes of these names only.
pub(super) fn decode_some(class: &Class, message: &[u8], named: &[&str]) -> Value {
    let Some(Ok(message)) = messages(message).next() else {
        return Value::Bytes(message.to_vec());
    };
    let size = header_size(class.header);
    let (header, rest) = message.body.split_at(align(size).min(message.body.len()));
    let wanted = |field: &Field| named.contains(&field.name);
    let mut entries = fields_where(header, class.header, View::All, &wanted);
    let wanted = |attr: &Attr| named.contains(&attr.name);
    entries.extend(nest_where(rest, class.attributes, View::All, 0, &wanted));
    Value::Map(entries)
}

pub(super) fn view(class: &Class, message: &[u8], view: View) -> Value {
    if let Source::Sysctl = class.source {
        let mut parts = message.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut part = || Value::Text(parts.next().unwrap_or_default().into_owned());
        return Value::Map(vec![("path".into(), part()), ("value".into(), part())]);
    }
    let Some(Ok(message)) = messages(message).next() else {
        return Value::Bytes(message.to_vec());
    };
    let size = header_size(class.header);
    let (header, rest) = message.body.split_at(align(size).min(message.body.len()));
    let mut entries = fields(header, class.header, view);
    entries.extend(nest(rest, class.attributes, view, 0));
    if view == View::Compared && class.compares_more() {
        let also = (class.also)(&decode(class, message.bytes));
        entries.extend(also.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)));
    }
    Value::Map(entries)
}

/// Bytes up to the end of the last field.
pub(super) fn header_size(fields: &[Field]) -> usize {
    fields.iter().map(|field| field.at + width(&field.shape).unwrap_or(0)).max().unwrap_or(0)
}

/// Bytes of a shape whose size is fixed. In a struct [`Shape::Ip`] and [`Shape::Mac`] have none: use
/// [`Shape::Fixed`] or a number.
pub(super) fn width(shape: &Shape) -> Option<usize> {
    Some(match shape {
        Shape::U8 | Shape::I8 => 1,
        Shape::U16 | Shape::I16 | Shape::Be16 => 2,
        Shape::U32 | Shape::I32 | Shape::Be32 => 4,
        Shape::U64 | Shape::I64 | Shape::Be64 => 8,
        Shape::AddressBy(_) => 16,
        Shape::Fixed(bytes, _) => *bytes,
        Shape::Struct(fields) => header_size(fields),
        Shape::Net(inner) => return width(inner),
        _ => return None,
    })
}

pub(super) fn fields(bytes: &[u8], fields: &[Field], view: View) -> Entries {
    fields_where(bytes, fields, view, &|_| true)
}

fn fields_where(
    bytes: &[u8],
    fields: &[Field],
    view: View,
    wanted: &dyn Fn(&Field) -> bool,
) -> Entries {
    let one = |field: &Field| {
        let end = field.at + width(&field.shape).unwrap_or(0);
        let payload = bytes.get(field.at..end)?;
        let value = by_fate(field.fate, payload, view, |payload| match field.shape {
            Shape::AddressBy(family) => address(payload, bytes, fields, family),
            _ => shape(payload, &field.shape, &[], &[], view, 0),
        })?;
        Some((Cow::Borrowed(field.name), value))
    };
    fields.iter().filter(|field| wanted(field)).filter_map(one).collect()
}

/// The address in a union of both families.
fn address(payload: &[u8], siblings: &[u8], fields: &[Field], family: &str) -> Value {
    let field = fields.iter().find(|field| field.name == family);
    let family = field.and_then(|field| {
        let end = field.at + width(&field.shape).unwrap_or(0);
        siblings.get(field.at..end).map(number)
    });
    let ipv4 = family == Some(libc::AF_INET as u64);
    let bytes = if ipv4 { &payload[..payload.len().min(4)] } else { payload };
    ip(bytes).map_or_else(|| Value::Bytes(payload.to_vec()), Value::Address)
}

fn nest(bytes: &[u8], table: &'static [Attr], view: View, depth: usize) -> Entries {
    nest_where(bytes, table, view, depth, &|_| true)
}

fn nest_where(
    bytes: &[u8],
    table: &'static [Attr],
    view: View,
    depth: usize,
    wanted: &dyn Fn(&Attr) -> bool,
) -> Entries {
    let mut entries = Entries::new();
    for attribute in attributes(bytes).map_while(Result::ok) {
        let Some(attr) = table.iter().find(|attr| attr.id == attribute.id) else {
            // What no table knows is never sent: it is named as not carried, and can't be compared.
            if view == View::All {
                let name = Cow::Owned(format!("#{}", attribute.id));
                entries.push((name, Value::Bytes(attribute.payload.to_vec())));
            }
            continue;
        };
        if !wanted(attr) {
            continue;
        }
        let fate = beside(attr.fate, bytes);
        let value = by_fate(fate, attribute.payload, view, |payload| {
            shape(payload, &attr.shape, bytes, table, view, depth)
        });
        // A nest of which nothing counts does not count itself, as it is not sent.
        let counts = |value: &Value| !emptied(value) || attribute.payload.is_empty();
        entries.extend(value.filter(counts).map(|value| (Cow::Borrowed(attr.name), value)));
    }
    entries
}

fn emptied(value: &Value) -> bool {
    matches!(value, Value::Map(entries) if entries.is_empty())
}

/// The fate of an attribute among its siblings.
pub(super) fn beside(fate: Fate, siblings: &[u8]) -> Fate {
    let mut fate = fate;
    while let Fate::Unless(other, (alone, together)) = fate {
        let there = attributes(siblings).map_while(Result::ok).any(|sibling| sibling.id == other);
        fate = if there { *together } else { *alone };
    }
    fate
}

fn by_fate(
    fate: Fate,
    payload: &[u8],
    view: View,
    whole: impl FnOnce(&[u8]) -> Value,
) -> Option<Value> {
    if view == View::All {
        return Some(whole(payload));
    }
    match fate {
        Fate::Strip
        | Fate::Leave
        | Fate::Send
        | Fate::Zero
        | Fate::Fill(_)
        | Fate::Made(_)
        | Fate::List => None,
        Fate::Map(map) => {
            let formed = (map.compared)(number(payload)).to_ne_bytes();
            let width = payload.len().min(8);
            let from = if cfg!(target_endian = "big") { 8 - width } else { 0 };
            Some(whole(&formed[from..from + width]))
        }
        Fate::Set if payload.iter().all(|byte| *byte == 0) => None,
        Fate::SetBut(unset) if number(payload) == unset => None,
        Fate::Outside => Some(Value::Present),
        Fate::Lifetime(lifetime) => {
            let left = payload.first_chunk().filter(|_| payload.len() == 4);
            let left = left.map(|left| u32::from_ne_bytes(*left));
            let ends = if left == Some(lifetime.forever) { "forever" } else { "limited" };
            Some(Value::Text(ends.to_owned()))
        }
        _ => Some(whole(payload)),
    }
}

/// The printed form of the sibling that a layout goes by.
pub(super) fn layout_name(
    sibling: &str,
    siblings: &[u8],
    table: &'static [Attr],
) -> Option<String> {
    let attr = table.iter().find(|attr| attr.name == sibling)?;
    let found = attributes(siblings).map_while(Result::ok).find(|found| found.id == attr.id)?;
    Some(shape(found.payload, &attr.shape, &[], &[], View::All, DEPTH).to_string())
}

/// The layout that [`Shape::By`] comes to.
pub(super) fn layout(
    sibling: &str,
    layouts: &'static [(&'static str, Shape)],
    siblings: &[u8],
    table: &'static [Attr],
) -> Option<&'static Shape> {
    let name = layout_name(sibling, siblings, table)?;
    layouts.iter().find(|(layout, _)| *layout == name).map(|(_, shape)| shape)
}

fn shape(
    payload: &[u8],
    shape: &Shape,
    siblings: &[u8],
    table: &'static [Attr],
    view: View,
    depth: usize,
) -> Value {
    let secret = matches!(shape, Shape::Secret | Shape::Fixed(_, Shape::Secret));
    let bytes = || match secret {
        true => Value::Secret(Secret::new(payload)),
        false => Value::Bytes(payload.to_vec()),
    };
    if !super::check::fits(shape, payload) || depth >= DEPTH && is_nest(shape) {
        return bytes();
    }
    match *shape {
        Shape::U8 | Shape::U16 | Shape::U32 | Shape::U64 => Value::Number(number(payload)),
        Shape::I8 | Shape::I16 | Shape::I32 | Shape::I64 => Value::Signed(signed(payload)),
        Shape::Be16 | Shape::Be32 | Shape::Be64 => Value::Number(big_endian(payload)),
        Shape::Fixed(_, inner) => self::shape(payload, inner, siblings, table, view, depth),
        Shape::Net(inner) => self::shape(&host_order(payload), inner, siblings, table, view, depth),
        Shape::Text | Shape::Word(_) => Value::Text(text(payload)),
        Shape::Flag => Value::Present,
        Shape::Mac => Value::Text(mac(payload)),
        Shape::Ip | Shape::AddressBy(_) => ip(payload).map_or_else(bytes, Value::Address),
        Shape::Via => payload.get(2..).and_then(ip).map_or_else(bytes, Value::Address),
        Shape::Bytes => bytes(),
        Shape::Secret => Value::Secret(Secret::new(payload)),
        Shape::Enum(names) => named(number(payload), names),
        Shape::Bits(names) => bits(number(payload), names),
        Shape::BitsOf(names, kept) => {
            let mask = if view == View::All { u64::MAX } else { kept };
            bits(number(payload) & mask, names)
        }
        Shape::Nest(table) | Shape::Families(table) => {
            Value::Map(nest(payload, table, view, depth + 1))
        }
        Shape::Repeat(table) => {
            let items = nest(payload, table, view, depth + 1).into_iter();
            Value::List(items.map(|entry| Value::Map(vec![entry])).collect())
        }
        Shape::List(item) => {
            let items = attributes(payload).map_while(Result::ok);
            Value::List(
                items.map(|i| self::shape(i.payload, item, &[], &[], view, depth + 1)).collect(),
            )
        }
        Shape::By(sibling, layouts) => layout(sibling, layouts, siblings, table)
            .map_or_else(bytes, |layout| self::shape(payload, layout, &[], &[], view, depth + 1)),
        Shape::Struct(of) => Value::Map(fields(payload, of, view)),
        Shape::Trailing(of, last) => {
            let (first, rest) = payload.split_at(last.at.min(payload.len()));
            let mut entries = fields(first, of, view);
            let rest = by_fate(last.fate, rest, view, |rest| {
                self::shape(rest, &last.shape, &[], &[], view, depth + 1)
            });
            entries.extend(rest.map(|rest| (Cow::Borrowed(last.name), rest)));
            Value::Map(entries)
        }
        Shape::Array(size, of) => {
            let items = payload.chunks_exact(size.max(1));
            Value::List(items.map(|item| Value::Map(fields(item, of, view))).collect())
        }
        Shape::Nexthops(table) => Value::List(
            nexthops(payload)
                .map(|(header, rest)| {
                    let mut entries = fields(header, super::table::NEXTHOP, view);
                    entries.extend(nest(rest, table, view, depth + 1));
                    Value::Map(entries)
                })
                .collect(),
        ),
        Shape::Written(written) => {
            let number = number(payload);
            Value::Named(number, Cow::Owned(written(number)))
        }
        Shape::Headed(size, of, tail) => {
            let (head, rest) = payload.split_at(align(size).min(payload.len()));
            let mut entries = fields(head, of, view);
            match self::shape(rest, tail, &[], &[], view, depth) {
                Value::Map(more) => entries.extend(more),
                Value::List(items) if items.is_empty() => {}
                Value::Bytes(bytes) if bytes.is_empty() => {}
                other => entries.push((Cow::Borrowed("rest"), other)),
            }
            Value::Map(entries)
        }
        Shape::Numbers(width) => Value::List(
            payload.chunks_exact(usize::from(width)).map(|n| Value::Number(number(n))).collect(),
        ),
    }
}

fn is_nest(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Nest(_)
            | Shape::Families(_)
            | Shape::Repeat(_)
            | Shape::List(_)
            | Shape::By(..)
            | Shape::Nexthops(_)
    )
}

/// Header (8 bytes) and attributes of each `rtnexthop`; ends at the first that lies about its length.
pub(super) fn nexthops(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let whole = rest.get(..length).filter(|_| length >= 8)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some(whole.split_at(8))
    })
}

pub(super) fn number(payload: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = payload.len().min(8);
    if cfg!(target_endian = "big") {
        bytes[8 - length..].copy_from_slice(&payload[..length]);
    } else {
        bytes[..length].copy_from_slice(&payload[..length]);
    }
    u64::from_ne_bytes(bytes)
}

fn signed(payload: &[u8]) -> i64 {
    let unused = 64 - 8 * payload.len().clamp(1, 8) as u32;
    (number(payload) << unused).cast_signed() >> unused
}

/// A number of network byte order in the host's, and the other way round.
pub(super) fn host_order(payload: &[u8]) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    if cfg!(target_endian = "little") {
        bytes.reverse();
    }
    bytes
}

fn big_endian(payload: &[u8]) -> u64 {
    payload.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Up to the first NUL; what is not UTF-8 as `\xNN`, so that different names stay different.
pub(super) fn text(payload: &[u8]) -> String {
    let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    let mut text = String::new();
    for chunk in payload[..end].utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn mac(payload: &[u8]) -> String {
    payload.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn named(number: u64, names: &[(u64, &'static str)]) -> Value {
    let name = names.iter().find(|(value, _)| *value == number);
    name.map_or(Value::Number(number), |(_, name)| Value::Named(number, Cow::Borrowed(name)))
}

fn bits(number: u64, names: &[(u64, &'static str)]) -> Value {
    let mut rest = number;
    let mut set = Vec::new();
    for (mask, name) in names.iter().filter(|(mask, _)| *mask != 0 && number & mask == *mask) {
        rest &= !mask;
        set.push(Cow::Borrowed(*name));
    }
    if rest != 0 {
        set.push(Cow::Owned(format!("{rest:#x}")));
    }
    let text = if set.is_empty() { Cow::Borrowed("none") } else { Cow::Owned(set.join(",")) };
    Value::Named(number, text)
}
