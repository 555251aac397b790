//! `netckpt restore`.

use super::namespace::{HostSide, Target};
use super::output::{self, Format};
use super::progress::Progress;
use super::{GO_ON, Outcome, place};
use crate::host::flows;
use crate::image::{Image, Unsupported};
use crate::netns::Namespace;
use crate::plan::Finding;
use crate::restore::{self, Options, Report};
use crate::store::Place;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The image.
    place: Place,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    host: HostSide,
    /// Print the plan and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// What to do with what the image lacks or this version can't restore, where it matters.
    #[arg(long, value_enum, default_value_t = Unsupported::Fail)]
    on_unsupported: Unsupported,
    /// How the report is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let image = place::read(&self.place)?;
        let on_unsupported = self.on_unsupported;
        let options = Options { dry_run: self.dry_run, on_unsupported, ..Options::default() };
        let (target, host) = (self.target.open()?, self.host.open()?);
        let progress = Progress::start("restoring");
        let report = restore::restore(&target, host.as_ref(), &image, &options);
        drop(progress);
        let mut report = match report {
            Err(error) if error.is_of_support() => anyhow::bail!("{error}; {GO_ON}"),
            report => report?,
        };
        if let (Some(host), false) = (&host, self.dry_run) {
            track(host, &image, &mut report)?;
        }
        match self.output {
            Format::Tree if self.dry_run => output::line(&plan(&report)),
            Format::Tree => output::line(&text(&report)),
            format => output::print(format, &json(&report))?,
        }
        Ok(Outcome::Good)
    }
}

/// Gives the host what its tracking knew of the namespace's flows where it came from.
fn track(host: &Namespace, image: &Image, report: &mut Report) -> anyhow::Result<()> {
    let Some(section) = image.snapshot.sections.get(flows::SECTION) else { return Ok(()) };
    let own: Vec<_> = flows::addresses(&image.snapshot).into_iter().collect();
    let refused = host.run(|| flows::insert(section, restore::age(image), &own))??;
    report.left.extend(refused.into_iter().map(|one| (flows::SECTION.to_owned(), one)));
    Ok(())
}

fn plan(report: &Report) -> String {
    let steps = report.plans.iter().flat_map(|plan| &plan.steps);
    let mut text: String = steps.map(|step| format!("{step}\n")).collect();
    if text.is_empty() {
        text.push_str("nothing to do: the namespace is as the image says\n");
    }
    text
}

fn text(report: &Report) -> String {
    use std::fmt::Write;
    let (matter, inform): (Vec<_>, Vec<_>) =
        report.differences.iter().partition(|finding| finding.matters());
    let verified = if matter.is_empty() { "and verified" } else { "in part" };
    let mut text = format!(
        "restored {verified}: {} steps in {} round{}, {:.1} ms\n",
        report.steps,
        report.rounds,
        if report.rounds == 1 { "" } else { "s" },
        report.timings.total.as_secs_f64() * 1000.0
    );
    for (section, what) in &report.left {
        let _ = writeln!(text, "left out: {section}: {what}");
    }
    for finding in matter {
        let _ = writeln!(text, "differs: {finding}");
    }
    for finding in inform {
        let _ = writeln!(text, "differs, and does not matter: {finding}");
    }
    text
}

fn json(report: &Report) -> serde_json::Value {
    let micros = |time: std::time::Duration| time.as_micros() as u64;
    let left = report.left.iter();
    let (matter, inform): (Vec<_>, Vec<_>) =
        report.differences.iter().partition(|finding| finding.matters());
    let told = |all: Vec<&Finding>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    serde_json::json!({
        "rounds": report.rounds,
        "steps": report.steps,
        "plan": report.plans.iter().flat_map(|plan| &plan.steps).map(ToString::to_string)
            .collect::<Vec<_>>(),
        "leftOut": left.map(|(section, what)| serde_json::json!({"section": section, "what": what}))
            .collect::<Vec<_>>(),
        "differences": told(matter),
        "informs": told(inform),
        "micros": {
            "check": micros(report.timings.check),
            "read": micros(report.timings.read),
            "plan": micros(report.timings.plan),
            "apply": micros(report.timings.apply),
            "verify": micros(report.timings.verify),
            "total": micros(report.timings.total),
        },
    })
}
