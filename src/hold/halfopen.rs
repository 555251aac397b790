//! Connections that are half open: the peer's SYN was answered, and its last word has not come yet.
//!
//! No dump of a process holds them (they are not sockets of anybody yet), so that they are lost with
//! a pod that moves: the peer's own retransmission of its SYN opens the connection anew, at the pod's
//! successor. They are counted, so that this is told.
//!
//! Sources: `linux/inet_diag.h`, `linux/sock_diag.h`.

use super::Error;
use crate::netlink::{Protocol, Socket, messages};
use crate::netns::Namespace;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `TCP_SYN_RECV` and `TCP_NEW_SYN_RECV`, as bits of `idiag_states`.
const SYN_RECEIVED: u32 = 1 << 3 | 1 << 12;
/// Bytes of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;

/// How many there are in the namespace; none where the kernel has no `inet_diag`.
///
/// # Errors
/// [`Error::Netlink`].
pub fn half_open(pod: &Namespace) -> Result<usize, Error> {
    pod.run(|| {
        let failed = |source| Error::Netlink { what: "half-open connections", source };
        let mut socket = Socket::open(Protocol::SockDiag).map_err(failed)?;
        let mut count = 0;
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = [0; REQUEST];
            request[0] = family as u8;
            request[1] = libc::IPPROTO_TCP as u8;
            request[4..8].copy_from_slice(&SYN_RECEIVED.to_ne_bytes());
            match socket.dump(BY_FAMILY, &request) {
                Ok(dump) => count += messages(&dump.bytes).map_while(Result::ok).count(),
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(count)
    })?
}
