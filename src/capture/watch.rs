//! What the kernel tells of changes while a capture reads.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::RawFd;

use super::Error;
use super::passes::is_absent;
use crate::netlink::{Protocol, Socket, messages};
use crate::state::table::{Class, Source};

/// Subscriptions to the notifications of classes, one socket for each protocol.
#[derive(Debug)]
pub(super) struct Watch {
    protocols: Vec<Watched>,
    flows: Vec<Flows>,
    /// Places of classes of protocols that the kernel did not have.
    unwatched: Stale,
}

/// A subscription to what is told of flows, on a socket of its own: there may be much of it, and what
/// is lost of it says nothing of other classes.
#[derive(Debug)]
struct Flows {
    socket: Socket,
    place: usize,
    /// What was told so far.
    events: Vec<u8>,
}

#[derive(Debug)]
struct Watched {
    protocol: Protocol,
    socket: Socket,
    /// Message type to the places of the classes that it tells of.
    notices: BTreeMap<u16, Vec<usize>>,
    /// Places of all classes of the protocol.
    all: Vec<usize>,
}

/// Places in the list of classes of those that may have changed.
pub(super) type Stale = std::collections::BTreeSet<usize>;

impl Watch {
    /// Subscribes in the thread's namespace. What happens from here on is told.
    pub(super) fn open(classes: &[&'static Class]) -> Result<Self, Error> {
        let mut protocols: BTreeMap<Protocol, Watched> = BTreeMap::new();
        let (mut flows, mut unwatched) = (Vec::new(), Stale::new());
        for (place, class) in classes.iter().enumerate() {
            let failed = |source| Error::Subscribe { class: class.name, source };
            if let Source::Flows { protocol, groups, .. } = class.source {
                let socket = Socket::open(protocol).map_err(failed)?;
                socket.subscribe(groups).map_err(failed)?;
                flows.push(Flows { socket, place, events: Vec::new() });
            }
            let (Source::Netlink { protocol, groups, notices, .. }
            | Source::Watched { protocol, groups, notices, .. }) = class.source
            else {
                continue;
            };
            let watched = match protocols.entry(protocol) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let socket = match Socket::open(protocol) {
                        Ok(socket) => socket,
                        // Then there is nothing of the class either.
                        Err(error) if is_absent(protocol, &error) => {
                            unwatched.insert(place);
                            continue;
                        }
                        Err(error) => return Err(failed(error)),
                    };
                    entry.insert(Watched {
                        protocol,
                        socket,
                        notices: BTreeMap::new(),
                        all: Vec::new(),
                    })
                }
            };
            watched.socket.subscribe(groups).map_err(failed)?;
            watched.all.push(place);
            for notice in notices {
                watched.notices.entry(*notice).or_default().push(place);
            }
        }
        Ok(Self { protocols: protocols.into_values().collect(), flows, unwatched })
    }

    /// Adds the classes that were told of since this was last asked. It does not matter whether the
    /// object told of belongs to the class: it may have belonged before.
    ///
    /// Flows first: what holds until the others were asked has held when these were.
    pub(super) fn told(&mut self, stale: &mut Stale) -> Result<(), Error> {
        self.flows_told(stale)?;
        for watched in &mut self.protocols {
            // nftables tells of a transaction only after its changes can be seen.
            if watched.protocol == Protocol::Netfilter {
                watched.socket.pass_transactions().map_err(Error::Events)?;
            }
            watched.told(stale)?;
        }
        Ok(())
    }

    /// As [`Self::told`], but a transaction of nftables that is under way may be told of later.
    pub(super) fn take(&mut self, stale: &mut Stale) -> Result<(), Error> {
        self.flows_told(stale)?;
        self.protocols.iter_mut().try_for_each(|watched| watched.told(stale))
    }

    fn flows_told(&mut self, stale: &mut Stale) -> Result<(), Error> {
        for flows in &mut self.flows {
            let events = flows.socket.events().map_err(Error::Events)?;
            flows.events.extend_from_slice(&events.bytes);
            if events.lost {
                // There is a gap in what was told, so that it must be read again after all.
                flows.events.clear();
                stale.insert(flows.place);
            }
        }
        Ok(())
    }

    /// Places of classes whose changes nobody would tell of, because the kernel had no such protocol.
    pub(super) fn unwatched(&self) -> &Stale {
        &self.unwatched
    }

    /// Where it can be waited for that anything is told.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let flows = self.flows.iter().map(|flows| flows.socket.as_raw_fd());
        flows.chain(self.protocols.iter().map(|watched| watched.socket.as_raw_fd()))
    }

    /// Whether more was told of the flows of a place than is good to keep beside a section of this size.
    pub(super) fn has_many(&self, place: usize, section: usize) -> bool {
        const FEW: usize = 256 << 10;
        let of_place = |flows: &&Flows| flows.place == place;
        self.flows.iter().find(of_place).is_some_and(|flows| flows.events.len() > FEW.max(section))
    }

    /// Takes into a section of flows what was told of them since its reading began or this was last
    /// asked.
    pub(super) fn merge(&mut self, place: usize, class: &Class, section: &mut Vec<u8>) {
        let Source::Flows { merge, .. } = class.source else { return };
        let flows = self.flows.iter_mut().find(|flows| flows.place == place);
        if let Some(flows) = flows.filter(|flows| !flows.events.is_empty()) {
            *section = merge(section, &flows.events);
            flows.events.clear();
        }
    }
}

impl Watched {
    fn told(&mut self, stale: &mut Stale) -> Result<(), Error> {
        let events = self.socket.events().map_err(Error::Events)?;
        if events.lost {
            stale.extend(&self.all);
        }
        for message in messages(&events.bytes) {
            let message = message.map_err(|error| Error::Events(error.into()))?;
            if let Some(places) = self.notices.get(&message.kind) {
                stale.extend(places);
            }
        }
        Ok(())
    }
}
