//! Doing a plan: steps that follow each other on one side and protocol go out together.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use crate::netlink::{Protocol, Refusal};
use crate::plan::{Action, Plan, Side, Step};

use super::hands::{Failure, Hands};

/// A step that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub step: Step,
    pub refusal: Refusal,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.refusal)
    }
}

/// Does all steps; answers those that were refused. What depends on a refused step is refused as
/// well, and the plan that follows tells what is still wrong.
pub fn apply(hands: &mut Hands, plan: &Plan) -> Result<Vec<Refused>, Failure> {
    let mut refused = Vec::new();
    let mut rest = &plan.steps[..];
    while let Some(first) = rest.first() {
        let along = rest.iter().take_while(|step| way(step) == way(first)).count();
        let (run, after) = rest.split_at(along);
        match way(first) {
            Way::Netlink(side, protocol) => send(hands, side, protocol, run, &mut refused)?,
            Way::Files => write(run, &mut refused),
            Way::Wait => run.iter().for_each(wait),
            Way::Transaction => {
                for step in run {
                    refused.extend(transact(hands, step)?);
                }
            }
        }
        rest = after;
    }
    Ok(refused)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Netlink(Side, Protocol),
    Files,
    Transaction,
    Wait,
}

fn way(step: &Step) -> Way {
    match step.action {
        Action::Send { protocol, .. } => Way::Netlink(step.side, protocol),
        Action::Write { .. } => Way::Files,
        Action::Transaction { .. } => Way::Transaction,
        Action::Wait { .. } => Way::Wait,
    }
}

fn send(
    hands: &mut Hands,
    side: Side,
    protocol: Protocol,
    run: &[Step],
    refused: &mut Vec<Refused>,
) -> Result<(), Failure> {
    let failed = |source| Failure::Netlink { what: "sending", source };
    let socket = match (side, &mut hands.host) {
        (Side::Inside, _) => hands.reader.socket(protocol).map_err(failed)?,
        (Side::Host, Some((host, _))) => host,
        // A plan without a host has no steps there.
        (Side::Host, None) => return Ok(()),
    };
    let messages = run.iter().filter_map(|step| match &step.action {
        Action::Send { message, .. } => Some(message.as_slice()),
        Action::Write { .. } | Action::Transaction { .. } | Action::Wait { .. } => None,
    });
    for (place, refusal) in socket.batch(messages).map_err(failed)? {
        if let Some(step) = run.get(place).filter(|step| !step.tolerated.contains(&refusal.errno)) {
            refused.push(Refused { step: step.clone(), refusal });
        }
    }
    Ok(())
}

/// Does a step that is a transaction inside; answers what the kernel said first, if it refused.
fn transact(hands: &mut Hands, step: &Step) -> Result<Option<Refused>, Failure> {
    let Action::Transaction { protocol, parts } = &step.action else { return Ok(None) };
    let failed = |source| Failure::Netlink { what: "sending", source };
    let socket = hands.reader.socket(*protocol).map_err(failed)?;
    let messages = parts.iter().map(|part| part.message.as_slice());
    let refused = socket.transaction(messages).map_err(failed)?.into_iter().next();
    Ok(refused.map(|(place, mut refusal)| {
        let part = parts.get(place).map_or("", |part| &part.label);
        let told = refusal.message.map(|message| format!(": {message}")).unwrap_or_default();
        refusal.message = Some(format!("{part}{told}"));
        Refused { step: step.clone(), refusal }
    }))
}

fn wait(step: &Step) {
    if let Action::Wait { millis } = step.action {
        std::thread::sleep(Duration::from_millis(millis));
    }
}

/// Some files bound each other (a port range and the first unprivileged port), so that a refused one
/// is tried once more after the others.
fn write(run: &[Step], refused: &mut Vec<Refused>) {
    let again: Vec<&Step> = run.iter().filter(|step| write_one(step).is_err()).collect();
    for step in again {
        if let Err(refusal) = write_one(step) {
            refused.push(Refused { step: step.clone(), refusal });
        }
    }
}

fn write_one(step: &Step) -> Result<(), Refusal> {
    let Action::Write { path, value } = &step.action else { return Ok(()) };
    let open = std::fs::OpenOptions::new().write(true).open(format!("/proc/sys/net/{path}"));
    // With a line feed, since of an empty value nothing would be written at all.
    let line = [value.as_slice(), b"\n"].concat();
    open.and_then(|mut file| file.write_all(&line)).map_err(|error| Refusal {
        errno: error.raw_os_error().unwrap_or(libc::EIO),
        message: None,
        offset: None,
    })
}
