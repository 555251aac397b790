//! Rounds of looking, planning and doing, until nothing differs; and the way back.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::image::Snapshot;
use crate::plan::{self, Finding, Host, Terms};

use super::apply::{Refused, apply};
use super::hands::Hands;
use super::{Error, Report, Undone};

/// Rounds at most. One does it for a namespace that is bare; a second takes away what the kernel adds
/// by itself; more are for what depends on something that was refused at first.
const ROUNDS: u32 = 4;
/// How long after a round the kernel may still be at work (carrier, local routes of IPv6 addresses),
/// in growing pauses.
const PAUSES: [Duration; 6] = [
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
];

/// Where to.
#[derive(Debug)]
pub struct Goal {
    pub snapshot: Snapshot,
    pub aged: u32,
    /// Descriptor of the host's namespace.
    pub host: Option<RawFd>,
}

/// Plans and does nothing.
pub fn look(hands: &mut Hands, goal: &Goal) -> Result<Report, Error> {
    let now = hands.read()?;
    let terms = terms(hands, &now, goal)?;
    let plan = plan::plan(&now, &goal.snapshot, &terms)?;
    let differences = plan::differences(&now, &goal.snapshot, goal.aged)?;
    Ok(Report { steps: plan.steps.len(), plan, differences, ..Report::default() })
}

/// Makes the namespace what the goal says, or again what it was.
pub fn converge(hands: &mut Hands, goal: &Goal) -> Result<Report, Error> {
    let start = Instant::now();
    let first = hands.read()?;
    let terms = terms(hands, &first, goal)?;
    let mut report = Report::default();
    report.timings.read = start.elapsed();
    let outcome = rounds(hands, first.clone(), &goal.snapshot, &terms, &mut report);
    let (findings, refused) = match outcome {
        Ok((findings, refused)) => (findings, refused),
        // Nothing was done yet.
        Err(error) if report.rounds == 0 => return Err(error),
        Err(failure) => {
            let undone = undo(hands, &first, terms.host);
            return Err(Error::Broken { failure: Box::new(failure), undone });
        }
    };
    if findings.iter().any(Finding::matters) {
        let undone = undo(hands, &first, terms.host);
        let findings = findings.into_iter().filter(Finding::matters).collect();
        return Err(Error::Differs { findings, refused, rounds: report.rounds, undone });
    }
    report.differences = findings;
    Ok(report)
}

fn terms(hands: &mut Hands, first: &Snapshot, goal: &Goal) -> Result<Terms, Error> {
    let host = match goal.host {
        Some(descriptor) => Some(hands.host_terms(descriptor, first, &goal.snapshot)?),
        None => None,
    };
    Ok(Terms { aged: goal.aged, host, queues: possible_cpus() })
}

/// What still differs in the end, and the last round's refusals.
type Outcome = (Vec<Finding>, Vec<Refused>);

fn rounds(
    hands: &mut Hands,
    mut now: Snapshot,
    goal: &Snapshot,
    terms: &Terms,
    report: &mut Report,
) -> Result<Outcome, Error> {
    let mut refused = Vec::new();
    let mut findings = None;
    while report.rounds < ROUNDS {
        let start = Instant::now();
        let plan = plan::plan(&now, goal, terms)?;
        report.timings.plan += start.elapsed();
        if plan.steps.is_empty() {
            break;
        }
        report.rounds += 1;
        report.steps += plan.steps.len();
        let start = Instant::now();
        let before = std::mem::replace(&mut refused, apply(hands, &plan)?);
        report.timings.apply += start.elapsed();
        if report.rounds == 1 {
            report.plan = plan;
        }
        let start = Instant::now();
        let found = settled(hands, &mut now, goal, terms.aged)?;
        report.timings.verify += start.elapsed();
        let done = found.is_empty() || !refused.is_empty() && refused == before;
        findings = Some(found);
        if done {
            break;
        }
    }
    let findings = match findings {
        Some(findings) => findings,
        None => plan::differences(&now, goal, terms.aged)?,
    };
    Ok((findings, refused))
}

/// Reads the namespace until what the kernel does by itself after a round is done.
fn settled(
    hands: &mut Hands,
    now: &mut Snapshot,
    goal: &Snapshot,
    aged: u32,
) -> Result<Vec<Finding>, Error> {
    let mut pauses = PAUSES.iter();
    loop {
        *now = hands.read()?;
        let found = plan::differences(now, goal, aged)?;
        if !found.iter().any(Finding::may_settle) {
            return Ok(found);
        }
        match pauses.next() {
            Some(pause) => std::thread::sleep(*pause),
            None => return Ok(found),
        }
    }
}

/// Makes the namespace what it was.
fn undo(hands: &mut Hands, first: &Snapshot, host: Option<Host>) -> Undone {
    let mut report = Report::default();
    let terms = Terms { aged: 0, host, queues: possible_cpus() };
    let outcome = hands.read().and_then(|now| rounds(hands, now, first, &terms, &mut report));
    let left: Vec<String> = match outcome {
        Ok((findings, _)) => {
            findings.iter().filter(|f| f.matters()).map(ToString::to_string).collect()
        }
        Err(error) => vec![error.to_string()],
    };
    if left.is_empty() { Undone::Wholly } else { Undone::InPart(left) }
}

/// Queues that the kernel gives a veth by itself: one for each possible CPU, at most 4096.
fn possible_cpus() -> u32 {
    // SAFETY: plain query.
    let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    u32::try_from(configured).unwrap_or(1).clamp(1, 4096)
}
