//! `bpf(2)`: which programs are at a place (`BPF_PROG_QUERY`), and what a program is called
//! (`BPF_OBJ_GET_INFO_BY_FD`). XDP is told with the links.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{ATTACHMENT, UNKNOWN};
use crate::netlink::{Builder, Protocol, attributes, messages};
use crate::state::{ReadError, Reader};

const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
pub(super) const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_XDP: u32 = 37;
/// Places on a link, by `enum bpf_attach_type`: tcx, then netkit.
const ON_LINKS: [u32; 4] = [46, 47, 54, 55];
/// Places on a namespace: the flow dissector, the lookup of sockets.
const ON_NAMESPACE: [u32; 2] = [17, 36];
/// Programs at one place (`BPF_MPROG_MAX`, `MAX_NETNS_BPF_PROGS`).
const MOST: usize = 64;

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
    program_flags: u64,
    link_ids: u64,
    link_flags: u64,
    revision: u64,
}

/// A program at a place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attached {
    pub(super) place: u32,
    pub(super) link: u32,
    pub(super) position: u32,
    pub(super) program: u32,
    pub(super) held_by: u32,
}

pub fn programs(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut found = Vec::new();
    for (link, xdp) in links(reader)? {
        if let Some(program) = xdp {
            found.push(Attached { place: BPF_XDP, link, program, ..Attached::default() });
        }
        for place in ON_LINKS {
            at(place, link, link, &mut found)?;
        }
    }
    let path = "/proc/thread-self/ns/net";
    let namespace =
        File::open(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
    for place in ON_NAMESPACE {
        at(place, 0, namespace.as_raw_fd().unsigned_abs(), &mut found)?;
    }
    super::netfilter::programs(reader, &mut found)?;
    // One word for all that can't be looked at.
    if let Some(first) = found.iter().position(|one| one.place == UNKNOWN) {
        let kept = found[first];
        found.retain(|one| one.place != UNKNOWN);
        found.push(Attached { link: 0, ..kept });
    }
    Ok(found.into_iter().flat_map(message).collect())
}

/// Index of each link, and the number of its XDP program.
fn links(reader: &mut Reader) -> Result<Vec<(u32, Option<u32>)>, ReadError> {
    const RTM_GETLINK: u16 = 18;
    const IFINFO: usize = 16;
    const IFLA_XDP: u16 = 43;
    /// `IFLA_XDP_PROG_ID`, then those of driver, stack and hardware.
    const PROGRAMS: [u16; 4] = [4, 5, 6, 7];
    let failed = |source| ReadError::Netlink { what: "links", source };
    let mut section = Vec::new();
    reader.dump(Protocol::Route, RTM_GETLINK, &[0; IFINFO], &mut section).map_err(failed)?;
    let mut found = Vec::new();
    for message in messages(&section) {
        let message = message.map_err(|error| failed(error.into()))?;
        let index = message.body.get(4..).and_then(|rest| rest.first_chunk());
        let mut all = message.attributes(IFINFO).map_while(Result::ok);
        let xdp = all.find(|attribute| attribute.id == IFLA_XDP).map(|xdp| xdp.payload);
        let mut inner = attributes(xdp.unwrap_or_default()).map_while(Result::ok);
        let program = inner.find(|attribute| PROGRAMS.contains(&attribute.id));
        let program = program.and_then(|program| u32::try_from(program.number()).ok());
        found.extend(index.map(|index| (u32::from_ne_bytes(*index), program)));
    }
    Ok(found)
}

/// Adds the programs at a place of a link, or of the namespace.
fn at(place: u32, link: u32, target: u32, found: &mut Vec<Attached>) -> Result<(), ReadError> {
    let (mut programs, mut links) = ([0_u32; MOST], [0_u32; MOST]);
    let mut query = Query { target, attach_type: place, count: MOST as u32, ..Query::default() };
    query.program_ids = programs.as_mut_ptr().expose_provenance() as u64;
    // Only places on links have them.
    if link != 0 {
        query.link_ids = links.as_mut_ptr().expose_provenance() as u64;
    }
    // SAFETY: pointer and size are those of `query`, whose pointers have room for `count` numbers.
    let outcome =
        unsafe { bpf(BPF_PROG_QUERY, std::ptr::from_mut(&mut query).cast(), size_of::<Query>()) };
    match outcome {
        Ok(_) => {}
        Err(error) if is_elsewhere(&error) => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            found.push(Attached { place: UNKNOWN, link, ..Attached::default() });
            return Ok(());
        }
        Err(error) => {
            return Err(ReadError::Unexpected { what: "BPF programs", why: error.to_string() });
        }
    }
    let all = programs.iter().zip(&links).take(query.count as usize).enumerate();
    found.extend(all.map(|(position, (program, held_by))| Attached {
        place,
        link,
        position: position as u32,
        program: *program,
        held_by: *held_by,
    }));
    Ok(())
}

/// This kernel has no such place, or the link can't have it (a kernel that does not know all of the
/// question says that it is too big).
fn is_elsewhere(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINVAL
                | libc::ENOSYS
                | libc::EOPNOTSUPP
                | libc::ENODEV
                | libc::EACCES
                | libc::E2BIG
                | libc::ENOENT
        )
    )
}

/// What of `struct bpf_prog_info` is asked for: up to the name.
#[repr(C)]
#[derive(Debug, Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    skipped: [u64; 6],
    name: [u8; 16],
}

/// Type, tag and name of a program; nothing of one that is gone or may not be asked for.
fn info(program: u32) -> Info {
    #[repr(C)]
    struct ById {
        id: u32,
        next: u32,
        flags: u32,
    }
    #[repr(C)]
    struct ByFd {
        descriptor: u32,
        length: u32,
        info: u64,
    }
    let mut info = Info::default();
    let mut by_id = ById { id: program, next: 0, flags: 0 };
    // SAFETY: pointer and size are those of `by_id`; the descriptor that comes back is owned here.
    let opened = unsafe {
        bpf(BPF_PROG_GET_FD_BY_ID, std::ptr::from_mut(&mut by_id).cast(), size_of::<ById>())
            .map(|fd| OwnedFd::from_raw_fd(fd))
    };
    let Ok(opened) = opened else { return info };
    let mut by_fd = ByFd {
        descriptor: opened.as_raw_fd().unsigned_abs(),
        length: size_of::<Info>() as u32,
        info: std::ptr::from_mut(&mut info).expose_provenance() as u64,
    };
    // SAFETY: pointer and size are those of `by_fd`, whose own are those of `info`, all of whose bytes
    // may have any value.
    let asked = unsafe {
        bpf(BPF_OBJ_GET_INFO_BY_FD, std::ptr::from_mut(&mut by_fd).cast(), size_of::<ByFd>())
    };
    if asked.is_ok() { info } else { Info::default() }
}

/// # Safety
/// `attributes` points to `size` bytes that are what the command wants.
pub(super) unsafe fn bpf(
    command: libc::c_long,
    attributes: *mut libc::c_void,
    size: usize,
) -> io::Result<libc::c_int> {
    // SAFETY: as the caller promises.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome as libc::c_int) }
}

fn message(one: Attached) -> Vec<u8> {
    let info = if one.place == UNKNOWN { Info::default() } else { info(one.program) };
    let numbers = [one.place, one.link, one.position, one.program, one.held_by, info.kind];
    let mut header: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    header.extend_from_slice(&info.tag);
    header.extend_from_slice(&info.name);
    Builder::new(ATTACHMENT, 0, &header).finish()
}
