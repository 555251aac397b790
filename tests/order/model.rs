//! A kernel, as far as references go.

use std::collections::{BTreeMap, BTreeSet};

use netckpt::image::Snapshot;
use netckpt::netlink::{Attribute, Message, attributes, messages};
use netckpt::plan::{Action, Plan, Side};

use crate::{
    DELADDR, DELLINK, DELNEIGH, DELNEXTHOP, DELROUTE, DELRULE, NEWADDR, NEWLINK, NEWNEIGH,
    NEWNEXTHOP, NEWROUTE, NEWRULE, UP,
};

/// Destination, link, gateway, id of the nexthop; 0 for none.
pub type Route = (Option<Vec<u8>>, u32, Option<Vec<u8>>, u32);

/// A kernel, as far as references go. Anything that is not as it must be panics.
#[derive(Debug, Default)]
pub struct Model {
    /// Name, link that it stands on, whether it is up.
    pub links: BTreeMap<u32, (String, Option<u32>, bool)>,
    pub addresses: BTreeSet<(u32, Vec<u8>)>,
    pub routes: Vec<Route>,
    /// Members and link.
    pub nexthops: BTreeMap<u32, (Option<u32>, u32)>,
    pub neighbours: BTreeSet<(u32, Vec<u8>)>,
    pub rules: u32,
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn find<'a>(all: impl Iterator<Item = Attribute<'a>>, id: u16) -> Option<&'a [u8]> {
    let mut all = all;
    all.find(|attribute| attribute.id == id).map(|attribute| attribute.payload)
}

impl Model {
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut model = Self::default();
        // In an order in which all is there; that is what the snapshot's maker had.
        for name in ["links", "addresses", "nexthops", "routes", "rules", "neighbours"] {
            let section = snapshot.sections.get(name).map(|bytes| &bytes[..]).unwrap_or_default();
            for message in messages(section).map(Result::unwrap) {
                model.put(&message);
            }
        }
        model
    }

    /// Takes an object over without a look at what it refers to.
    fn put(&mut self, message: &Message<'_>) {
        let header = number(&message.body[4..]);
        match message.kind {
            NEWLINK => {
                let get = |id| find(message.attributes(16).map(Result::unwrap), id);
                let name = get(3).map(text).unwrap_or_default();
                let parent = get(5).filter(|_| get(37).is_none()).map(number);
                self.links.insert(header, (name, parent, number(&message.body[8..]) & UP != 0));
            }
            NEWADDR => {
                let get = |id| find(message.attributes(8).map(Result::unwrap), id);
                self.addresses.insert((header, get(1).unwrap().to_vec()));
            }
            NEWROUTE => self.routes.push(parts(message)),
            NEWNEXTHOP => {
                let get = |id| find(message.attributes(8).map(Result::unwrap), id).map(number);
                self.nexthops.insert(get(1).unwrap(), (get(2), get(5).unwrap_or(0)));
            }
            NEWNEIGH => {
                let get = |id| find(message.attributes(12).map(Result::unwrap), id);
                self.neighbours.insert((header, get(1).unwrap().to_vec()));
            }
            NEWRULE => self.rules += 1,
            other => panic!("message {other}"),
        }
    }

    fn link(&self, index: u32) {
        assert!(self.links.contains_key(&index), "link {index} is not there: {self:#?}");
    }

    /// A link goes, and all that stands on it or refers to it.
    fn lose(&mut self, index: u32) {
        let Some((_, parent, _)) = self.links.remove(&index) else { return };
        self.addresses.retain(|(link, _)| *link != index);
        self.neighbours.retain(|(link, _)| *link != index);
        self.routes.retain(|(_, link, _, _)| *link != index);
        let lost: Vec<u32> = self
            .nexthops
            .iter()
            .filter(|(_, (_, link))| *link == index)
            .map(|(id, _)| *id)
            .collect();
        lost.into_iter().for_each(|id| self.lose_nexthop(id));
        let standing = |(other, (_, on, _)): (&u32, &(String, Option<u32>, bool))| {
            (*on == Some(index)).then_some(*other)
        };
        let along: Vec<u32> = self.links.iter().filter_map(standing).collect();
        along.into_iter().for_each(|other| self.lose(other));
        // Only of a pair the end that it stands on goes too.
        if let Some(parent) = parent.filter(|parent| parent ^ 1 == index) {
            self.lose(parent);
        }
    }

    fn lose_nexthop(&mut self, id: u32) {
        self.nexthops.remove(&id);
        self.routes.retain(|(_, _, _, nexthop)| *nexthop != id);
        let groups: Vec<u32> = self
            .nexthops
            .iter()
            .filter(|(_, (member, _))| *member == Some(id))
            .map(|(g, _)| *g)
            .collect();
        groups.into_iter().for_each(|group| self.lose_nexthop(group));
    }

    /// A gateway is known by an address's net, or by a route to the link.
    fn reaches(&self, link: u32, gateway: &[u8]) -> bool {
        let near = |(to, on, through, id): &Route| {
            *on == link && through.is_none() && *id == 0 && to.as_deref() == Some(gateway)
        };
        self.addresses.iter().any(|(on, address)| *on == link && address[..3] == gateway[..3])
            || self.routes.iter().any(near)
    }

    pub fn follow(&mut self, plan: &Plan, outside: &mut BTreeSet<String>) {
        for step in &plan.steps {
            match &step.action {
                Action::Write { path, .. } => {
                    let name = path.split('/').nth(2).unwrap();
                    assert!(self.links.values().any(|(known, _, _)| known == name), "{step}");
                }
                Action::Send { message, .. } => {
                    let message = messages(message).next().unwrap().unwrap();
                    if step.side == Side::Host {
                        let name = find(message.attributes(16).map(Result::unwrap), 3);
                        // By name only what was made just now.
                        assert!(name.is_none_or(|name| outside.contains(&text(name))), "{step}");
                        continue;
                    }
                    self.send(&message, outside);
                }
                // Nothing that needs others is drawn here; their own tests see their order.
                _ => panic!("{step}"),
            }
        }
    }

    fn send(&mut self, message: &Message<'_>, outside: &mut BTreeSet<String>) {
        let header = number(&message.body[4..]);
        match message.kind {
            NEWLINK => self.make(message, outside),
            DELLINK => self.lose(header),
            18 | 19 | 108 | 109 => {
                self.link(header);
                let get = |id| find(message.attributes(16).map(Result::unwrap), id).map(number);
                if let Some(master) = get(10).filter(|master| *master != 0) {
                    self.link(master);
                }
                if message.kind == 19 && number(&message.body[12..]) & UP != 0 {
                    self.links.get_mut(&header).unwrap().2 = number(&message.body[8..]) & UP != 0;
                }
            }
            NEWADDR => {
                self.link(header);
                self.put(message);
            }
            DELADDR => {
                let get = |id| find(message.attributes(8).map(Result::unwrap), id);
                self.addresses.remove(&(header, get(1).unwrap().to_vec()));
            }
            NEWROUTE => {
                let (_, link, gateway, nexthop) = parts(message);
                match (&gateway, nexthop) {
                    (_, id) if id != 0 => assert!(self.nexthops.contains_key(&id), "nexthop {id}"),
                    (Some(gateway), _) => {
                        assert!(self.reaches(link, gateway), "gateway {gateway:?}")
                    }
                    (None, _) => {}
                }
                if link != 0 {
                    self.link(link);
                    assert!(self.links[&link].2, "link {link} is down");
                }
                self.put(message);
            }
            DELROUTE => {
                let gone = parts(message);
                let at = self.routes.iter().position(|route| *route == gone);
                self.routes.remove(at.expect("a route that is removed is there"));
            }
            NEWNEXTHOP => {
                self.put(message);
                let get = |id| find(message.attributes(8).map(Result::unwrap), id);
                let (member, link) = self.nexthops[&get(1).map(number).unwrap()];
                match member {
                    Some(member) => assert!(self.nexthops.contains_key(&member)),
                    None => {
                        self.link(link);
                        assert!(self.reaches(link, get(6).unwrap()));
                    }
                }
            }
            DELNEXTHOP => {
                let id = find(message.attributes(8).map(Result::unwrap), 1).map(number).unwrap();
                let used = self.routes.iter().any(|(_, _, _, nexthop)| *nexthop == id);
                assert!(!used, "nexthop {id} goes under a route");
                self.lose_nexthop(id);
            }
            NEWNEIGH => {
                self.link(header);
                self.put(message);
            }
            DELNEIGH => {
                let get = |id| find(message.attributes(12).map(Result::unwrap), id);
                self.neighbours.remove(&(header, get(1).unwrap().to_vec()));
            }
            NEWRULE => self.rules += 1,
            DELRULE => self.rules = self.rules.checked_sub(1).expect("a rule to remove"),
            other => panic!("message {other}"),
        }
    }

    fn make(&mut self, message: &Message<'_>, outside: &mut BTreeSet<String>) {
        let header = number(&message.body[4..]);
        assert!(!self.links.contains_key(&header), "link {header} is there already");
        let get = |id| find(message.attributes(16).map(Result::unwrap), id);
        assert_eq!(number(&message.body[8..]) & UP, 0, "never up when made");
        let name = text(get(3).unwrap());
        assert!(self.links.values().all(|(known, _, _)| *known != name), "name {name} is taken");
        let parent = get(5).map(number);
        parent.inspect(|parent| self.link(*parent));
        let data = find(attributes(get(18).unwrap()).map(Result::unwrap), 2);
        let peer = data.and_then(|data| find(attributes(data).map(Result::unwrap), 1));
        self.links.insert(header, (name, parent, false));
        let Some(peer) = peer else { return };
        let inner = |id| find(attributes(&peer[16..]).map(Result::unwrap), id);
        if inner(28).is_some() {
            outside.insert(text(inner(3).unwrap()));
            return;
        }
        let other = number(&peer[4..]);
        self.links.get_mut(&header).unwrap().1 = Some(other);
        self.links.insert(other, (text(inner(3).unwrap()), Some(header), false));
    }
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).trim_end_matches('\0').to_owned()
}

fn parts(message: &Message<'_>) -> Route {
    let get = |id| find(message.attributes(12).map(Result::unwrap), id);
    let (to, through) = (get(1).map(<[u8]>::to_vec), get(5).map(<[u8]>::to_vec));
    (to, get(4).map_or(0, number), through, get(30).map_or(0, number))
}
