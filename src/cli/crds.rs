//! `netckpt crds`.

use super::{Outcome, output};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        output::line(&crate::api::crds()?);
        Ok(Outcome::Good)
    }
}
