//! Bits of attributes: where the table says that an attribute counts, the comparison sees each change.

use std::ops::Range;

use netckpt::netlink::{align, attributes, messages};
use netckpt::state::table::{Attr, Class, Fate, Shape, Source};
use netckpt::state::{self, CLASSES, Object};

use crate::{IMAGE, bare};

/// A part of a message that has a value of its own.
struct Leaf {
    range: Range<usize>,
    path: String,
    fate: Fate,
    shape: Shape,
}

#[test]
fn each_attribute_that_counts_is_compared() {
    let (mut tried, mut classes) = (0, 0);
    for class in CLASSES.into_iter().filter(|class| !matches!(class.source, Source::Sysctl)) {
        let objects = state::objects(class, &IMAGE.snapshot.sections[class.name]).unwrap();
        let before = tried;
        for object in objects.iter().filter(|object| !object.is_fleeting()) {
            for leaf in leaves(class, &object.bytes) {
                let Some(changed) = changed(object, &leaf) else { continue };
                let again = state::objects(class, &changed).unwrap();
                let named = match &again[..] {
                    // What tells objects apart makes it another one.
                    [other] if other.key != bare(&object.key) => true,
                    [same] => !state::compare(object, same).is_empty(),
                    // It does not belong to the class any more, and so is missing.
                    _ => true,
                };
                assert!(named, "{}: {}: {} is not seen", class.name, object.key, leaf.path);
                tried += 1;
            }
        }
        classes += usize::from(tried > before);
    }
    println!("{tried} attributes of {classes} classes");
    assert!(tried > 500 && classes > 10, "{tried} of {classes}");
}

/// The message with the leaf changed; `None` where no change of it counts.
fn changed(object: &Object, leaf: &Leaf) -> Option<Vec<u8>> {
    let mut bytes = object.bytes.clone();
    let payload = bytes.get_mut(leaf.range.clone())?;
    match (leaf.fate, inner(leaf.shape)) {
        (Fate::Keep | Fate::Derived | Fate::Ifindex | Fate::Set | Fate::Synthesise, shape) => {
            match shape {
                Shape::BitsOf(_, kept) => flip(payload, kept & kept.wrapping_neg()),
                // The kernel's padding of texts means nothing.
                Shape::Text => *payload.first_mut().filter(|byte| **byte != 0)? ^= 1,
                Shape::Bits(_) | Shape::Enum(_) | Shape::Mac | Shape::Ip | Shape::Bytes => {
                    *payload.last_mut()? ^= 1;
                }
                _ => {
                    *payload.first_mut()? ^= 1;
                }
            }
            // All zero is the unset form, which another unset form equals.
            let unset = matches!(leaf.fate, Fate::Set) && payload.iter().all(|byte| *byte == 0);
            (!unset).then_some(bytes)
        }
        _ => None,
    }
}

fn flip(payload: &mut [u8], bit: u64) {
    for (byte, bits) in payload.iter_mut().zip(bit.to_ne_bytes()) {
        *byte ^= bits;
    }
}

/// Without the wrapping of sizes.
fn inner(shape: Shape) -> Shape {
    match shape {
        Shape::Fixed(_, within) => inner(*within),
        other => other,
    }
}

fn leaves(class: &'static Class, message: &[u8]) -> Vec<Leaf> {
    let mut found = Vec::new();
    let body = messages(message).next().unwrap().unwrap().body;
    let start = offset(message, body);
    let size = class.header.iter().map(|field| field.at + width(&field.shape)).max();
    for field in class.header {
        let at = start + field.at;
        let range = at..at + width(&field.shape);
        let path = field.name.to_owned();
        found.push(Leaf { range, path, fate: field.fate, shape: field.shape });
    }
    if let Some(rest) = body.get(align(size.unwrap_or(0))..) {
        nest(message, rest, class.attributes, "", &mut found);
    }
    found
}

fn nest(whole: &[u8], part: &[u8], table: &'static [Attr], above: &str, found: &mut Vec<Leaf>) {
    for attribute in attributes(part).map_while(Result::ok) {
        let Some(attr) = table.iter().find(|attr| attr.id == attribute.id) else { continue };
        let mut fate = attr.fate;
        while let Fate::Unless(other, (alone, together)) = fate {
            let there = attributes(part).map_while(Result::ok).any(|one| one.id == other);
            fate = if there { *together } else { *alone };
        }
        if matches!(fate, Fate::Strip | Fate::Leave | Fate::Send | Fate::Zero | Fate::Outside) {
            continue;
        }
        let path = format!("{above}{}", attr.name);
        of_shape(whole, attribute.payload, part, table, (attr.shape, fate), path, found);
    }
}

fn of_shape(
    whole: &[u8],
    payload: &[u8],
    siblings: &[u8],
    table: &'static [Attr],
    (shape, fate): (Shape, Fate),
    path: String,
    found: &mut Vec<Leaf>,
) {
    let below = format!("{path}.");
    match shape {
        Shape::Nest(table) | Shape::Families(table) | Shape::Repeat(table) => {
            nest(whole, payload, table, &below, found);
        }
        Shape::List(item) => {
            for (at, one) in attributes(payload).map_while(Result::ok).enumerate() {
                let path = format!("{below}{at}");
                of_shape(whole, one.payload, &[], &[], (*item, fate), path, found);
            }
        }
        Shape::By(name, layouts) => {
            let named = table.iter().find(|attr| attr.name == name);
            let named = named.and_then(|attr| {
                attributes(siblings).map_while(Result::ok).find(|one| one.id == attr.id)
            });
            let text = named.map(|one| one.text()).unwrap_or_default();
            if let Some((_, layout)) = layouts.iter().find(|(name, _)| *name == text) {
                of_shape(whole, payload, &[], &[], (*layout, fate), path, found);
            }
        }
        // Their own fields have fates of their own; the parts of both are seen by the tables' tests.
        Shape::Struct(_) | Shape::Array(..) | Shape::Nexthops(_) | Shape::Numbers(_) => {}
        Shape::Flag => {}
        shape => {
            let at = offset(whole, payload);
            found.push(Leaf { range: at..at + payload.len(), path, fate, shape });
        }
    }
}

/// Where a part begins in the whole that it is cut out of.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

fn width(shape: &Shape) -> usize {
    match shape {
        Shape::U8 | Shape::I8 => 1,
        Shape::U16 | Shape::I16 | Shape::Be16 => 2,
        Shape::U32 | Shape::I32 | Shape::Be32 => 4,
        Shape::U64 | Shape::I64 | Shape::Be64 => 8,
        Shape::Fixed(bytes, _) => *bytes,
        Shape::Net(inner) => width(inner),
        _ => 0,
    }
}
