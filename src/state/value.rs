//! Decoded values: lookup by path, printing, JSON.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

/// A decoded field or attribute. Maps keep the order of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Signed(i64),
    /// A number that the uAPI has a name for (an enumeration, or a set of bits joined by `,`).
    Named(u64, Cow<'static, str>),
    Text(String),
    Address(IpAddr),
    Bytes(Vec<u8>),
    /// A key, which is never printed.
    Secret(Secret),
    /// An attribute that is only there or not.
    Present,
    Map(Vec<(Cow<'static, str>, Value)>),
    List(Vec<Value>),
}

/// Bytes that are compared, and printed by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// Whether there is a key, and all of it is zero.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|byte| *byte == 0)
    }
}

impl Display for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(no key)" } else { "(secret)" })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// The value at `path`: names (or positions in lists) joined by `.`, for example `linkinfo.data.ttl`.
#[must_use]
pub fn field<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Map(entries) => entries.iter().find(|(name, _)| name == step).map(|(_, v)| v),
        Value::List(items) => step.parse::<usize>().ok().and_then(|at| items.get(at)),
        _ => None,
    })
}

impl Value {
    /// See [`field`].
    #[must_use]
    pub fn field(&self, path: &str) -> Option<&Self> {
        field(self, path)
    }

    /// The number at `path`, named or not.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        match self.field(path)? {
            Self::Number(number) | Self::Named(number, _) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The text at `path`, or the name of the number there.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.field(path)? {
            Self::Text(text) => Some(text),
            Self::Named(_, name) => Some(name),
            _ => None,
        }
    }

    /// The address at `path`.
    #[must_use]
    pub fn address(&self, path: &str) -> Option<IpAddr> {
        match self.field(path)? {
            Self::Address(address) => Some(*address),
            _ => None,
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Signed(number) => write!(f, "{number}"),
            Self::Named(_, name) => f.write_str(name),
            Self::Text(text) => f.write_str(text),
            Self::Address(address) => write!(f, "{address}"),
            Self::Bytes(bytes) => f.write_str(&hex::encode(bytes)),
            Self::Secret(secret) => secret.fmt(f),
            Self::Present => f.write_str("set"),
            Self::Map(entries) => {
                for (at, (name, value)) in entries.iter().enumerate() {
                    let gap = if at == 0 { "" } else { " " };
                    match value {
                        Self::Map(_) | Self::List(_) => write!(f, "{gap}{name} {{{value}}}")?,
                        _ => write!(f, "{gap}{name} {value}")?,
                    }
                }
                Ok(())
            }
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    let gap = if at == 0 { "" } else { ", " };
                    write!(f, "{gap}{item}")?;
                }
                Ok(())
            }
        }
    }
}

/// The value for programs: named numbers by their name, bytes in hexadecimal, presence as `true`.
#[must_use]
pub fn to_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Number(number) => Json::from(*number),
        Value::Signed(number) => Json::from(*number),
        Value::Named(_, name) => Json::from(name.as_ref()),
        Value::Text(text) => Json::from(text.as_str()),
        Value::Address(address) => Json::from(address.to_string()),
        Value::Bytes(bytes) => Json::from(hex::encode(bytes)),
        Value::Secret(secret) => Json::from(secret.to_string()),
        Value::Present => Json::from(true),
        Value::Map(entries) => Json::Object(
            entries.iter().map(|(name, value)| (name.to_string(), to_json(value))).collect(),
        ),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
    }
}
