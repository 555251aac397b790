//! Generic netlink: families are numbered by the running kernel, and asked for by name
//! (`linux/genetlink.h`, `Documentation/netlink/specs/nlctrl.yaml`).

use std::collections::BTreeMap;

use super::{Builder, Error, Malformed, Message, Socket, attributes, messages};

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_VERSION: u16 = 3;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;
/// Bytes of `struct genlmsghdr`.
const HEADER: usize = 4;

/// What the kernel calls a family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// `nlmsg_type` of its messages.
    pub id: u16,
    pub version: u8,
    /// Multicast groups by name, numbered as for [`Socket::subscribe`].
    pub groups: BTreeMap<String, u32>,
}

impl Family {
    /// `struct genlmsghdr` for a command, to be followed by attributes.
    #[must_use]
    pub fn header(&self, command: u8) -> [u8; HEADER] {
        [command, self.version, 0, 0]
    }
}

impl Socket {
    /// The families that the kernel has now, by name. Asks on a socket of `Protocol::Generic`.
    ///
    /// # Errors
    /// As [`Socket::dump`].
    pub fn families(&mut self) -> Result<BTreeMap<String, Family>, Error> {
        let dump = self.dump(GENL_ID_CTRL, &[CTRL_CMD_GETFAMILY, 1, 0, 0])?;
        messages(&dump.bytes).map(|message| Ok(family(&message?)?)).collect()
    }

    /// One family, for which the kernel loads a module where it has to; `None` where there is none.
    /// Asks on a socket of `Protocol::Generic`.
    ///
    /// # Errors
    /// As [`Socket::get`].
    pub fn family(&mut self, name: &str) -> Result<Option<Family>, Error> {
        let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
        let text = [name.as_bytes(), &[0]].concat();
        body.extend(Builder::attribute(CTRL_ATTR_FAMILY_NAME, &text));
        let answer = match self.get(GENL_ID_CTRL, &body) {
            Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(None),
            answer => answer?,
        };
        let found = messages(&answer).next().transpose()?.map(|message| family(&message));
        Ok(found.transpose()?.map(|(_, family)| family))
    }
}

fn family(message: &Message<'_>) -> Result<(String, Family), Malformed> {
    let mut name = String::new();
    let mut found = Family::default();
    for attribute in message.attributes(HEADER) {
        let attribute = attribute?;
        match attribute.id {
            CTRL_ATTR_FAMILY_ID => found.id = attribute.number() as u16,
            CTRL_ATTR_FAMILY_NAME => name = attribute.text(),
            CTRL_ATTR_VERSION => found.version = attribute.number() as u8,
            CTRL_ATTR_MCAST_GROUPS => {
                for group in attributes(attribute.payload) {
                    found.groups.extend(group_of(group?.payload)?);
                }
            }
            _ => {}
        }
    }
    Ok((name, found))
}

fn group_of(bytes: &[u8]) -> Result<Option<(String, u32)>, Malformed> {
    let (mut name, mut id) = (None, None);
    for attribute in attributes(bytes) {
        let attribute = attribute?;
        match attribute.id {
            CTRL_ATTR_MCAST_GRP_NAME => name = Some(attribute.text()),
            CTRL_ATTR_MCAST_GRP_ID => id = Some(attribute.number() as u32),
            _ => {}
        }
    }
    Ok(name.zip(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Protocol;

    #[test]
    fn the_kernel_tells_its_families() {
        let mut socket = Socket::open(Protocol::Generic).unwrap();
        let all = socket.families().unwrap();
        let control = &all["nlctrl"];
        assert_eq!(control.id, GENL_ID_CTRL);
        assert!(control.groups.contains_key("notify"), "{control:?}");
        assert_eq!(socket.family("nlctrl").unwrap().as_ref(), Some(control));
        assert_eq!(socket.family("there-is-none").unwrap(), None);
    }
}
