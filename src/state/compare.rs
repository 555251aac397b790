//! What differs between two objects of one key.

use std::borrow::Cow;

use super::decode::{View, view};
use super::{Object, Value};

/// One field in which two objects of one key differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Names from the top, joined by `.`, for example `linkinfo.data.ttl`.
    pub path: String,
    /// As printed; `None` where that side lacks it.
    pub left: Option<String>,
    pub right: Option<String>,
}

/// What differs between two objects of one class and key, as the fates say: statistics and ages do
/// not count, links outside only by being there, times left only by ending at all, and fleeting
/// objects are never different.
#[must_use]
pub fn compare(left: &Object, right: &Object) -> Vec<Difference> {
    let mut found = Vec::new();
    // Equal bytes are equal objects: most are, and need no decoding.
    if left.bytes != right.bytes && !(left.is_fleeting() && right.is_fleeting()) {
        let left = view(left.class, &left.bytes, View::Compared);
        let right = view(right.class, &right.bytes, View::Compared);
        values("", Some(&left), Some(&right), &mut found);
    }
    found
}

fn values(path: &str, left: Option<&Value>, right: Option<&Value>, found: &mut Vec<Difference>) {
    match (left, right) {
        (left, right) if left == right => {}
        (Some(Value::Map(left)), Some(Value::Map(right))) => maps(path, left, right, found),
        (Some(Value::List(left)), Some(Value::List(right))) => {
            for at in 0..left.len().max(right.len()) {
                values(&join(path, &at.to_string()), left.get(at), right.get(at), found);
            }
        }
        (left, right) => found.push(Difference {
            path: path.to_owned(),
            left: left.map(ToString::to_string),
            right: right.map(ToString::to_string),
        }),
    }
}

type Entries = [(Cow<'static, str>, Value)];

/// By name; the order in the message is the kernel's business.
fn maps(path: &str, left: &Entries, right: &Entries, found: &mut Vec<Difference>) {
    for (name, value) in left {
        let other = right.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        values(&join(path, name), Some(value), other, found);
    }
    for (name, value) in right {
        if left.iter().all(|(other, _)| other != name) {
            values(&join(path, name), None, Some(value), found);
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
