//! Before a hold: connections on their way to the pod's processes arrive there.
//!
//! For a moment nobody can begin a new connection to the pod (whoever tries does so again by itself, a
//! second later), while all else goes on; then handshakes come to their end and listeners are asked for
//! what waits there. The rule that this takes ends by itself, as holds do, whoever dies meanwhile.

use std::time::{Duration, Instant};

use super::halfopen::{Unowned, unowned};
use super::links::Links;
use super::ruleset::{ACCEPT, Batch, Chain, DROP, Expression, Family, Key, Set, Table};
use super::{Element, Error, Hold, Note, Standing, mark, open};
use crate::netns::Namespace;

/// Longest wait; a peer whose word takes longer is hardly there.
const LONGEST: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);
/// How long the rule lives without anybody.
const LIFE: Duration = Duration::from_secs(5);
const NAME: &str = "settle";
const SET: &str = "still";
/// `NF_NETDEV_INGRESS`; before whatever else is hooked there.
const INGRESS: u32 = 0;
const FIRST: i32 = i32::MIN;
/// `NFT_META_PROTOCOL`, `NFT_META_L4PROTO`.
const PROTOCOL: u32 = 1;
const TRANSPORT: u32 = 16;
const ETHER_TYPE: u32 = 10;
/// Place of TCP's flags, and what they are in a first word: SYN, also with ECN.
const FLAGS: u32 = 13;
const FIRST_WORDS: [u8; 2] = [0x02, 0xc2];

impl Hold {
    /// Plants the hold of a pod that speaks, as [`Hold::plant`] does, once no connection to it is
    /// without a process any more, or after a second. Answers what is left of them. One that is in
    /// force is planted again at once.
    ///
    /// # Errors
    /// As [`Hold::plant`].
    pub fn take(
        &self,
        pod: &Namespace,
        node: &Namespace,
        element: Element,
        note: &Note,
    ) -> Result<(Standing, Unowned), Error> {
        let standing = self.read(Some(pod), node)?;
        if standing.is_some_and(|standing| standing.element.is_there()) {
            return Ok((self.plant(pod, node, element, note)?, unowned(pod)?));
        }
        let left = still(pod, node).and_then(|()| settled(pod));
        let planted = left.and_then(|left| Ok((self.plant(pod, node, element, note)?, left)));
        let ended = end(pod);
        // The first error is the one to tell.
        planted.and_then(|planted| ended.map(|()| planted))
    }
}

fn table(name: &str) -> Table<'_> {
    Table { family: Family::Netdev, name }
}

fn name() -> String {
    format!("{}{NAME}", mark::PREFIX)
}

/// Nobody begins a new connection to the pod from now on.
fn still(pod: &Namespace, node: &Namespace) -> Result<(), Error> {
    let devices: Vec<_> = Links::read(pod, node)?.pod.into_iter().map(|(_, name)| name).collect();
    let name = name();
    let table = table(&name);
    let mut batch = Batch::new();
    batch.replace_table(table, &[]);
    batch.set(table, Set { name: SET, key_type: ETHER_TYPE, key_length: 2 });
    batch.element(table, SET, Key::All, Some(LIFE));
    if !devices.is_empty() {
        let chain =
            Chain { name: "in", hook: INGRESS, priority: FIRST, devices: &devices, policy: ACCEPT };
        batch.chain(table, &chain);
        for flags in FIRST_WORDS {
            batch.rule(
                table,
                "in",
                &[
                    Expression::Meta(PROTOCOL),
                    Expression::In(SET),
                    Expression::Meta(TRANSPORT),
                    Expression::Equals(&[libc::IPPROTO_TCP as u8]),
                    Expression::Transport(FLAGS, 1),
                    Expression::Equals(&[flags]),
                    Expression::Verdict(DROP),
                ],
            );
        }
    }
    pod.run(|| batch.send(&mut open()?))?
}

/// Waits; answers what is left.
fn settled(pod: &Namespace) -> Result<Unowned, Error> {
    let end = Instant::now() + LONGEST;
    loop {
        let left = unowned(pod)?;
        if left.is_none() || Instant::now() >= end {
            return Ok(left);
        }
        std::thread::sleep(PAUSE);
    }
}

fn end(pod: &Namespace) -> Result<(), Error> {
    mark::clear(pod, NAME)
}
