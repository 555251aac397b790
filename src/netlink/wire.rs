//! Messages and attributes: reading without copies, and building.

use std::net::IpAddr;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE: usize = 4;

/// Rounds up to netlink's alignment of four bytes.
#[must_use]
pub const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// Bytes that are not netlink: a length that is too small, or larger than what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink {what} at byte {at}")]
pub struct Malformed {
    pub what: &'static str,
    /// Offset from the start of the buffer that was read.
    pub at: usize,
}

/// One message: header fields and the bytes after the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    pub sequence: u32,
    pub port: u32,
    /// What follows the header, without padding.
    pub body: &'a [u8],
    /// The whole message with its header, without padding.
    pub bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Attributes after a family header of `header` bytes; none if the body is shorter.
    #[must_use]
    pub fn attributes(&self, header: usize) -> Attributes<'a> {
        attributes(self.body.get(align(header)..).unwrap_or_default())
    }
}

/// Reads the messages of a buffer one after another; ends at the first malformed one.
#[must_use]
pub fn messages(bytes: &[u8]) -> Messages<'_> {
    Messages { bytes, at: 0 }
}

/// See [`messages`].
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let at = self.at;
        // Whatever is wrong, nothing after it can be trusted.
        self.at = self.bytes.len();
        let malformed = |what| Some(Err(Malformed { what, at }));
        let Some(header) = rest.first_chunk::<HEADER>() else {
            return malformed("message header");
        };
        let length = u32_at(header, 0) as usize;
        let Some(bytes) = rest.get(..length).filter(|_| length >= HEADER) else {
            return malformed("message length");
        };
        self.at = at + align(length).min(rest.len());
        Some(Ok(Message {
            kind: u16_at(header, 4),
            flags: u16_at(header, 6),
            sequence: u32_at(header, 8),
            port: u32_at(header, 12),
            body: &bytes[HEADER..],
            bytes,
        }))
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// `nla_type` without its flag bits.
    pub id: u16,
    /// Flag bits as they stood (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
    pub flags: u16,
    pub payload: &'a [u8],
}

impl Attribute<'_> {
    /// The payload as a number in host byte order; 0 where it is no number of 1, 2, 4 or 8 bytes.
    #[must_use]
    pub fn number(&self) -> u64 {
        match *self.payload {
            [a] => a.into(),
            [a, b] => u16::from_ne_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
            _ => self.payload.try_into().map_or(0, u64::from_ne_bytes),
        }
    }

    /// The payload as text, up to its first NUL.
    #[must_use]
    pub fn text(&self) -> String {
        let end = self.payload.iter().position(|byte| *byte == 0).unwrap_or(self.payload.len());
        String::from_utf8_lossy(&self.payload[..end]).into_owned()
    }
}

/// An address of either family; `None` where the payload has neither 4 nor 16 bytes.
#[must_use]
pub fn ip(payload: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(payload).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(payload).map(IpAddr::from)).ok()
}

/// Reads the attributes of a buffer one after another; ends at the first malformed one.
#[must_use]
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { bytes, at: 0 }
}

/// See [`attributes`].
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let at = self.at;
        self.at = self.bytes.len();
        let malformed = |what| Some(Err(Malformed { what, at }));
        let Some(header) = rest.first_chunk::<ATTRIBUTE>() else {
            return malformed("attribute header");
        };
        let length = usize::from(u16_at(header, 0));
        let Some(bytes) = rest.get(..length).filter(|_| length >= ATTRIBUTE) else {
            return malformed("attribute length");
        };
        self.at = at + align(length).min(rest.len());
        let kind = u16_at(header, 2);
        Some(Ok(Attribute {
            id: kind & Builder::ID_MASK,
            flags: kind & !Builder::ID_MASK,
            payload: &bytes[ATTRIBUTE..],
        }))
    }
}

fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Builds one message. Lengths are filled in as nests end and when the message is taken.
#[derive(Debug, Clone)]
pub struct Builder {
    bytes: Vec<u8>,
}

/// An open nest of a [`Builder`], to be closed with [`Builder::end`].
#[derive(Debug)]
#[must_use = "a nest that is not ended has no length"]
pub struct Nest(usize);

impl Builder {
    /// `NLA_F_NESTED`.
    pub const NESTED: u16 = 1 << 15;
    /// `NLA_F_NET_BYTEORDER`.
    pub const NET_BYTEORDER: u16 = 1 << 14;
    const ID_MASK: u16 = !(Self::NESTED | Self::NET_BYTEORDER);

    /// Starts a message of this type and flags with the family header `header`.
    #[must_use]
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        let mut builder = Self { bytes };
        builder.pad();
        builder
    }

    /// One attribute alone, with its padding, for bodies that are put together elsewhere.
    #[must_use]
    pub fn attribute(id: u16, payload: &[u8]) -> Vec<u8> {
        let mut builder = Self { bytes: Vec::with_capacity(ATTRIBUTE + align(payload.len())) };
        builder.put(id, payload);
        builder.bytes
    }

    /// Adds an attribute. `id` may carry the flag bits.
    pub fn put(&mut self, id: u16, payload: &[u8]) -> &mut Self {
        let length = ATTRIBUTE + payload.len();
        debug_assert!(u16::try_from(length).is_ok(), "attribute {id} of {length} bytes");
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&id.to_ne_bytes());
        self.bytes.extend_from_slice(payload);
        self.pad();
        self
    }

    /// Adds a number in host byte order.
    pub fn put_u32(&mut self, id: u16, value: u32) -> &mut Self {
        self.put(id, &value.to_ne_bytes())
    }

    /// Adds NUL-terminated text.
    pub fn put_text(&mut self, id: u16, text: &str) -> &mut Self {
        let mut payload = text.as_bytes().to_vec();
        payload.push(0);
        self.put(id, &payload)
    }

    /// Opens a nest; `id` is sent with the flag bits that it carries (many old kernel interfaces
    /// want none, strict ones want [`Self::NESTED`]).
    pub fn begin(&mut self, id: u16) -> Nest {
        let at = self.bytes.len();
        self.put(id, &[]);
        Nest(at)
    }

    /// Closes a nest.
    pub fn end(&mut self, nest: Nest) -> &mut Self {
        let length = self.bytes.len() - nest.0;
        debug_assert!(u16::try_from(length).is_ok(), "nest of {length} bytes");
        self.bytes[nest.0..nest.0 + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self
    }

    /// Adds bytes as they are, for example a run of attributes of another message, and pads.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a message has a header from the start.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The finished message, padded, with sequence number and port zero.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(align(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read() {
        let mut builder = Builder::new(20, 5, &[2, 32, 0, 0, 7, 0, 0, 0]);
        builder.put(1, &[10, 0, 0, 1]);
        let nest = builder.begin(3 | Builder::NESTED);
        builder.put_text(1, "eth0");
        builder.end(nest);
        let bytes = builder.finish();
        let message = messages(&bytes).next().unwrap().unwrap();
        assert_eq!((message.kind, message.flags), (20, 5));
        let found: Vec<_> = message.attributes(8).map(Result::unwrap).collect();
        assert_eq!(found[0].payload, [10, 0, 0, 1]);
        assert_eq!((found[1].id, found[1].flags), (3, Builder::NESTED));
        let inner = attributes(found[1].payload).next().unwrap().unwrap();
        assert_eq!(inner.payload, b"eth0\0");
    }

    #[test]
    fn lengths_that_lie_are_malformed() {
        for length in [0_u32, 15, 17, u32::MAX] {
            let mut bytes = [0_u8; 16];
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            let mut all = messages(&bytes);
            assert!(all.next().unwrap().is_err(), "length {length}");
            assert!(all.next().is_none());
        }
        for length in [0_u8, 3, 5, 255] {
            let mut all = attributes(&[0, 0, 0, 0][..]);
            assert!(all.next().unwrap().is_err());
            let bytes = [length, 0, 1, 0];
            all = attributes(&bytes);
            assert!(all.next().unwrap().is_err(), "length {length}");
            assert!(all.next().is_none());
        }
    }
}
