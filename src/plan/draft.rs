//! What the parts of a plan work on: the two sides as objects, and the steps so far.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Error, Plan, Side, Stage, Step};
use crate::image::Snapshot;
use crate::netlink::Protocol;
use crate::state::table::Class;
use crate::state::{self, Names, Object};

/// `NLM_F_REQUEST`.
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
/// `NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL`.
pub const CREATE: u16 = REQUEST | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
/// `NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE`.
pub const REPLACE: u16 = REQUEST | (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
/// `NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND`.
pub const APPEND: u16 = REQUEST | (libc::NLM_F_CREATE | libc::NLM_F_APPEND) as u16;
/// Of messages that set or remove.
pub const PLAIN: u16 = REQUEST;

/// The objects of one snapshot, by class, in the order of their sections.
#[derive(Debug, Default)]
pub struct Objects {
    classes: BTreeMap<&'static str, Vec<Object>>,
    pub names: Names,
}

impl Objects {
    pub fn read(snapshot: &Snapshot, aged: u32) -> Result<Self, Error> {
        let mut classes = BTreeMap::new();
        for class in state::CLASSES {
            let section = snapshot.sections.get(class.name).map(|bytes| &bytes[..]);
            let section = section.unwrap_or_default();
            let read = if aged == 0 {
                state::objects(class, section)
            } else {
                state::objects(class, &state::age(class, section, aged))
            };
            let objects =
                read.map_err(|source| Error::Malformed { section: class.name, source })?;
            classes.insert(class.name, objects);
        }
        let links = snapshot.sections.get(state::classes::LINKS.name);
        Ok(Self { classes, names: links.map(|links| Names::of(links)).unwrap_or_default() })
    }

    pub fn of(&self, class: &Class) -> &[Object] {
        self.classes.get(class.name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// How it is and how it shall be.
#[derive(Debug)]
pub struct Sides {
    pub from: Objects,
    pub to: Objects,
    /// Outer ends as they are and as they were captured (section `host/links`).
    pub host_from: Vec<Object>,
    pub host_to: Vec<Object>,
}

impl Sides {
    pub fn read(from: &Snapshot, to: &Snapshot, aged: u32) -> Result<Self, Error> {
        Ok(Self {
            from: Objects::read(from, 0)?,
            to: Objects::read(to, aged)?,
            host_from: host_links(from)?,
            host_to: host_links(to)?,
        })
    }
}

/// The section `host/links`.
pub fn host_links(snapshot: &Snapshot) -> Result<Vec<Object>, Error> {
    let section = snapshot.sections.get("host/links").map(|bytes| &bytes[..]);
    state::objects(&state::classes::LINKS, section.unwrap_or_default())
        .map_err(|source| Error::Malformed { section: "host/links", source })
}

/// The plan in the making.
#[derive(Debug, Default)]
pub struct Draft {
    steps: Vec<Step>,
    /// Indexes of links that the plan removes: what refers to them goes with them.
    pub gone: BTreeSet<u32>,
    /// Indexes of links that the plan makes: nothing of theirs is there yet.
    pub made: BTreeSet<u32>,
    /// Indexes of links that are down now and that the plan raises.
    pub raised: BTreeSet<u32>,
}

impl Draft {
    /// Whether the plan changes links or addresses. Then the kernel is about to make and remove
    /// routes of its own, which are left to it and looked at afterwards.
    pub fn stirs(&self) -> bool {
        self.steps.iter().any(|step| {
            (Stage::RemoveAddresses..=Stage::LateLinks).contains(&step.stage)
                && step.stage != Stage::Sysctls
        })
    }

    /// Adds a message to the namespace.
    pub fn send(
        &mut self,
        stage: Stage,
        class: &'static Class,
        label: String,
        message: Vec<u8>,
        tolerated: &'static [i32],
    ) {
        self.add(Side::Inside, stage, class, label, message, tolerated);
    }

    /// Adds a message to the host's namespace.
    pub fn send_host(
        &mut self,
        stage: Stage,
        class: &'static Class,
        label: String,
        message: Vec<u8>,
    ) {
        self.add(Side::Host, stage, class, label, message, &[]);
    }

    fn add(
        &mut self,
        side: Side,
        stage: Stage,
        class: &'static Class,
        label: String,
        message: Vec<u8>,
        tolerated: &'static [i32],
    ) {
        let action = Action::Send { protocol: Protocol::Route, message };
        self.steps.push(Step { stage, side, class: class.name, label, action, tolerated });
    }

    /// Adds the writing of a sysctl.
    pub fn write(&mut self, stage: Stage, class: &'static Class, path: &str, value: &[u8]) {
        let shown = String::from_utf8_lossy(value);
        self.steps.push(Step {
            stage,
            side: Side::Inside,
            class: class.name,
            label: format!("{path} = {}", shown.trim()),
            action: Action::Write { path: path.to_owned(), value: value.to_vec() },
            tolerated: &[],
        });
    }

    /// The plan: steps by stage, within a stage as they were added.
    pub fn finish(mut self) -> Plan {
        self.steps.sort_by_key(|step| step.stage);
        Plan { steps: self.steps }
    }
}
