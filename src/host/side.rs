//! Reading what hangs on the outer ends of a pod's veth pairs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use super::bounds::{Bound, CLASSES, Pod};
use crate::image::NotCarried;
use crate::netlink::{Builder, align, messages};
use crate::state::classes::tc::of_link;
use crate::state::classes::{
    ADDRESSES, NEIGHBOURS, PROXY_NEIGHBOURS, ROUTES, SYSCTLS, TC_CHAINS, TC_CLASSES, sysctls,
};
use crate::state::table::{Class, Source};
use crate::state::{Names, ReadError, Reader, Verdict, check};

/// A section for each of [`CLASSES`], without what is somebody else's. On a thread in the node's
/// namespace; `ends` is the section of outer ends.
///
/// # Errors
/// [`ReadError`].
pub fn read(ends: &[u8], pod: &Pod) -> Result<Vec<(&'static Class, Vec<u8>)>, ReadError> {
    let names = Names::of(ends);
    let mut sections: Vec<(&'static Class, Vec<u8>)> =
        CLASSES.into_iter().map(|class| (class, Vec::new())).collect();
    let mut add = |class: &'static Class, bytes: &[u8]| {
        let own = sections.iter_mut().find(|(one, _)| one.name == class.name);
        if let Some((_, section)) = own {
            section.extend_from_slice(bytes);
        }
    };
    let mut reader = Reader::new();
    for (index, name) in names.iter() {
        add(&SYSCTLS, &files(name));
        for (class, section) in of_link(&mut reader, index)? {
            add(class, &kept(class, &section, pod));
        }
        for class in [&ADDRESSES, &NEIGHBOURS, &PROXY_NEIGHBOURS, &ROUTES] {
            add(class, &kept(class, &dump(&mut reader, class, index)?, pod));
        }
    }
    if !ends.is_empty() {
        let class = &crate::state::classes::NEIGHBOUR_TABLES;
        add(class, &kept(class, &dump(&mut reader, class, 0)?, pod));
    }
    Ok(sections)
}

/// What of a dump is on the pod's links.
fn kept(class: &Class, dump: &[u8], pod: &Pod) -> Vec<u8> {
    let mut section = Vec::new();
    for message in messages(dump).map_while(Result::ok) {
        let of_class = message.kind == class.tells && (class.belongs)(&message);
        if of_class && pod.bound(class, &message) != Bound::Other {
            section.extend_from_slice(message.bytes);
            section.resize(align(section.len()), 0);
        }
    }
    section
}

/// The dumps of a class, of one link where the kernel can be asked for that: a node may have any number
/// of routes.
fn dump(reader: &mut Reader, class: &'static Class, link: u32) -> Result<Vec<u8>, ReadError> {
    const RTA_OIF: u16 = 4;
    const NDA_IFINDEX: u16 = 8;
    let Source::Netlink { protocol, dumps, .. } = class.source else { return Ok(Vec::new()) };
    let mut section = Vec::new();
    for dump in dumps {
        let mut body = dump.body.to_vec();
        let filter = |id| Builder::attribute(id, &link.to_ne_bytes());
        match class.name {
            name if name == ADDRESSES.name && body.len() >= 8 => {
                body[4..8].copy_from_slice(&link.to_ne_bytes());
            }
            name if name == ROUTES.name => body.extend(filter(RTA_OIF)),
            name if name == NEIGHBOURS.name => body.extend(filter(NDA_IFINDEX)),
            _ => {}
        }
        match reader.dump(protocol, dump.kind, &body, &mut section) {
            // A family that this kernel has not.
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {}
            outcome => {
                outcome.map_err(|source| ReadError::Netlink { what: class.name, source })?;
            }
        }
    }
    Ok(section)
}

/// The settings of a device, as `path NUL value NUL`. One that goes while it is read has none.
fn files(device: &str) -> Vec<u8> {
    let mut section = Vec::new();
    for tree in ["ipv4/conf", "ipv6/conf"] {
        let mut found: Vec<_> = list(&format!("/proc/sys/net/{tree}/{device}")).unwrap_or_default();
        found.sort();
        for name in found {
            let path = format!("{tree}/{device}/{name}");
            // `stable_secret` answers an error until it is set.
            let Ok(value) = fs::read(format!("/proc/sys/net/{path}")) else { continue };
            if sysctls::carried(&path) {
                section.extend_from_slice(path.as_bytes());
                section.push(0);
                section.extend_from_slice(value.trim_ascii_end());
                section.push(0);
            }
        }
    }
    section
}

/// The files of a folder that can be written.
fn list(folder: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.metadata().is_ok_and(|about| about.permissions().mode() & 0o600 == 0o600)
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Takes out what an image can't hold, and names it. Traffic control of a link is taken whole or not
/// at all: a part of it would mean something else.
pub fn sift(sections: &mut [(&'static Class, Vec<u8>)], ends: &[u8], pod: &Pod) -> Vec<NotCarried> {
    let names = Names::of(ends);
    let mut named = Vec::new();
    let mut shaped_by_others = Vec::new();
    for (class, section) in sections.iter_mut().filter(|(class, _)| class.name != SYSCTLS.name) {
        let mut rest = Vec::new();
        for message in messages(section).map_while(Result::ok) {
            let mut why: Vec<String> = match pod.bound(class, &message) {
                Bound::Wide(why) => vec![why.to_owned()],
                _ => Vec::new(),
            };
            let problems = check(class, message.bytes, &names).into_iter();
            why.extend(
                problems
                    .filter(|one| one.fault.verdict() == Verdict::NotCarried)
                    .map(|one| format!("{}: {}", one.path, one.fault)),
            );
            let Some(why) = why.into_iter().next() else {
                rest.extend_from_slice(message.bytes);
                rest.resize(align(rest.len()), 0);
                continue;
            };
            shaped_by_others
                .extend(shaping(class).then(|| super::bounds::link_of(class, &message)));
            named.push(NotCarried {
                class: format!("host/{}", class.name),
                object: (class.label)(&crate::state::decode(class, message.bytes), &names),
                why,
                matters: false,
            });
        }
        *section = rest;
    }
    for (class, section) in sections.iter_mut().filter(|(class, _)| shaping(class)) {
        let mut rest = Vec::new();
        for message in messages(section).map_while(Result::ok) {
            if !shaped_by_others.contains(&super::bounds::link_of(class, &message)) {
                rest.extend_from_slice(message.bytes);
                rest.resize(align(rest.len()), 0);
                continue;
            }
            named.push(NotCarried {
                class: format!("host/{}", class.name),
                object: (class.label)(&crate::state::decode(class, message.bytes), &names),
                why: "traffic control of its link is the node's to make, as what else of it is named \
                      here"
                    .to_owned(),
                matters: false,
            });
        }
        *section = rest;
    }
    named
}

fn shaping(class: &Class) -> bool {
    [&crate::state::classes::QDISCS, &TC_CLASSES, &TC_CHAINS, &crate::state::classes::TC_FILTERS]
        .iter()
        .any(|one| one.name == class.name)
}
