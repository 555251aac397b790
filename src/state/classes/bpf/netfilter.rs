//! Programs of netfilter. No place of a namespace can be asked for them: all links of programs on the
//! machine are looked through, and those of netfilter are held against what hooks the namespace has
//! (`linux/netfilter/nfnetlink_hook.h`). A kernel that does not list its hooks does not tell whose a
//! program is; it is then taken for one of this namespace, rather than lost.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::UNKNOWN;
use super::read::{Attached, BPF_OBJ_GET_INFO_BY_FD, bpf};
use crate::netlink::{Attribute, Builder, Protocol, attributes, messages};
use crate::state::{ReadError, Reader};

const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;
const BPF_LINK_GET_NEXT_ID: libc::c_long = 31;
/// `enum bpf_attach_type`, `enum bpf_link_type`.
const BPF_NETFILTER: u32 = 45;
const BPF_LINK_TYPE_NETFILTER: u32 = 10;
/// Links of a machine that are looked through.
const MOST: usize = 1 << 16;

/// Adds those of the namespace.
pub(super) fn programs(reader: &mut Reader, found: &mut Vec<Attached>) -> Result<(), ReadError> {
    let all = match links() {
        Ok(all) => all,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            found.push(Attached { place: UNKNOWN, ..Attached::default() });
            return Ok(());
        }
        // A kernel that has no links has no such programs.
        Err(_) => return Ok(()),
    };
    if all.is_empty() {
        return Ok(());
    }
    let hooked = hooked(reader)?;
    let here = |link: &&Info| hooked.as_ref().is_none_or(|ids| ids.contains(&link.program));
    found.extend(all.iter().filter(here).enumerate().map(|(position, link)| Attached {
        place: BPF_NETFILTER,
        position: position as u32,
        program: link.program,
        held_by: link.id,
        ..Attached::default()
    }));
    Ok(())
}

/// The start of `struct bpf_link_info`.
#[repr(C)]
#[derive(Debug, Default)]
struct Info {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
}

/// All links of netfilter programs on the machine.
fn links() -> io::Result<Vec<Info>> {
    let mut found = Vec::new();
    let mut id = 0;
    for _ in 0..MOST {
        // `start_id`, in whose place the answer does not come, `next_id`, `open_flags`.
        let mut next = [id, 0, 0];
        // SAFETY: pointer and size are those of `next`.
        let asked =
            unsafe { bpf(BPF_LINK_GET_NEXT_ID, next.as_mut_ptr().cast(), size_of_val(&next)) };
        match asked {
            Ok(_) => id = next[1],
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            Err(error) => return Err(error),
        }
        found.extend(info(id).filter(|info| info.kind == BPF_LINK_TYPE_NETFILTER));
    }
    Ok(found)
}

/// What a link is; nothing of one that is gone.
fn info(id: u32) -> Option<Info> {
    #[repr(C)]
    struct ByFd {
        descriptor: u32,
        length: u32,
        info: u64,
    }
    let mut by_id = [id, 0, 0];
    // SAFETY: pointer and size are those of `by_id`; the descriptor that comes back is owned here.
    let opened = unsafe {
        bpf(BPF_LINK_GET_FD_BY_ID, by_id.as_mut_ptr().cast(), size_of_val(&by_id))
            .map(|fd| OwnedFd::from_raw_fd(fd))
    };
    let opened = opened.ok()?;
    let mut info = Info::default();
    let mut by_fd = ByFd {
        descriptor: opened.as_raw_fd().unsigned_abs(),
        length: size_of::<Info>() as u32,
        info: std::ptr::from_mut(&mut info).expose_provenance() as u64,
    };
    // SAFETY: pointer and size are those of `by_fd`, whose own are those of `info`.
    let asked = unsafe {
        bpf(BPF_OBJ_GET_INFO_BY_FD, std::ptr::from_mut(&mut by_fd).cast(), size_of::<ByFd>())
    };
    asked.is_ok().then_some(info)
}

/// Numbers of the programs among the namespace's hooks; `None` where the kernel does not list them.
fn hooked(reader: &mut Reader) -> Result<Option<BTreeSet<u32>>, ReadError> {
    const NFNL_MSG_HOOK_GET: u16 = 12 << 8;
    const NFNLA_HOOK_HOOKNUM: u16 = 1;
    const HOOKS: u32 = 5;
    let mut found = BTreeSet::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for hook in 0..HOOKS {
            let mut body = vec![family as u8, 0, 0, 0];
            body.extend(Builder::attribute(NFNLA_HOOK_HOOKNUM, &hook.to_be_bytes()));
            let mut answer = Vec::new();
            match reader.dump(Protocol::Netfilter, NFNL_MSG_HOOK_GET, &body, &mut answer) {
                Ok(()) => {
                    found.extend(
                        messages(&answer).map_while(Result::ok).filter_map(|message| {
                            program(message.body.get(4..).unwrap_or_default())
                        }),
                    );
                }
                Err(error) => match error.errno() {
                    Some(libc::ENOENT) => {}
                    Some(libc::EINVAL | libc::EOPNOTSUPP) => return Ok(None),
                    _ => return Err(ReadError::Netlink { what: "hooks", source: error }),
                },
            }
        }
    }
    Ok(Some(found))
}

/// The program of a hook, if it is one.
fn program(hook: &[u8]) -> Option<u32> {
    const CHAIN_INFO: u16 = 6;
    const DESCRIPTION: u16 = 1;
    const TYPE: u16 = 2;
    const TYPE_BPF: u32 = 2;
    const BPF_ID: u16 = 1;
    let number =
        |one: Attribute<'_>| one.payload.first_chunk().map(|four| u32::from_be_bytes(*four));
    let info = part(hook, CHAIN_INFO)?.payload;
    let kind = part(info, TYPE).and_then(number)?;
    let described = part(info, DESCRIPTION).filter(|_| kind == TYPE_BPF)?;
    part(described.payload, BPF_ID).and_then(number)
}

fn part(nest: &[u8], id: u16) -> Option<Attribute<'_>> {
    attributes(nest).map_while(Result::ok).find(|one| one.id == id)
}

#[cfg(test)]
mod tests {
    use super::program;
    use crate::netlink::Builder;

    #[test]
    fn a_hook_tells_its_program() {
        let hook = |kind: u32| {
            let id = Builder::attribute(1, &77_u32.to_be_bytes());
            let info = [Builder::attribute(1, &id), Builder::attribute(2, &kind.to_be_bytes())];
            let hooknum = Builder::attribute(1, &0_u32.to_be_bytes());
            [hooknum, Builder::attribute(6, &info.concat())].concat()
        };
        assert_eq!(program(&hook(2)), Some(77));
        assert_eq!(program(&hook(1)), None, "a chain of nftables");
    }
}
