//! The host's connection tracking of a pod's flows: what the node knows of them, translation by
//! Services included, goes with the pod, and does not stay where it was.
//!
//! **Which.** For each connected socket of the pod the entry is asked for by its tuple, which costs a
//! look into a hash table (about 10 µs a socket), whatever else the table holds. Where a pod has
//! sockets of UDP that are not connected, or more than [`MOST_ASKED`], the table is walked once for
//! each of its addresses, with a filter (`CTA_FILTER`, Linux 5.8): some 10 ms for 262,144 buckets.
//! Flows that a pod forwards for others are found by the walk only.
//!
//! **What stays.** A flow whose answers come to an address of the node itself (masquerade), or that
//! was asked of the node (NodePort, hostPort), is translated by that node and no other: its entry
//! stays there, and it is named. Where the node was asked and answers for itself both ways, it goes on
//! through the node that the pod has left. So does a flow that somebody else has begun and the node has
//! translated to the pod (a pod beside it that asks a Service): whoever has begun it still sends it to
//! this node, which alone may translate it.
//!
//! **When.** The destination has the entries before the pod has sockets. The source forgets them when
//! it leads the address away: an entry of an earlier stay would take the flow's packets for invalid,
//! or translate them a second time, when the pod comes back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::image::{NotCarried, Snapshot};
use crate::netlink::{Builder, Error, Protocol, Socket, messages};
use crate::state::classes::conntrack::{
    CTA_TUPLE_MASTER, CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE,
};
use crate::state::classes::{ADDRESSES, CONNTRACK, SOCKETS};
use crate::state::{self, Names, Object, Value};

/// Section of these entries.
pub const SECTION: &str = "host/conntrack";
/// Sockets whose entries are asked for one by one.
const MOST_ASKED: usize = 256;
/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_GET` and `_DELETE`.
const CT_GET: u16 = 0x101;
const CT_DELETE: u16 = 0x102;
const CTA_FILTER: u16 = 25;
/// Bytes of `struct nfgenmsg`.
const GENMSG: usize = 4;
/// Times that an entry is made while packets of its flow pass.
const TRIES: u32 = 4;
/// `CTA_FILTER_F_CTA_IP_SRC` of `enum ctattr_filter_flags` in the kernel.
const BY_SOURCE: u32 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What of the host's tracking was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flows {
    /// Messages as the kernel gave them.
    pub section: Vec<u8>,
    /// Flows that only their own node can translate.
    pub stay: Vec<NotCarried>,
}

/// A socket's two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ends {
    protocol: u8,
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

/// Reads what the calling thread's namespace tracks of the flows of a captured pod.
///
/// # Errors
/// As [`Socket::dump`].
pub fn capture(pod: &Snapshot) -> Result<Flows, Error> {
    let own = addresses(pod);
    let mut socket = Socket::open(Protocol::Netfilter)?;
    if own.is_empty() || tracks_nothing() {
        return Ok(Flows::default());
    }
    let node = node_addresses()?;
    let (ends, walk) = ends(pod);
    let raw = if walk || ends.len() > MOST_ASKED {
        walked(&mut socket, &own)?
    } else {
        let ends = ends.iter().filter(|ends| own.contains(&ends.local.0));
        ends.map(|ends| ask(&mut socket, ends)).collect::<Result<Vec<_>, _>>()?.concat()
    };
    let mut flows = Flows::default();
    for object in objects(&raw).iter().filter(|object| Flow::of(object).is_of(&own)) {
        if Flow::of(object).stays(&own, &node) {
            flows.stay.push(bound(object));
        } else {
            flows.section.extend_from_slice(&object.bytes);
            flows.section.resize(crate::netlink::align(flows.section.len()), 0);
        }
    }
    Ok(flows)
}

/// Makes the entries of a section in the calling thread's namespace, `age` seconds later: those of
/// flows of `own`, and of nobody else. What is there of these flows gives way. Answers what the kernel
/// did not take, as sentences.
///
/// # Errors
/// As [`Socket::batch`].
pub fn insert(section: &[u8], age: u32, own: &[IpAddr]) -> Result<Vec<String>, Error> {
    let own: BTreeSet<IpAddr> = own.iter().copied().collect();
    let aged = state::age(&CONNTRACK, section, age);
    let wanted: Vec<Object> =
        objects(&aged).into_iter().filter(|object| Flow::of(object).is_of(&own)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut socket = Socket::open(Protocol::Netfilter)?;
    remove(&mut socket, &wanted)?;
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let make = |object: &Object| {
        // What it was expected of is not among them.
        let kept = |id| id != CTA_TUPLE_MASTER;
        state::replay_where(&CONNTRACK, &object.bytes, CONNTRACK.make, flags, |a| kept(a.id))
    };
    let mut told = Vec::new();
    let mut left: Vec<&Object> = wanted.iter().collect();
    for again in (0..TRIES).rev() {
        let all: Vec<_> = left.iter().map(|object| make(object)).collect();
        let refused = socket.batch(all.iter().map(Vec::as_slice))?;
        let mut next = Vec::new();
        for (place, refusal) in refused {
            let object = left[place];
            if refusal.errno != libc::EEXIST || again == 0 {
                let label = object.label(&Names::default());
                told.push(format!("the node does not track {label}: {refusal}"));
            } else if give_way(&mut socket, object, &own)? {
                next.push(object);
            }
        }
        left = next;
        if left.is_empty() {
            break;
        }
    }
    Ok(told)
}

/// Whether an entry may be made anew: what is there has its answers as its question. It is what the node
/// has seen of the flow while it only passed it on, and goes; or the node itself translates it for
/// whoever has begun it, and is right.
fn give_way(socket: &mut Socket, object: &Object, own: &BTreeSet<IpAddr>) -> Result<bool, Error> {
    let Some(Ok(message)) = messages(&object.bytes).next() else { return Ok(false) };
    let Some(header) = message.body.get(..GENMSG) else { return Ok(false) };
    let mut question = Builder::new(CT_GET, 0, header);
    for one in message.attributes(GENMSG).map_while(Result::ok) {
        match one.id {
            CTA_TUPLE_REPLY => drop(question.put(CTA_TUPLE_REPLY | Builder::NESTED, one.payload)),
            CTA_ZONE => drop(question.put(CTA_ZONE, one.payload)),
            _ => {}
        }
    }
    let found = match socket.get(CT_GET, &question.finish().split_off(16)) {
        // It has ended meanwhile.
        Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(true),
        found => objects(&found?),
    };
    let node = node_addresses()?;
    if found.iter().any(|object| Flow::of(object).stays(own, &node)) {
        return Ok(false);
    }
    remove(socket, &found)?;
    Ok(true)
}

/// Forgets the flows of addresses that have left, but for those that only this node can translate.
/// Answers how many.
///
/// # Errors
/// As [`Socket::dump`].
pub fn forget(own: &BTreeSet<IpAddr>) -> Result<usize, Error> {
    if own.is_empty() || tracks_nothing() {
        return Ok(0);
    }
    let mut socket = Socket::open(Protocol::Netfilter)?;
    let node = node_addresses()?;
    let mut all = objects(&walked(&mut socket, own)?);
    all.retain(|object| {
        let flow = Flow::of(object);
        flow.is_of(own) && !flow.stays(own, &node)
    });
    remove(&mut socket, &all)?;
    Ok(all.len())
}

fn remove(socket: &mut Socket, all: &[Object]) -> Result<(), Error> {
    let key = |id| [CTA_TUPLE_ORIG, CTA_ZONE].contains(&id);
    let remove = |object: &Object| {
        state::replay_where(&CONNTRACK, &object.bytes, CT_DELETE, 0, |a| key(a.id))
    };
    let all: Vec<_> = all.iter().map(remove).collect();
    // One that has ended meanwhile is no error, nor one that was never here.
    socket.batch(all.iter().map(Vec::as_slice)).map(drop)
}

/// An entry's addresses.
#[derive(Debug, Default)]
struct Flow {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    answers_from: Option<IpAddr>,
    answers_to: Option<IpAddr>,
}

impl Flow {
    fn of(object: &Object) -> Self {
        let value = object.value();
        let address = |tuple: &str, end: &str| {
            let of = |version| value.address(&format!("{tuple}.ip.{version}_{end}"));
            of("v4").or_else(|| of("v6"))
        };
        Self {
            source: address("tuple_orig", "src"),
            destination: address("tuple_orig", "dst"),
            answers_from: address("tuple_reply", "src"),
            answers_to: address("tuple_reply", "dst"),
        }
    }

    /// Whether one of these has begun it or answers it.
    fn is_of(&self, own: &BTreeSet<IpAddr>) -> bool {
        [self.source, self.answers_from].into_iter().flatten().any(|one| own.contains(&one))
    }

    /// Whether only the node of these addresses can translate it: under its own name, or because
    /// whoever has begun it, none of `own`, sends it there.
    fn stays(&self, own: &BTreeSet<IpAddr>, node: &BTreeSet<IpAddr>) -> bool {
        let is_in =
            |all: &BTreeSet<IpAddr>, end: Option<IpAddr>| end.is_some_and(|end| all.contains(&end));
        let translated = self.destination != self.answers_from;
        let asked = translated && (is_in(node, self.destination) || !is_in(own, self.source));
        asked || (is_in(node, self.answers_to) && self.answers_to != self.source)
    }
}

fn bound(object: &Object) -> NotCarried {
    NotCarried {
        class: SECTION.to_owned(),
        object: object.label(&Names::default()),
        why: "it is translated by the node that it is sent to, or to that node's own address, and no \
              other node can do that; its entry stays there"
            .to_owned(),
        matters: false,
    }
}

fn objects(raw: &[u8]) -> Vec<Object> {
    state::objects(&CONNTRACK, raw).unwrap_or_default()
}

/// Whether the calling thread's namespace has no entry at all.
fn tracks_nothing() -> bool {
    super::settings::get("netfilter/nf_conntrack_count").map_or(true, |count| count == "0")
}

/// The global addresses of a captured pod.
pub fn addresses(pod: &Snapshot) -> BTreeSet<IpAddr> {
    let section = pod.sections.get(ADDRESSES.name).map(|bytes| &bytes[..]).unwrap_or_default();
    let all = state::objects(&ADDRESSES, section).unwrap_or_default();
    let of = |value: Value| value.address("local").or_else(|| value.address("address"));
    let all = all.iter().filter_map(|object| of(object.value()));
    let link_local = |one: &IpAddr| match one {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    all.filter(|one| !one.is_loopback() && !link_local(one)).collect()
}

/// The connected sockets of a captured pod, and whether others may have flows.
fn ends(pod: &Snapshot) -> (BTreeSet<Ends>, bool) {
    let Some(section) = pod.sections.get(SOCKETS.name) else { return (BTreeSet::new(), true) };
    let (mut ends, mut walk) = (BTreeSet::new(), false);
    for message in messages(section).map_while(Result::ok) {
        let value = state::decode(&SOCKETS, message.bytes);
        let number = |path| value.number(path).unwrap_or_default();
        let end = |address, port| {
            let address = value.address(address)?.to_canonical();
            Some((address, u16::try_from(number(port)).ok()?))
        };
        let protocol = number("protocol") as u8;
        let (Some(local), Some(remote)) =
            (end("local", "local_port"), end("remote", "remote_port"))
        else {
            continue;
        };
        match protocol {
            TCP | UDP if remote.1 != 0 => {
                ends.insert(Ends { protocol, local, remote });
            }
            // A listener has no flow of its own.
            TCP => {}
            _ => walk = true,
        }
    }
    (ends, walk)
}

/// The entry of one socket, whichever side has begun.
fn ask(socket: &mut Socket, ends: &Ends) -> Result<Vec<u8>, Error> {
    let mut builder = Builder::new(CT_GET, 0, &header(ends.local.0));
    let tuple = builder.begin(CTA_TUPLE_ORIG | Builder::NESTED);
    put_addresses(&mut builder, &[(0, ends.local.0), (1, ends.remote.0)]);
    let protocol = builder.begin(2 | Builder::NESTED);
    builder.put(1, &[ends.protocol]);
    builder.put(2, &ends.local.1.to_be_bytes());
    builder.put(3, &ends.remote.1.to_be_bytes());
    builder.end(protocol);
    builder.end(tuple);
    match socket.get(CT_GET, &builder.finish().split_off(16)) {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(Vec::new()),
        answer => answer,
    }
}

/// The entries that one of the addresses has begun, or answers.
fn walked(socket: &mut Socket, own: &BTreeSet<IpAddr>) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    for address in own {
        for (at, tuple) in [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY].into_iter().enumerate() {
            let mut builder = Builder::new(CT_GET, 0, &header(*address));
            let nest = builder.begin(tuple | Builder::NESTED);
            put_addresses(&mut builder, &[(0, *address)]);
            builder.end(nest);
            let nest = builder.begin(CTA_FILTER | Builder::NESTED);
            for direction in 0..2_u16 {
                let flags = if usize::from(direction) == at { BY_SOURCE } else { 0 };
                builder.put_u32(direction + 1, flags);
            }
            builder.end(nest);
            socket.dump_into(CT_GET, &builder.finish().split_off(16), &mut all)?;
        }
    }
    // One that an own address has begun and another one answers came twice.
    let mut seen = BTreeSet::new();
    let mut once = Vec::new();
    for message in messages(&all).map_while(Result::ok) {
        if seen.insert(message.bytes) {
            once.extend_from_slice(message.bytes);
            once.resize(crate::netlink::align(once.len()), 0);
        }
    }
    Ok(once)
}

/// `struct nfgenmsg`.
fn header(of: IpAddr) -> [u8; 4] {
    let family = if of.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    [family as u8, 0, 0, 0]
}

/// `CTA_TUPLE_IP`: sources are 0, destinations 1.
fn put_addresses(builder: &mut Builder, all: &[(u16, IpAddr)]) {
    let nest = builder.begin(1 | Builder::NESTED);
    for (end, address) in all {
        match address {
            IpAddr::V4(v4) => builder.put(1 + end, &v4.octets()),
            IpAddr::V6(v6) => builder.put(3 + end, &v6.octets()),
        };
    }
    builder.end(nest);
}

/// The addresses of the calling thread's namespace.
fn node_addresses() -> Result<BTreeSet<IpAddr>, Error> {
    let dump = Socket::open(Protocol::Route)?.dump(libc::RTM_GETADDR, &[0; 8])?;
    let all = state::objects(&ADDRESSES, &dump.bytes).unwrap_or_default();
    let of = |value: Value| value.address("local").or_else(|| value.address("address"));
    Ok(all.iter().filter_map(|object| of(object.value())).collect())
}
