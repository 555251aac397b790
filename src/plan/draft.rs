//! What the parts of a plan work on: the two sides as objects, and the steps so far.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Error, Part, Plan, Side, Stage, Step};
use crate::host::bounds;
use crate::image::Snapshot;
use crate::netlink::Protocol;
use crate::state::classes::LINKS;
use crate::state::table::{Class, Source};
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
#[derive(Debug, Clone, Default)]
pub struct Objects {
    pub(super) classes: BTreeMap<&'static str, Vec<Object>>,
    /// Links inside, for labels.
    pub(super) names: Names,
    /// Outer ends of veth pairs (section `host/links`).
    pub(super) outer: Vec<Object>,
    /// Classes of which nothing is known.
    pub(super) unknown: BTreeSet<&'static str>,
    /// What hangs on outer ends, by class (sections `host/CLASS`); nothing is known of other classes.
    pub(super) host: BTreeMap<&'static str, Vec<Object>>,
    /// What the node itself gave outer ends stays: an image tells what comes to it.
    pub(super) adds: bool,
    /// The way to the pod is made by somebody else than the plan: routes, and addresses of the node.
    pub(super) led_by_others: bool,
    /// Told by another kernel than the running one, which may know other attributes.
    pub(super) foreign: bool,
}

impl Objects {
    /// As [`Self::read`], from an image. Of a class that it has no section of nothing is known: another
    /// version made it. Such are left as they are, and compared with nothing.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn of_image(snapshot: &Snapshot, aged: u32) -> Result<Self, Error> {
        let mut objects = Self::read(snapshot, aged)?;
        let all = state::CLASSES.into_iter().map(|class| class.name);
        objects.adds = true;
        objects.unknown = all.filter(|name| !snapshot.sections.contains_key(*name)).collect();
        Ok(objects)
    }

    /// Whether something is known of a class, be it that there is nothing.
    pub(super) fn knows(&self, class: &Class) -> bool {
        !self.unknown.contains(class.name)
    }

    /// Only the classes of which something is known on the other side.
    pub(super) fn as_far_as_known_to<'a>(&'a self, other: &Self) -> Cow<'a, Self> {
        if other.unknown.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut objects = self.clone();
        objects.classes.retain(|name, _| !other.unknown.contains(name));
        Cow::Owned(objects)
    }

    /// Reads the sections; lifetimes are aged by this many seconds.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(snapshot: &Snapshot, aged: u32) -> Result<Self, Error> {
        let section = |name| snapshot.sections.get(name).map(|bytes| &bytes[..]);
        let mut classes = BTreeMap::new();
        for class in state::CLASSES.into_iter().filter(|class| !class.source.is_inventory()) {
            let section = section(class.name).unwrap_or_default();
            let read = match aged {
                0 => state::objects(class, section),
                _ => state::objects(class, &state::age(class, section, aged)),
            };
            let objects =
                read.map_err(|source| Error::Malformed { section: class.name, source })?;
            classes.insert(class.name, objects);
        }
        super::nftables::prune(&mut classes);
        super::ipset::prune(&mut classes);
        let mut host = BTreeMap::new();
        for class in bounds::CLASSES {
            let Some(section) = snapshot.sections.get(&format!("host/{}", class.name)) else {
                continue;
            };
            let read = state::objects(class, &state::age(class, section, aged));
            let objects =
                read.map_err(|source| Error::Malformed { section: class.name, source })?;
            host.insert(class.name, objects);
        }
        let outer = state::objects(&LINKS, section(OUTER).unwrap_or_default())
            .map_err(|source| Error::Malformed { section: OUTER, source })?;
        let names = section(LINKS.name).map(Names::of).unwrap_or_default();
        Ok(Self { classes, names, outer, host, ..Self::default() })
    }

    /// The same, told by another kernel than the running one: what one of both tells nowhere in a
    /// class is taken for something that it does not know, and is no difference that matters.
    #[must_use]
    pub fn of_another_kernel(mut self, foreign: bool) -> Self {
        self.foreign = foreign;
        self
    }

    /// The same, where routes to the pod and addresses of the node are made by [`crate::host::Ways`].
    #[must_use]
    pub fn led_by_others(mut self, led: bool) -> Self {
        self.led_by_others = led;
        self
    }

    pub(super) fn of_mut(&mut self, class: &Class) -> &mut [Object] {
        self.classes.get_mut(class.name).map(Vec::as_mut_slice).unwrap_or_default()
    }

    pub(super) fn of(&self, class: &Class) -> &[Object] {
        self.classes.get(class.name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The section of outer ends.
const OUTER: &str = "host/links";

/// How it is and how it shall be.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    pub from: &'a Objects,
    pub to: &'a Objects,
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
    /// Sets of ipset give way to others: what looks into sets is cleared before, and made again.
    pub sets_again: bool,
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
        self.send_on(Side::Inside, stage, class, label, message, tolerated);
    }

    /// Adds a message to the host's namespace.
    pub fn send_host(
        &mut self,
        stage: Stage,
        class: &'static Class,
        label: String,
        message: Vec<u8>,
    ) {
        self.send_on(Side::Host, stage, class, label, message, &[]);
    }

    /// Adds a message to the namespace of this side.
    pub fn send_on(
        &mut self,
        side: Side,
        stage: Stage,
        class: &'static Class,
        label: String,
        message: Vec<u8>,
        tolerated: &'static [i32],
    ) {
        let send = |protocol, message| Action::Send { protocol, message };
        let action = match class.source {
            Source::Netlink { protocol, .. }
            | Source::Watched { protocol, .. }
            | Source::Flows { protocol, .. } => send(protocol, message),
            Source::Generic { family, .. } => Action::Command { family, message },
            Source::Read(_) | Source::Sysctl | Source::Inventory(_) => {
                send(Protocol::Route, message)
            }
        };
        self.steps.push(Step { stage, side, class: class.name, label, action, tolerated });
    }

    /// Adds a message to the namespace, over a protocol that the class's table does not tell.
    pub fn send_over(
        &mut self,
        protocol: Protocol,
        stage: Stage,
        class: &'static Class,
        label: String,
        message: Vec<u8>,
    ) {
        let action = Action::Send { protocol, message };
        let (side, class) = (Side::Inside, class.name);
        self.steps.push(Step { stage, side, class, label, action, tolerated: &[] });
    }

    /// Adds messages that the kernel takes or leaves as a whole.
    pub fn transaction(
        &mut self,
        stage: Stage,
        class: &'static Class,
        label: String,
        protocol: Protocol,
        parts: Vec<Part>,
    ) {
        let action = Action::Transaction { protocol, parts };
        self.steps.push(Step {
            stage,
            side: Side::Inside,
            class: class.name,
            label,
            action,
            tolerated: &[],
        });
    }

    /// Takes over what was planned for the namespace of outer ends.
    pub fn take_for_host(&mut self, other: Self) {
        let steps = other.steps.into_iter().map(|step| Step { side: Side::Host, ..step });
        self.steps.extend(steps);
    }

    /// Adds an action of another kind, inside.
    pub fn act(&mut self, stage: Stage, class: &'static Class, label: String, action: Action) {
        let side = Side::Inside;
        self.steps.push(Step { stage, side, class: class.name, label, action, tolerated: &[] });
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
