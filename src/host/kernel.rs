//! The objects that the agent makes on the node, asked of the kernel with typed messages.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use crate::api::ROUTE_PROTOCOL;

/// Longest wait for one change.
const DEADLINE: Duration = Duration::from_secs(10);

/// The kernel did not do what was asked on the node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("on the node, netlink can't be used: {0}")]
    Socket(std::io::Error),
    #[error("on the node, {what}: {source}")]
    Refused { what: String, source: rtnetlink::Error },
    #[error("on the node, {what}: the kernel did not answer within {} s", DEADLINE.as_secs())]
    Silent { what: String },
}

/// A link of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mac: Vec<u8>,
    pub master: Option<u32>,
    pub is_bridge: bool,
    /// The other end, where it is in another namespace.
    pub peer: Option<u32>,
}

/// An address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub device: u32,
    pub address: IpAddr,
    pub prefix: u8,
    /// Made by an agent.
    pub ours: bool,
}

/// A route of the node's main table to a single address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    pub address: IpAddr,
    pub device: Option<u32>,
    /// Through another node.
    pub gateway: bool,
    /// Made by an agent.
    pub ours: bool,
    /// `RTA_PRIORITY`: of several routes to one address the lowest counts.
    pub metric: u32,
    message: RouteMessage,
}

/// A connection to the kernel of the namespace that the calling thread is in.
pub struct Kernel(Handle);

impl Kernel {
    /// Runs `work` with a connection, on the calling thread, which is blocked.
    ///
    /// # Errors
    /// [`Error::Socket`], and `work`'s.
    pub fn with<T, E: From<Error>>(work: impl AsyncFnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().map_err(Error::Socket)?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Socket)?;
            let connection = tokio::spawn(connection);
            let outcome = work(&Self(handle)).await;
            connection.abort();
            outcome
        })
    }

    /// The link of that index; `None` when there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn link(&self, index: u32) -> Result<Option<Link>, Error> {
        let mut found = self.0.link().get().match_index(index).execute();
        let message = asked(format!("look at link {index}"), found.try_next()).await;
        match message {
            Err(error) if absent(&error) => Ok(None),
            message => Ok(message?.map(|message| link(&message))),
        }
    }

    /// All addresses.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn addresses(&self) -> Result<Vec<Address>, Error> {
        let all = self.0.address().get().execute().try_collect::<Vec<_>>();
        let all = asked("list addresses".into(), all).await?;
        Ok(all.iter().filter_map(address).collect())
    }

    /// All routes of the main table to single addresses.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn host_routes(&self) -> Result<Vec<HostRoute>, Error> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            let all = self.0.route().get(question).execute().try_collect::<Vec<_>>();
            let all = asked("list routes".into(), all).await?;
            routes.extend(all.into_iter().filter_map(host_route));
        }
        Ok(routes)
    }

    /// Makes the route to a single address through a device, in the place of one that is there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_route(&self, address: IpAddr, device: &Link) -> Result<(), Error> {
        let what = format!("add the route to {address} dev {}", device.name);
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(address, full(address))
            .map_err(|error| Error::Refused {
                what: what.clone(),
                source: rtnetlink::Error::InvalidNla(error.to_string()),
            })?
            .output_interface(device.index)
            .protocol(RouteProtocol::Other(ROUTE_PROTOCOL))
            .scope(if address.is_ipv4() { RouteScope::Link } else { RouteScope::Universe })
            .kind(RouteType::Unicast)
            .build();
        asked(what, self.0.route().add(route).replace().execute()).await
    }

    /// Removes a route; that it is not there is no error.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_route(&self, route: &HostRoute) -> Result<(), Error> {
        let what = format!("remove the route to {}", route.address);
        gone(asked(what, self.0.route().del(route.message.clone()).execute()).await)
    }

    /// Gives a device a single address; that it has it is no error.
    ///
    /// An IPv4 one has the scope of the others, which puts it behind them: the CNI plugin `bridge`
    /// takes the first address of its bridge for the one that it made, and refuses any other. An IPv6
    /// one is usable at once (`IFA_F_NODAD`), as whoever had it before is not on this link, and
    /// deprecated, so that the node never sends from it by itself.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_address(&self, address: IpAddr, device: &Link) -> Result<(), Error> {
        let what = format!("add the gateway address {address} to {}", device.name);
        let mut request = self.0.address().add(device.index, address, full(address));
        let message = request.message_mut();
        // No broadcast address belongs to a single address.
        message.attributes.retain(|one| !matches!(one, AddressAttribute::Broadcast(_)));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(ROUTE_PROTOCOL)));
        if address.is_ipv6() {
            message.header.flags |= AddressHeaderFlags::Nodad;
            let mut lifetimes = CacheInfo::default();
            (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
            message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
        match asked(what, request.execute()).await {
            Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(()),
            outcome => outcome,
        }
    }

    /// Takes a single address from a device; that it has none is no error.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_address(&self, address: IpAddr, device: u32) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.index = device;
        message.header.prefix_len = full(address);
        message.attributes.push(AddressAttribute::Local(address));
        message.attributes.push(AddressAttribute::Address(address));
        let what = format!("remove the gateway address {address}");
        gone(asked(what, self.0.address().del(message).execute()).await)
    }

    /// Makes the device answer for a neighbour (`ip neighbour add proxy`); twice is no error.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_proxy(&self, address: IpAddr, device: &Link) -> Result<(), Error> {
        let what = format!("answer for the neighbour {address} on {}", device.name);
        let request = self.0.neighbours().add(device.index, address);
        let request = request.flags(NeighbourFlags::Proxy).replace();
        asked(what, request.execute()).await
    }

    /// The opposite of [`Self::add_proxy`]; that there is none is no error.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_proxy(&self, address: IpAddr, device: u32) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = device;
        message.header.flags = NeighbourFlags::Proxy;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        let what = format!("answer no more for the neighbour {address}");
        gone(asked(what, self.0.neighbours().del(message).execute()).await)
    }

    /// Makes a link a port of a bridge.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_master(&self, port: &Link, master: u32) -> Result<(), Error> {
        let what = format!("make {} a port of link {master}", port.name);
        let message = LinkUnspec::new_with_index(port.index).controller(master).build();
        asked(what, self.0.link().set(message).execute()).await
    }
}

/// Whether there is no such object, which is what a removal wanted.
fn absent(error: &Error) -> bool {
    let gone = [libc::ENODEV, libc::ENOENT, libc::ESRCH, libc::EADDRNOTAVAIL, libc::ENXIO];
    errno(error).is_some_and(|errno| gone.contains(&errno))
}

fn gone(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if absent(&error) => Ok(()),
        outcome => outcome,
    }
}

/// Positive errno.
fn errno(error: &Error) -> Option<i32> {
    match error {
        Error::Refused { source: rtnetlink::Error::NetlinkError(message), .. } => {
            message.code.map(|code| -code.get())
        }
        _ => None,
    }
}

async fn asked<T>(
    what: String,
    request: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(outcome) => outcome.map_err(|source| Error::Refused { what, source }),
        Err(_) => Err(Error::Silent { what }),
    }
}

/// Length of a prefix that holds one address.
fn full(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link { index: message.header.index, ..Link::default() };
    let mut outside = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac.clone_from(mac),
            LinkAttribute::Controller(master) => link.master = Some(*master),
            LinkAttribute::Link(peer) => link.peer = Some(*peer),
            LinkAttribute::LinkNetNsId(_) => outside = true,
            LinkAttribute::LinkInfo(info) => {
                link.is_bridge = info.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    link.peer = link.peer.filter(|_| outside);
    link
}

fn address(message: &AddressMessage) -> Option<Address> {
    let attributes = &message.attributes;
    let local = attributes.iter().find_map(|one| match one {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let other = attributes.iter().find_map(|one| match one {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    let ours = AddressProtocol::from(ROUTE_PROTOCOL);
    Some(Address {
        device: message.header.index,
        address: local.or(other)?,
        prefix: message.header.prefix_len,
        ours: attributes.contains(&AddressAttribute::Protocol(ours)),
    })
}

fn host_route(message: RouteMessage) -> Option<HostRoute> {
    let header = &message.header;
    let main = header.table == libc::RT_TABLE_MAIN && header.kind == RouteType::Unicast;
    let mut route = HostRoute {
        address: IpAddr::from([0; 4]),
        device: None,
        gateway: false,
        ours: header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL),
        metric: 0,
        message: RouteMessage::default(),
    };
    let mut to = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => to = Some(IpAddr::V4(*v4)),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => to = Some(IpAddr::V6(*v6)),
            RouteAttribute::Oif(device) => route.device = Some(*device),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_) => {
                route.gateway = true;
            }
            _ => {}
        }
    }
    route.address = to.filter(|to| main && header.destination_prefix_length == full(*to))?;
    route.message = message;
    Some(route)
}
