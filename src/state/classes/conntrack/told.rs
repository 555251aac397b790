//! Keeping what was read of flows current, without a second walk over the kernel's table.
//!
//! Events have the form of the dump's messages, with only some of the attributes. They come in the
//! order in which things happened, so that a section with all events since before its reading began
//! is the table as of the last of them, whatever of them the reading had seen already.

use std::collections::HashMap;

use crate::netlink::{Builder, Message, Protocol, messages};
use crate::state::{ReadError, Reader};

/// Bytes of `struct nfgenmsg`.
const HEADER: usize = 4;

/// How objects of a class are told from each other, and what is said of them.
#[derive(Debug)]
pub struct Form {
    /// Attributes that together are an object's identity.
    pub key: &'static [u16],
    /// Type of requests for one object.
    pub asked: u16,
    /// Type of messages for what is there or has changed, and for what has ended.
    pub made: u16,
    pub ended: u16,
}

type Key = (u8, Vec<Vec<u8>>);

/// The attributes of an object, in the order of the first message.
struct Flow {
    header: Vec<u8>,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Form {
    fn key(&self, message: &Message<'_>) -> Key {
        let all: Vec<_> = message.attributes(HEADER).map_while(Result::ok).collect();
        let part = |id: &u16| {
            let found = all.iter().find(|attribute| attribute.id == *id);
            found.map(|attribute| attribute.payload.to_vec()).unwrap_or_default()
        };
        let family = message.body.first().copied().unwrap_or_default();
        (family, self.key.iter().map(part).collect())
    }

    /// Reads each object of a section again, by its key; those that have ended are left out.
    ///
    /// # Errors
    /// [`ReadError`] where the kernel can't be asked.
    pub fn again(&self, reader: &mut Reader, section: &[u8]) -> Result<Vec<u8>, ReadError> {
        let failed = |source| ReadError::Netlink { what: "entries one by one", source };
        let socket = reader.socket(Protocol::Netfilter).map_err(failed)?;
        let mut found = Vec::with_capacity(section.len());
        for message in messages(section).map_while(Result::ok) {
            match socket.get(self.asked, &self.question(&message)) {
                Ok(told) => found.extend(told),
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(found)
    }

    /// The body of a request for the object of a message.
    fn question(&self, message: &Message<'_>) -> Vec<u8> {
        let mut body = message.body.get(..HEADER).unwrap_or_default().to_vec();
        for attribute in message.attributes(HEADER).map_while(Result::ok) {
            if self.key.contains(&attribute.id) {
                let id = attribute.id | attribute.flags;
                body.extend(Builder::attribute(id, attribute.payload));
            }
        }
        body
    }

    /// The section with the events taken in. What is malformed in either ends it.
    pub fn merge(&self, section: &[u8], events: &[u8]) -> Vec<u8> {
        let mut flows: Vec<Option<Flow>> = Vec::new();
        let mut places: HashMap<Key, usize> = HashMap::new();
        for message in messages(section).chain(messages(events)).map_while(Result::ok) {
            let key = self.key(&message);
            if message.kind == self.ended {
                if let Some(place) = places.remove(&key) {
                    flows[place] = None;
                }
            } else if message.kind == self.made {
                let place = *places.entry(key).or_insert(flows.len());
                match flows.get_mut(place) {
                    Some(Some(flow)) => flow.take(&message),
                    _ => flows.push(Some(Flow::new(&message))),
                }
            }
        }
        flows.iter().flatten().flat_map(|flow| flow.message(self.made)).collect()
    }
}

impl Flow {
    fn new(message: &Message<'_>) -> Self {
        let header = message.body.get(..HEADER).unwrap_or_default().to_vec();
        let mut flow = Self { header, attributes: Vec::new() };
        flow.take(message);
        flow
    }

    fn take(&mut self, message: &Message<'_>) {
        for attribute in message.attributes(HEADER).map_while(Result::ok) {
            let id = attribute.id | attribute.flags;
            let payload = attribute.payload.to_vec();
            match self.attributes.iter_mut().find(|(known, _)| *known == id) {
                Some((_, old)) => *old = payload,
                None => self.attributes.push((id, payload)),
            }
        }
    }

    fn message(&self, kind: u16) -> Vec<u8> {
        let mut builder = Builder::new(kind, 0, &self.header);
        for (id, payload) in &self.attributes {
            builder.put(*id, payload);
        }
        builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form { key: &[1, 18], asked: 0x101, made: 0x100, ended: 0x102 };

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(kind, 0, &[2, 0, 0, 0]);
        for (id, payload) in attributes {
            builder.put(*id, payload);
        }
        builder.finish()
    }

    #[test]
    fn the_last_that_was_told_holds() {
        let read = [
            message(0x100, &[(1, b"aaaa"), (3, b"old "), (8, b"mark")]),
            message(0x100, &[(1, b"bbbb"), (3, b"old ")]),
        ];
        let events = [
            message(0x100, &[(1, b"cccc"), (3, b"made")]),
            message(0x102, &[(1, b"bbbb")]),
            message(0x100, &[(1, b"aaaa"), (3, b"new ")]),
            // Of another zone.
            message(0x102, &[(1, b"aaaa"), (18, &[0, 7])]),
        ];
        let expected = [
            message(0x100, &[(1, b"aaaa"), (3, b"new "), (8, b"mark")]),
            message(0x100, &[(1, b"cccc"), (3, b"made")]),
        ];
        assert_eq!(FORM.merge(&read.concat(), &events.concat()), expected.concat());
    }

    #[test]
    fn what_ended_and_came_again_has_nothing_of_the_old() {
        let read = message(0x100, &[(1, b"aaaa"), (8, b"mark")]);
        let events =
            [message(0x102, &[(1, b"aaaa")]), message(0x100, &[(1, b"aaaa"), (3, b"new ")])];
        let expected = message(0x100, &[(1, b"aaaa"), (3, b"new ")]);
        assert_eq!(FORM.merge(&read, &events.concat()), expected);
    }
}
