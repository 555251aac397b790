//! What netlink tells.

use super::Probe;
use crate::netlink::{Attribute, Error, Message, Protocol, attributes, messages};
use crate::state::{ReadError, Reader};

const RTM_GETLINK: u16 = 18;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETNSID: u16 = 90;
const RTM_GETMDB: u16 = 86;
const RTM_GETVLAN: u16 = 114;
const AF_BRIDGE: u8 = 7;

const XFRM_MSG_GETPOLICY: u16 = 0x15;

/// Dumps, and names what each message tells of, if anything.
fn dump<T>(
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

fn find<'a>(message: &Message<'a>, header: usize, id: u16) -> Option<Attribute<'a>> {
    message.attributes(header).map_while(Result::ok).find(|attribute| attribute.id == id)
}

fn number_at(body: &[u8], at: usize) -> u32 {
    body.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_ne_bytes(*four))
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

impl Probe<'_> {
    fn link(&self, index: u32) -> String {
        let known = self.links.iter().find(|(known, _)| *known == index);
        known.map_or_else(|| format!("#{index}"), |(_, name)| name.clone())
    }
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

/// Forwarding entries that somebody made: those of a bridge that do not age, and those that name a
/// remote end (vxlan). What a bridge learns it learns again.
pub(super) fn bridge_fdb(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    const NDA_MASTER: u16 = 9;
    const NUD_NOARP: u8 = 0x40;
    let body = [AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let made = dump(probe.reader, "FDB", Protocol::Route, RTM_GETNEIGH, &body, |message| {
        let state = *message.body.get(8)?;
        let bridged = find(message, body.len(), NDA_MASTER).is_some() && state & NUD_NOARP != 0;
        let remote = find(message, body.len(), NDA_DST).is_some();
        let address = find(message, body.len(), NDA_LLADDR)?.payload;
        (bridged || remote).then(|| (number_at(message.body, 4), colons(address)))
    })?;
    Ok(made
        .into_iter()
        .map(|(link, address)| format!("{address} on {}", probe.link(link)))
        .collect())
}

/// Bridges with multicast groups.
pub(super) fn bridge_mdb(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    const MDBA_MDB: u16 = 1;
    let body = [AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0];
    let bridges = dump(probe.reader, "MDB", Protocol::Route, RTM_GETMDB, &body, |message| {
        let groups = find(message, body.len(), MDBA_MDB)?.payload;
        (!groups.is_empty()).then(|| number_at(message.body, 4))
    })?;
    Ok(bridges.into_iter().map(|link| format!("groups of {}", probe.link(link))).collect())
}

/// Links with VLANs other than what a bridge gives each port by itself: 1, untagged.
pub(super) fn bridge_vlans(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    const BRIDGE_VLANDB_ENTRY: u16 = 1;
    const BRIDGE_VLANDB_ENTRY_INFO: u16 = 1;
    /// `struct bridge_vlan_info`: flags `PVID` and `UNTAGGED`, then the VLAN 1.
    const DEFAULT: [u16; 2] = [6, 1];
    let body = [AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0];
    let links = dump(probe.reader, "VLANs", Protocol::Route, RTM_GETVLAN, &body, |message| {
        let entries = message.attributes(body.len()).map_while(Result::ok);
        let made = entries.filter(|entry| entry.id == BRIDGE_VLANDB_ENTRY).any(|entry| {
            let mut parts = attributes(entry.payload).map_while(Result::ok);
            let info = parts.find(|part| part.id == BRIDGE_VLANDB_ENTRY_INFO);
            info.is_some_and(|info| info.payload != DEFAULT.map(u16::to_ne_bytes).concat())
        });
        made.then(|| number_at(message.body, 4))
    })?;
    Ok(links.into_iter().map(|link| format!("VLANs of {}", probe.link(link))).collect())
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
