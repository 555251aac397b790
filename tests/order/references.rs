//! References by the tables, in messages that kernels told: whatever part of a namespace a plan starts
//! from and whatever part it leads to, no step names what is not there.
//!
//! Links are found by the fates of the tables. Names of other things are in [`NAMED`] and [`REFERS`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use netckpt::image::Snapshot;
use netckpt::netlink::{Builder, attributes, messages};
use netckpt::plan::{Action, Host, Objects, Plan, Side, Terms, plan};
use netckpt::state::table::{Class, Source};
use netckpt::state::{self, CLASSES, Fault, Names, Object, Value};
use proptest::prelude::*;

use crate::{DELLINK, NEWLINK};

/// What has a name of its own: the class, the field with the name, and the fields within whose value
/// it is told apart.
const NAMED: &[(&str, &str, &[&str])] = &[
    ("nft-tables", "name", &["family"]),
    ("nft-chains", "name", &["family", "table"]),
    ("nft-sets", "name", &["family", "table"]),
    ("nft-objects", "name", &["family", "table"]),
    ("nft-flowtables", "name", &["family", "table"]),
    ("ipsets", "setname", &[]),
    ("nexthops", "id", &[]),
    ("conntrack", "tuple_orig", &[]),
];

/// What names others: the class, the path of the name (`*` is each item of a list), the class named.
const REFERS: &[(&str, &str, &str)] = &[
    ("nft-chains", "table", "nft-tables"),
    ("nft-sets", "table", "nft-tables"),
    ("nft-objects", "table", "nft-tables"),
    ("nft-flowtables", "table", "nft-tables"),
    ("nft-rules", "chain", "nft-chains"),
    ("nft-rules", "expressions.*.data.set", "nft-sets"),
    ("nft-rules", "expressions.*.data.set_name", "nft-sets"),
    ("nft-rules", "expressions.*.data.imm_name", "nft-objects"),
    ("nft-rules", "expressions.*.data.data.verdict.chain", "nft-chains"),
    ("nft-set-elements", "set", "nft-sets"),
    ("nft-set-elements", "elements.*.objref", "nft-objects"),
    ("nft-set-elements", "elements.*.data.verdict.chain", "nft-chains"),
    ("ipset-members", "setname", "ipsets"),
    ("ipset-members", "data.name", "ipsets"),
    ("nexthops", "group.*.id", "nexthops"),
    ("routes", "nh_id", "nexthops"),
    ("conntrack", "tuple_master", "conntrack"),
    ("conntrack-expectations", "master", "conntrack"),
];

/// Every object that was recorded, by class. A legacy table is put together from all of its messages, so
/// that a part of them is none; `tests/xtables` looks at those.
fn recorded() -> Vec<Object> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let section = |class: &Class| std::fs::read(folder.join(format!("{}.bin", class.name))).ok();
    let of_class = |class| state::objects(class, &section(class).unwrap_or_default()).unwrap();
    let legacy = ["iptables", "ip6tables", "arptables"];
    CLASSES.into_iter().filter(|class| !legacy.contains(&class.name)).flat_map(of_class).collect()
}

/// A part of what was recorded, without what refers to something that is not in it.
fn part(all: &[Object], chosen: &[bool]) -> Snapshot {
    let is_lo = |object: &Object| object.class.name == "links" && object.key == "1";
    let chosen = chosen.iter().copied().chain(std::iter::repeat(false));
    let chosen = all.iter().zip(chosen).filter(|(object, chosen)| *chosen || is_lo(object));
    let mut objects: Vec<_> = chosen.map(|(object, _)| object).collect();
    loop {
        let names = links(objects.iter().copied().filter_map(index));
        let there: BTreeSet<_> = objects.iter().filter_map(|object| identity(object)).collect();
        let before = objects.len();
        objects.retain(|object| {
            let named = refers(object.class, &object.value());
            dangling(object.class, &object.bytes, &names).is_none()
                && named.iter().all(|name| there.contains(name))
        });
        if objects.len() == before {
            break;
        }
    }
    let mut sections: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for object in objects {
        sections.entry(object.class.name.to_owned()).or_default().extend(&object.bytes);
    }
    let sections = sections.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes)));
    Snapshot { sections: sections.collect() }
}

fn index(object: &Object) -> Option<u32> {
    let index = object.value().number("index").filter(|_| object.class.name == "links")?;
    u32::try_from(index).ok()
}

/// Links of these indexes, for the check.
fn links(indexes: impl Iterator<Item = u32>) -> Names {
    let link = |index: u32| {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut link = Builder::new(NEWLINK, 0, &header);
        link.put_text(3, &format!("link{index}"));
        link.finish()
    };
    Names::of(&indexes.flat_map(link).collect::<Vec<_>>())
}

/// A link that a message refers to and that is not there.
fn dangling(class: &'static Class, message: &[u8], links: &Names) -> Option<u64> {
    if matches!(class.source, Source::Sysctl) {
        return None;
    }
    // Whatever a message does, its layout is that of what the kernel tells.
    let mut told = message.to_vec();
    told[4..6].copy_from_slice(&class.tells.to_ne_bytes());
    state::check(class, &told, links).into_iter().find_map(|problem| match problem.fault {
        Fault::NoLink(index) => Some(index),
        _ => None,
    })
}

/// Class and name, with what it is told apart within.
type Identity = (&'static str, String);

fn identity(object: &Object) -> Option<Identity> {
    identity_of(object.class, &object.value())
}

fn identity_of(class: &Class, value: &Value) -> Option<Identity> {
    let (name, field, within) = NAMED.iter().find(|(name, ..)| *name == class.name)?;
    Some((name, scoped(value, within, &value.field(field)?.to_string())))
}

fn scoped(value: &Value, within: &[&str], name: &str) -> String {
    let scope = within.iter().map(|field| format!("{} ", shown(value, field)));
    scope.collect::<String>() + name
}

fn shown(value: &Value, field: &str) -> String {
    value.field(field).map(ToString::to_string).unwrap_or_default()
}

/// All that a message names.
fn refers(class: &Class, value: &Value) -> Vec<Identity> {
    let rows = REFERS.iter().filter(|(name, ..)| *name == class.name);
    rows.flat_map(|(_, path, to)| {
        let (_, _, within) = NAMED.iter().find(|(name, ..)| name == to).unwrap();
        let mut found = Vec::new();
        at(value, path, &mut found);
        found.into_iter().map(|name| (*to, scoped(value, within, &name))).collect::<Vec<_>>()
    })
    .collect()
}

/// The values at a path with `*` in it.
fn at(value: &Value, path: &str, found: &mut Vec<String>) {
    let Some((before, after)) = path.split_once(".*.") else {
        found.extend(value.field(path).map(ToString::to_string));
        return;
    };
    if let Some(Value::List(items)) = value.field(before) {
        items.iter().for_each(|item| at(item, after, found));
    }
}

/// What is there after the steps so far.
#[derive(Default)]
struct There {
    /// Each link's index, and that of the link it stands on or that is its other end.
    links: BTreeMap<u32, Option<u32>>,
    /// With the message that made it.
    named: BTreeMap<Identity, (&'static Class, Vec<u8>)>,
}

impl There {
    fn of(snapshot: &Snapshot) -> Self {
        let mut there = Self::default();
        for class in CLASSES {
            let section = snapshot.sections.get(class.name).cloned().unwrap_or_default();
            for object in state::objects(class, &section).unwrap() {
                if let Some(index) = index(&object) {
                    let value = object.value();
                    let inside = value.field("link_netnsid").is_none();
                    let on = value.number("link").filter(|_| inside).map(|on| on as u32);
                    there.links.insert(index, on.filter(|on| *on != 0));
                }
                let bytes = || (class, object.bytes.clone());
                there.named.extend(identity(&object).map(|name| (name, bytes())));
            }
        }
        there
    }

    fn follow(&mut self, plan: &Plan) -> Result<(), String> {
        for step in plan.steps.iter().filter(|step| step.side == Side::Inside) {
            let class = state::class(step.class).unwrap();
            match &step.action {
                Action::Send { message, .. } => {
                    self.message(class, message).map_err(|why| format!("{step}: {why}"))?;
                }
                Action::Transaction { parts, .. } => {
                    for part in parts {
                        let kind = messages(&part.message).next().unwrap().unwrap().kind;
                        let is = |class: &&Class| {
                            let of = class.name.starts_with("nft-");
                            of && (class.make == kind || class.remove == kind)
                        };
                        let Some(class) = CLASSES.into_iter().find(is) else { continue };
                        self.message(class, &part.message)
                            .map_err(|why| format!("{}: {why}", part.label))?;
                    }
                }
                Action::Tun(tun) => {
                    self.links.entry(tun.index).or_default();
                }
                // Tables of their own, which no name refers to.
                Action::Command { .. }
                | Action::LinkFile { .. }
                | Action::Membership { .. }
                | Action::Table { .. }
                | Action::Write { .. } => {}
            }
        }
        Ok(())
    }

    fn message(&mut self, class: &'static Class, bytes: &[u8]) -> Result<(), String> {
        let message = messages(bytes).next().unwrap().unwrap();
        let mut told = bytes.to_vec();
        told[4..6].copy_from_slice(&class.tells.to_ne_bytes());
        let value = state::decode(class, &told);
        if message.kind == class.remove {
            if message.kind == DELLINK && class.name == "links" {
                self.lose(value.number("index").unwrap() as u32);
                self.lose_along();
            } else if let Some((of, name)) = identity_of(class, &value) {
                self.named.remove(&(of, name.clone()));
                // A table goes with all that is in it.
                let within = |other: &Identity| other.1.starts_with(&format!("{name} "));
                self.named.retain(|other, _| of != "nft-tables" || !within(other));
            }
            return Ok(());
        }
        let names = links(self.links.keys().copied());
        if let Some(index) = dangling(class, bytes, &names) {
            return Err(format!("link {index} is not there"));
        }
        if let Some(name) =
            refers(class, &value).into_iter().find(|name| !self.named.contains_key(name))
        {
            return Err(format!("{name:?} is not there: {:?}", self.named.keys()));
        }
        self.named.extend(identity_of(class, &value).map(|name| (name, (class, told))));
        if message.kind == NEWLINK && class.name == "links" {
            self.make(&value, &message.body[16..]);
        }
        Ok(())
    }

    fn make(&mut self, link: &Value, rest: &[u8]) {
        let index = link.number("index").unwrap() as u32;
        let on = link.number("link").map(|on| on as u32).filter(|on| *on != 0);
        let known = self.links.entry(index).or_default();
        *known = known.or(on);
        // The other end of a veth, where that is inside as well.
        let get = |bytes: &[u8], id| {
            let found = attributes(bytes).map_while(Result::ok).find(|one| one.id == id);
            found.map(|one| one.payload.to_vec())
        };
        let data = get(rest, 18).and_then(|info| get(&info, 2));
        let Some(peer) = data.and_then(|data| get(&data, 1)).filter(|peer| peer.len() >= 16) else {
            return;
        };
        if get(&peer[16..], 28).is_none() && self.links[&index].is_none() {
            let other = u32::from_ne_bytes(*peer[4..].first_chunk().unwrap());
            self.links.insert(other, Some(index));
            self.links.insert(index, Some(other));
        }
    }

    /// A link goes, with its other end and what stands on it.
    fn lose(&mut self, index: u32) {
        let Some(on) = self.links.remove(&index) else { return };
        let pair = on.filter(|on| self.links.get(on) == Some(&Some(index)));
        let above: Vec<_> =
            self.links.iter().filter(|(_, on)| **on == Some(index)).map(|(at, _)| *at).collect();
        above.into_iter().chain(pair).for_each(|other| self.lose(other));
    }

    /// What refers to a link goes with it, and what names that.
    fn lose_along(&mut self) {
        let names = links(self.links.keys().copied());
        self.named.retain(|_, (class, bytes)| dangling(class, bytes, &names).is_none());
        loop {
            let there: BTreeSet<_> = self.named.keys().cloned().collect();
            self.named.retain(|_, (class, bytes)| {
                let named = refers(class, &state::decode(class, bytes));
                named.iter().all(|name| there.contains(name))
            });
            if self.named.len() == there.len() {
                break;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_step_names_what_is_not_there(
        from in proptest::collection::vec(any::<bool>(), 512),
        to in proptest::collection::vec(proptest::bool::weighted(0.8), 512),
        bare in any::<bool>(),
    ) {
        let all = recorded();
        prop_assert!(all.len() <= 512, "{}", all.len());
        let from = part(&all, if bare { &[] } else { &from });
        let to = part(&all, &to);
        let terms = Terms { host: Some(Host::default()), queues: 1, scaffold: false };
        let read = |snapshot| Objects::read(snapshot, 0).unwrap();
        let plan = plan(&read(&from), &read(&to), &terms).unwrap();
        let mut there = There::of(&from);
        let followed = there.follow(&plan);
        prop_assert!(followed.is_ok(), "{}", followed.unwrap_err());
        let wanted = There::of(&to);
        let links = |there: &There| there.links.keys().copied().collect::<BTreeSet<_>>();
        prop_assert_eq!(links(&there), links(&wanted));
        let named = |there: &There| there.named.keys().cloned().collect::<BTreeSet<_>>();
        prop_assert_eq!(named(&there), named(&wanted));
    }
}

/// A table that names a class or a field that there is not would see nothing.
#[test]
fn what_is_named_is_recorded() {
    let all = recorded();
    let of = |name: &'static str| all.iter().filter(move |object| object.class.name == name);
    // What the recording kernel had no means for.
    let seldom = ["nft-flowtables", "tuple_master"];
    for (class, ..) in NAMED.iter().filter(|(class, ..)| !seldom.contains(class)) {
        assert!(of(class).any(|object| identity(object).is_some()), "{class}");
    }
    let rows =
        REFERS.iter().filter(|(class, path, _)| !seldom.contains(class) && !seldom.contains(path));
    for (class, path, _) in rows {
        let refers = |object: &Object| {
            let mut found = Vec::new();
            at(&object.value(), path, &mut found);
            !found.is_empty()
        };
        assert!(of(class).any(refers), "{class}: {path}");
    }
}
