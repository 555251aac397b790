//! `netckpt timeline`: draws moves.

use std::path::PathBuf;

use anyhow::Context;

use super::{Outcome, output};
use crate::migrate::{Timeline, timeline};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What `netckpt migrate --timeline` wrote.
    #[arg(required = true, value_name = "FILE")]
    moves: Vec<PathBuf>,
    /// Times of a client's answers in microseconds since 1970, one a line.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Also draw them there, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Characters of a line.
    #[arg(long, default_value_t = 100)]
    width: usize,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let moves = self.moves.iter().map(|file| {
            let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
            serde_json::from_slice::<Timeline>(&text)
                .with_context(|| format!("{} is not of a move", file.display()))
        });
        let moves = moves.collect::<anyhow::Result<Vec<_>>>()?;
        let answers = match &self.answers {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("read {}", file.display()))?;
                // A client that was killed has left half a line.
                text.lines().map_while(|line| line.parse().ok()).collect()
            }
            None => Vec::new(),
        };
        for one in &moves {
            output::line(&format!("{}\n", one.text(&answers, self.width)));
        }
        if let Some(file) = &self.svg {
            std::fs::write(file, timeline::svg(&moves, &answers))
                .with_context(|| format!("write {}", file.display()))?;
        }
        Ok(Outcome::Good)
    }
}
