//! Rounds of looking, planning and doing, until nothing differs; and the way back.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::plan::{self, Finding, Kind, Objects, Plan, Terms};
use crate::state::classes::{LINK_FILES, SYSCTLS};

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
    pub objects: Objects,
    /// Descriptor of the host's namespace.
    pub host: Option<RawFd>,
    /// What this kernel does not have, and sysctls that it refuses, are left out.
    pub lenient: bool,
    /// As [`super::Options::known_ends_only`].
    pub known_ends_only: bool,
}

/// The namespace before anything is done.
#[derive(Debug)]
pub struct First {
    objects: Objects,
    took: Duration,
}

/// Reads it.
pub fn first(hands: &mut Hands<'_>) -> Result<First, Error> {
    let start = Instant::now();
    Ok(First { objects: hands.look()?, took: start.elapsed() })
}

/// Plans and does nothing.
pub fn look(hands: &mut Hands<'_>, goal: &Goal, first: &First) -> Result<Report, Error> {
    let now = &first.objects;
    let terms = terms(hands, now, goal)?;
    let plan = plan::plan(now, &goal.objects, &terms)?;
    let differences = plan::differences(now, &goal.objects);
    Ok(Report { steps: plan.steps.len(), plans: vec![plan], differences, ..Report::default() })
}

/// Makes the namespace what the goal says, or again what it was.
pub fn converge(
    hands: &mut Hands<'_>,
    goal: &Goal,
    first: First,
    given_up: &AtomicBool,
) -> Result<Report, Error> {
    let First { objects: first, took } = first;
    let terms = terms(hands, &first, goal)?;
    let mut way = Way::new(&goal.objects, &terms);
    way.given_up = Some(given_up);
    way.report.timings.read = took;
    let outcome = way.go(hands, &first);
    let mut report = way.report;
    let Outcome { findings, refused } = match outcome {
        Ok(outcome) => outcome,
        // Nothing was done yet.
        Err(error) if report.rounds == 0 => return Err(error),
        Err(failure) => {
            let undone = undo(hands, &first, &terms);
            return Err(Error::Broken { failure: Box::new(failure), undone });
        }
    };
    // What refers to something that this kernel does not have is missing as well.
    let lacking = goal.lenient && refused.iter().any(Refused::is_lacking);
    let left = |finding: &Finding| {
        lacking && matches!(finding.kind, Kind::Missing | Kind::Differs(_))
            || goal.lenient && [SYSCTLS.name, LINK_FILES.name].contains(&finding.class)
    };
    let (failing, told): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.matters() && !left(finding));
    if !failing.is_empty() {
        let undone = undo(hands, &first, &terms);
        return Err(Error::Differs { findings: failing, refused, rounds: report.rounds, undone });
    }
    report.differences = told;
    report.before = Some(first);
    Ok(report)
}

/// Makes the namespace again what it was, after it was made what a goal said.
pub fn back(hands: &mut Hands<'_>, before: &Objects, host: Option<RawFd>) -> Result<Undone, Error> {
    let now = hands.look()?;
    let host = match host {
        Some(descriptor) => Some(hands.host_terms(descriptor, &now, before)?),
        None => None,
    };
    let terms = Terms { host, queues: possible_cpus(), scaffold: false };
    Ok(undo(hands, before, &terms))
}

fn terms(hands: &mut Hands<'_>, first: &Objects, goal: &Goal) -> Result<Terms, Error> {
    let host = match goal.host {
        Some(descriptor) => {
            let mut host = hands.host_terms(descriptor, first, &goal.objects)?;
            host.known_only = goal.known_ends_only;
            Some(host)
        }
        None => None,
    };
    Ok(Terms { host, queues: possible_cpus(), scaffold: false })
}

/// One way from how it is to a goal.
struct Way<'a> {
    goal: &'a Objects,
    terms: Terms,
    report: Report,
    given_up: Option<&'a AtomicBool>,
}

struct Outcome {
    /// What still differs in the end.
    findings: Vec<Finding>,
    /// What the kernel refused in the last round.
    refused: Vec<Refused>,
}

impl<'a> Way<'a> {
    fn new(goal: &'a Objects, terms: &Terms) -> Self {
        Self { goal, terms: terms.clone(), report: Report::default(), given_up: None }
    }

    fn go(&mut self, hands: &mut Hands<'_>, first: &Objects) -> Result<Outcome, Error> {
        let mut outcome = Outcome { findings: Vec::new(), refused: Vec::new() };
        let mut plan = self.plan(first)?;
        if plan.steps.is_empty() {
            outcome.findings = plan::differences(first, self.goal);
        }
        while !plan.steps.is_empty() && self.report.rounds < ROUNDS {
            if self.given_up.is_some_and(|flag| flag.load(Ordering::SeqCst)) {
                return Err(Error::GivenUp);
            }
            self.report.rounds += 1;
            self.report.steps += plan.steps.len();
            let refused = self.apply(hands, &plan)?;
            let stuck = !refused.is_empty() && refused == outcome.refused;
            outcome.refused = refused;
            self.terms.scaffold = outcome.refused.iter().any(unreachable);
            self.report.plans.push(plan);
            let now = self.settled(hands, &mut outcome.findings)?;
            let left = |finding: &Finding| finding.matters() || finding.can_be_mended();
            if !outcome.findings.iter().any(left) || stuck {
                break;
            }
            plan = self.plan(&now)?;
        }
        Ok(outcome)
    }

    fn plan(&mut self, now: &Objects) -> Result<Plan, Error> {
        let start = Instant::now();
        let plan = plan::plan(now, self.goal, &self.terms)?;
        self.report.timings.plan += start.elapsed();
        Ok(plan)
    }

    fn apply(&mut self, hands: &mut Hands<'_>, plan: &Plan) -> Result<Vec<Refused>, Error> {
        let start = Instant::now();
        let refused = apply(hands, plan)?;
        self.report.timings.apply += start.elapsed();
        tracing::debug!(
            round = self.report.rounds,
            steps = plan.steps.len(),
            refused = refused.len(),
            "round done"
        );
        Ok(refused)
    }

    /// Reads the namespace until what the kernel does by itself after a round is done.
    fn settled(
        &mut self,
        hands: &mut Hands<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<Objects, Error> {
        let start = Instant::now();
        let mut pauses = PAUSES.iter();
        loop {
            let now = hands.look()?;
            *findings = plan::differences(&now, self.goal);
            match pauses.next().filter(|_| findings.iter().any(Finding::may_settle)) {
                Some(pause) => std::thread::sleep(*pause),
                None => {
                    self.report.timings.verify += start.elapsed();
                    return Ok(now);
                }
            }
        }
    }
}

/// Whether a route was refused for its gateway.
fn unreachable(refused: &Refused) -> bool {
    matches!(refused.refusal.errno, libc::ENETUNREACH | libc::EHOSTUNREACH)
}

/// Makes the namespace what it was.
fn undo(hands: &mut Hands<'_>, first: &Objects, terms: &Terms) -> Undone {
    let mut way = Way::new(first, terms);
    let outcome = hands.look().and_then(|now| way.go(hands, &now));
    let left: Vec<String> = match outcome {
        Ok(Outcome { findings, .. }) => {
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
