//! Settings of devices that `ethtool` shows. What a new link has of them by itself is not known before
//! it is there, so they are set when it is, and only where they differ.

use super::difference::{Changed, delta};
use super::draft::{Draft, PLAIN, Sides};
use super::raw::Raw;
use super::{Action, Stage};
use crate::netlink::Builder;
use crate::state::classes::devices::{
    BIT, BIT_NAME, BIT_VALUE, BITS, CHANNELS_SET, COALESCE_SET, FAMILY, FEATURES_SET, HEADER,
    HEADER_FLAGS, HEADER_INDEX, LINK_INFO_SET, LINK_MODES_SET, MESSAGES_SET, WANTED, wanted,
};
use crate::state::classes::{
    DEVICE_CHANNELS, DEVICE_COALESCING, DEVICE_FEATURES, DEVICE_LINK_INFO, DEVICE_LINK_MODES,
    DEVICE_MESSAGES,
};
use crate::state::table::{Class, GENERIC};

/// Bytes of `struct genlmsghdr`.
const GENERIC_HEADER: usize = 4;
/// `ETHTOOL_FLAG_OMIT_REPLY`.
const OMIT_REPLY: u32 = 2;

/// Plans them all.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    of(&DEVICE_FEATURES, FEATURES_SET, features, sides, draft);
    of(&DEVICE_CHANNELS, CHANNELS_SET, numbers, sides, draft);
    of(&DEVICE_COALESCING, COALESCE_SET, numbers, sides, draft);
    of(&DEVICE_LINK_MODES, LINK_MODES_SET, numbers, sides, draft);
    of(&DEVICE_LINK_INFO, LINK_INFO_SET, numbers, sides, draft);
    of(&DEVICE_MESSAGES, MESSAGES_SET, numbers, sides, draft);
}

fn of(
    class: &'static Class,
    command: u8,
    put: fn(&Changed<'_>, &mut Builder),
    sides: &Sides<'_>,
    draft: &mut Draft,
) {
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    for changed in &delta.changed {
        let raw = Raw::new(&changed.to.bytes, GENERIC_HEADER);
        let Some(index) = raw.within(HEADER, HEADER_INDEX) else { continue };
        let index_number = index.first_chunk().map_or(0, |index| u32::from_ne_bytes(*index));
        // A link that is made anew is looked at when it is there.
        if draft.gone.contains(&index_number) {
            continue;
        }
        let mut builder = Builder::new(GENERIC, PLAIN, &[command, 1, 0, 0]);
        let header = builder.begin(HEADER | Builder::NESTED);
        builder.put(HEADER_INDEX, index).put_u32(HEADER_FLAGS, OMIT_REPLY).end(header);
        put(changed, &mut builder);
        let label = format!("set {}", changed.to.label(&sides.to.names));
        let action = Action::Command { family: FAMILY, message: builder.finish() };
        draft.act(Stage::LateLinks, class, label, action);
    }
}

/// Features that are to be on, and those that are to be off.
fn features(changed: &Changed<'_>, builder: &mut Builder) {
    let (is, shall) = (wanted(&changed.from.value()), wanted(&changed.to.value()));
    let set = builder.begin(WANTED | Builder::NESTED);
    let bits = builder.begin(BITS | Builder::NESTED);
    let on = shall.iter().filter(|name| !is.contains(name)).map(|name| (name, true));
    let off = is.iter().filter(|name| !shall.contains(name)).map(|name| (name, false));
    for (name, value) in on.chain(off) {
        let bit = builder.begin(BIT | Builder::NESTED);
        builder.put_text(BIT_NAME, name);
        if value {
            builder.put(BIT_VALUE, &[]);
        }
        builder.end(bit);
    }
    builder.end(bits);
    builder.end(set);
}

/// Numbers and sets that differ, as they shall be.
fn numbers(changed: &Changed<'_>, builder: &mut Builder) {
    let raw = Raw::new(&changed.to.bytes, GENERIC_HEADER);
    for attribute in raw.attributes().map_while(Result::ok) {
        let attr = changed.to.class.attributes.iter().find(|attr| attr.id == attribute.id);
        let differs =
            |name: &str| changed.differences.iter().any(|d| d.path.split('.').next() == Some(name));
        if attribute.id != HEADER && attr.is_some_and(|attr| differs(attr.name)) {
            builder.put(attribute.id | attribute.flags, attribute.payload);
        }
    }
}
