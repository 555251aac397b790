//! `netckpt show`.

use serde_json::{Map, Value as Json};

use super::output::{self, Format};
use super::place::Operand;
use super::{Outcome, tree};
use crate::capture;
use crate::image::{Image, Snapshot};
use crate::netns::Namespace;
use crate::state::{self, table::Class};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// An image's PLACE, or netns:PATH for a live namespace.
    #[arg(value_name = "PLACE")]
    operand: Operand,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let image = self.operand.read()?;
        match self.output {
            Format::Tree => output::line(&tree::draw(&image, fresh().as_ref())?),
            format => output::print(format, &json(&image)?)?,
        }
        Ok(Outcome::Good)
    }
}

/// A new namespace of this machine, to tell which sysctls are out of the ordinary; without the
/// privilege to make one all are only counted.
fn fresh() -> Option<Snapshot> {
    let namespace = Namespace::create().ok()?;
    static ONLY: [&Class; 1] = [&state::classes::SYSCTLS];
    let options = capture::Options { classes: &ONLY, ..Default::default() };
    Some(capture::capture(&namespace, &options).ok()?.snapshot)
}

fn json(image: &Image) -> anyhow::Result<Json> {
    let mut sections = Map::new();
    for (name, section) in &image.snapshot.sections {
        let class = name.strip_prefix("host/").unwrap_or(name);
        let objects = match state::class(class) {
            Some(class) => state::objects(class, section)?
                .iter()
                .map(|object| state::to_json(&object.value()))
                .collect(),
            None => Json::from(format!(
                "{} bytes of a class that this version does not know",
                section.len()
            )),
        };
        sections.insert(name.clone(), objects);
    }
    Ok(serde_json::json!({ "manifest": image.manifest, "sections": sections }))
}
