//! The socket: strict checking, extended acknowledgements, large buffers, deadlines.
//!
//! Blocking on purpose: it is used on threads that live inside a network namespace. A socket stays
//! in the namespace that it was opened in, whatever its thread does later.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::answer::{Sifted, refusal, sift};
use super::{Builder, Error, Protocol, Refusal, align, messages};

/// Longest silence of the kernel that is waited for.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
/// Receive buffer asked for: a burst of events or acknowledgements must not overflow it.
const RECEIVE_BUFFER: libc::c_int = 8 << 20;
const SEND_BUFFER: libc::c_int = 4 << 20;
/// Room for one receive. The kernel fills dumps up to 32 KiB a time, and single messages (a set with
/// many elements, a device with many VFs) may be larger.
const ROOM: usize = 128 << 10;
/// Messages sent at once by [`Socket::batch`].
const CHUNK: usize = 512;
/// Bytes sent at once by [`Socket::batch`].
const CHUNK_BYTES: usize = 256 << 10;

/// Most bytes of one answer. A pod's own objects can be many: what is kept of them must not take the
/// node's memory. It is what a section of an image may have.
pub(super) const LARGEST: usize = 512 << 20;

/// What a dump gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// The messages, aligned, one after another, with sequence number and port zeroed.
    pub bytes: Vec<u8>,
    /// The kernel marked the dump as inconsistent (`NLM_F_DUMP_INTR`).
    pub interrupted: bool,
}

/// What came on the subscribed groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    pub bytes: Vec<u8>,
    /// Some were lost; everything subscribed to may have changed.
    pub lost: bool,
}

/// A netlink socket of the namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    /// What was received last; its room is used again and again.
    received: Vec<u8>,
    /// Most bytes of one answer.
    pub(super) largest: usize,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Error::System`] with the failing step.
    pub fn open(protocol: Protocol) -> Result<Self, Error> {
        // SAFETY: plain system call; the descriptor is owned from here on.
        let fd = unsafe {
            let fd = libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                protocol as libc::c_int,
            );
            if fd < 0 {
                return Err(system("open"));
            }
            OwnedFd::from_raw_fd(fd)
        };
        let raw = fd.as_raw_fd();
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            set(raw, libc::SOL_NETLINK, option, &1_i32).map_err(|_| system("extended acks"))?;
        }
        // Only rtnetlink knows strict checking; elsewhere the option is accepted and means nothing.
        set(raw, libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, &1_i32)
            .map_err(|_| system("strict checking"))?;
        // Without CAP_NET_ADMIN in the initial user namespace the limit of rmem_max holds.
        if set(raw, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER).is_err() {
            set(raw, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER)
                .map_err(|_| system("receive buffer"))?;
        }
        if set(raw, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER).is_err() {
            set(raw, libc::SOL_SOCKET, libc::SO_SNDBUF, &SEND_BUFFER)
                .map_err(|_| system("send buffer"))?;
        }
        bind(raw).map_err(|_| system("bind"))?;
        let wait = libc::timeval { tv_sec: DEADLINE.as_secs() as libc::time_t, tv_usec: 0 };
        set(raw, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &wait).map_err(|_| system("deadline"))?;
        set(raw, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &wait).map_err(|_| system("deadline"))?;
        Ok(Self { fd, sequence: 0, received: Vec::new(), largest: LARGEST })
    }

    /// Joins multicast groups, by number (`RTNLGRP_*`, `NFNLGRP_*`).
    ///
    /// # Errors
    /// [`Error::System`]; a group that this kernel does not have answers `ENOENT` or `EINVAL`.
    pub fn subscribe(&self, groups: &[u32]) -> Result<(), Error> {
        for group in groups {
            set(self.fd.as_raw_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
                .map_err(|_| system("subscribe"))?;
        }
        Ok(())
    }

    /// Asks for a dump. `body` is all that follows `nlmsghdr`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's reason; see [`Error`] for the rest.
    pub fn dump(&mut self, kind: u16, body: &[u8]) -> Result<Dump, Error> {
        let mut dump = Dump::default();
        self.dump_into(kind, body, &mut dump.bytes).map(|interrupted| {
            dump.interrupted = interrupted;
            dump
        })
    }

    /// As [`Self::dump`], appending to `into`; answers whether the dump was interrupted.
    ///
    /// # Errors
    /// As [`Self::dump`]; `into` is then as long as before.
    pub fn dump_into(&mut self, kind: u16, body: &[u8], into: &mut Vec<u8>) -> Result<bool, Error> {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        let sequence = self.send_one(Builder::new(kind, flags, body).finish())?;
        let start = into.len();
        let outcome = self.collect(sequence, into, true);
        if outcome.is_err() {
            into.truncate(start);
        }
        outcome
    }

    /// Asks for one object; the answer is the messages that came before the acknowledgement.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's reason; see [`Error`] for the rest.
    pub fn get(&mut self, kind: u16, body: &[u8]) -> Result<Vec<u8>, Error> {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let sequence = self.send_one(Builder::new(kind, flags, body).finish())?;
        let mut bytes = Vec::new();
        self.collect(sequence, &mut bytes, false)?;
        Ok(bytes)
    }

    /// Sends one message (its sequence number and the request and acknowledge flags are set here)
    /// and waits for the kernel's verdict.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's reason; see [`Error`] for the rest.
    pub fn request(&mut self, message: Vec<u8>) -> Result<(), Error> {
        match self.batch(std::iter::once(message.as_slice()))?.pop() {
            Some((_, refusal)) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Sends many messages with few system calls; each is judged by itself. Answers the refused
    /// ones, by their place in `all`.
    ///
    /// # Errors
    /// [`Error`] where the kernel could not be asked; refusals are not errors here.
    pub fn batch<'a>(
        &mut self,
        all: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<(usize, Refusal)>, Error> {
        let mut refused = Vec::new();
        let mut chunk = Chunk::default();
        let mut done = 0;
        for message in all {
            chunk.add(message, self.next());
            if chunk.starts.len() == CHUNK || chunk.bytes.len() >= CHUNK_BYTES {
                done = self.flush(&mut chunk, done, &mut refused)?;
            }
        }
        self.flush(&mut chunk, done, &mut refused)?;
        Ok(refused)
    }

    /// Sends all messages in one piece, for batches that the kernel takes or leaves as a whole: the
    /// first begins the batch (`NFNL_MSG_BATCH_BEGIN`), the last ends it. Answers the refused ones
    /// by their place, in the order of the kernel's answers; none if it took the batch.
    ///
    /// # Errors
    /// As [`Self::batch`].
    pub fn transaction<'a>(
        &mut self,
        all: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<(usize, Refusal)>, Error> {
        let mut chunk = Chunk::default();
        for message in all {
            chunk.add(message, self.next());
        }
        let count = chunk.starts.len();
        // Kernels differ in whether they acknowledge the end of a batch; all do so for what is in it.
        // What stops the batch as a whole is told of its first message.
        let Some(acknowledged) = count.checked_sub(2) else { return Ok(Vec::new()) };
        chunk.bytes[chunk.starts[acknowledged] + 6] |= libc::NLM_F_ACK as u8;
        self.room_to_send(chunk.bytes.len())?;
        let first = self.sequence.wrapping_sub(count as u32 - 1);
        self.send(&chunk.bytes)?;
        let mut refused = Vec::new();
        self.verdicts(first, count, &[0, acknowledged], &mut refused)?;
        Ok(refused)
    }

    /// Waits until no transaction of nftables is under way: what such a one has made visible has been
    /// told by then. An empty batch does that: it waits for the same lock, and it changes nothing.
    /// The kernel works on it before the call returns, and does not answer unless it fails.
    ///
    /// # Errors
    /// [`Error::System`] when the socket cannot be written.
    pub fn pass_transactions(&mut self) -> Result<(), Error> {
        // `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`, and `NFNL_SUBSYS_NFTABLES`.
        let mut chunk = Chunk::default();
        for kind in [0x10, 0x11] {
            chunk.add(&Builder::new(kind, 0, &[0, 0, 0, 10]).finish(), self.next());
        }
        self.send(&chunk.bytes)
    }

    /// Lets one piece of this size be sent.
    fn room_to_send(&self, bytes: usize) -> Result<(), Error> {
        let Ok(size) = libc::c_int::try_from(bytes) else {
            let source = io::Error::from_raw_os_error(libc::EMSGSIZE);
            return Err(Error::System { step: "send buffer", source });
        };
        if size <= SEND_BUFFER {
            return Ok(());
        }
        set(self.fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &size)
            .map_err(|_| system("send buffer"))
    }

    /// Takes what came on the subscribed groups so far, without waiting.
    ///
    /// # Errors
    /// [`Error::System`] when the socket cannot be read.
    pub fn events(&mut self) -> Result<Events, Error> {
        let mut events = Events::default();
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(()) => {
                    events.bytes.extend_from_slice(&self.received);
                    events.bytes.resize(align(events.bytes.len()), 0);
                }
                Err(Error::Overrun) => events.lost = true,
                Err(Error::Silent) => return Ok(events),
                Err(error) => return Err(error),
            }
        }
    }

    /// The descriptor, for waiting on it together with others.
    #[must_use]
    pub fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    fn send_one(&mut self, mut message: Vec<u8>) -> Result<u32, Error> {
        let sequence = self.next();
        message[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.send(&message)?;
        Ok(sequence)
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        // SAFETY: pointer and length are those of one slice.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(system("send")) } else { Ok(()) }
    }

    /// One `recv` into [`Self::received`]. [`Error::Silent`] when nothing comes.
    fn receive(&mut self, flags: libc::c_int) -> Result<(), Error> {
        self.received.clear();
        self.received.reserve(ROOM);
        let room = self.received.spare_capacity_mut();
        loop {
            // SAFETY: the kernel writes at most `room.len()` bytes and says how many it had;
            // MSG_TRUNC makes a message that did not fit visible.
            let got = unsafe {
                libc::recv(
                    self.fd.as_raw_fd(),
                    room.as_mut_ptr().cast(),
                    room.len(),
                    flags | libc::MSG_TRUNC,
                )
            };
            if let Ok(got) = usize::try_from(got) {
                if got > room.len() {
                    return Err(Error::Overrun);
                }
                // SAFETY: the kernel initialised `got` bytes of the room.
                unsafe { self.received.set_len(got) };
                return Ok(());
            }
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EAGAIN) => Err(Error::Silent),
                Some(libc::ENOBUFS) => Err(Error::Overrun),
                _ => Err(Error::System { step: "receive", source: error }),
            };
        }
    }

    /// Receives until the answer to `sequence` is complete; what is not part of it is dropped. An
    /// answer that is too large is not received to its end: the socket is of no use after that.
    fn collect(&mut self, sequence: u32, into: &mut Vec<u8>, dump: bool) -> Result<bool, Error> {
        let mut interrupted = false;
        let start = into.len();
        loop {
            self.receive(0)?;
            if (into.len() - start).saturating_add(self.received.len()) > self.largest {
                return Err(Error::TooLarge { limit: self.largest });
            }
            match sift(&self.received, sequence, &mut interrupted, into)? {
                Sifted::More => {}
                Sifted::Done => return Ok(interrupted),
                Sifted::Acked if !dump => return Ok(interrupted),
                Sifted::Acked => {}
            }
        }
    }

    /// Sends a chunk, reads the verdicts up to the acknowledgement of its last message.
    fn flush(
        &mut self,
        chunk: &mut Chunk,
        before: usize,
        refused: &mut Vec<(usize, Refusal)>,
    ) -> Result<usize, Error> {
        let Some(&last) = chunk.starts.last() else { return Ok(before) };
        // Errors are told in any case; one acknowledgement says that all was judged.
        chunk.bytes[last + 6] |= libc::NLM_F_ACK as u8;
        let count = chunk.starts.len();
        let first = self.sequence.wrapping_sub(count as u32 - 1);
        self.send(&chunk.bytes)?;
        let start = refused.len();
        self.verdicts(first, count, &[count - 1], refused)?;
        for (place, _) in &mut refused[start..] {
            *place += before;
        }
        chunk.bytes.clear();
        chunk.starts.clear();
        Ok(before + count)
    }

    /// Reads the verdicts on `count` messages, of which `first` is the first sequence number, up to
    /// that on one of `ends`.
    fn verdicts(
        &mut self,
        first: u32,
        count: usize,
        ends: &[usize],
        refused: &mut Vec<(usize, Refusal)>,
    ) -> Result<(), Error> {
        loop {
            self.receive(0)?;
            for message in messages(&self.received) {
                let message = message?;
                let place = message.sequence.wrapping_sub(first) as usize;
                if message.kind != libc::NLMSG_ERROR as u16 || place >= count {
                    continue;
                }
                if let Some(refusal) = refusal(&message)? {
                    refused.push((place, refusal));
                }
                if ends.contains(&place) {
                    return Ok(());
                }
            }
        }
    }
}

/// Messages to be sent in one piece.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Chunk {
    fn add(&mut self, message: &[u8], sequence: u32) {
        let at = self.bytes.len();
        self.starts.push(at);
        self.bytes.extend_from_slice(message);
        self.bytes.resize(align(self.bytes.len()), 0);
        self.bytes[at + 6] |= libc::NLM_F_REQUEST as u8;
        self.bytes[at + 8..at + 12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

fn system(step: &'static str) -> Error {
    Error::System { step, source: io::Error::last_os_error() }
}

/// Lets the kernel give the socket a port. Broadcasts pass over sockets whose port is that of their
/// sender, and the kernel sends most from port 0, which is what a socket has until it is bound.
fn bind(fd: RawFd) -> io::Result<()> {
    // SAFETY: all zeroes is a valid address: any port, no groups.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    let size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: pointer and length are those of `address`.
    let outcome = unsafe { libc::bind(fd, std::ptr::from_ref(&address).cast(), size) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set<T>(fd: RawFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length are those of `value`.
    let outcome = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
