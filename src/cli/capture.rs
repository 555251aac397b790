//! `netckpt capture`.

use std::io::Write;
use std::time::Instant;

use super::namespace::{self, HostSide, Target};
use super::output::{self, Format};
use super::progress::Progress;
use super::{GO_ON, Outcome};
use crate::image::Unsupported;
use crate::store::Place;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    host: HostSide,
    /// Where the image goes; `-` for standard output.
    #[arg(short, long, value_name = "PLACE", default_value = "-")]
    output: String,
    /// What to do where something can't be carried and matters.
    #[arg(long, value_enum, default_value_t = Unsupported::Report)]
    on_unsupported: Unsupported,
    /// How the summary is printed (never to a standard output that takes the image).
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    place: &'a str,
    digest: String,
    size: usize,
    capture_micros: u64,
    counts: &'a crate::image::Counts,
    evidence: &'a crate::image::Evidence,
    not_carried: &'a [crate::image::NotCarried],
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let place: Option<Place> = match self.output.as_str() {
            "-" if std::io::IsTerminal::is_terminal(&std::io::stdout()) => {
                anyhow::bail!("an image is not for terminals: name a place with -o PLACE")
            }
            "-" => None,
            text => Some(text.parse()?),
        };
        let host = self.host.open()?;
        let start = Instant::now();
        let image = namespace::image(&self.target.open()?, host.as_ref())?;
        let micros = start.elapsed().as_micros() as u64;
        let manifest = &image.manifest;
        let judged = self.on_unsupported.judge(&manifest.not_carried);
        judged.map_err(|lost| anyhow::anyhow!("{lost}; {GO_ON}"))?;
        let bytes = image.to_bytes()?;
        let summary = Summary {
            place: &self.output,
            digest: crate::image::digest(&bytes),
            size: bytes.len(),
            capture_micros: micros,
            counts: &manifest.counts,
            evidence: &manifest.evidence,
            not_carried: &manifest.not_carried,
        };
        let text = summary.text();
        match place {
            None => {
                std::io::stdout().lock().write_all(&bytes)?;
                eprint!("{text}");
            }
            Some(place) => {
                let _progress = Progress::start("storing the image");
                super::runtime()?.block_on(place.write(bytes))?;
                match self.format {
                    Format::Tree => output::line(&text),
                    format => output::print(format, &summary)?,
                }
            }
        }
        Ok(Outcome::Good)
    }
}

impl Summary<'_> {
    fn text(&self) -> String {
        use std::fmt::Write;
        let objects: u64 = self.counts.values().sum();
        let mut text = format!(
            "{objects} objects of {} classes in {:.1} ms, one instant after {} pass{}; {} bytes, {}\n",
            self.counts.values().filter(|count| **count > 0).count(),
            self.capture_micros as f64 / 1000.0,
            self.evidence.passes,
            if self.evidence.passes == 1 { "" } else { "es" },
            self.size,
            self.digest,
        );
        for lost in self.not_carried {
            let _ = writeln!(text, "not carried: {}", lost);
        }
        text
    }
}
