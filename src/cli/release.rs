//! `netckpt release`.

use super::Outcome;
use super::namespace::Target;
use super::output;
use crate::hold::{self, Hold, Id, Kind, criu, mark};
use crate::netns::Namespace;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Only the hold of this name; by default every one on the namespace.
    #[arg(long, value_name = "NAME")]
    id: Option<Id>,
    /// Also take CRIU's lock of this name away (CRIU-…).
    #[arg(long, value_name = "NAME")]
    criu_lock: Option<criu::Lock>,
    /// Lift a successor's hold at once. Without it one that an agent planted is told that the pod is
    /// live, and the agent lifts it when its source can no longer speak.
    #[arg(long)]
    now: bool,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let (pod, node) = (self.target.open()?, Namespace::current()?);
        if let Some(lock) = &self.criu_lock {
            criu::lift(&pod, lock)?;
        }
        let all = holds(&pod, &node)?;
        let wanted = |hold: &&Hold| self.id.as_ref().is_none_or(|id| hold.id == *id);
        let wanted: Vec<_> = all.iter().filter(wanted).collect();
        if wanted.is_empty() && self.criu_lock.is_none() {
            let which = self.id.map(|id| format!(" {id}")).unwrap_or_default();
            anyhow::bail!("there is no hold{which} on {}", pod.name());
        }
        for hold in wanted {
            if hold.kind == Kind::Successor && !self.now && is_followed(hold, &node)? {
                mark::set(&pod, mark::LIVE)?;
                output::line(&format!("{} is live; its agent lifts its hold\n", hold.id));
                continue;
            }
            hold.lift(Some(&pod), &node)?;
            output::line(&format!("released {}\n", hold.id));
        }
        Ok(Outcome::Good)
    }
}

/// Whether an agent's restore has planted it.
fn is_followed(hold: &Hold, node: &Namespace) -> Result<bool, hold::Error> {
    let listed = hold::all(node)?.into_iter().find(|listed| listed.hold == *hold);
    Ok(listed.is_some_and(|listed| listed.note.0.starts_with("successor ")))
}

/// The holds that have a side on either side of this namespace.
fn holds(pod: &Namespace, node: &Namespace) -> Result<Vec<Hold>, hold::Error> {
    let mut holds = hold::in_pod(pod)?;
    for listed in hold::all(node)? {
        let is_of = listed.pod().is_some_and(|found| found.id() == pod.id());
        if is_of && !holds.contains(&listed.hold) {
            holds.push(listed.hold);
        }
    }
    Ok(holds)
}
