//! The clients over TCP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::report::Report;
use crate::stream::{self, BOTH, COUNT, DOWN, Direction, HALF, MUTE, UP};
use crate::system::{self, IN, OUT, PollFd};

/// Longest sleep, so that the end is noticed.
const NAP: Duration = Duration::from_millis(100);

fn is_over(options: &Options) -> bool {
    system::is_ended() || options.until.is_some_and(|until| Instant::now() >= until)
}

/// A connection that asks, one question at a time.
struct Asker {
    stream: TcpStream,
    number: usize,
    asked: u64,
    answered: u64,
    part: Vec<u8>,
    last: Instant,
    open: bool,
}

impl Asker {
    fn new(to: &str, number: usize) -> io::Result<Self> {
        let mut stream = system::connect(to)?;
        stream.write_all(&[COUNT])?;
        let last = Instant::now();
        Ok(Self { stream, number, asked: 0, answered: 0, part: Vec::new(), last, open: true })
    }

    /// Whether it waits for an answer.
    fn is_waiting(&self) -> bool {
        self.asked > self.answered
    }

    fn due(&self, options: &Options) -> Instant {
        self.last + options.every
    }

    fn wants_more(&self, options: &Options) -> bool {
        self.open && self.answered < options.answers
    }

    fn ask(&mut self) -> io::Result<()> {
        self.asked += 1;
        self.stream.write_all(&self.asked.to_be_bytes())
    }

    /// Waits for the answer.
    fn hear_once(&mut self, report: &mut Report, options: &Options) -> Result<(), String> {
        while self.is_waiting() && !is_over(options) {
            system::wait(&mut [poll_fd(&self.stream, true)], NAP);
            self.hear(report)?;
        }
        Ok(())
    }

    /// The answer to question n is n and what the server has counted on this connection, also n.
    fn hear(&mut self, report: &mut Report) -> Result<(), String> {
        let mut buffer = [0; 64];
        let length = match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server has ended the connection".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        self.part.extend_from_slice(&buffer[..length]);
        if self.part.len() < 16 {
            return Ok(());
        }
        let expected = [self.asked.to_be_bytes(), self.asked.to_be_bytes()].concat();
        if self.part != expected {
            return Err(format!("question {} was answered {:02x?}", self.asked, self.part));
        }
        self.part.clear();
        self.answered = self.asked;
        report.answer(16, &mut self.last);
        Ok(())
    }
}

/// Asks over one or many connections.
pub fn count(to: &str, options: &Options) -> io::Result<bool> {
    system::remember_signals();
    let mut report = Report::new(options)?;
    let askers = (0..options.connections).map(|number| Asker::new(to, number));
    let mut askers = askers.collect::<io::Result<Vec<_>>>()?;
    let begun = Instant::now();
    askers.iter_mut().for_each(|asker| asker.last = begun);
    report.begun();
    while !is_over(options) && askers.iter().any(|asker| asker.wants_more(options)) {
        let now = Instant::now();
        let mut next = now + NAP;
        for asker in askers.iter_mut().filter(|one| !one.is_waiting() && one.wants_more(options)) {
            if asker.due(options) > now {
                next = next.min(asker.due(options));
            } else if let Err(error) = asker.ask() {
                fail(asker, &mut report, &error.to_string());
            }
        }
        let mut fds: Vec<_> =
            askers.iter().map(|asker| poll_fd(&asker.stream, asker.open)).collect();
        system::wait(&mut fds, next.saturating_duration_since(Instant::now()));
        for (asker, fd) in askers.iter_mut().zip(&fds) {
            if fd.happened != 0
                && let Err(error) = asker.hear(&mut report)
            {
                fail(asker, &mut report, &error);
            }
        }
    }
    let last = askers.iter().map(|asker| asker.last).min();
    report.end(last.unwrap_or(begun))
}

fn poll_fd(stream: &TcpStream, open: bool) -> PollFd {
    // poll(2) passes over a negative descriptor.
    PollFd { fd: if open { stream.as_raw_fd() } else { -1 }, events: IN, happened: 0 }
}

fn fail(asker: &mut Asker, report: &mut Report, why: &str) {
    asker.open = false;
    report.error(format!("connection {} after {} answers: {why}", asker.number, asker.answered));
}

/// Streams in one direction or both at once.
pub fn bulk(direction: &str, to: &str, options: &Options) -> io::Result<bool> {
    let (word, up, down) = match direction {
        "up" => (UP, true, false),
        "down" => (DOWN, false, true),
        _ => (BOTH, true, true),
    };
    system::remember_signals();
    let mut report = Report::new(options)?;
    let mut stream = system::connect(to)?;
    stream.write_all(&[word])?;
    let (mut sent, mut received) = (0, 0);
    let (mut last_sent, mut last_received) = (Instant::now(), Instant::now());
    let mut buffer = vec![0; 64 << 10];
    report.begun();
    while !is_over(options) && report.answers() < options.answers {
        let mut fds = [poll_fd(&stream, true)];
        fds[0].events = IN | if up { OUT } else { 0 };
        system::wait(&mut fds, NAP);
        if up && fds[0].happened & OUT != 0 {
            stream::fill(Direction::Up, sent, &mut buffer[..16 << 10]);
            match stream.write(&buffer[..16 << 10]) {
                Ok(length) => {
                    sent += length as u64;
                    report.answer(length as u64, &mut last_sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return ended(report, format!("after {sent} bytes up: {error}")),
            }
        }
        if fds[0].happened & !OUT == 0 {
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return ended(report, "the server has ended the connection".to_owned()),
            Ok(length) => {
                if let Some(place) = stream::differs(Direction::Down, received, &buffer[..length]) {
                    return ended(report, format!("byte {place} down is another"));
                }
                received += length as u64;
                if down {
                    report.answer(length as u64, &mut last_received);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return ended(report, format!("after {received} bytes down: {error}")),
        }
    }
    let last = if down { last_received } else { last_sent };
    report.end(if up { last.min(last_sent) } else { last })
}

/// Closes its own direction at once, and reads what the server goes on sending: numbers, in order.
pub fn half(to: &str, options: &Options) -> io::Result<bool> {
    system::remember_signals();
    let mut report = Report::new(options)?;
    let mut stream = system::connect(to)?;
    stream.write_all(&[HALF])?;
    stream.shutdown(Shutdown::Write)?;
    report.begun();
    let (mut expected, mut part, mut last) = (1_u64, Vec::new(), Instant::now());
    while !is_over(options) && report.answers() < options.answers {
        let mut fds = [poll_fd(&stream, true)];
        system::wait(&mut fds, NAP);
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return ended(report, "the server has ended its direction, too".to_owned()),
            Ok(length) => part.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return ended(report, format!("after {expected} numbers: {error}")),
        }
        while let Some((number, rest)) = part.split_first_chunk::<8>() {
            if u64::from_be_bytes(*number) != expected {
                return ended(report, format!("{number:02x?} came in place of {expected}"));
            }
            part = rest.to_vec();
            expected += 1;
            report.answer(8, &mut last);
        }
    }
    report.end(last)
}

/// Has the server close its direction, and goes on sending what the server checks; what it has
/// acknowledged counts as an answer.
pub fn mute(to: &str, options: &Options) -> io::Result<bool> {
    system::remember_signals();
    let mut report = Report::new(options)?;
    let mut stream = system::connect(to)?;
    stream.write_all(&[MUTE])?;
    while !is_closed(&mut stream)? && !is_over(options) {
        system::wait(&mut [poll_fd(&stream, true)], NAP);
    }
    report.begun();
    let (mut sent, mut last, mut chunk) = (0, Instant::now(), [0; 64]);
    while !is_over(options) && report.answers() < options.answers {
        // A reset is told here.
        if let Err(error) = is_closed(&mut stream) {
            return ended(report, format!("after {sent} bytes: {error}"));
        }
        if system::unacknowledged(&stream)? == 0 {
            if sent > 0 {
                report.answer(chunk.len() as u64, &mut last);
            }
            stream::fill(Direction::Up, sent, &mut chunk);
            if let Err(error) = stream.write_all(&chunk) {
                return ended(report, format!("after {sent} bytes: {error}"));
            }
            sent += chunk.len() as u64;
        }
        std::thread::sleep(options.every);
    }
    report.end(last)
}

/// Whether the server has closed its direction, in which nothing has come.
fn is_closed(stream: &mut TcpStream) -> io::Result<bool> {
    match stream.read(&mut [0]) {
        Ok(0) => Ok(true),
        Ok(_) => Err(io::Error::other("the server has said something")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens one connection after the other, asks once on each, and leaves all of them open.
pub fn knock(to: &str, options: &Options) -> io::Result<bool> {
    system::remember_signals();
    let mut report = Report::new(options)?;
    let (mut last, mut askers) = (Instant::now(), Vec::<Asker>::new());
    while !is_over(options) && report.answers() < options.answers {
        let mut asker = Asker::new(to, askers.len())?;
        if askers.is_empty() {
            report.begun();
        }
        let answered = asker.ask().map_err(|error| error.to_string());
        if let Err(error) = answered.and_then(|()| asker.hear_once(&mut report, options)) {
            fail(&mut asker, &mut report, &error);
        }
        last = last.max(asker.last);
        askers.push(asker);
        std::thread::sleep(options.every);
    }
    report.end(last)
}

fn ended(mut report: Report, why: String) -> io::Result<bool> {
    report.error(why);
    report.end(Instant::now())
}
