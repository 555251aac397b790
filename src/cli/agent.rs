//! `netckpt agent`.

use std::time::Duration;

use super::Outcome;
use crate::agent::{self, Options};

/// How long calls that are still blocking a thread are waited for at the end.
const LEFT_OVER: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let runtime = super::runtime()?;
        let outcome = runtime.block_on(agent::run(self.options));
        // Blocking calls that hang (a store's folder, a kernel's answer) must not outlast the grace.
        runtime.shutdown_timeout(LEFT_OVER);
        outcome?;
        Ok(Outcome::Good)
    }
}
