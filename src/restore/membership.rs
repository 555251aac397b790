//! Link-layer multicast addresses that somebody joined by hand: `SIOCADDMULTI` and `SIOCDELMULTI` of
//! `linux/sockios.h`, for which netlink has no message.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Joins or leaves an address on a link of the thread's namespace.
pub fn set(link: &str, address: &[u8], join: bool) -> io::Result<()> {
    // SAFETY: all zeroes is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays: names end with a NUL.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(link.bytes()) {
        *to = from as libc::c_char;
    }
    let family = libc::AF_UNSPEC as libc::sa_family_t;
    let mut hardware = libc::sockaddr { sa_family: family, sa_data: [0; 14] };
    for (to, from) in hardware.sa_data.iter_mut().zip(address) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_hwaddr = hardware;
    // SAFETY: plain system call; the descriptor is owned from here on.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    let kind = if join { libc::SIOCADDMULTI } else { libc::SIOCDELMULTI };
    // SAFETY: the request is a whole `struct ifreq` and outlives the call.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), kind as _, &raw mut request) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
