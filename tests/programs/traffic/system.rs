//! The few calls that the standard library does not have: poll(2), signal(2), setsockopt(2).

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Of `bits/poll.h`.
pub const IN: i16 = 1;
pub const OUT: i16 = 4;

#[repr(C)]
pub struct PollFd {
    pub fd: RawFd,
    pub events: i16,
    pub happened: i16,
}

unsafe extern "C" {
    fn poll(fds: *mut PollFd, count: u64, milliseconds: i32) -> i32;
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn ioctl(fd: RawFd, request: u64, value: *mut i32) -> i32;
    fn setsockopt(fd: RawFd, level: i32, name: i32, value: *const i32, length: u32) -> i32;
}

/// Waits until one of the descriptors is ready, a signal comes or the time is over.
pub fn wait(fds: &mut [PollFd], time: Duration) {
    // Rounded up, or the last part of a millisecond would be spent spinning.
    let milliseconds = i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: a slice of the structures that poll(2) asks for, of that length.
    unsafe { poll(fds.as_mut_ptr(), fds.len() as u64, milliseconds) };
}

static ENDED: AtomicBool = AtomicBool::new(false);

extern "C" fn end(_: i32) {
    ENDED.store(true, Ordering::Relaxed);
}

/// From now on SIGTERM and SIGINT are only remembered.
pub fn remember_signals() {
    const SIGINT: i32 = 2;
    const SIGTERM: i32 = 15;
    for number in [SIGINT, SIGTERM] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { signal(number, end) };
    }
}

pub fn is_ended() -> bool {
    ENDED.load(Ordering::Relaxed)
}

/// ICMP errors become errors of the socket at once, which TCP otherwise keeps to itself for long.
pub fn strict(fd: RawFd) {
    const SOL_IP: i32 = 0;
    const IP_RECVERR: i32 = 11;
    const SOL_IPV6: i32 = 41;
    const IPV6_RECVERR: i32 = 25;
    let on = 1;
    // SAFETY: an integer of its own size. One of the two is of another family, and fails.
    unsafe {
        setsockopt(fd, SOL_IP, IP_RECVERR, &raw const on, 4);
        setsockopt(fd, SOL_IPV6, IPV6_RECVERR, &raw const on, 4);
    }
}

/// Bytes that were written, and that the peer has not acknowledged (`SIOCOUTQ` of `linux/sockios.h`).
pub fn unacknowledged(stream: &TcpStream) -> io::Result<usize> {
    const SIOCOUTQ: u64 = 0x5411;
    let mut bytes = 0;
    // SAFETY: the kernel writes one integer there.
    match unsafe { ioctl(stream.as_raw_fd(), SIOCOUTQ, &raw mut bytes) } {
        0 => Ok(usize::try_from(bytes).unwrap_or_default()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A connection to `HOST:PORT`, or, for `accept:PORT`, the first one from somebody who dials.
pub fn connect(to: &str) -> io::Result<TcpStream> {
    let stream = match to.strip_prefix("accept:") {
        Some(port) => TcpListener::bind(format!("[::]:{port}"))?.accept()?.0,
        None => TcpStream::connect(to)?,
    };
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    strict(stream.as_raw_fd());
    Ok(stream)
}

pub fn datagrams(to: &str) -> io::Result<UdpSocket> {
    let local = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(local)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    strict(socket.as_raw_fd());
    Ok(socket)
}
