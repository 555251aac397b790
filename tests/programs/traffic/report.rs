//! What a client saw.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::options::Options;

/// Errors that are kept; more are only counted.
const KEPT: usize = 20;

/// Answers, gaps and errors. A gap is the time between two answers on one connection.
pub struct Report {
    answers: u64,
    bytes: u64,
    lost: u64,
    errors: Vec<String>,
    wrong: u64,
    gap: Duration,
    silent: Duration,
    /// When the longest gap began, since 1970.
    gap_at: Duration,
    record: Option<BufWriter<File>>,
    tell: Option<Instant>,
}

impl Report {
    pub fn new(options: &Options) -> io::Result<Self> {
        let record = options.record.as_ref().map(File::create).transpose()?;
        Ok(Self {
            answers: 0,
            bytes: 0,
            lost: 0,
            errors: Vec::new(),
            wrong: 0,
            gap: Duration::ZERO,
            silent: Duration::ZERO,
            gap_at: Duration::ZERO,
            record: record.map(BufWriter::new),
            tell: options.tell.then(Instant::now),
        })
    }

    /// A right answer; `last` is when its connection had the one before.
    pub fn answer(&mut self, bytes: u64, last: &mut Instant) {
        let (now, clock) = (Instant::now(), since_1970());
        let gap = now - *last;
        if gap > self.gap {
            (self.gap, self.gap_at) = (gap, clock.saturating_sub(gap));
        }
        *last = now;
        self.answers += 1;
        self.bytes += bytes;
        if let Some(record) = &mut self.record {
            // A full disk is seen at the end.
            let _ = writeln!(record, "{}", clock.as_micros());
        }
        if let Some(next) = self.tell.filter(|next| now >= *next) {
            self.tell = Some(next.max(now - Duration::from_secs(1)) + Duration::from_secs(1));
            self.print();
        }
    }

    pub fn answers(&self) -> u64 {
        self.answers
    }

    pub fn lost(&mut self, datagrams: u64) {
        self.lost += datagrams;
    }

    pub fn error(&mut self, what: String) {
        self.wrong += 1;
        if self.errors.len() < KEPT {
            self.errors.push(what);
        }
    }

    fn print(&self) {
        let errors: Vec<_> = self.errors.iter().map(|error| format!("{error:?}")).collect();
        let line = format!(
            "{{\"answers\": {}, \"bytes\": {}, \"lost\": {}, \"longestGapMs\": {:.3}, \
             \"gapAtMicros\": {}, \"silentMs\": {:.3}, \"wrong\": {}, \"errors\": [{}]}}\n",
            self.answers,
            self.bytes,
            self.lost,
            self.gap.as_secs_f64() * 1000.0,
            self.gap_at.as_micros(),
            self.silent.as_secs_f64() * 1000.0,
            self.wrong,
            errors.join(", "),
        );
        let _ = io::stdout().lock().write_all(line.as_bytes());
    }

    /// Says that the connections are there.
    pub fn begun(&self) {
        let _ = io::stdout().lock().write_all(b"connected\n");
    }

    /// Prints it; answers whether nothing was wrong. `last` is the oldest of the last answers: a
    /// silence that has not ended is a gap, too.
    pub fn end(mut self, last: Instant) -> io::Result<bool> {
        self.silent = last.elapsed();
        if let Some(record) = &mut self.record {
            record.flush()?;
        }
        self.print();
        Ok(self.wrong == 0 && self.answers > 0)
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
