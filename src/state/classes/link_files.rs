//! Files of links below `/sys/class/net` that no message tells of: who takes in packets of a queue
//! (RPS, XPS), how long NAPI waits (`Documentation/ABI/testing/sysfs-class-net*`).
//!
//! Only what is not as a new link has it is in a section. Each file is a message with the index of the
//! link, the path below the link's folder, and what the file says.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::families::shown;
use crate::netlink::{Builder, Protocol, messages};
use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{Fault, ReadError, Reader, Value};

/// Type of the messages of the section: `RTM_SETLINK`.
const TELLS: u16 = 19;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
/// Of `linux/if_tun.h`.
pub const IFF_ONE_QUEUE: u32 = 0x2000;
/// Bytes of `struct ifinfomsg`.
pub const HEADER: usize = 16;
/// The attributes.
pub const PATH: u16 = 1;
pub const VALUE: u16 = 2;

/// Of a link; of each queue that it takes packets in by, and of each that it sends by. With what a new
/// link has.
const OF_LINK: &[(&str, &str)] = &[
    ("gro_flush_timeout", "0"),
    ("napi_defer_hard_irqs", "0"),
    ("power/control", "auto"),
    ("threaded", "0"),
    (TUN_FLAGS, ""),
];
/// Of a tun or tap, told only: in a section is the one flag that its message lacks.
pub const TUN_FLAGS: &str = "tun_flags";
const ONE_QUEUE: &str = "one_queue";
const OF_RECEIVE: &[(&str, &str)] = &[("rps_cpus", "0"), ("rps_flow_cnt", "0")];
/// (Limits of bytes and rates are of drivers of hardware.)
const OF_TRANSMIT: &[(&str, &str)] = &[("xps_cpus", "0"), ("xps_rxqs", "0")];

pub static LINK_FILES: Class = Class {
    name: "link-files",
    source: Source::Read(read),
    header: &[
        Field::new("ifindex", 4, Shape::U32, Fate::Ifindex),
        Field::new("change", 12, Shape::U32, Fate::Strip),
    ],
    attributes: &[Attr::keep(PATH, "path", Shape::Text), Attr::keep(VALUE, "value", Shape::Text)],
    key: &["ifindex", "path"],
    tells: TELLS,
    after: &["links"],
    label: |value, names| {
        let link = names.link(value.number("ifindex").unwrap_or_default());
        format!("{} of {link}", shown(value, "path"))
    },
    faults,
    // Given to a tun when it is made, and of no effect.
    fleeting: |value| value.text("path") == Some(TUN_FLAGS),
    shown_by: "tests/roundtrip, devices",
    ..Class::BASE
};

/// A path that is none of these would lead anywhere.
fn faults(value: &Value) -> Vec<Fault> {
    let known = value.text("path").is_some_and(|path| by_itself(path).is_some());
    let why = || "no file that this version knows".to_owned();
    if known { Vec::new() } else { vec![Fault::Object(why())] }
}

/// What a new link has in a file; none for what is no file of this class.
#[must_use]
pub fn by_itself(path: &str) -> Option<&'static str> {
    let (files, name) = match path.strip_prefix("queues/") {
        None => (OF_LINK, path),
        Some(rest) => {
            let (queue, name) = rest.split_once('/')?;
            let (way, number) = queue.split_once('-')?;
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            match way {
                "rx" => (OF_RECEIVE, name),
                "tx" => (OF_TRANSMIT, name),
                _ => return None,
            }
        }
    };
    files.iter().find(|(file, _)| *file == name).map(|(_, value)| *value)
}

fn read(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut links = Vec::new();
    let failed = |source| ReadError::Netlink { what: LINK_FILES.name, source };
    reader.dump(Protocol::Route, RTM_GETLINK, &[0; HEADER], &mut links).map_err(failed)?;
    let root = reader
        .sysfs()
        .map_err(|source| ReadError::File { path: "sysfs of the namespace".to_owned(), source })?;
    let mut section = Vec::new();
    for link in messages(&links).map_while(Result::ok) {
        let find = |id| link.attributes(HEADER).map_while(Result::ok).find(|found| found.id == id);
        let number = |id| find(id).map_or(0, |number| number.number() as u32);
        let name = find(IFLA_IFNAME).map(|name| name.payload).unwrap_or_default();
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        let Some(folder) = folder(root, name) else { continue };
        let (receive, transmit) = (number(IFLA_NUM_RX_QUEUES), number(IFLA_NUM_TX_QUEUES));
        let queues = |way: &'static str, count: u32, files: &'static [(&str, &str)]| {
            (0..count).flat_map(move |queue| {
                files
                    .iter()
                    .map(move |(file, usual)| (format!("queues/{way}-{queue}/{file}"), *usual))
            })
        };
        let all = OF_LINK
            .iter()
            .map(|(file, usual)| ((*file).to_owned(), *usual))
            .chain(queues("rx", receive, OF_RECEIVE))
            .chain(queues("tx", transmit, OF_TRANSMIT));
        for (path, usual) in all {
            let Some(value) = says(&folder, &path).filter(|value| value != usual) else { continue };
            let mut builder = Builder::new(TELLS, 0, link.body.get(..HEADER).unwrap_or_default());
            builder.put_text(PATH, &path).put_text(VALUE, &value);
            section.extend(builder.finish());
        }
    }
    Ok(section)
}

/// The folder of a link; none where it went meanwhile.
fn folder(root: &OwnedFd, name: &[u8]) -> Option<OwnedFd> {
    let path = [b"class/net/", name].concat();
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(root.as_fd(), path.as_slice(), flags, Mode::empty()).ok()
}

/// What a file says; none where a link or a kernel has no such file, or no such setting behind it.
fn says(folder: &OwnedFd, path: &str) -> Option<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = openat(folder.as_fd(), path, flags, Mode::empty()).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).ok()?;
    let text = text.trim();
    if path == TUN_FLAGS {
        let flags = u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default();
        return Some(if flags & IFF_ONE_QUEUE == 0 { "" } else { ONE_QUEUE }.to_owned());
    }
    let is_mask = ["_cpus", "_rxqs"].iter().any(|end| path.ends_with(end));
    if !is_mask {
        return Some(text.to_owned());
    }
    // Groups of digits, as many as the machine may have processors.
    let mask = text.trim_start_matches(['0', ',']);
    Some(if mask.is_empty() { "0" } else { mask }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_list_are_known() {
        assert_eq!(by_itself("threaded"), Some("0"));
        assert_eq!(by_itself("queues/rx-12/rps_cpus"), Some("0"));
        assert_eq!(by_itself("queues/tx-0/xps_rxqs"), Some("0"));
        for path in ["", "mtu", "queues/rx-0/xps_cpus", "queues/rx-/rps_cpus", "../eth1/threaded"] {
            assert_eq!(by_itself(path), None, "{path}");
        }
        for path in
            ["queues/rx-0/../../threaded", "queues/tx-0/x/../xps_cpus", "queues/rx-a/rps_cpus"]
        {
            assert_eq!(by_itself(path), None, "{path}");
        }
    }
}
