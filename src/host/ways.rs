//! Making, keeping and taking away the ways to restored pods. Everything here blocks.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::inside::{Inside, ReadError};
use super::kernel::{self, Address, HostRoute, Kernel, Link};
use super::neighbours;
use super::record::{Pod, Record, Records};
use super::settings;
use crate::netns::Namespace;

/// The node could not be given a way to the pod, or be rid of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the records under {folder} can't be used: {source}", folder = folder.display())]
    Records { folder: PathBuf, source: io::Error },
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    #[error(transparent)]
    Setting(#[from] settings::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Neighbours(#[from] neighbours::Error),
    /// The address belongs to somebody else on this node.
    #[error("the address {address} is in use on this node: {by}")]
    InUse { address: IpAddr, by: String },
    #[error("the outer end of the pod's interface `{0}` is not a link of this node")]
    NotHere(String),
}

/// A way that is wanted.
#[derive(Debug)]
pub struct Way<'a> {
    pub container_id: &'a str,
    pub interface: &'a str,
    pub pod: Pod,
    pub netns: &'a Namespace,
    pub path: &'a Path,
    /// The bridge that the outer end was a port of before the restore, from [`Ways::bridge`]: if the
    /// pair had to be made anew, its outer end becomes a port again.
    pub bridge: Option<u32>,
}

/// A way that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub record: Record,
    /// What the node can't do for the pod, as sentences for a person.
    pub lacks: Vec<String>,
}

/// All ways of this node.
#[derive(Debug)]
pub struct Ways {
    folder: PathBuf,
    records: Records,
    /// One change at a time: what one attachment no longer needs another may just be about to.
    changing: Mutex<()>,
}

impl Ways {
    /// With its records in `folder`, which is made.
    ///
    /// # Errors
    /// [`Error::Records`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let records = Records::open(folder)
            .map_err(|source| Error::Records { folder: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), records, changing: Mutex::new(()) })
    }

    /// The bridge whose port the outer end of an interface is.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn bridge(&self, inside: &Inside) -> Result<Option<u32>, Error> {
        Kernel::with(async |kernel| {
            let outer = outer(kernel, inside).await?;
            Ok(outer.and_then(|outer| outer.master))
        })
    }

    /// Sees that nobody on the node has one of the addresses: before anything is restored that
    /// could not be reached afterwards.
    ///
    /// # Errors
    /// [`Error::InUse`], and what keeps the node from being asked.
    pub fn free(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        Kernel::with(async |kernel| {
            let (own, routes) = (kernel.addresses().await?, kernel.host_routes().await?);
            addresses.iter().try_for_each(|address| {
                own_address(&own, *address)?;
                let other = routes.iter().find(|one| one.address == *address && !one.ours);
                other.map_or(Ok(()), |route| Err(led_to(route)))
            })
        })
    }

    /// Makes the way to an interface that has its restored addresses, and puts the pod's learned
    /// neighbours right. Doing it again for the same attachment is no error.
    ///
    /// # Errors
    /// [`Error`]; what was made for this attachment is then taken away again.
    pub fn attach(&self, way: &Way<'_>) -> Result<Attached, Error> {
        let _changing = self.changing();
        let inside = Inside::read(way.netns, way.interface)?;
        let made = Kernel::with(async |kernel| self.make(kernel, way, &inside).await);
        if made.is_err() {
            // The first error is the one to tell; what can't be undone now is in the record.
            let _ = self.drop_where(|record| record.is_of(way.container_id, way.interface));
        }
        made
    }

    /// Takes the way of an attachment away; that there is none is no error. Answers its record.
    ///
    /// # Errors
    /// [`Error`]; the record stays, so that it can be tried again.
    pub fn detach(&self, container_id: &str, interface: &str) -> Result<Option<Record>, Error> {
        let _changing = self.changing();
        let mut gone = self.drop_where(|record| record.is_of(container_id, interface))?;
        Ok(gone.pop())
    }

    /// Takes away every way whose attachment `valid` does not know, or whose namespace is gone.
    ///
    /// # Errors
    /// As [`Self::detach`].
    pub fn retain(&self, valid: impl Fn(&Record) -> bool) -> Result<Vec<Record>, Error> {
        let _changing = self.changing();
        self.drop_where(|record| !valid(record) || !record.lives())
    }

    /// Takes away the ways whose namespace is gone, then every route and address of ours that no
    /// record knows. Routes through gateways are not of this room.
    ///
    /// # Errors
    /// As [`Self::detach`].
    pub fn sweep(&self) -> Result<Vec<Record>, Error> {
        let _changing = self.changing();
        let gone = self.drop_where(|record| !record.lives())?;
        let records = self.all()?;
        Kernel::with(async |kernel| {
            for route in kernel.host_routes().await? {
                let known = records.iter().any(|one| one.addresses.contains(&route.address));
                if route.ours && !route.gateway && !known {
                    kernel.remove_route(&route).await?;
                }
            }
            for address in kernel.addresses().await?.into_iter().filter(|one| one.ours) {
                let known = records.iter().any(|one| {
                    one.device == address.device && one.gateways.contains(&address.address)
                });
                if !known {
                    kernel.remove_address(address.address, address.device).await?;
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(gone)
    }

    /// The record of an attachment.
    ///
    /// # Errors
    /// [`Error::Records`].
    pub fn record(&self, container_id: &str, interface: &str) -> Result<Option<Record>, Error> {
        Ok(self.all()?.into_iter().find(|record| record.is_of(container_id, interface)))
    }

    async fn make(
        &self,
        kernel: &Kernel,
        way: &Way<'_>,
        inside: &Inside,
    ) -> Result<Attached, Error> {
        let not_here = || Error::NotHere(way.interface.to_owned());
        let mut outer = outer(kernel, inside).await?.ok_or_else(not_here)?;
        if let (None, Some(bridge)) = (outer.master, way.bridge) {
            kernel.set_master(&outer, bridge).await?;
            outer.master = Some(bridge);
        }
        let device = match outer.master {
            Some(master) => kernel.link(master).await?.ok_or_else(not_here)?,
            None => outer,
        };
        let (wanted, lacks) = self.want(kernel, way, inside, &device).await?;
        // First the record: whatever is made after it can be found and taken away.
        self.records.put(&wanted).map_err(|source| self.failed(source))?;
        for name in wanted.settings.keys() {
            let value = if name.ends_with("proxy_delay") { "0" } else { "1" };
            settings::set(name, value)?;
        }
        for address in &wanted.addresses {
            // Who answered for it when it was away would now fight over it.
            kernel.remove_proxy(*address, device.index).await?;
            kernel.add_route(*address, &device).await?;
        }
        for gateway in &wanted.gateways {
            kernel.add_address(*gateway, &device).await?;
        }
        for neighbour in &wanted.proxied {
            kernel.add_proxy(*neighbour, &device).await?;
        }
        let foreign = |address: IpAddr| {
            wanted.addresses.iter().any(|kept| kept.is_ipv4() == address.is_ipv4())
        };
        let gateways: Vec<IpAddr> = inside.gateways.iter().map(|one| one.gateway).collect();
        neighbours::mend(way.netns, inside, &gateways, &device.mac, foreign)?;
        Ok(Attached { record: wanted, lacks })
    }

    /// What the node needs for it. Addresses that the device's own range covers need nothing: on
    /// such a link the gateway and the neighbours answer for themselves.
    async fn want(
        &self,
        kernel: &Kernel,
        way: &Way<'_>,
        inside: &Inside,
        device: &Link,
    ) -> Result<(Record, Vec<String>), Error> {
        let own = kernel.addresses().await?;
        let mut lacks = Vec::new();
        let mut record = Record {
            container_id: way.container_id.to_owned(),
            interface: way.interface.to_owned(),
            pod: way.pod.clone(),
            netns: way.path.to_owned(),
            netns_id: (way.netns.id().device, way.netns.id().inode),
            device: device.index,
            device_name: device.name.clone(),
            addresses: Vec::new(),
            gateways: Vec::new(),
            proxied: Vec::new(),
            settings: BTreeMap::new(),
        };
        let routes = kernel.host_routes().await?;
        for (address, _) in &inside.addresses {
            own_address(&own, *address)?;
            let other = routes.iter().find(|one| one.address == *address && !one.ours);
            match other {
                // The CNI plugin has made the way by itself (ptp).
                Some(route) if route.device == Some(device.index) && !route.gateway => continue,
                Some(route) => return Err(led_to(route)),
                None if covers(&own, device, *address) => continue,
                None if address.is_ipv6() && !settings::has_ipv6(&device.name) => {
                    let name = &device.name;
                    lacks.push(format!(
                        "{address} is not reached: IPv6 is off on the node's {name}"
                    ));
                }
                None => record.addresses.push(*address),
            }
        }
        for v4 in [true, false] {
            if record.addresses.iter().any(|one| one.is_ipv4() == v4) {
                answer_for(&mut record, inside, &own, device, v4);
            }
        }
        self.remember(&mut record)?;
        Ok((record, lacks))
    }

    /// Puts into the record what each setting had before any pod needed it changed.
    fn remember(&self, record: &mut Record) -> Result<(), Error> {
        let others = self.all()?;
        for (name, before) in &mut record.settings {
            let known = others
                .iter()
                .filter(|other| other.device == record.device)
                .find_map(|other| other.settings.get(name));
            *before = known.map_or_else(|| settings::get(name), |value| Ok(value.clone()))?;
        }
        Ok(())
    }

    /// Takes away what the records that `gone` names have and no other record needs.
    fn drop_where(&self, gone: impl Fn(&Record) -> bool) -> Result<Vec<Record>, Error> {
        let (gone, rest): (Vec<_>, Vec<_>) = self.all()?.into_iter().partition(gone);
        if gone.is_empty() {
            return Ok(gone);
        }
        Kernel::with(async |kernel| {
            for record in &gone {
                unmake(kernel, record, &rest).await?;
                self.records.remove(record).map_err(|source| self.failed(source))?;
            }
            Ok(gone)
        })
    }

    fn all(&self) -> Result<Vec<Record>, Error> {
        self.records.all().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Records { folder: self.folder.clone(), source }
    }

    /// What is guarded is on disk and in the kernel; a panic leaves nothing half-done in memory.
    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outer end of the interface. An index means something only together with its namespace: what
/// has that index here is the outer end only if it points back.
async fn outer(kernel: &Kernel, inside: &Inside) -> Result<Option<Link>, Error> {
    let Some(peer) = inside.peer else { return Ok(None) };
    let link = kernel.link(peer).await?;
    Ok(link.filter(|link| link.peer == Some(inside.index)))
}

/// An address of the node itself is nobody else's.
fn own_address(own: &[Address], address: IpAddr) -> Result<(), Error> {
    match own.iter().find(|one| one.address == address && !one.ours) {
        Some(by) => {
            let by = format!("it is an address of the node's link {}", by.device);
            Err(Error::InUse { address, by })
        }
        None => Ok(()),
    }
}

/// A route that is not ours leads to somebody else who has the address.
fn led_to(route: &HostRoute) -> Error {
    let link = route.device.unwrap_or_default();
    let by = format!("a route leads to it through link {link}");
    Error::InUse { address: route.address, by }
}

/// What makes the device answer for the gateways and neighbours of a family.
fn answer_for(record: &mut Record, inside: &Inside, own: &[Address], device: &Link, v4: bool) {
    let has = |address: IpAddr| {
        // An IPv4 address is answered for on every link of the node, an IPv6 one on its own only.
        own.iter()
            .any(|one| one.address == address && !one.ours && (v4 || one.device == device.index))
    };
    record.gateways.extend(inside.gateways(v4).filter(|gateway| !has(*gateway)));
    if v4 {
        let near = inside.on_link.iter().any(|(to, length)| to.is_ipv4() && *length < 32);
        if near {
            let settings = settings::proxy_arp(&device.name);
            record.settings.extend(settings.map(|(name, _)| (name, String::new())));
        }
        return;
    }
    // IPv6 has no proxy for a whole range: the neighbours that the pod was talking to.
    let neighbours = inside.neighbours.iter().map(|one| one.address).filter(|address| {
        let near = inside.on_link.iter().any(|(to, length)| contains(*to, *length, *address));
        let local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        address.is_ipv6() && near && !local && !record.gateways.contains(address)
    });
    let neighbours: Vec<_> = neighbours.filter(|address| !has(*address)).collect();
    if !neighbours.is_empty() {
        let settings = settings::proxy_ndp(&device.name);
        record.settings.extend(settings.map(|(name, _)| (name, String::new())));
        record.proxied = neighbours;
    }
}

async fn unmake(kernel: &Kernel, record: &Record, rest: &[Record]) -> Result<(), Error> {
    let needed = |of: fn(&Record) -> &Vec<IpAddr>, address: &IpAddr| {
        rest.iter().any(|other| other.device == record.device && of(other).contains(address))
    };
    for route in kernel.host_routes().await? {
        let mine = route.ours
            && route.device == Some(record.device)
            && record.addresses.contains(&route.address);
        if mine && !needed(|other| &other.addresses, &route.address) {
            kernel.remove_route(&route).await?;
        }
    }
    // An index that was given to another link in the meantime has nothing of ours.
    let same = kernel.link(record.device).await?.is_some_and(|one| one.name == record.device_name);
    if !same {
        return Ok(());
    }
    for gateway in record.gateways.iter().filter(|one| !needed(|other| &other.gateways, one)) {
        kernel.remove_address(*gateway, record.device).await?;
    }
    for neighbour in record.proxied.iter().filter(|one| !needed(|other| &other.proxied, one)) {
        kernel.remove_proxy(*neighbour, record.device).await?;
    }
    for (name, before) in &record.settings {
        let needed =
            |other: &Record| other.device == record.device && other.settings.contains_key(name);
        if !rest.iter().any(needed) {
            settings::set(name, before)?;
        }
    }
    Ok(())
}

/// Whether a range of the device, not made by us, holds the address.
fn covers(own: &[Address], device: &Link, address: IpAddr) -> bool {
    own.iter().any(|one| {
        one.device == device.index && !one.ours && contains(one.address, one.prefix, address)
    })
}

/// Whether the prefix holds the address; a single address is no range.
fn contains(of: IpAddr, length: u8, address: IpAddr) -> bool {
    match (of, address) {
        (IpAddr::V4(of), IpAddr::V4(address)) if length < 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            of.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(of), IpAddr::V6(address)) if length < 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            of.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_addresses() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(contains(ip("10.244.1.0"), 24, ip("10.244.1.7")));
        assert!(!contains(ip("10.244.1.0"), 24, ip("10.244.2.7")));
        assert!(contains(ip("0.0.0.0"), 0, ip("1.2.3.4")));
        assert!(contains(ip("::"), 0, ip("fd00::1")));
        assert!(contains(ip("fd00:1::"), 64, ip("fd00:1::7")));
        assert!(!contains(ip("fd00:1::"), 64, ip("fd00:2::7")));
        assert!(!contains(ip("10.0.0.1"), 32, ip("10.0.0.1")));
        assert!(!contains(ip("10.0.0.0"), 8, ip("fd00::1")));
    }
}
