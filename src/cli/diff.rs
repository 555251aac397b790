//! `netckpt diff`.

use super::Outcome;
use super::output::{self, Format};
use super::place::Operand;
use crate::plan::Finding;
use crate::restore;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What is compared: an image's PLACE, or netns:PATH for a live namespace.
    #[arg(value_name = "A")]
    left: Operand,
    /// With what.
    #[arg(value_name = "B")]
    right: Operand,
    /// How differences are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let (left, right) = (self.left.read()?, self.right.read()?);
        report(self.output, &restore::compare(&left, &right)?, "equal")
    }
}

/// Findings that do not matter and are printed for people.
const SHOWN: usize = 10;

/// Prints findings; answers whether any of them matters.
pub(super) fn report(format: Format, findings: &[Finding], equal: &str) -> anyhow::Result<Outcome> {
    let (matter, inform): (Vec<_>, Vec<_>) = findings.iter().partition(|found| found.matters());
    if format == Format::Tree {
        for finding in &matter {
            output::line(&format!("{finding}\n"));
        }
        for finding in inform.iter().take(SHOWN) {
            output::line(&format!("(does not matter) {finding}\n"));
        }
        if let Some(more) = inform.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            output::line(&format!("({more} more that do not matter; -o json has them)\n"));
        }
        if matter.is_empty() {
            output::line(&format!("{equal}\n"));
        }
    } else {
        let text = |all: &[&Finding]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let json = serde_json::json!({
            "equal": matter.is_empty(),
            "differences": text(&matter),
            "informs": text(&inform),
        });
        output::print(format, &json)?;
    }
    Ok(if matter.is_empty() { Outcome::Good } else { Outcome::Different })
}
