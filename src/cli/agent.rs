//! `netckpt agent`.

use super::Outcome;
use crate::agent::{self, Options};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        super::runtime()?.block_on(agent::run(self.options))?;
        Ok(Outcome::Good)
    }
}
