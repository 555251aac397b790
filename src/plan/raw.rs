//! Single fields of captured messages, where a decision needs them.
//!
//! Everything that is sent or compared goes through the tables of [`crate::state`]; a plan only looks
//! at what decides on order and means.

use crate::netlink::{Attributes, Message, attributes, messages};

/// A message and the size of its family header. What is too short reads as zero or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    body: &'a [u8],
    header: usize,
}

impl<'a> Raw<'a> {
    /// Reads a message with its `nlmsghdr`.
    pub fn new(bytes: &'a [u8], header: usize) -> Self {
        let body = match messages(bytes).next() {
            Some(Ok(Message { body, .. })) => body,
            _ => &[],
        };
        Self { body, header }
    }

    /// A byte of the family header.
    pub fn header_u8(&self, at: usize) -> u8 {
        self.body.get(at).copied().unwrap_or_default()
    }

    /// A short number of the family header.
    pub fn header_u16(&self, at: usize) -> u16 {
        let bytes = self.body.get(at..at + 2).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u16::from_ne_bytes(*bytes))
    }

    /// A number of the family header.
    pub fn header_u32(&self, at: usize) -> u32 {
        number(self.body.get(at..at + 4)).unwrap_or_default()
    }

    /// The attributes after the header.
    pub fn attributes(&self) -> Attributes<'a> {
        attributes(self.body.get(self.header..).unwrap_or_default())
    }

    /// The payload of an attribute.
    pub fn attribute(&self, id: u16) -> Option<&'a [u8]> {
        find(self.attributes(), id)
    }

    pub fn has(&self, id: u16) -> bool {
        self.attribute(id).is_some()
    }

    pub fn number(&self, id: u16) -> Option<u32> {
        number(self.attribute(id))
    }

    pub fn text(&self, id: u16) -> Option<&'a str> {
        text(self.attribute(id)?)
    }

    /// The payload of an attribute in a nest.
    pub fn within(&self, nest: u16, id: u16) -> Option<&'a [u8]> {
        find(attributes(self.attribute(nest)?), id)
    }
}

/// The payload of the first attribute of this number.
pub fn find(all: Attributes<'_>, id: u16) -> Option<&[u8]> {
    all.map_while(Result::ok).find(|attribute| attribute.id == id).map(|found| found.payload)
}

/// Text up to its first NUL.
pub fn text(payload: &[u8]) -> Option<&str> {
    std::str::from_utf8(payload.split(|byte| *byte == 0).next()?).ok()
}

fn number(bytes: Option<&[u8]>) -> Option<u32> {
    bytes?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}
