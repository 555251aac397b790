//! The options of the clients.

use std::time::{Duration, Instant};

/// How a client runs.
pub struct Options {
    pub connections: usize,
    pub every: Duration,
    pub answers: u64,
    pub until: Option<Instant>,
    pub record: Option<String>,
    pub tell: bool,
}

impl Options {
    /// Of the words after the fixed ones; a wrong one ends the program.
    pub fn parse(words: &[&str]) -> Self {
        let mut options = Self {
            connections: 1,
            every: Duration::from_millis(2),
            answers: u64::MAX,
            until: None,
            record: None,
            tell: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().unwrap_or_else(|| wrong(word));
            match *word {
                "--connections" => options.connections = number(value()) as usize,
                "--every" => options.every = Duration::from_millis(number(value())),
                "--answers" => options.answers = number(value()),
                "--for" => {
                    options.until = Some(Instant::now() + Duration::from_secs(number(value())));
                }
                "--record" => options.record = Some(value().to_owned()),
                "--tell" => options.tell = true,
                other => wrong(other),
            }
        }
        options
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| wrong(text))
}

fn wrong(word: &str) -> ! {
    eprintln!("traffic: {word}: not understood");
    std::process::exit(2)
}
