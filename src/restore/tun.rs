//! Persistent tun and tap links, which are made by system calls on `/dev/net/tun` (`linux/if_tun.h`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::netlink::Refusal;
use crate::plan::Tun;

const DEVICE: &str = "/dev/net/tun";

const TUNSETIFF: libc::c_ulong = request(202);
const TUNSETPERSIST: libc::c_ulong = request(203);
const TUNSETOWNER: libc::c_ulong = request(204);
const TUNSETGROUP: libc::c_ulong = request(206);
const TUNSETIFINDEX: libc::c_ulong = request(218);

/// `_IOW('T', number, int)`.
const fn request(number: u8) -> libc::c_ulong {
    nix::request_code_write!(b'T', number, size_of::<libc::c_int>()) as libc::c_ulong
}

/// Makes the link in the namespace of the calling thread. One that can't be made whole is not made:
/// until it is persistent it goes with the descriptor.
pub fn make(tun: &Tun) -> Result<(), Refusal> {
    let refused = |what: &'static str| {
        move |error: io::Error| Refusal {
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            message: Some(what.to_owned()),
            offset: None,
        }
    };
    let file = File::options().read(true).write(true).open(DEVICE).map_err(refused(DEVICE))?;
    let mut request = named(&tun.name).map_err(refused("its name"))?;
    request.ifr_ifru.ifru_flags = tun.flags as libc::c_short;
    // SAFETY: the descriptor is open, and both point to live values of the types that are asked for.
    unsafe {
        call(&file, TUNSETIFINDEX, (&raw const tun.index) as usize)
            .map_err(refused("TUNSETIFINDEX"))?;
        call(&file, TUNSETIFF, (&raw mut request) as usize).map_err(refused("TUNSETIFF"))?;
    }
    let settings = [
        (TUNSETOWNER, tun.owner, "TUNSETOWNER"),
        (TUNSETGROUP, tun.group, "TUNSETGROUP"),
        (TUNSETPERSIST, Some(1), "TUNSETPERSIST"),
    ];
    for (request, value, name) in settings {
        if let Some(value) = value {
            // SAFETY: the descriptor is open; the argument is a number.
            unsafe { call(&file, request, value as usize) }.map_err(refused(name))?;
        }
    }
    Ok(())
}

/// An `ifreq` with this name.
fn named(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

/// # Safety
/// `argument` is what the request asks for.
unsafe fn call(file: &File, request: libc::c_ulong, argument: usize) -> io::Result<()> {
    // SAFETY: as the caller promises.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
