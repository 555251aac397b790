//! Doing a plan: steps that follow each other on one side and protocol go out together.

use std::fmt;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::netlink::{Protocol, Refusal};
use crate::plan::{Action, Plan, Side, Stage, Step};
use crate::state::classes::xtables::Control;
use crate::state::classes::{TC_ACTIONS, ipset};

use super::hands::{Failure, Hands};
use super::membership;
use super::tun;

/// A step that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub step: Step,
    pub refusal: Refusal,
}

impl Refused {
    /// Whether this kernel does not have what the step is about: a kind of link, an expression of
    /// nftables, an address family, a file.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        let errno = self.refusal.errno;
        match self.step.action {
            // A kind of discipline, filter or action without a module.
            Action::Send { .. } if Stage::TrafficControl == self.step.stage => {
                errno == libc::ENOENT || LACKING.contains(&errno)
            }
            Action::Send { .. } | Action::Command { .. } => {
                LACKING.contains(&errno) || errno == ipset::NO_TYPE
            }
            // Every kernel has these.
            Action::Membership { .. } => false,
            Action::Transaction { .. } => errno == libc::ENOENT || LACKING.contains(&errno),
            // A table, a match or a target, and the interface as a whole.
            Action::Table { .. } => {
                [libc::ENOENT, libc::ENOPROTOOPT].contains(&errno) || LACKING.contains(&errno)
            }
            // No `/dev/net/tun`, or no driver behind it.
            Action::Tun(_) => matches!(errno, libc::ENOENT | libc::ENODEV | libc::ENXIO),
            // What there is of files was looked at before; here only values are refused.
            Action::Write { .. } | Action::LinkFile { .. } => true,
        }
    }
}

const LACKING: [i32; 4] = [
    libc::EOPNOTSUPP,
    libc::EAFNOSUPPORT,
    libc::EPROTONOSUPPORT,
    // Of an algorithm of IPsec.
    libc::ENOSYS,
];

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.refusal)
    }
}

/// Does all steps; answers those that were refused. What depends on a refused step is refused as
/// well, and the plan that follows tells what is still wrong.
pub fn apply(hands: &mut Hands<'_>, plan: &Plan) -> Result<Vec<Refused>, Failure> {
    let mut refused = Vec::new();
    let mut rest = &plan.steps[..];
    while let Some(first) = rest.first() {
        let along = rest.iter().take_while(|step| way(step) == way(first)).count();
        let (run, after) = rest.split_at(along);
        match way(first) {
            Way::Netlink(side, protocol) => send(hands, side, protocol, run, &mut refused)?,
            Way::Generic(family) => command(hands, family, run, &mut refused)?,
            Way::LinkFiles => refused.extend(run.iter().filter_map(|step| file(hands, step))),
            Way::Files(Side::Inside) => write(run, &mut refused),
            Way::Files(Side::Host) => {
                let Some(host) = hands.beyond else { continue };
                let entered = host.run(|| write(run, &mut refused));
                entered.map_err(Failure::from)?;
            }
            Way::Table => refused.extend(run.iter().filter_map(replace)),
            Way::Devices => refused.extend(run.iter().filter_map(device)),
            Way::Membership => memberships(run, &mut refused),
            Way::Release => {
                let start = Instant::now();
                for step in run {
                    release(hands, step, start, &mut refused)?;
                }
            }
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
    Generic(&'static str),
    Files(Side),
    LinkFiles,
    Devices,
    Membership,
    Transaction,
    Table,
    /// Removal of what others may still hold on to for a moment.
    Release,
}

fn way(step: &Step) -> Way {
    match step.action {
        Action::Send { .. } if may_be_held(step) => Way::Release,
        Action::Send { protocol, .. } => Way::Netlink(step.side, protocol),
        Action::Command { family, .. } => Way::Generic(family),
        Action::Write { .. } => Way::Files(step.side),
        Action::LinkFile { .. } => Way::LinkFiles,
        Action::Tun(_) => Way::Devices,
        Action::Membership { .. } => Way::Membership,
        Action::Transaction { .. } => Way::Transaction,
        Action::Table { .. } => Way::Table,
    }
}

fn send(
    hands: &mut Hands<'_>,
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
        _ => None,
    });
    let mut verdicts = socket.batch(messages).map_err(failed)?;
    for (_, refusal) in &mut verdicts {
        if refusal.message.is_none() {
            refusal.message = ipset::error_words(refusal.errno).map(str::to_owned);
        }
    }
    judge(run, verdicts, refused);
    Ok(())
}

/// Takes over what was refused, but for what a step tolerates.
fn judge(run: &[Step], verdicts: Vec<(usize, Refusal)>, refused: &mut Vec<Refused>) {
    for (place, refusal) in verdicts {
        if let Some(step) = run.get(place).filter(|step| !step.tolerated.contains(&refusal.errno)) {
            refused.push(Refused { step: step.clone(), refusal });
        }
    }
}

/// Sends commands of generic netlink under the number that the kernel has for their family.
fn command(
    hands: &mut Hands<'_>,
    family: &'static str,
    run: &[Step],
    refused: &mut Vec<Refused>,
) -> Result<(), Failure> {
    let failed = |source| Failure::Netlink { what: family, source };
    let known = hands.reader.family(family).map_err(failed)?.map(|family| family.id);
    // The name is one of this program's tables, never of an image: its module may be loaded.
    let socket = hands.reader.socket(Protocol::Generic).map_err(failed)?;
    let id = match known {
        None => socket.family(family).map_err(failed)?.map(|family| family.id),
        known => known,
    };
    let Some(id) = id else {
        let message = Some(format!("this kernel has no generic netlink family {family}"));
        let refusal = Refusal { errno: libc::EOPNOTSUPP, message, offset: None };
        judge(run, (0..run.len()).map(|place| (place, refusal.clone())).collect(), refused);
        return Ok(());
    };
    let numbered = |step: &Step| match &step.action {
        Action::Command { message, .. } => {
            let mut message = message.clone();
            message[4..6].copy_from_slice(&id.to_ne_bytes());
            Some(message)
        }
        _ => None,
    };
    let messages: Vec<_> = run.iter().filter_map(numbered).collect();
    let socket = hands.reader.socket(Protocol::Generic).map_err(failed)?;
    let verdicts = socket.batch(messages.iter().map(Vec::as_slice)).map_err(failed)?;
    judge(run, verdicts, refused);
    Ok(())
}

/// Makes a device of a process's own kind; answers the step if it was refused.
fn device(step: &Step) -> Option<Refused> {
    let Action::Tun(tun) = &step.action else { return None };
    let refusal = tun::make(tun).err()?;
    Some(Refused { step: step.clone(), refusal })
}

fn memberships(run: &[Step], refused: &mut Vec<Refused>) {
    for step in run {
        let Action::Membership { link, address, join } = &step.action else { continue };
        if let Err(error) = membership::set(link, address, *join) {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let refusal = Refusal { errno, message: None, offset: None };
            judge(std::slice::from_ref(step), vec![(0, refusal)], refused);
        }
    }
}

/// Whether a step removes what rules or filters hold on to: a set of ipset, a counter, an action of tc.
fn may_be_held(step: &Step) -> bool {
    let Action::Send { message, .. } = &step.action else { return false };
    matches!(step.stage, Stage::FreeIpsets | Stage::UnusedIpsets | Stage::Unnamed)
        || step.class == TC_ACTIONS.name
            && message.get(4..6) == Some(&TC_ACTIONS.remove.to_ne_bytes())
}

/// Does a step that removes what rules or filters held on to. The kernel lets go of it only some time
/// after it has said that they are gone: a grace period of RCU, and its worker
/// (`nf_tables_trans_destroy_work`, `tcf_queue_work`).
/// `start` is when the first of such steps began.
fn release(
    hands: &mut Hands<'_>,
    step: &Step,
    start: Instant,
    refused: &mut Vec<Refused>,
) -> Result<(), Failure> {
    const PAUSE: Duration = Duration::from_millis(2);
    const PATIENCE: Duration = Duration::from_secs(2);
    let Action::Send { protocol, .. } = step.action else { return Ok(()) };
    loop {
        let mut again = Vec::new();
        send(hands, step.side, protocol, std::slice::from_ref(step), &mut again)?;
        // The last is what tc says of an action that a filter has.
        let held = [ipset::BUSY, libc::EBUSY, libc::EPERM];
        let busy = again.iter().any(|it| held.contains(&it.refusal.errno));
        if !busy || start.elapsed() > PATIENCE {
            refused.append(&mut again);
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Does a step that is a transaction inside; answers what the kernel said first, if it refused.
fn transact(hands: &mut Hands<'_>, step: &Step) -> Result<Option<Refused>, Failure> {
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

/// Does a step that replaces a legacy table, on a socket of the thread's namespace.
fn replace(step: &Step) -> Option<Refused> {
    let Action::Table { family, name, replace, counters } = &step.action else { return None };
    let outcome = Control::open(family).and_then(|it| it.replace(name, replace, counters));
    outcome.err().map(|error| Refused { step: step.clone(), refusal: refusal(&error) })
}

fn refusal(error: &std::io::Error) -> Refusal {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    Refusal { errno, message: None, offset: None }
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
    open.and_then(|mut file| file.write_all(&line)).map_err(|error| refusal(&error))
}

/// Writes a file of the namespace's sysfs; answers the step if it was refused.
fn file(hands: &mut Hands, step: &Step) -> Option<Refused> {
    let Action::LinkFile { path, value } = &step.action else { return None };
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let outcome = hands.reader.sysfs().and_then(|root| {
        let file = nix::fcntl::openat(root.as_fd(), path.as_str(), flags, Mode::empty())?;
        std::fs::File::from(file).write_all(value)
    });
    outcome.err().map(|error| Refused { step: step.clone(), refusal: refusal(&error) })
}
