//! BPF programs on links and on the namespace that netlink does not tell of (`bpf(2)`,
//! `BPF_PROG_QUERY` of `linux/bpf.h`). Those of XDP are attributes of links, those of tc hang on
//! queueing disciplines.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::Probe;
use crate::state::ReadError;

const BPF_PROG_QUERY: libc::c_long = 16;
/// Places on a link, by `enum bpf_attach_type`.
const ON_LINKS: [(u32, &str); 4] =
    [(46, "tcx ingress"), (47, "tcx egress"), (54, "netkit primary"), (55, "netkit peer")];
/// Places on a namespace.
const ON_NAMESPACE: [(u32, &str); 2] = [(17, "flow dissector"), (36, "socket lookup")];

/// The part of `union bpf_attr` for `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Debug, Default)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    padding: u32,
    more: [u64; 4],
}

/// Programs at places of links and of the namespace.
pub(super) fn programs(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    let mut found = Vec::new();
    for (place, name) in ON_LINKS {
        for (index, link) in &probe.links {
            match query(*index, place) {
                Ok(0) => {}
                Ok(count) => found.push(format!("{count} at {name} of {link}")),
                // This kernel has no such place, or the link can't have it.
                Err(error) if is_elsewhere(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    let path = "/proc/thread-self/ns/net";
    let namespace =
        File::open(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
    for (place, name) in ON_NAMESPACE {
        match query(namespace.as_raw_fd().unsigned_abs(), place) {
            Ok(0) => {}
            Ok(count) => found.push(format!("{count} at {name}")),
            Err(error) if is_elsewhere(&error) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(found)
}

fn query(target: u32, attach_type: u32) -> io::Result<u32> {
    let mut query = Query { target, attach_type, ..Query::default() };
    // SAFETY: pointer and size are those of `query`, and no room for ids is offered.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            std::ptr::from_mut(&mut query),
            size_of::<Query>(),
        )
    };
    if outcome == 0 {
        return Ok(query.count);
    }
    let error = io::Error::last_os_error();
    // More programs than there was room for, which was none.
    if error.raw_os_error() == Some(libc::ENOSPC) { Ok(query.count) } else { Err(error) }
}

fn is_elsewhere(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENODEV | libc::EACCES)
    )
}

fn failed(source: io::Error) -> ReadError {
    ReadError::Unexpected { what: "BPF programs", why: source.to_string() }
}
