//! Connections that are half open: the peer's SYN was answered, and its last word has not come yet.
//!
//! No dump of a process holds them (they are not sockets of anybody yet), so that they are lost with
//! a pod that moves: the peer's own retransmission of its SYN opens the connection anew, at the pod's
//! successor. One that takes its connection for open already, because the SYN was answered, would be
//! reset there. So a hold first lets them come to their end ([`super::settle`]), and what is left is
//! counted and told. The same goes for connections that no process has accepted yet: CRIU refuses them.
//!
//! Sources: `linux/inet_diag.h`, `linux/sock_diag.h`.

use super::Error;
use crate::netlink::{Protocol, Socket, messages};
use crate::netns::Namespace;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `TCP_SYN_RECV` and `TCP_NEW_SYN_RECV`, as bits of `idiag_states`.
const SYN_RECEIVED: u32 = 1 << 3 | 1 << 12;
/// `TCP_LISTEN`, likewise.
const LISTENING: u32 = 1 << 10;
/// Bytes of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;

/// Connections of a namespace that no process has yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unowned {
    pub half_open: usize,
    /// Open, and waiting at their listener.
    pub unaccepted: usize,
}

impl Unowned {
    /// Whether there are any.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Counts them; none where the kernel has no `inet_diag`. Half-open ones are seen at their listener as
/// well, where they count as half open alone.
///
/// # Errors
/// [`Error::Netlink`].
pub fn unowned(pod: &Namespace) -> Result<Unowned, Error> {
    pod.run(|| {
        let failed = |source| Error::Netlink { what: "connections", source };
        let mut socket = Socket::open(Protocol::SockDiag).map_err(failed)?;
        let mut found = Unowned::default();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = [0; REQUEST];
            request[0] = family as u8;
            request[1] = libc::IPPROTO_TCP as u8;
            request[4..8].copy_from_slice(&(SYN_RECEIVED | LISTENING).to_ne_bytes());
            let dump = match socket.dump(BY_FAMILY, &request) {
                Ok(dump) => dump.bytes,
                Err(error) if error.errno() == Some(libc::ENOENT) => continue,
                Err(source) => return Err(failed(source)),
            };
            for message in messages(&dump).map_while(Result::ok) {
                match waiting(message.body) {
                    Some(waiting) => found.unaccepted += waiting,
                    None => found.half_open += 1,
                }
            }
        }
        Ok(found)
    })?
}

/// How many wait at a listener (`idiag_rqueue`); none where it is no listener.
fn waiting(diag: &[u8]) -> Option<usize> {
    let state = u32::from(*diag.get(1)?);
    let queue = diag.get(56..60)?.first_chunk().map(|queue| u32::from_ne_bytes(*queue))?;
    (1 << state == LISTENING).then_some(queue as usize)
}
