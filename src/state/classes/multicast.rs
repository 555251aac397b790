//! Multicast: link-layer addresses that somebody joined by hand (`ip maddr`), which are state; and the
//! groups of IP that sockets, `autojoin` addresses and the kernel joined, which are listed.

use super::families::{FAMILY, shown};
use crate::netlink::{Builder, Protocol};
use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{Fault, ReadError, Reader, Value};

const RTM_NEWMULTICAST: u16 = 56;
const RTM_GETMULTICAST: u16 = 58;
pub const IFLA_ADDRESS: u16 = 1;
const IFA_MULTICAST: u16 = 7;
/// `sa_data` of `struct sockaddr`, in which a request has its address.
const LONGEST: usize = 14;

/// Only procfs tells of them; in the section each is `struct ifinfomsg` with `IFLA_ADDRESS`.
pub static MULTICAST_ADDRESSES: Class = Class {
    name: "multicast-addresses",
    source: Source::Read(read),
    header: &[Field::new("ifindex", 4, Shape::U32, Fate::Ifindex), PADDING],
    attributes: &[Attr::keep(IFLA_ADDRESS, "address", Shape::Mac)],
    key: &["ifindex", "address"],
    tells: RTM_NEWMULTICAST,
    after: &["links"],
    label: |value, names| {
        let link = names.link(value.number("ifindex").unwrap_or_default());
        format!("{} on {link}", shown(value, "address"))
    },
    faults,
    shown_by: "tests/multicast.rs",
    ..Class::BASE
};

const PADDING: Field = Field::new("change", 12, Shape::U32, Fate::Strip);

fn faults(value: &Value) -> Vec<Fault> {
    let length = shown(value, "address").split(':').filter(|byte| !byte.is_empty()).count();
    let why = || format!("an address of {length} bytes, which no request has room for");
    if (1..=LONGEST).contains(&length) { Vec::new() } else { vec![Fault::Object(why())] }
}

/// Lines of `/proc/net/dev_mcast`: index, name, users, whether joined by hand, address.
fn read(_: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    for line in file("dev_mcast")?.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [index, _, _, by_hand, address] = words[..] else { continue };
        let (Ok(index), Ok(address)) = (index.parse::<u32>(), hex::decode(address)) else {
            return Err(unexpected("dev_mcast", line));
        };
        if by_hand == "0" {
            continue;
        }
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut builder = Builder::new(RTM_NEWMULTICAST, 0, &header);
        builder.put(IFLA_ADDRESS, &address);
        section.extend(builder.finish());
    }
    Ok(section)
}

const fn listed(name: &'static str, at: usize, shape: Shape) -> Field {
    Field::new(name, at, shape, Fate::List)
}

/// Groups of IPv4 and IPv6 by link. Each comes back with the socket, the address or the link that
/// joined it.
pub static MULTICAST_GROUPS: Class = Class {
    name: "multicast-groups",
    source: Source::Inventory(groups),
    header: &[
        listed("family", 0, FAMILY),
        listed("prefixlen", 1, Shape::U8),
        listed("flags", 2, Shape::U8),
        listed("scope", 3, Shape::U8),
        listed("ifindex", 4, Shape::U32),
    ],
    attributes: &[
        Attr::list(6, "cacheinfo", Shape::Bytes),
        Attr::list(IFA_MULTICAST, "group", Shape::Ip),
    ],
    key: &["ifindex", "group"],
    tells: RTM_GETMULTICAST,
    after: &["links"],
    label: |value, names| {
        let link = names.link(value.number("ifindex").unwrap_or_default());
        format!("{} on {link}", shown(value, "group"))
    },
    shown_by: "tests/multicast.rs",
    ..Class::BASE
};

fn groups(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let body = [family as u8, 0, 0, 0, 0, 0, 0, 0];
        match reader.dump(Protocol::Route, RTM_GETMULTICAST, &body, &mut section) {
            Ok(()) => {}
            // Before Linux 6.14 those of IPv4 are in a file only.
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
                if family == libc::AF_INET {
                    section.extend(from_file(&file("igmp")?));
                }
            }
            Err(source) => return Err(ReadError::Netlink { what: "multicast groups", source }),
        }
    }
    Ok(section)
}

/// `/proc/net/igmp`: a line with index and name for each link, and below it, further in, its groups.
fn from_file(text: &str) -> Vec<u8> {
    let mut section = Vec::new();
    let mut index = 0_u32;
    for line in text.lines().skip(1) {
        let first = line.split_whitespace().next().unwrap_or_default();
        if !line.starts_with(char::is_whitespace) {
            index = first.parse().unwrap_or_default();
        } else if let Ok(group) = u32::from_str_radix(first, 16) {
            let mut header = [libc::AF_INET as u8, 32, 0, 0, 0, 0, 0, 0];
            header[4..8].copy_from_slice(&index.to_ne_bytes());
            let mut builder = Builder::new(RTM_GETMULTICAST, 0, &header);
            // The word as it lies in memory.
            builder.put(IFA_MULTICAST, &group.to_ne_bytes());
            section.extend(builder.finish());
        }
    }
    section
}

fn file(name: &str) -> Result<String, ReadError> {
    let path = format!("/proc/thread-self/net/{name}");
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        // A name may be of any bytes.
        read => read
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|source| ReadError::File { path, source }),
    }
}

fn unexpected(file: &'static str, line: &str) -> ReadError {
    ReadError::Unexpected { what: file, why: format!("a line that is not understood: {line}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Names, objects};

    #[test]
    fn groups_of_a_file_are_those_of_its_links() {
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
             7\teth0      :     1      V3\n\t\t\t\t0A0202EF     1 0:00000000\t\t0\n";
        let section = from_file(text);
        let found = objects(&MULTICAST_GROUPS, &section).unwrap();
        let labels: Vec<_> = found.iter().map(|group| group.label(&Names::default())).collect();
        assert_eq!(labels, ["224.0.0.1 on #1", "239.2.2.10 on #7"]);
    }
}
