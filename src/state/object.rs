//! Objects: messages read by their class's table.

use std::borrow::Cow;

use super::table::Class;

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

/// A decoded field or attribute. Maps keep the order of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Signed(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// An attribute that is only there or not.
    Present,
    Map(Vec<(Cow<'static, str>, Value)>),
    List(Vec<Value>),
}

/// One field in which two objects of one key differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Names from the top, joined by `.`, for example `linkinfo.data.ttl`.
    pub path: String,
    /// As printed; `None` where that side lacks it.
    pub left: Option<String>,
    pub right: Option<String>,
}
