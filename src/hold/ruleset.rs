//! Messages of nftables for the few tables that this room makes, sent as one transaction.
//!
//! Sources: `linux/netfilter/nf_tables.h`, `linux/netfilter/nfnetlink.h`, `linux/netfilter.h`.

use std::time::Duration;

use super::Error;
use crate::netlink::{Builder, Socket};

/// `NFNL_SUBSYS_NFTABLES << 8`.
pub(super) const SUBSYSTEM: u16 = 10 << 8;
/// `NFT_MSG_*`.
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;
/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`; their `res_id` names the subsystem.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const OF_NFTABLES: [u8; 4] = [0, 0, 0, 10];

const CREATE: u16 = libc::NLM_F_CREATE as u16;
/// `NFTA_LIST_ELEM`.
const ELEM: u16 = 1 | Builder::NESTED;
/// `NFT_REG_1`, `NFT_REG_VERDICT`.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
/// `NFT_SET_TIMEOUT`, `NFT_SET_ELEM_CATCHALL`.
const WITH_TIMEOUT: u32 = 0x10;
pub(super) const CATCH_ALL: u32 = 2;
/// `NF_DROP`, `NF_ACCEPT`.
pub(super) const DROP: u32 = 0;
pub(super) const ACCEPT: u32 = 1;

/// `NFPROTO_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Inet = 1,
    Netdev = 5,
}

/// A table by family and name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) family: Family,
    pub(super) name: &'a str,
}

/// A base chain of type `filter`.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    pub(super) name: &'a str,
    /// `NF_NETDEV_*` or `NF_INET_*`.
    pub(super) hook: u32,
    pub(super) priority: i32,
    /// By name, for the family netdev.
    pub(super) devices: &'a [String],
    /// [`DROP`] or [`ACCEPT`].
    pub(super) policy: u32,
}

/// A set of keys that end by themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set<'a> {
    pub(super) name: &'a str,
    /// What nft(8) calls the key; it has no meaning to the kernel.
    pub(super) key_type: u32,
    pub(super) key_length: u32,
}

/// What a rule is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expression<'a> {
    /// Loads `NFT_META_*`.
    Meta(u32),
    /// Loads bytes of the network header: offset, length.
    Network(u32, u32),
    /// The same of the transport header.
    Transport(u32, u32),
    /// Goes on where the register has these bytes.
    Equals(&'a [u8]),
    /// Goes on where the set has the register as its key.
    In(&'a str),
    Verdict(u32),
}

/// One key of a set.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'a> {
    /// Whatever no other key is for.
    All,
    Of(&'a [u8]),
}

/// A transaction: all of it is done, or nothing.
#[derive(Debug)]
pub(super) struct Batch {
    messages: Vec<Vec<u8>>,
    /// What each message does, for a person.
    steps: Vec<String>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let begin = Builder::new(BEGIN, 0, &OF_NFTABLES).finish();
        Self { messages: vec![begin], steps: vec!["the transaction".to_owned()] }
    }

    fn add(&mut self, step: String, message: Builder) {
        self.messages.push(message.finish());
        self.steps.push(step);
    }

    /// Makes the table, in the place of one of that name.
    pub(super) fn replace_table(&mut self, table: Table<'_>, userdata: &[u8]) {
        self.table(table, &[]);
        self.delete_table(table);
        self.table(table, userdata);
    }

    fn table(&mut self, table: Table<'_>, userdata: &[u8]) {
        let mut message = start(NEW_TABLE, table, CREATE);
        message.put_text(1, table.name).put(2, &0_u32.to_be_bytes());
        if !userdata.is_empty() {
            message.put(6, userdata);
        }
        self.add(format!("make table {}", table.name), message);
    }

    pub(super) fn delete_table(&mut self, table: Table<'_>) {
        let mut message = start(DELETE_TABLE, table, 0);
        message.put_text(1, table.name);
        self.add(format!("delete table {}", table.name), message);
    }

    pub(super) fn set(&mut self, table: Table<'_>, set: Set<'_>) {
        let mut message = start(NEW_SET, table, CREATE);
        message.put_text(1, table.name).put_text(2, set.name);
        message.put(3, &WITH_TIMEOUT.to_be_bytes());
        message.put(4, &set.key_type.to_be_bytes()).put(5, &set.key_length.to_be_bytes());
        // Nobody asks by it: names do. Each new set of a transaction needs one of its own.
        let number = self.messages.len() as u32;
        message.put(10, &number.to_be_bytes());
        self.add(format!("make set {} of table {}", set.name, table.name), message);
    }

    pub(super) fn chain(&mut self, table: Table<'_>, chain: &Chain<'_>) {
        let mut message = start(NEW_CHAIN, table, CREATE);
        message.put_text(1, table.name).put_text(3, chain.name);
        let hook = message.begin(4 | Builder::NESTED);
        message.put(1, &chain.hook.to_be_bytes()).put(2, &chain.priority.to_be_bytes());
        if !chain.devices.is_empty() {
            let devices = message.begin(4 | Builder::NESTED);
            for device in chain.devices {
                message.put_text(1, device);
            }
            message.end(devices);
        }
        message.end(hook);
        message.put(5, &chain.policy.to_be_bytes()).put_text(7, "filter");
        let on = chain.devices.join(", ");
        let step = format!("make chain {} of table {} (devices: {on})", chain.name, table.name);
        self.add(step, message);
    }

    pub(super) fn rule(&mut self, table: Table<'_>, chain: &str, rule: &[Expression<'_>]) {
        // NLM_F_APPEND: after the rules that are there.
        let mut message = start(NEW_RULE, table, CREATE | libc::NLM_F_APPEND as u16);
        message.put_text(1, table.name).put_text(2, chain);
        let list = message.begin(4 | Builder::NESTED);
        for expression in rule {
            put_expression(&mut message, *expression);
        }
        message.end(list);
        self.add(format!("make a rule of chain {chain} of table {}", table.name), message);
    }

    /// Adds a key, for that long or, without a time, for good.
    pub(super) fn element(
        &mut self,
        table: Table<'_>,
        set: &str,
        key: Key<'_>,
        time: Option<Duration>,
    ) {
        let mut message = start(NEW_ELEMENT, table, CREATE);
        message.put_text(1, table.name).put_text(2, set);
        let list = message.begin(3 | Builder::NESTED);
        let element = message.begin(ELEM);
        match key {
            Key::All => drop(message.put(3, &CATCH_ALL.to_be_bytes())),
            Key::Of(bytes) => {
                let key = message.begin(1 | Builder::NESTED);
                message.put(1, bytes);
                message.end(key);
            }
        }
        if let Some(time) = time {
            // 0 would stand for no end.
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            message.put(4, &millis.to_be_bytes());
        }
        message.end(element);
        message.end(list);
        self.add(format!("add to set {set} of table {}", table.name), message);
    }

    /// Takes every key away.
    pub(super) fn flush(&mut self, table: Table<'_>, set: &str) {
        let mut message = start(DELETE_ELEMENT, table, 0);
        message.put_text(1, table.name).put_text(2, set);
        self.add(format!("empty set {set} of table {}", table.name), message);
    }

    /// Has the kernel do it.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first step that it refused; nothing was done then.
    pub(super) fn send(mut self, socket: &mut Socket) -> Result<(), Error> {
        self.messages.push(Builder::new(END, 0, &OF_NFTABLES).finish());
        let refused = socket.transaction(self.messages.iter().map(Vec::as_slice));
        let mut refused = refused.map_err(|source| Error::Netlink { what: "change", source })?;
        refused.sort_by_key(|(place, _)| *place);
        match refused.into_iter().next() {
            None => Ok(()),
            Some((place, refusal)) => {
                let step = self.steps.get(place).cloned().unwrap_or_default();
                Err(Error::Refused { step, refusal })
            }
        }
    }
}

fn start(kind: u16, table: Table<'_>, flags: u16) -> Builder {
    Builder::new(kind, flags, &[table.family as u8, 0, 0, 0])
}

fn put_expression(message: &mut Builder, expression: Expression<'_>) {
    let number = |value: u32| value.to_be_bytes();
    let elem = message.begin(ELEM);
    let name = match expression {
        Expression::Meta(_) => "meta",
        Expression::Network(..) | Expression::Transport(..) => "payload",
        Expression::Equals(_) => "cmp",
        Expression::In(_) => "lookup",
        Expression::Verdict(_) => "immediate",
    };
    message.put_text(1, name);
    let data = message.begin(2 | Builder::NESTED);
    match expression {
        Expression::Meta(key) => {
            message.put(1, &number(REGISTER)).put(2, &number(key));
        }
        Expression::Network(offset, length) | Expression::Transport(offset, length) => {
            // `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
            let header = if matches!(expression, Expression::Network(..)) { 1 } else { 2 };
            message.put(1, &number(REGISTER)).put(2, &number(header));
            message.put(3, &number(offset)).put(4, &number(length));
        }
        Expression::Equals(bytes) => {
            // `NFT_CMP_EQ`.
            message.put(1, &number(REGISTER)).put(2, &number(0));
            let data = message.begin(3 | Builder::NESTED);
            message.put(1, bytes);
            message.end(data);
        }
        Expression::In(set) => {
            message.put_text(1, set).put(2, &number(REGISTER));
        }
        Expression::Verdict(code) => {
            message.put(1, &number(VERDICT));
            let data = message.begin(2 | Builder::NESTED);
            let verdict = message.begin(2 | Builder::NESTED);
            message.put(1, &number(code));
            message.end(verdict);
            message.end(data);
        }
    }
    message.end(data);
    message.end(elem);
}
