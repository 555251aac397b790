//! One side's table of a hold: made, read back, changed, taken away.

use std::time::Duration;

use super::ruleset::{
    ACCEPT, Batch, CATCH_ALL, Chain, DROP, Expression, Family, Key, SUBSYSTEM, Set, Table,
};
use super::{Element, Error, Kind};
use crate::netlink::{Attribute, Attributes, Builder, Message, Socket, attributes, messages};

const GET_TABLE: u16 = SUBSYSTEM | 1;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const GET_RULE: u16 = SUBSYSTEM | 7;
const GET_ELEMENTS: u16 = SUBSYSTEM | 13;
/// Bytes of `struct nfgenmsg`.
const GENMSG: usize = 4;
/// Before whatever else is hooked there.
const FIRST: i32 = i32::MIN;
/// Chain and hook (`NF_NETDEV_INGRESS`, `NF_NETDEV_EGRESS`).
const HOOKS: [(&str, u32); 2] = [("in", 0), ("out", 1)];
/// `NFT_META_PROTOCOL`: there for every packet, whichever way it goes.
const PROTOCOL: u32 = 1;
/// nft's `ether_type`.
const ETHER_TYPE: u32 = 10;
/// What leave for IP alone has as keys (`ETH_P_IP`, `ETH_P_IPV6`).
const IP: [[u8; 2]; 2] = [[0x08, 0x00], [0x86, 0xdd]];

/// What is found of a hold on one side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Devices on which both directions are judged as they should be.
    pub(super) devices: Vec<String>,
    /// For every protocol.
    pub(super) element: Element,
    /// For IP alone.
    pub(super) ip: Element,
    pub(super) userdata: Vec<u8>,
}

fn of(name: &str) -> Table<'_> {
    Table { family: Family::Netdev, name }
}

/// Adds what holds on these devices, in the place of what was there.
pub(super) fn plant(
    batch: &mut Batch,
    kind: Kind,
    name: &str,
    devices: &[String],
    element: Element,
    userdata: &[u8],
) {
    let table = of(name);
    let set = kind.set();
    batch.replace_table(table, userdata);
    batch.set(table, Set { name: set, key_type: ETHER_TYPE, key_length: 2 });
    put(batch, kind, name, element);
    if devices.is_empty() {
        return;
    }
    let (policy, verdict) = match kind {
        Kind::Source => (ACCEPT, DROP),
        Kind::Successor => (DROP, ACCEPT),
    };
    for (chain, hook) in HOOKS {
        let base = Chain { name: chain, hook, priority: FIRST, devices, policy };
        batch.chain(table, &base);
        let rule = [Expression::Meta(PROTOCOL), Expression::In(set), Expression::Verdict(verdict)];
        batch.rule(table, chain, &rule);
    }
}

/// Makes the element what is wanted.
pub(super) fn change(batch: &mut Batch, kind: Kind, name: &str, element: Element) {
    batch.flush(of(name), kind.set());
    put(batch, kind, name, element);
}

/// Lets IP alone through for that long; the rest stays as it was, which is held.
pub(super) fn let_ip(batch: &mut Batch, kind: Kind, name: &str, time: Duration) {
    batch.flush(of(name), kind.set());
    for key in &IP {
        batch.element(of(name), kind.set(), Key::Of(key), Some(time));
    }
}

fn put(batch: &mut Batch, kind: Kind, name: &str, element: Element) {
    match element {
        Element::None => {}
        Element::For(time) => batch.element(of(name), kind.set(), Key::All, Some(time)),
        Element::Endless => batch.element(of(name), kind.set(), Key::All, None),
    }
}

/// Takes it away.
pub(super) fn remove(batch: &mut Batch, name: &str) {
    batch.delete_table(of(name));
}

/// Names and user data of the tables of this room in the socket's namespace.
pub(super) fn all(socket: &mut Socket) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let body = [Family::Netdev as u8, 0, 0, 0];
    let tables = match socket.dump(GET_TABLE, &body) {
        Ok(tables) => tables.bytes,
        Err(error) if lacks(&error) => return Ok(Vec::new()),
        Err(source) => return Err(Error::Netlink { what: "tables", source }),
    };
    let named = messages(&tables).map_while(Result::ok).filter_map(|table| {
        let name = find(table.attributes(GENMSG), 1)?.text();
        Some((name, user_data(&table)))
    });
    Ok(named.filter(|(name, _)| Kind::of_table(name).is_some()).collect())
}

/// A kernel without nftables has no table.
fn lacks(error: &crate::netlink::Error) -> bool {
    matches!(error.errno(), Some(libc::EINVAL | libc::EPROTONOSUPPORT | libc::EOPNOTSUPP))
}

fn user_data(table: &Message<'_>) -> Vec<u8> {
    find(table.attributes(GENMSG), 6).map(|data| data.payload.to_vec()).unwrap_or_default()
}

/// Reads a hold back; none when there is no such table.
pub(super) fn read(socket: &mut Socket, kind: Kind, name: &str) -> Result<Option<Found>, Error> {
    let failed = |what| move |source| Error::Netlink { what, source };
    let mut body = vec![Family::Netdev as u8, 0, 0, 0];
    body.extend(text(1, name));
    let table = match socket.get(GET_TABLE, &body) {
        Ok(table) => table,
        Err(error) if error.errno() == Some(libc::ENOENT) || lacks(&error) => return Ok(None),
        Err(source) => return Err(failed("table")(source)),
    };
    let mut found = Found::default();
    if let Some(Ok(table)) = messages(&table).next() {
        found.userdata = user_data(&table);
    }
    let chains = socket.dump(GET_CHAIN, &body[..GENMSG]).map_err(failed("chains"))?;
    let rules = socket.dump(GET_RULE, &body).map_err(failed("rules"))?;
    let judged = |chain: &str, hook: u32| match judges(&rules.bytes, kind, name, chain) {
        true => devices(&chains.bytes, kind, name, (chain, hook)),
        false => Vec::new(),
    };
    let [first, second] = HOOKS.map(|(chain, hook)| judged(chain, hook));
    found.devices = first.into_iter().filter(|device| second.contains(device)).collect();
    body.extend(text(2, kind.set()));
    let elements = match socket.dump(GET_ELEMENTS, &body) {
        Ok(elements) => elements.bytes,
        Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(Some(found)),
        Err(source) => return Err(failed("set")(source)),
    };
    for message in messages(&elements).map_while(Result::ok) {
        let list = find(message.attributes(GENMSG), 3).map(|list| list.payload);
        for one in attributes(list.unwrap_or_default()).map_while(Result::ok) {
            let (key, element) = element(one);
            match key {
                None => found.element = element,
                Some(key) if IP.iter().any(|ip| *ip == key[..]) => found.ip = element,
                Some(_) => {}
            }
        }
    }
    Ok(Some(found))
}

/// Its key, none for all keys, and how long it is there.
fn element(one: Attribute<'_>) -> (Option<Vec<u8>>, Element) {
    let inside = |id| find(attributes(one.payload), id);
    let is_all = inside(3).is_some_and(|flags| be32(flags.payload) & CATCH_ALL != 0);
    let key = inside(1).and_then(|key| find(attributes(key.payload), 1));
    let key = key.filter(|_| !is_all).map(|key| key.payload.to_vec());
    let millis = |id| {
        let found = inside(id)?.payload.first_chunk().map(|number| u64::from_be_bytes(*number));
        found.map(Duration::from_millis)
    };
    let element = match (millis(4), millis(5)) {
        (None, None) => Element::Endless,
        (_, Some(left)) => Element::For(left),
        // Its time is over.
        (Some(_), None) => Element::None,
    };
    (key, element)
}

/// Whether the chain's one rule is the one of this kind.
fn judges(rules: &[u8], kind: Kind, table: &str, chain: &str) -> bool {
    let verdict = match kind {
        Kind::Source => DROP,
        Kind::Successor => ACCEPT,
    };
    let mut of_chain = messages(rules).map_while(Result::ok).filter(|rule| {
        let is =
            |id, name: &str| find(rule.attributes(GENMSG), id).is_some_and(|a| a.text() == name);
        is(1, table) && is(2, chain)
    });
    let (Some(rule), None) = (of_chain.next(), of_chain.next()) else { return false };
    let Some(list) = find(rule.attributes(GENMSG), 4) else { return false };
    let all: Vec<_> = attributes(list.payload).map_while(Result::ok).collect();
    let [load, look, decide] = all[..] else { return false };
    let is = |one: Attribute<'_>, name: &str| {
        find(attributes(one.payload), 1).is_some_and(|found| found.text() == name)
    };
    let data = |one: Attribute<'_>, path: &[u16]| {
        let mut payload = one.payload.to_vec();
        for id in [2].iter().chain(path) {
            payload = find(attributes(&payload), *id)?.payload.to_vec();
        }
        Some(payload)
    };
    is(load, "meta")
        && data(load, &[2]).is_some_and(|key| be32(&key) == PROTOCOL)
        && is(look, "lookup")
        && data(look, &[1]).is_some_and(|set| set.strip_suffix(&[0]) == Some(kind.set().as_bytes()))
        && is(decide, "immediate")
        && data(decide, &[2, 2, 1]).is_some_and(|code| be32(&code) == verdict)
}

/// The devices that a chain is hooked at, if it is as it was made.
fn devices(chains: &[u8], kind: Kind, table: &str, (name, hook): (&str, u32)) -> Vec<String> {
    let policy = match kind {
        Kind::Source => ACCEPT,
        Kind::Successor => DROP,
    };
    let chain = messages(chains).map_while(Result::ok).find(|chain| {
        let is =
            |id, text: &str| find(chain.attributes(GENMSG), id).is_some_and(|a| a.text() == text);
        is(1, table) && is(3, name)
    });
    let Some(chain) = chain else { return Vec::new() };
    let number = |all: Attributes<'_>, id| find(all, id).map(|found| be32(found.payload));
    let Some(hooked) = find(chain.attributes(GENMSG), 4) else { return Vec::new() };
    let hooked = || attributes(hooked.payload);
    let is_right = number(chain.attributes(GENMSG), 5) == Some(policy)
        && number(hooked(), 1) == Some(hook)
        && number(hooked(), 2) == Some(FIRST.cast_unsigned());
    if !is_right {
        return Vec::new();
    }
    match find(hooked(), 4) {
        Some(list) => {
            attributes(list.payload).map_while(Result::ok).map(|one| one.text()).collect()
        }
        None => find(hooked(), 3).map(|one| one.text()).into_iter().collect(),
    }
}

pub(super) fn find(all: Attributes<'_>, id: u16) -> Option<Attribute<'_>> {
    all.map_while(Result::ok).find(|one| one.id == id)
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes))
}

pub(super) fn text(id: u16, text: &str) -> Vec<u8> {
    Builder::attribute(id, &[text.as_bytes(), &[0]].concat())
}
