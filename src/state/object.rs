//! Objects: messages read by their class's table.

use std::collections::{BTreeMap, HashMap};

use super::decode::decode_some;
use super::table::{Class, Source};
use super::{Value, decode};
use crate::netlink::{Malformed, messages};

/// One object of a section.
#[derive(Debug, Clone)]
pub struct Object {
    pub class: &'static Class,
    /// The message as captured (with `nlmsghdr`); for sysctls `path NUL value NUL`.
    pub bytes: Vec<u8>,
    /// The class's key fields, printed and joined by a blank; unique in a section, except where the
    /// kernel itself keeps equal objects apart by order only (then a number is appended).
    pub key: String,
}

impl Object {
    /// Everything that the message says.
    #[must_use]
    pub fn value(&self) -> Value {
        decode(self.class, &self.bytes)
    }

    /// Whether the kernel makes, changes and forgets it by itself (see [`Class::fleeting`]).
    #[must_use]
    pub fn is_fleeting(&self) -> bool {
        self.class.may_be_fleeting() && (self.class.fleeting)(&self.value())
    }

    /// A short name for people: `eth0`, `10.0.0.2/24 on eth0`, `default via 10.0.0.1 dev eth0`.
    #[must_use]
    pub fn label(&self, names: &Names) -> String {
        (self.class.label)(&self.value(), names)
    }
}

/// Names of links by index, for labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<u32, String>);

impl Names {
    /// Reads a section of links; what is malformed in it is left out.
    #[must_use]
    pub fn of(links: &[u8]) -> Self {
        let class = &super::classes::LINKS;
        let values = messages(links).map_while(Result::ok).filter(|m| m.kind == class.tells);
        Self(
            values
                .filter_map(|message| {
                    let value = decode(class, message.bytes);
                    let index = u32::try_from(value.number("index")?).ok()?;
                    Some((index, value.text("ifname")?.to_owned()))
                })
                .collect(),
        )
    }

    /// The link's name, or `#7` for an index without a link.
    #[must_use]
    pub fn link(&self, index: u64) -> String {
        let known = u32::try_from(index).ok().and_then(|index| self.0.get(&index));
        known.cloned().unwrap_or_else(|| format!("#{index}"))
    }

    /// Index and name of each.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.0.iter().map(|(index, name)| (*index, name.as_str()))
    }

    /// The index of the link of this name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<u32> {
        self.iter().find(|(_, own)| *own == name).map(|(index, _)| index)
    }

    /// Whether there is a link of this index.
    #[must_use]
    pub fn has(&self, index: u32) -> bool {
        self.0.contains_key(&index)
    }
}

/// The objects of a section, in its order. Messages of other types and what does not belong to the
/// class (see [`Class::belongs`]) are left out; [`super::check`] is what refuses them in an image
/// from outside.
///
/// # Errors
/// [`Malformed`] where the section is not a list of messages (or of paths and values).
pub fn objects(class: &'static Class, section: &[u8]) -> Result<Vec<Object>, Malformed> {
    let mut found = Vec::new();
    let mut add =
        |bytes: &[u8], key: String| found.push(Object { class, bytes: bytes.to_vec(), key });
    if let Source::Sysctl = class.source {
        for entry in sysctls(section) {
            let (path, bytes) = entry?;
            if super::classes::sysctls::carried(path) {
                add(bytes, path.to_owned());
            }
        }
        number(&mut found);
        return Ok(found);
    }
    let named: Vec<&str> = class.key.iter().filter_map(|path| path.split('.').next()).collect();
    for message in messages(section) {
        let message = message?;
        if message.kind == class.tells && (class.belongs)(&message) {
            add(message.bytes, key(class, &decode_some(class, message.bytes, &named)));
        }
    }
    number(&mut found);
    Ok(found)
}

/// Tells objects of one key apart, by their order.
fn number(objects: &mut [Object]) {
    let mut seen: HashMap<&str, u32> = HashMap::with_capacity(objects.len());
    let mut again = Vec::new();
    for (place, object) in objects.iter().enumerate() {
        let times = seen.entry(&object.key).or_default();
        *times += 1;
        if *times > 1 {
            again.push((place, *times));
        }
    }
    for (place, times) in again {
        let key = &mut objects[place].key;
        *key = format!("{key} #{times}");
    }
}

/// The printed key of a decoded object.
pub(super) fn key(class: &Class, value: &Value) -> String {
    let parts: Vec<_> = class
        .key
        .iter()
        .map(|path| value.field(path).map_or_else(|| "-".to_owned(), ToString::to_string))
        .collect();
    parts.join(" ")
}

/// Path and whole entry of each `path NUL value NUL`.
pub(super) fn sysctls(section: &[u8]) -> impl Iterator<Item = Result<(&str, &[u8]), Malformed>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = section.get(at..).filter(|rest| !rest.is_empty())?;
        let start = at;
        at = section.len();
        let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(end, _)| end);
        let (Some(path), Some(value)) = (ends.next(), ends.next()) else {
            return Some(Err(Malformed { what: "sysctl entry", at: start }));
        };
        let Ok(path) = std::str::from_utf8(&rest[..path]) else {
            return Some(Err(Malformed { what: "sysctl path", at: start }));
        };
        at = start + value + 1;
        Some(Ok((path, &rest[..=value])))
    })
}
