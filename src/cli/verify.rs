//! `netckpt verify`.

use super::namespace::{HostSide, Target};
use super::output::Format;
use super::{Outcome, diff, place};
use crate::restore;
use crate::store::Place;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The image.
    place: Place,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    host: HostSide,
    /// How differences are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let image = place::read(&self.place)?;
        let (target, host) = (self.target.open()?, self.host.open()?);
        let findings = restore::verify_network(&target, host.as_ref(), &image)?;
        diff::report(self.output, &findings, "the namespace is as the image says")
    }
}
