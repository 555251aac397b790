//! The client over UDP: what is lost while the pod is held is counted, everything else is an error.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::report::Report;
use crate::system::{self, IN, PollFd};

/// An answer that has not come by then does not come any more.
const LOST: Duration = Duration::from_millis(50);

pub fn run(to: &str, options: &Options) -> io::Result<bool> {
    system::remember_signals();
    let mut report = Report::new(options)?;
    let socket = system::datagrams(to)?;
    let (mut asked, mut served, mut last) = (0_u64, 0_u64, Instant::now());
    report.begun();
    while !system::is_ended()
        && report.answers() < options.answers
        && options.until.is_none_or(|until| Instant::now() < until)
    {
        asked += 1;
        let sent = Instant::now();
        if let Err(error) = socket.send(&asked.to_be_bytes()) {
            report.error(format!("datagram {asked}: {error}"));
        }
        match answer(&socket, asked, sent + LOST.max(options.every)) {
            Ok(None) => report.lost(1),
            // A server that was begun anew would count from one again.
            Ok(Some(count)) if count <= served || count > asked => {
                report.error(format!(
                    "datagram {asked} was the server's number {count} after {served}"
                ));
            }
            Ok(Some(count)) => {
                served = count;
                report.answer(16, &mut last);
            }
            Err(error) => report.error(format!("the answer to datagram {asked}: {error}")),
        }
        std::thread::sleep((sent + options.every).saturating_duration_since(Instant::now()));
    }
    report.end(last)
}

/// Waits for the answer to this question; what comes late for an earlier one is passed over.
fn answer(socket: &std::net::UdpSocket, asked: u64, until: Instant) -> io::Result<Option<u64>> {
    loop {
        let mut buffer = [0; 64];
        match socket.recv(&mut buffer) {
            Ok(16) => {
                let number = |at: usize| u64::from_be_bytes(buffer[at..at + 8].try_into().unwrap());
                if number(0) == asked {
                    return Ok(Some(number(8)));
                }
            }
            Ok(length) => return Err(io::Error::other(format!("{length} bytes"))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                let mut fds = [PollFd { fd: socket.as_raw_fd(), events: IN, happened: 0 }];
                system::wait(&mut fds, left);
            }
            Err(error) => return Err(error),
        }
    }
}
