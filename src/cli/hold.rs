//! `netckpt hold`.

use std::time::Duration;

use serde::Serialize;

use super::Outcome;
use super::namespace::Target;
use super::output::{self, Format};
use crate::hold::{Element, Hold, Id, Kind, Note, criu};
use crate::netns::Namespace;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Name of the hold; by default one made of the namespace's inode.
    #[arg(long, value_name = "NAME")]
    id: Option<Id>,
    /// Seconds after which the kernel ends the hold by itself, whatever happens to anybody.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Hold until `netckpt release`: for a pod that is being restored, or a source that must not come
    /// back.
    #[arg(long, conflicts_with = "timeout")]
    endless: bool,
    /// Also plant CRIU's lock of this name (CRIU-…), which a restore by CRIU lifts itself. Without
    /// `--endless` no other hold is planted then.
    #[arg(long, value_name = "NAME")]
    criu_lock: Option<criu::Lock>,
    /// How the outcome is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What holds now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    id: String,
    pod_links: Vec<String>,
    node_links: Vec<String>,
    /// None for an endless one.
    seconds: Option<u32>,
    half_open: usize,
    /// Open, and not accepted by a process yet.
    unaccepted: usize,
    criu_lock: Option<String>,
}

/// The hold's name where none is given.
pub(super) fn id_of(netns: &Namespace) -> anyhow::Result<Id> {
    Ok(format!("netns-{}", netns.id().inode).parse()?)
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let (pod, node) = (self.target.open()?, Namespace::current()?);
        let id = self.id.map_or_else(|| id_of(&pod), Ok)?;
        let mut held = Held {
            id: id.to_string(),
            pod_links: Vec::new(),
            node_links: Vec::new(),
            seconds: (!self.endless).then_some(self.timeout),
            half_open: 0,
            unaccepted: 0,
            criu_lock: self.criu_lock.as_ref().map(|lock| lock.as_str().to_owned()),
        };
        if self.criu_lock.is_none() || self.endless {
            let element = match self.endless {
                true => Element::Endless,
                false => Element::For(Duration::from_secs(self.timeout.into())),
            };
            let hold = Hold { id, kind: Kind::Source };
            let note = Note("held by netckpt hold".to_owned());
            let (standing, left) = hold.take(&pod, &node, element, &note)?;
            (held.pod_links, held.node_links) = (standing.pod, standing.node);
            (held.half_open, held.unaccepted) = (left.half_open, left.unaccepted);
        }
        if let Some(lock) = &self.criu_lock {
            criu::plant(&pod, lock)?;
        }
        match self.output {
            Format::Tree => output::line(&told(&held)),
            format => output::print(format, &held)?,
        }
        Ok(Outcome::Good)
    }
}

fn told(held: &Held) -> String {
    let mut text = String::new();
    if !held.pod_links.is_empty() || held.criu_lock.is_none() {
        let links = held.pod_links.iter().map(|name| format!("{name} (pod)"));
        let links: Vec<_> =
            links.chain(held.node_links.iter().map(|name| format!("{name} (node)"))).collect();
        let until = match held.seconds {
            Some(seconds) => format!("for {seconds} s"),
            None => "until it is released".to_owned(),
        };
        text.push_str(&format!("held {until} on {} as {}\n", links.join(", "), held.id));
    }
    if held.half_open > 0 {
        text.push_str(&format!(
            "{} half-open connections: no dump holds them, their clients will try again\n",
            held.half_open
        ));
    }
    if held.unaccepted > 0 {
        text.push_str(&format!(
            "{} connections that no process has accepted: CRIU refuses them\n",
            held.unaccepted
        ));
    }
    if let Some(lock) = &held.criu_lock {
        text.push_str(&format!("CRIU's lock {lock} is planted\n"));
    }
    text
}
