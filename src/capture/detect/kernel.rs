//! What netlink tells.

use super::Probe;
use crate::netlink::{Attribute, Error, Message, Protocol, attributes, messages};
use crate::state::{ReadError, Reader};

pub(super) const RTM_GETLINK: u16 = 18;
const RTM_GETNSID: u16 = 90;

const XFRM_MSG_GETPOLICY: u16 = 0x15;

/// Dumps, and names what each message tells of, if anything.
pub(super) fn dump<T>(
    reader: &mut Reader,
    what: &'static str,
    protocol: Protocol,
    kind: u16,
    body: &[u8],
    name: impl Fn(&Message<'_>) -> Option<T>,
) -> Result<Vec<T>, ReadError> {
    let mut bytes = Vec::new();
    let failed = |source| ReadError::Netlink { what, source };
    reader.dump(protocol, kind, body, &mut bytes).map_err(failed)?;
    let mut found = Vec::new();
    for message in messages(&bytes) {
        found.extend(name(&message.map_err(|error| failed(Error::from(error)))?));
    }
    Ok(found)
}

pub(super) fn find<'a>(message: &Message<'a>, header: usize, id: u16) -> Option<Attribute<'a>> {
    message.attributes(header).map_while(Result::ok).find(|attribute| attribute.id == id)
}

pub(super) fn number_at(body: &[u8], at: usize) -> u32 {
    body.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_ne_bytes(*four))
}

/// Index and name of every link.
pub(super) fn links(reader: &mut Reader) -> Result<Vec<(u32, String)>, ReadError> {
    const IFLA_IFNAME: u16 = 3;
    let mut bytes = Vec::new();
    let failed = |source| ReadError::Netlink { what: "links", source };
    reader.dump(Protocol::Route, RTM_GETLINK, &[0; 16], &mut bytes).map_err(failed)?;
    let link = |message: Message<'_>| {
        let name = find(&message, 16, IFLA_IFNAME).map(|name| name.text());
        (number_at(message.body, 4), name.unwrap_or_default())
    };
    messages(&bytes)
        .map(|message| message.map(link).map_err(|error| failed(error.into())))
        .collect()
}

/// What bridges and vxlan links have learned of their traffic, and forget again: entries without a state
/// that stays, which are neither their own nor somebody's.
pub(super) fn learned(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    const RTM_GETNEIGH: u16 = 30;
    const AF_BRIDGE: u8 = libc::AF_BRIDGE as u8;
    /// `NUD_NOARP | NUD_PERMANENT`, and `NTF_EXT_LEARNED`.
    const STAYS: u8 = 0xc0;
    const SOMEBODYS: u8 = 0x10;
    let body = [AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let ages = |message: &Message<'_>| {
        let (state, flags) = (*message.body.get(8)?, *message.body.get(10)?);
        (state & STAYS == 0 && flags & SOMEBODYS == 0).then_some(())
    };
    let found = dump(probe.reader, "forwarding", Protocol::Route, RTM_GETNEIGH, &body, ages)?;
    Ok(count(found.len(), "addresses that bridges and vxlan links learned"))
}

/// Legacy tables of bridges. The kernel makes each at the first question for it, in every namespace, so
/// that one may only ask whether it knows the table at all. Without a bridge its rules see no packet.
pub(super) fn ebtables(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    let known = |name: &&str| std::path::Path::new(&format!("/sys/module/ebtable_{name}")).exists();
    let tables: Vec<_> = ["broute", "filter", "nat"].into_iter().filter(known).collect();
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let bridges =
        dump(probe.reader, "bridges", Protocol::Route, RTM_GETLINK, &[0; 16], |message| {
            let info = find(message, 16, IFLA_LINKINFO)?.payload;
            let kind =
                attributes(info).map_while(Result::ok).find(|part| part.id == IFLA_INFO_KIND)?;
            (kind.text() == "bridge").then_some(())
        })?;
    let named = |table| format!("{table}: whether it has rules can't be asked without making it");
    Ok(if bridges.is_empty() { Vec::new() } else { tables.into_iter().map(named).collect() })
}

/// Policies of single sockets, which only their programs can set.
pub(super) fn xfrm_socket_policies(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    // `dir` of `struct xfrm_userpolicy_info`.
    let of_socket = |message: &Message<'_>| (*message.body.get(160)? > 2).then_some(());
    let found = dump(probe.reader, "policies", Protocol::Xfrm, XFRM_MSG_GETPOLICY, &[], of_socket)?;
    Ok(count(found.len(), "policies of sockets"))
}

/// Numbers that the namespace has for others, beside those of links' other ends. Whom they are of can't
/// be told from inside.
pub(super) fn namespace_ids(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    const NETNSA_NSID: u16 = 1;
    const IFLA_LINK_NETNSID: u16 = 37;
    let of_link =
        |message: &Message<'_>| Some(find(message, 16, IFLA_LINK_NETNSID)?.number() as u32);
    let used = dump(probe.reader, "links", Protocol::Route, RTM_GETLINK, &[0; 16], of_link)?;
    let id = |message: &Message<'_>| Some(find(message, 4, NETNSA_NSID)?.number() as u32);
    let all = dump(probe.reader, "namespace ids", Protocol::Route, RTM_GETNSID, &[0; 4], id)?;
    let others = all.into_iter().filter(|id| !used.contains(id));
    Ok(others.map(|id| format!("id {id} of another namespace")).collect())
}

fn count(number: usize, what: &str) -> Vec<String> {
    if number == 0 { Vec::new() } else { vec![format!("{what}: {number}")] }
}

/// Objects of a generic family, by their number only. A family that is not there is not loaded.
pub(super) fn generic(
    probe: &mut Probe<'_>,
    family: &'static str,
    command: u8,
    what: &str,
) -> Result<Vec<String>, ReadError> {
    let failed = |source| ReadError::Netlink { what: family, source };
    let Some(known) = probe.reader.family(family).map_err(failed)?.cloned() else {
        return Ok(Vec::new());
    };
    // The end of a dump may come as an object without attributes.
    let one = |message: &Message<'_>| (message.body.len() > 4).then_some(());
    let body = known.header(command);
    let found = dump(probe.reader, family, Protocol::Generic, known.id, &body, one)?;
    Ok(count(found.len(), &format!("{what}s")))
}
