//! Reading the sockets of a namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::{PROTOCOL, SOCK_DIAG_BY_FAMILY};
use crate::netlink::{Builder, Error, Protocol, messages};
use crate::state::{ReadError, Reader};

const TCPDIAG_GETSOCK: u16 = 18;
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const INET: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];
/// Bytes of `struct inet_diag_msg` and of the two requests.
const ANSWER: usize = 72;
const REQUEST: usize = 56;
/// Offset of `idiag_states`: in the request of all families, and in the other.
const STATES: [usize; 2] = [52, 4];
const EVERY_STATE: [u8; 4] = u32::MAX.to_ne_bytes();

/// A protocol, and the names under which `/proc/net/protocols` counts its sockets, by family.
struct Row {
    protocol: u16,
    names: [&'static str; 2],
    /// Where there is no dump of it (`raw_diag` may be left out of a kernel, ping sockets have none).
    files: [&'static str; 2],
}

const ROWS: &[Row] = &[
    Row { protocol: 17, names: ["UDP", "UDPv6"], files: ["", ""] },
    Row { protocol: 136, names: ["UDP-Lite", "UDPLITEv6"], files: ["udplite", "udplite6"] },
    Row { protocol: 132, names: ["SCTP", "SCTPv6"], files: ["", ""] },
    Row { protocol: 262, names: ["MPTCP", "MPTCPv6"], files: ["", ""] },
    Row { protocol: 255, names: ["RAW", "RAWv6"], files: ["raw", "raw6"] },
    Row { protocol: 1, names: ["PING", ""], files: ["icmp", ""] },
    Row { protocol: 58, names: ["", "PINGv6"], files: ["", "icmp6"] },
];

/// Sockets of the internet protocols.
pub(super) fn internet(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    let used = Used::read()?;
    if used.has(["TCP", "TCPv6"]) || used.waiting() {
        tcp(reader, &mut section)?;
    }
    for row in ROWS {
        for (at, family) in INET.into_iter().enumerate() {
            if !used.has([row.names[at]]) {
                continue;
            }
            if !dump(reader, family, row.protocol, &mut section)? && !row.files[at].is_empty() {
                from_file(family, row, row.files[at], &mut section)?;
            }
        }
    }
    Ok(section)
}

/// TCP sockets of both families in one walk, which only the old request gives.
fn tcp(reader: &mut Reader, section: &mut Vec<u8>) -> Result<(), ReadError> {
    let mut body = [0; REQUEST + 4];
    body[STATES[0]..STATES[0] + 4].copy_from_slice(&EVERY_STATE);
    let mut answer = Vec::new();
    match reader.dump(Protocol::SockDiag, TCPDIAG_GETSOCK, &body, &mut answer) {
        Ok(()) => tell(&answer, 6, section),
        Err(error) if is_absent(&error) => {
            for family in INET {
                dump(reader, family, 6, section)?;
            }
            Ok(())
        }
        Err(source) => Err(ReadError::Netlink { what: "sockets", source }),
    }
}

/// Answers whether the kernel has a dump of this protocol.
fn dump(
    reader: &mut Reader,
    family: u8,
    protocol: u16,
    section: &mut Vec<u8>,
) -> Result<bool, ReadError> {
    let mut body = vec![0; REQUEST];
    body[0] = family;
    match u8::try_from(protocol) {
        Ok(protocol) => body[1] = protocol,
        Err(_) => body
            .extend(Builder::attribute(INET_DIAG_REQ_PROTOCOL, &u32::from(protocol).to_ne_bytes())),
    }
    body[STATES[1]..STATES[1] + 4].copy_from_slice(&EVERY_STATE);
    let mut answer = Vec::new();
    match reader.dump(Protocol::SockDiag, SOCK_DIAG_BY_FAMILY, &body, &mut answer) {
        Ok(()) => tell(&answer, protocol, section).map(|()| true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(source) => Err(ReadError::Netlink { what: "sockets", source }),
    }
}

/// Takes over the answers, each with its protocol.
fn tell(answer: &[u8], protocol: u16, section: &mut Vec<u8>) -> Result<(), ReadError> {
    for message in messages(answer) {
        let message = message
            .map_err(|error| ReadError::Netlink { what: "sockets", source: error.into() })?;
        let mut builder = Builder::new(SOCK_DIAG_BY_FAMILY, 0, message.body);
        builder.put(PROTOCOL, &protocol.to_ne_bytes());
        section.extend(builder.finish());
    }
    Ok(())
}

fn is_absent(error: &Error) -> bool {
    let absent = [libc::ENOENT, libc::EINVAL, libc::EOPNOTSUPP, libc::EPROTONOSUPPORT];
    error.errno().is_some_and(|errno| absent.contains(&errno))
}

/// Sockets that only a file tells of, in the form of the others.
fn from_file(family: u8, row: &Row, file: &str, section: &mut Vec<u8>) -> Result<(), ReadError> {
    let Some(text) = small_file(file)? else { return Ok(()) };
    for line in text.lines().skip(1) {
        let Some(mut header) = of_line(line) else { continue };
        header[0] = family;
        let mut builder = Builder::new(SOCK_DIAG_BY_FAMILY, 0, &header);
        builder.put(PROTOCOL, &row.protocol.to_ne_bytes());
        section.extend(builder.finish());
    }
    Ok(())
}

/// `struct inet_diag_msg` without a family from a line of `/proc/net/raw` and its likes: number, local
/// and remote end, state, queues, timer, retransmissions, user, timeout, inode.
fn of_line(line: &str) -> Option<[u8; ANSWER]> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, queues, _, _, user, _, inode, ..] = words[..] else {
        return None;
    };
    let mut header = [0; ANSWER];
    header[1] = u8::from_str_radix(state, 16).ok()?;
    for (end, address, port) in [(local, 8, 4), (remote, 24, 6)] {
        let (digits, number) = end.split_once(':')?;
        header[port..port + 2]
            .copy_from_slice(&u16::from_str_radix(number, 16).ok()?.to_be_bytes());
        // Words of the host's byte order.
        for (at, word) in digits.as_bytes().chunks(8).take(4).enumerate() {
            let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
            header[address + 4 * at..address + 4 * at + 4].copy_from_slice(&word.to_ne_bytes());
        }
    }
    let (unsent, received) = queues.split_once(':')?;
    let number = |digits: &str, base| u32::from_str_radix(digits, base).ok();
    for (at, number) in [
        (56, number(received, 16)?),
        (60, number(unsent, 16)?),
        (64, number(user, 10)?),
        (68, number(inode, 10)?),
    ] {
        header[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    Some(header)
}

/// Packet sockets, with what they are bound to and their user.
pub(super) fn packet(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    const PACKET_SHOW_INFO: u32 = 1;
    const PACKET_SHOW_FANOUT: u32 = 8;
    let mut section = Vec::new();
    if !Used::read()?.has(["PACKET"]) {
        return Ok(section);
    }
    let mut body = [0; 20];
    body[0] = libc::AF_PACKET as u8;
    body[8..12].copy_from_slice(&(PACKET_SHOW_INFO | PACKET_SHOW_FANOUT).to_ne_bytes());
    match reader.dump(Protocol::SockDiag, SOCK_DIAG_BY_FAMILY, &body, &mut section) {
        Err(error) if !is_absent(&error) => {
            Err(ReadError::Netlink { what: "packet sockets", source: error })
        }
        _ => Ok(section),
    }
}

/// Local sockets, with their names.
pub(super) fn local(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    const UDIAG_SHOW_NAME: u32 = 1;
    const UDIAG_SHOW_PEER: u32 = 4;
    let mut section = Vec::new();
    if !Used::read()?.has(["UNIX", "UNIX-STREAM"]) {
        return Ok(section);
    }
    let mut body = [0; 24];
    body[0] = libc::AF_UNIX as u8;
    body[4..8].copy_from_slice(&EVERY_STATE);
    body[12..16].copy_from_slice(&(UDIAG_SHOW_NAME | UDIAG_SHOW_PEER).to_ne_bytes());
    match reader.dump(Protocol::SockDiag, SOCK_DIAG_BY_FAMILY, &body, &mut section) {
        Err(error) if !is_absent(&error) => {
            Err(ReadError::Netlink { what: "local sockets", source: error })
        }
        _ => Ok(section),
    }
}

/// Sockets of netlink that programs have: neither the kernel's own nor those of this process, by which
/// the namespace is read.
pub(super) fn netlink(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    const NDIAG_PROTO_ALL: u8 = 255;
    const NDIAG_SHOW_GROUPS: u32 = 2;
    let mut body = [0; 20];
    body[0] = libc::AF_NETLINK as u8;
    body[1] = NDIAG_PROTO_ALL;
    body[8..12].copy_from_slice(&NDIAG_SHOW_GROUPS.to_ne_bytes());
    let mut answer = Vec::new();
    match reader.dump(Protocol::SockDiag, SOCK_DIAG_BY_FAMILY, &body, &mut answer) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(source) => return Err(ReadError::Netlink { what: "netlink sockets", source }),
        Ok(()) => {}
    }
    let mut seen = own_sockets()?;
    let mut section = Vec::new();
    for message in messages(&answer) {
        let message = message.map_err(|error| ReadError::Netlink {
            what: "netlink sockets",
            source: error.into(),
        })?;
        let number = |at: usize| message.body.get(at..).and_then(|rest| rest.first_chunk());
        let number = |at| number(at).map_or(0, |four| u32::from_ne_bytes(*four));
        let (port, inode) = (number(4), number(16));
        // Those that are in a group are told twice.
        if port != 0 && seen.insert(inode) {
            section.extend_from_slice(message.bytes);
            section.resize(crate::netlink::align(section.len()), 0);
        }
    }
    Ok(section)
}

/// Inodes of the sockets of the thread that reads, which has its own table of descriptors.
fn own_sockets() -> Result<BTreeSet<u32>, ReadError> {
    let path = "/proc/thread-self/fd";
    let failed = |source| ReadError::File { path: path.to_owned(), source };
    let inode = |link: std::path::PathBuf| {
        let text = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        text.parse().ok()
    };
    let open = std::fs::read_dir(path).map_err(failed)?.flatten();
    Ok(open.filter_map(|entry| inode(std::fs::read_link(entry.path()).ok()?)).collect())
}

/// Sockets of protocols that have no class, by their number: messages of this type with this attribute.
pub(super) fn others(kind: u16, name: u16) -> Result<Vec<u8>, ReadError> {
    const LISTED: [&str; 6] = ["TCP", "TCPv6", "PACKET", "UNIX", "UNIX-STREAM", "NETLINK"];
    let known = |protocol: &str| {
        LISTED.contains(&protocol) || ROWS.iter().any(|row| row.names.contains(&protocol))
    };
    let mut section = Vec::new();
    for (protocol, count) in Used::read()?.counts.unwrap_or_default() {
        let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) else { continue };
        if !known(&protocol) {
            let mut builder = Builder::new(kind, 0, &count.to_ne_bytes());
            builder.put_text(name, &protocol);
            section.extend(builder.finish());
        }
    }
    Ok(section)
}

/// Sockets of the namespace by protocol.
struct Used {
    /// By the names of `/proc/net/protocols`; `None` where there is no such file.
    counts: Option<BTreeMap<String, i64>>,
}

impl Used {
    fn read() -> Result<Self, ReadError> {
        let counts = small_file("protocols")?.map(|text| {
            let count = |line: &str| {
                let mut words = line.split_whitespace();
                let name = words.next()?.to_owned();
                Some((name, words.nth(1)?.parse().ok()?))
            };
            text.lines().skip(1).filter_map(count).collect()
        });
        Ok(Self { counts })
    }

    /// Whether there are any under one of these names, or it is not known.
    fn has<const N: usize>(&self, names: [&str; N]) -> bool {
        names.into_iter().filter(|name| !name.is_empty()).any(|name| match &self.counts {
            Some(counts) => counts.get(name).is_some_and(|count| *count != 0),
            None => true,
        })
    }

    /// Whether TCP connections wait for their end, which are not counted with the others (`tw` of
    /// `/proc/net/sockstat`).
    fn waiting(&self) -> bool {
        let Ok(Some(text)) = small_file("sockstat") else { return true };
        let tcp = text.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
        let mut words = tcp.split_whitespace().skip_while(|word| *word != "tw");
        words.nth(1).is_none_or(|count| count != "0")
    }
}

/// A file of the namespace; `None` where the kernel has none.
fn small_file(name: &str) -> Result<Option<String>, ReadError> {
    let path = format!("/proc/thread-self/net/{name}");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError::File { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_procfs_is_a_socket() {
        let line = "    1: 0100007F:0001 00000000:0000 07 00000000:00000010 00:00000000 00000000  1000        0 4711 2 0000000000000000 0";
        let header = of_line(line).unwrap();
        assert_eq!(header[1], 7);
        assert_eq!(header[4..6], [0, 1]);
        assert_eq!(u32::from_ne_bytes(*header[8..].first_chunk().unwrap()), 0x0100_007F);
        assert_eq!(u32::from_ne_bytes(*header[64..].first_chunk().unwrap()), 1000);
        assert_eq!(u32::from_ne_bytes(*header[68..].first_chunk().unwrap()), 4711);
        assert_eq!(of_line("  sl  local_address rem_address"), None);
    }
}
