//! The plugin's side of the socket: blocking, with one deadline for the whole exchange.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use nix::sys::time::{TimeVal, TimeValLike};

use super::protocol::{Answer, LONGEST_ANSWER, LONGEST_REQUEST, Request, frame, length};

/// The agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens: the agent is not running, or starts just now.
    #[error("the agent does not listen on {socket}: {source}")]
    Away { socket: String, source: io::Error },
    /// It listened and then failed or went away.
    #[error("the agent on {socket} {what}: {source}")]
    Broken { socket: String, what: &'static str, source: io::Error },
    #[error("the agent on {socket} gave no answer within {} s", waited.as_secs())]
    Late { socket: String, waited: Duration },
}

/// Asks and waits for the answer.
///
/// # Errors
/// See [`Error`].
pub fn ask(socket: &str, request: &Request, patience: Duration) -> Result<Answer, Error> {
    let end = Instant::now() + patience;
    let stream = connect(socket, patience).map_err(|errno| match errno {
        Errno::EAGAIN => Error::Late { socket: socket.to_owned(), waited: patience },
        _ => Error::Away { socket: socket.to_owned(), source: errno.into() },
    })?;
    exchange(&stream, request, end).map_err(|(what, source)| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Error::Late { socket: socket.to_owned(), waited: patience }
        }
        _ => Error::Broken { socket: socket.to_owned(), what, source },
    })
}

/// Connects with a deadline: an agent that is stuck with a full backlog would block for ever.
fn connect(path: &str, patience: Duration) -> nix::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::milliseconds(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
    socket::setsockopt(&fd, SendTimeout, &patience)?;
    socket::connect(fd.as_raw_fd(), &address)?;
    Ok(fd.into())
}

type Failure = (&'static str, io::Error);

fn exchange(mut stream: &UnixStream, request: &Request, end: Instant) -> Result<Answer, Failure> {
    let request = frame(request, LONGEST_REQUEST).map_err(|error| ("can't be asked", error))?;
    let asked = stream.set_write_timeout(Some(left(end))).and_then(|()| stream.write_all(&request));
    asked.map_err(|error| ("did not take the question", error))?;
    let mut header = [0; 4];
    receive(stream, &mut header, end)?;
    let length =
        length(header, LONGEST_ANSWER).map_err(|error| ("gave an unusable answer", error))?;
    let mut body = vec![0; length];
    receive(stream, &mut body, end)?;
    serde_json::from_slice(&body).map_err(|error| ("gave an unusable answer", error.into()))
}

/// Fills `into`; the deadline holds for all of it, however slowly it trickles in.
fn receive(mut stream: &UnixStream, into: &mut [u8], end: Instant) -> Result<(), Failure> {
    let mut done = 0;
    while done < into.len() {
        let got =
            stream.set_read_timeout(Some(left(end))).and_then(|()| stream.read(&mut into[done..]));
        match got {
            Ok(0) => return Err(("closed the connection", io::ErrorKind::UnexpectedEof.into())),
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(("gave no whole answer", error)),
        }
    }
    Ok(())
}

/// Time until `end`, never zero: zero means to wait for ever.
fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
