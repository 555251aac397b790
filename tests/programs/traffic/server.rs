//! The server: one thread, one loop over poll(2), any number of connections.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::stream::{self, BOTH, COUNT, DOWN, Direction, HALF, MUTE, UP};
use crate::system::{self, IN, OUT, PollFd};

/// Pause between two numbers on a half-closed connection.
const PACE: Duration = Duration::from_millis(2);
/// Written at once on a streaming connection.
const CHUNK: usize = 16 << 10;

/// Longest wait for somebody who is dialed, and pause until it is tried again.
const DIAL: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(50);

/// Serves until it is killed, first of all those who are dialed: the connection is the server's, and the
/// client at its other end asks all the same.
pub fn run(port: &str, dialed: &[&str]) -> io::Result<()> {
    let listener = TcpListener::bind(format!("[::]:{port}"))?;
    listener.set_nonblocking(true)?;
    let datagrams = UdpSocket::bind(format!("[::]:{port}"))?;
    datagrams.set_nonblocking(true)?;
    println!("serving at {port}");
    let mut counted = 0;
    let mut talks: Vec<Talk> = Vec::new();
    for to in dialed {
        let (stream, peer) = dial(to)?;
        talks.push(Talk::new(stream, peer)?);
    }
    loop {
        let mut fds = vec![
            PollFd { fd: listener.as_raw_fd(), events: IN, happened: 0 },
            PollFd { fd: datagrams.as_raw_fd(), events: IN, happened: 0 },
        ];
        fds.extend(talks.iter().map(Talk::interest));
        let paced = talks.iter().any(|talk| matches!(talk.about, About::Half { .. }));
        system::wait(&mut fds, if paced { PACE } else { Duration::from_secs(60) });
        for (talk, fd) in talks.iter_mut().zip(&fds[2..]) {
            if let Err(why) = talk.go_on(fd.happened) {
                if !why.is_empty() {
                    eprintln!("{}: {why}", talk.peer);
                }
                talk.ended = true;
            }
        }
        talks.retain(|talk| !talk.ended);
        while let Ok((stream, peer)) = listener.accept() {
            talks.push(Talk::new(stream, peer)?);
        }
        answer_datagrams(&datagrams, &mut counted);
    }
}

/// Until somebody is there.
fn dial(to: &str) -> io::Result<(TcpStream, SocketAddr)> {
    let peer = to.parse().map_err(|_| io::Error::other(format!("{to}: not an address")))?;
    loop {
        match TcpStream::connect_timeout(&peer, DIAL) {
            Ok(stream) => return Ok((stream, peer)),
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

/// Each datagram is sent back with how many there have been.
fn answer_datagrams(socket: &UdpSocket, counted: &mut u64) {
    let mut buffer = [0; 64];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if length == 8 {
            *counted += 1;
            let answer = [&buffer[..8], &counted.to_be_bytes()].concat();
            let _ = socket.send_to(&answer, from);
        }
    }
}

struct Talk {
    stream: TcpStream,
    peer: SocketAddr,
    about: About,
    /// What the socket did not take yet.
    out: Vec<u8>,
    ended: bool,
}

enum About {
    /// Nothing was said yet.
    Unknown,
    Count {
        counted: u64,
        part: Vec<u8>,
    },
    Stream {
        down: bool,
        sent: u64,
        received: u64,
    },
    Half {
        sent: u64,
        next: Instant,
    },
}

impl Talk {
    fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, peer, about: About::Unknown, out: Vec::new(), ended: false })
    }

    fn interest(&self) -> PollFd {
        let streams = matches!(self.about, About::Stream { down: true, .. });
        let out = if streams || !self.out.is_empty() { OUT } else { 0 };
        // The end of the client's direction would be told again and again.
        let reads = if matches!(self.about, About::Half { .. }) { 0 } else { IN };
        PollFd { fd: self.stream.as_raw_fd(), events: reads | out, happened: 0 }
    }

    /// An empty error is the client's good end.
    fn go_on(&mut self, happened: i16) -> Result<(), String> {
        if happened & !OUT != 0 && !matches!(self.about, About::Half { .. }) {
            self.hear()?;
        }
        if let About::Half { sent, next } = &mut self.about
            && Instant::now() >= *next
            && self.out.is_empty()
        {
            *sent += 1;
            *next = Instant::now() + PACE;
            self.out.extend_from_slice(&sent.to_be_bytes());
        }
        if let About::Stream { down: true, sent, .. } = &mut self.about
            && self.out.is_empty()
        {
            self.out.resize(CHUNK, 0);
            stream::fill(Direction::Down, *sent, &mut self.out);
            *sent += CHUNK as u64;
        }
        self.write()
    }

    fn hear(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; 64 << 10];
        let length = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(String::new()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let mut bytes = &buffer[..length];
        if let About::Unknown = self.about {
            self.about = About::of(bytes[0])?;
            if bytes[0] == MUTE {
                self.stream.shutdown(Shutdown::Write).map_err(|error| error.to_string())?;
            }
            bytes = &bytes[1..];
        }
        match &mut self.about {
            About::Count { counted, part } => {
                part.extend_from_slice(bytes);
                while let Some((question, rest)) = part.split_first_chunk::<8>() {
                    *counted += 1;
                    if u64::from_be_bytes(*question) != *counted {
                        return Err(format!("question {counted} was {question:02x?}"));
                    }
                    self.out.extend_from_slice(question);
                    self.out.extend_from_slice(&counted.to_be_bytes());
                    *part = rest.to_vec();
                }
            }
            About::Stream { received, .. } => {
                if let Some(place) = stream::differs(Direction::Up, *received, bytes) {
                    return Err(format!("byte {place} up is another"));
                }
                *received += bytes.len() as u64;
            }
            About::Half { .. } | About::Unknown => {}
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), String> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(length) => drop(self.out.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}

impl About {
    fn of(word: u8) -> Result<Self, String> {
        match word {
            COUNT => Ok(Self::Count { counted: 0, part: Vec::new() }),
            UP | MUTE => Ok(Self::Stream { down: false, sent: 0, received: 0 }),
            DOWN | BOTH => Ok(Self::Stream { down: true, sent: 0, received: 0 }),
            HALF => Ok(Self::Half { sent: 0, next: Instant::now() }),
            other => Err(format!("a connection that begins with {other:02x}")),
        }
    }
}
