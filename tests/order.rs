//! The order of a plan, for drawn networks: from any to any other, every object that a step refers to
//! is there when the step is done. No kernel is asked: the steps are followed one by one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use netckpt::image::Snapshot;
use netckpt::netlink::{Attribute, Builder, Message, attributes, messages};
use netckpt::plan::{Action, Host, Objects, Plan, Side, Terms, plan};
use proptest::prelude::*;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const NEWNEIGH: u16 = 28;
const DELNEIGH: u16 = 29;
const NEWRULE: u16 = 32;
const DELRULE: u16 = 33;
const NEWNEXTHOP: u16 = 104;
const DELNEXTHOP: u16 = 105;
const UP: u32 = 1;

/// What a drawn link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A veth whose other end is outside.
    Door,
    /// A pair of veth inside; the other end has the next index.
    Pair,
    Bridge,
    /// On another link, by its place among those that can carry one.
    Macvlan(usize),
}

#[derive(Debug, Clone)]
struct Link {
    kind: Kind,
    /// Even, so that a pair's other end has room.
    index: u32,
    mtu: u32,
    up: bool,
    /// Of a door: whether it is a port of the first bridge.
    joins: bool,
    addresses: u8,
    gateways: u8,
    nexthops: u8,
}

fn link() -> impl Strategy<Value = Link> {
    let kind = prop_oneof![
        3 => Just(Kind::Door),
        2 => Just(Kind::Pair),
        1 => Just(Kind::Bridge),
        1 => (0_usize..4).prop_map(Kind::Macvlan),
    ];
    (kind, 1_u32..12, 1300_u32..1500, any::<bool>(), any::<bool>(), 0_u8..3, 0_u8..3, 0_u8..3)
        .prop_map(|(kind, index, mtu, up, joins, addresses, gateways, nexthops)| Link {
            kind,
            index: index * 2,
            mtu,
            up,
            joins,
            addresses,
            gateways,
            nexthops,
        })
}

fn network() -> impl Strategy<Value = Snapshot> {
    proptest::collection::vec(link(), 0..6).prop_map(|mut links| {
        let mut seen = BTreeSet::new();
        links.retain(|link| seen.insert(link.index));
        snapshot(&links)
    })
}

/// The sections as a kernel would tell them.
fn snapshot(links: &[Link]) -> Snapshot {
    let mut sections: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut add = |name, message: Vec<u8>| sections.entry(name).or_default().extend(message);
    add("links", told(1, "lo", "", 65536, 9, None, None));
    let carriers: Vec<u32> = links
        .iter()
        .filter(|link| !matches!(link.kind, Kind::Macvlan(_)))
        .map(|l| l.index)
        .collect();
    let bridge = links.iter().find(|link| link.kind == Kind::Bridge).map(|link| link.index);
    for link in links {
        let flags = u32::from(link.up);
        let name = format!("eth{}", link.index);
        match link.kind {
            Kind::Door => {
                let master = bridge.filter(|_| link.joins);
                let parent = Some((link.index + 100, true));
                add("links", told(link.index, &name, "veth", link.mtu, flags, parent, master));
                let outer = format!("out{}", link.index);
                let inner = Some((link.index, true));
                add("host/links", told(link.index + 100, &outer, "veth", link.mtu, 1, inner, None));
            }
            Kind::Pair => {
                let other = link.index + 1;
                let (this, that) = (Some((other, false)), Some((link.index, false)));
                add("links", told(link.index, &name, "veth", link.mtu, flags, this, None));
                let name = format!("eth{other}");
                add("links", told(other, &name, "veth", link.mtu, flags, that, None));
            }
            Kind::Bridge => {
                add("links", told(link.index, &name, "bridge", link.mtu, flags, None, None))
            }
            Kind::Macvlan(on) => {
                let Some(parent) = carriers.get(on) else { continue };
                let parent = Some((*parent, false));
                add("links", told(link.index, &name, "macvlan", link.mtu, flags, parent, None));
            }
        }
        let net = link.index as u8;
        for host in 0..link.addresses {
            add("addresses", address(link.index, [10, net, 0, host + 2]));
        }
        if link.addresses == 0 || !link.up {
            continue;
        }
        for number in 0..link.gateways {
            let gateway = [10, net, 0, 100 + number];
            add("routes", route([20, net, number, 0], link.index, Some(gateway), None));
            add("neighbours", neighbour(link.index, gateway));
            // A gateway that only a route to the link leads to.
            let far = [169, 254, net, number];
            add("routes", route([21, net, number, 0], link.index, Some(far), None));
            add("routes", route([169, 254, net, number], link.index, None, None));
        }
        let ids: Vec<u32> =
            (0..link.nexthops).map(|n| 1000 + link.index * 10 + u32::from(n)).collect();
        // Groups are told before their members where their id is lower.
        for (id, member) in ids.iter().zip(1_u32..) {
            add("nexthops", group(member + link.index * 10, *id));
            add(
                "routes",
                route([22, net, member as u8, 0], 0, None, Some(member + link.index * 10)),
            );
        }
        for id in &ids {
            add("nexthops", nexthop(*id, link.index, [10, net, 0, 1]));
        }
        add("rules", rule(100 + u32::from(link.gateways), net));
        add("sysctls", format!("ipv4/conf/{name}/rp_filter\0{}\0", link.addresses).into_bytes());
    }
    // Sections in the order of a kernel: by index, by destination.
    let sections = sections.into_iter().map(|(name, bytes)| (name.to_owned(), Bytes::from(bytes)));
    Snapshot { sections: sections.collect() }
}

/// A link's message. `parent`: the link that it stands on, and whether that is outside.
fn told(
    index: u32,
    name: &str,
    kind: &str,
    mtu: u32,
    flags: u32,
    parent: Option<(u32, bool)>,
    master: Option<u32>,
) -> Vec<u8> {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    let mut builder = Builder::new(NEWLINK, 0, &header);
    builder.put_text(3, name).put_u32(4, mtu);
    if let Some((parent, outside)) = parent {
        builder.put_u32(5, parent);
        if outside {
            builder.put_u32(37, 0);
        }
    }
    if let Some(master) = master {
        builder.put_u32(10, master);
    }
    if !kind.is_empty() {
        let info = builder.begin(18);
        builder.put_text(1, kind).end(info);
    }
    builder.finish()
}

fn address(index: u32, address: [u8; 4]) -> Vec<u8> {
    let mut header = [2, 24, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut builder = Builder::new(NEWADDR, 0, &header);
    builder.put(1, &address).put(2, &address).put_u32(8, 0x80);
    builder.finish()
}

fn route(to: [u8; 4], link: u32, gateway: Option<[u8; 4]>, nexthop: Option<u32>) -> Vec<u8> {
    let scope = if gateway.is_none() && nexthop.is_none() { 253 } else { 0 };
    let length = if to[0] == 169 { 32 } else { 24 };
    let mut builder = Builder::new(NEWROUTE, 0, &[2, length, 0, 0, 254, 3, scope, 1, 0, 0, 0, 0]);
    builder.put_u32(15, 254).put(1, &to);
    if link != 0 {
        builder.put_u32(4, link);
    }
    if let Some(gateway) = gateway {
        builder.put(5, &gateway);
    }
    if let Some(nexthop) = nexthop {
        builder.put_u32(30, nexthop);
    }
    builder.finish()
}

fn neighbour(index: u32, address: [u8; 4]) -> Vec<u8> {
    let mut header = [2, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 1];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut builder = Builder::new(NEWNEIGH, 0, &header);
    builder.put(1, &address).put(2, &[2, 0, 0, 0, 0, 1]);
    builder.finish()
}

fn nexthop(id: u32, link: u32, gateway: [u8; 4]) -> Vec<u8> {
    let mut builder = Builder::new(NEWNEXTHOP, 0, &[2, 0, 0, 0, 0, 0, 0, 0]);
    builder.put_u32(1, id).put_u32(5, link).put(6, &gateway);
    builder.finish()
}

fn group(id: u32, member: u32) -> Vec<u8> {
    let mut builder = Builder::new(NEWNEXTHOP, 0, &[0; 8]);
    let mut members = member.to_ne_bytes().to_vec();
    members.extend_from_slice(&[0; 4]);
    builder.put_u32(1, id).put(2, &members);
    builder.finish()
}

fn rule(priority: u32, mark: u8) -> Vec<u8> {
    let mut builder = Builder::new(NEWRULE, 0, &[2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]);
    builder.put_u32(6, priority).put_u32(10, u32::from(mark)).put_u32(15, 254);
    builder.finish()
}

/// Destination, link, gateway, id of the nexthop; 0 for none.
type Route = (Option<Vec<u8>>, u32, Option<Vec<u8>>, u32);

/// A kernel, as far as references go. Anything that is not as it must be panics.
#[derive(Debug, Default)]
struct Model {
    /// Name, link that it stands on, whether it is up.
    links: BTreeMap<u32, (String, Option<u32>, bool)>,
    addresses: BTreeSet<(u32, Vec<u8>)>,
    routes: Vec<Route>,
    /// Members and link.
    nexthops: BTreeMap<u32, (Option<u32>, u32)>,
    neighbours: BTreeSet<(u32, Vec<u8>)>,
    rules: u32,
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn find<'a>(all: impl Iterator<Item = Attribute<'a>>, id: u16) -> Option<&'a [u8]> {
    let mut all = all;
    all.find(|attribute| attribute.id == id).map(|attribute| attribute.payload)
}

impl Model {
    fn of(snapshot: &Snapshot) -> Self {
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

    fn follow(&mut self, plan: &Plan, outside: &mut BTreeSet<String>) {
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
                // Only nftables has them, which is not drawn here; its own tests see their order.
                Action::Transaction { .. } | Action::Tun(_) => panic!("{step}"),
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

fn planned(from: &Snapshot, to: &Snapshot) -> Plan {
    let terms = Terms { host: Some(Host::default()), queues: 1, scaffold: false };
    plan(&Objects::read(from, 0).unwrap(), &Objects::read(to, 0).unwrap(), &terms).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_reference_is_there_before_it_is_used(from in network(), to in network()) {
        let plan = planned(&from, &to);
        let mut model = Model::of(&from);
        model.follow(&plan, &mut BTreeSet::new());
        let wanted = Model::of(&to);
        prop_assert_eq!(model.links, wanted.links);
        prop_assert_eq!(model.addresses, wanted.addresses);
        prop_assert_eq!(model.neighbours, wanted.neighbours);
        prop_assert_eq!(model.nexthops, wanted.nexthops);
        prop_assert_eq!(model.rules, wanted.rules);
        let sorted = |mut routes: Vec<_>| { routes.sort(); routes };
        prop_assert_eq!(sorted(model.routes), sorted(wanted.routes));
    }

    #[test]
    fn what_is_right_needs_no_step(network in network()) {
        prop_assert_eq!(planned(&network, &network), Plan::default());
    }
}
