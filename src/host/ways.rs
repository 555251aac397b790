//! Making, keeping and taking away the ways to restored pods. Everything here blocks.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::announce::{self, announce};
use super::inside::{Inside, ReadError};
use super::kernel::{self, HostRoute, Kernel, Link};
use super::need::{Claims, Has, InUse, Need};
use super::neighbours;
use super::record::{Pod, Record, Records};
use super::settings;
use super::{flows, leads};
use crate::netlink::{self, Protocol, Socket};
use crate::netns::{self, Namespace};

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
    #[error(transparent)]
    InUse(#[from] InUse),
    #[error("on the node: {0}")]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    Announce(#[from] announce::Error),
    #[error(transparent)]
    Netns(#[from] netns::Error),
    #[error(
        "there is no way to the interface `{interface}` of the container {container_id} to be switched"
    )]
    NotPrepared { container_id: String, interface: String },
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
    /// Addresses that Kubernetes knew the captured pod by. The node leads to no others, whatever the
    /// image gives the interface.
    pub pod_ips: &'a [IpAddr],
    /// The bridge that the outer end was a port of before the restore, from [`Ways::bridge`]: if the
    /// pair had to be made anew, its outer end becomes a port again.
    pub bridge: Option<u32>,
    /// Addresses that CNI had given the interface before the restore: of the node's own range.
    pub range: &'a [IpAddr],
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
            let has = Has::read(kernel).await?;
            addresses.iter().try_for_each(|address| Ok(has.free(*address, None).map(drop)?))
        })
    }

    /// Makes the way to an interface that has its restored addresses: [`Self::prepare`], and the
    /// first [`Self::switch`] of these addresses.
    ///
    /// # Errors
    /// [`Error`]; what was made for this attachment is then taken away again.
    pub fn attach(&self, way: &Way<'_>) -> Result<Attached, Error> {
        let mut attached = self.prepare(way)?;
        match self.switch(way.container_id, way.interface, 1) {
            Ok(record) => attached.record = record,
            Err(error) => {
                let _ = self.detach(way.container_id, way.interface);
                return Err(error);
            }
        }
        Ok(attached)
    }

    /// Makes all that a way needs but what leads there: the pod may already use the node, and nothing
    /// comes to it yet that went elsewhere before. Puts the pod's learned neighbours right. Doing it
    /// again for the same attachment is no error.
    ///
    /// # Errors
    /// [`Error`]; what was made for this attachment is then taken away again.
    pub fn prepare(&self, way: &Way<'_>) -> Result<Attached, Error> {
        let _changing = self.changing();
        let inside = Inside::read(way.netns, way.interface)?;
        let made = Kernel::with(async |kernel| self.make(kernel, way, &inside).await);
        if made.is_err() {
            // The first error is the one to tell; what can't be undone now is in the record.
            let _ = self.drop_where(|record| record.is_of(way.container_id, way.interface));
        }
        made
    }

    /// Leads this node to what was prepared, and ends what led its addresses to other nodes. To be
    /// called when the pod is held or ready to answer. `sequence` is that of the move (1 or more, see
    /// [`crate::api::PodRouteSpec`]). Announces the addresses on the pod's link. Twice is no error.
    ///
    /// # Errors
    /// [`Error`]; the way stays prepared.
    pub fn switch(
        &self,
        container_id: &str,
        interface: &str,
        sequence: i64,
    ) -> Result<Record, Error> {
        let _changing = self.changing();
        let not_prepared = || Error::NotPrepared {
            container_id: container_id.to_owned(),
            interface: interface.to_owned(),
        };
        let mut record = self.record(container_id, interface)?.ok_or_else(not_prepared)?;
        record.sequence = sequence;
        self.records.put(&record).map_err(|source| self.failed(source))?;
        let netns = Namespace::open(&record.netns)?;
        let inside = Inside::read(&netns, &record.interface)?;
        Kernel::with(async |kernel| self.turn(kernel, &record, &inside.mac).await)?;
        self.tell(&record, &netns, &inside)?;
        Ok(record)
    }

    /// Takes back what [`Self::switch`] did for a pod that will not speak: this node leads to it no
    /// more, and may lead its addresses elsewhere. Answers whether anything was switched.
    ///
    /// # Errors
    /// [`Error`]; it can be called again.
    pub fn give_back(&self, container_id: &str, interface: &str) -> Result<bool, Error> {
        let _changing = self.changing();
        let found = self.record(container_id, interface)?.filter(|record| record.sequence > 0);
        let Some(mut record) = found else { return Ok(false) };
        Kernel::with(async |kernel| {
            let has = Has::read(kernel).await?;
            for address in &record.addresses {
                let here = |route: &&HostRoute| route.device == Some(record.device);
                for route in has.ours_to(*address).filter(here) {
                    kernel.remove_route(route).await?;
                }
            }
            Ok::<_, Error>(())
        })?;
        record.sequence = 0;
        self.records.put(&record).map_err(|source| self.failed(source))?;
        Ok(true)
    }

    /// Announces the addresses of a switched way on the pod's link: for those that could not hear it
    /// at the switch, because the pod was held then.
    ///
    /// # Errors
    /// [`Error`].
    pub fn announce(&self, container_id: &str, interface: &str) -> Result<(), Error> {
        match self.record(container_id, interface)? {
            Some(record) if record.sequence > 0 => self.tell_again(&record),
            _ => Ok(()),
        }
    }

    /// As [`Self::announce`], for all ways to the pod of this UID.
    ///
    /// # Errors
    /// [`Error`].
    pub fn announce_pod(&self, uid: &str) -> Result<(), Error> {
        let all = self.all()?;
        all.iter()
            .filter(|one| one.pod.uid == uid && one.sequence > 0)
            .try_for_each(|one| self.tell_again(one))
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

    /// The records of all attachments.
    ///
    /// # Errors
    /// [`Error::Records`].
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        self.all()
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
        let claims = Claims { inside, pod_ips: way.pod_ips };
        let has = Has::read(kernel).await?;
        let need = Need::of(&has, claims, &device)?;
        let wanted = self.record_of(way, inside, &device, &need)?;
        // First the record: whatever is made after it can be found and taken away.
        self.records.put(&wanted).map_err(|source| self.failed(source))?;
        for name in wanted.settings.keys() {
            settings::set(name, settings::wanted(name))?;
        }
        for gateway in &wanted.gateways {
            kernel.add_address(*gateway, &device).await?;
        }
        for neighbour in &wanted.proxied {
            kernel.add_proxy(*neighbour, &device).await?;
        }
        // Those that the device answers for; where another router is on the link, it is asked for anew.
        let gateways = [true, false].into_iter().filter_map(|v4| inside.default_gateway(v4));
        let answered = gateways
            .filter(|gateway| wanted.gateways.contains(gateway) || has.answers(&device, *gateway));
        neighbours::mend(way.netns, inside, &answered.collect::<Vec<_>>(), &device.mac)?;
        Ok(Attached { record: wanted, lacks: need.lacks })
    }

    /// Makes this node lead to the pod of a record.
    async fn turn(&self, kernel: &Kernel, record: &Record, mac: &[u8]) -> Result<(), Error> {
        self.arrived(kernel, &record.kept, record.sequence).await?;
        let Some(device) = kernel.link(record.device).await? else { return Ok(()) };
        let mut socket = Socket::open(Protocol::Route)?;
        for address in &record.kept {
            // Who answered for it when it was away would now fight over it, and what was learned
            // of it in an earlier stay may be another link's. The pod need not be asked, which could
            // not answer while it is held: a question is repeated after a second only.
            kernel.remove_proxy(*address, device.index).await?;
            neighbours::know(&mut socket, device.index, *address, mac)?;
        }
        for address in &record.addresses {
            kernel.add_route(*address, &device).await?;
        }
        Ok(())
    }

    /// Announces the kept addresses from the pod's own interface: its hardware address is theirs, and
    /// a bridge learns the port.
    fn tell(&self, record: &Record, netns: &Namespace, inside: &Inside) -> Result<(), Error> {
        let all = record.kept.iter().map(|address| (*address, &inside.mac[..]));
        netns.run(|| announce(inside.index, &inside.mac, all.clone()))??;
        // What a held pod sends is not heard: the node says it as well.
        let device = Kernel::with(async |kernel| kernel.link(record.device).await)?;
        match device.filter(|device| device.name == record.device_name) {
            Some(device) => Ok(announce(device.index, &device.mac, all)?),
            None => Ok(()),
        }
    }

    fn tell_again(&self, record: &Record) -> Result<(), Error> {
        let netns = Namespace::open(&record.netns)?;
        let inside = Inside::read(&netns, &record.interface)?;
        self.tell(record, &netns, &inside)
    }

    /// The record of what is to be made, with what each setting had before any pod needed it changed.
    fn record_of(
        &self,
        way: &Way<'_>,
        inside: &Inside,
        device: &Link,
        need: &Need,
    ) -> Result<Record, Error> {
        let mut others = self.all()?;
        let known = others.iter().find(|one| one.is_of(way.container_id, way.interface));
        let sequence = known.map_or(0, |one| one.sequence);
        others.extend(leads::shares(&self.folder).map_err(|source| self.failed(source))?);
        let settings = self.before(&need.settings, device.index, &others)?;
        let has = |ip: &&IpAddr| inside.addresses.iter().any(|(own, _)| own == *ip);
        Ok(Record {
            kept: way.pod_ips.iter().filter(has).copied().collect(),
            sequence,
            range: way.range.to_vec(),
            mac: inside.mac_text(),
            container_id: way.container_id.to_owned(),
            interface: way.interface.to_owned(),
            pod: way.pod.clone(),
            netns: way.path.to_owned(),
            netns_id: (way.netns.id().device, way.netns.id().inode),
            device: device.index,
            device_name: device.name.clone(),
            addresses: need.addresses.clone(),
            gateways: need.gateways.clone(),
            proxied: need.proxied.clone(),
            settings,
        })
    }

    /// What files have, or had before one of `others` needed them changed on that device.
    pub(super) fn before(
        &self,
        names: &[String],
        device: u32,
        others: &[Record],
    ) -> Result<BTreeMap<String, String>, Error> {
        let mut settings = BTreeMap::new();
        for name in names {
            let known = others
                .iter()
                .filter(|other| other.device == device)
                .find_map(|other| other.settings.get(name));
            let before = known.map_or_else(|| settings::get(name), |value| Ok(value.clone()))?;
            settings.insert(name.clone(), before);
        }
        Ok(settings)
    }

    /// Takes away what the records that `gone` names have and no other record needs.
    fn drop_where(&self, gone: impl Fn(&Record) -> bool) -> Result<Vec<Record>, Error> {
        let (gone, mut rest): (Vec<_>, Vec<_>) = self.all()?.into_iter().partition(gone);
        if gone.is_empty() {
            return Ok(gone);
        }
        rest.extend(leads::shares(&self.folder).map_err(|source| self.failed(source))?);
        Kernel::with(async |kernel| {
            for record in &gone {
                unmake(kernel, record, &rest).await?;
                flows::forget(&record.kept.iter().copied().collect())?;
                self.records.remove(record).map_err(|source| self.failed(source))?;
            }
            Ok(gone)
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn all(&self) -> Result<Vec<Record>, Error> {
        self.records.all().map_err(|source| self.failed(source))
    }

    pub(super) fn failed(&self, source: io::Error) -> Error {
        Error::Records { folder: self.folder.clone(), source }
    }

    /// What is guarded is on disk and in the kernel; a panic leaves nothing half-done in memory.
    pub(super) fn changing(&self) -> MutexGuard<'_, ()> {
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

pub(super) async fn unmake(kernel: &Kernel, record: &Record, rest: &[Record]) -> Result<(), Error> {
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
