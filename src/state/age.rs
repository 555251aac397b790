//! Time passes in transit: what was left of lifetimes when captured is less when restored.

use super::decode::{number, width};
use super::table::{Attr, Class, Fate, Field, Lifetime, Shape, Source};
use crate::netlink::{align, attributes, messages};

/// Takes `seconds` off every time left in a section. Nothing else changes, no byte moves.
#[must_use]
pub fn age(class: &Class, section: &[u8], seconds: u32) -> Vec<u8> {
    let mut aged = section.to_vec();
    if matches!(class.source, Source::Sysctl) || seconds == 0 {
        return aged;
    }
    for message in messages(section).map_while(Result::ok) {
        let size = align(super::decode::header_size(class.header));
        let rest = message.body.get(size..).unwrap_or_default();
        nest(section, rest, class.attributes, &mut aged, seconds);
    }
    aged
}

/// `part` lies in `section`; what is found there is changed at the same place of `aged`.
fn nest(section: &[u8], part: &[u8], table: &[Attr], aged: &mut [u8], seconds: u32) {
    for attribute in attributes(part).map_while(Result::ok) {
        let Some(attr) = table.iter().find(|attr| attr.id == attribute.id) else { continue };
        match (attr.fate, attr.shape) {
            (Fate::Lifetime(lifetime), _) => {
                let order = Order::of(&attr.shape);
                shorten(section, attribute.payload, order, lifetime, aged, seconds);
            }
            (_, Shape::Struct(of)) => of_struct(section, attribute.payload, of, aged, seconds),
            (_, Shape::Nest(of)) => nest(section, attribute.payload, of, aged, seconds),
            (_, Shape::List(Shape::Nest(of))) => {
                for item in attributes(attribute.payload).map_while(Result::ok) {
                    nest(section, item.payload, of, aged, seconds);
                }
            }
            _ => {}
        }
    }
}

fn of_struct(section: &[u8], part: &[u8], of: &[Field], aged: &mut [u8], seconds: u32) {
    for field in of {
        let Fate::Lifetime(lifetime) = field.fate else { continue };
        let end = field.at + width(&field.shape).unwrap_or(0);
        if let Some(place) = part.get(field.at..end) {
            shorten(section, place, Order::of(&field.shape), lifetime, aged, seconds);
        }
    }
}

/// In which order the bytes of a number are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Host,
    Network,
}

impl Order {
    fn of(shape: &Shape) -> Self {
        if matches!(shape, Shape::Be32) { Self::Network } else { Self::Host }
    }

    /// From this order to the host's, and back.
    fn swap(self, number: u32) -> u32 {
        if self == Self::Network { number.to_be() } else { number }
    }
}

fn shorten(
    section: &[u8],
    place: &[u8],
    order: Order,
    lifetime: Lifetime,
    aged: &mut [u8],
    seconds: u32,
) {
    let wide = place.first_chunk().filter(|_| place.len() == 8);
    let narrow = u64::from(order.swap(number(place) as u32));
    let left = wide.map_or(narrow, |wide| u64::from_be_bytes(*wide));
    if !matches!(place.len(), 4 | 8) || left == u64::from(lifetime.forever) {
        return;
    }
    let passed = u64::from(seconds) * u64::from(lifetime.per_second);
    // What has already ended stays so; nothing ends by ageing alone.
    let least = u64::from(lifetime.least).min(left);
    let left = left.saturating_sub(passed).max(least);
    let at = place.as_ptr().addr() - section.as_ptr().addr();
    match aged.get_mut(at..at + place.len()) {
        Some(place) if wide.is_some() => place.copy_from_slice(&left.to_be_bytes()),
        Some(place) => place.copy_from_slice(&order.swap(left as u32).to_ne_bytes()),
        None => {}
    }
}
