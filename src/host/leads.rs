//! Ways to restored pods on other nodes: this node's part of the path switch.
//!
//! A pod that has left with its address is reached from everywhere that knows its old node, so that
//! node must lead to the new one, and on its own bridge it answers for the pod:
//!
//! ```text
//!   10.244.1.7/32 via 192.168.77.2 dev eth0 proto 78     the node and what it forwards
//!   proxy neighbour 10.244.1.7 on cni0                   its old neighbours on the link
//!   gratuitous ARP, unsolicited NA on cni0               those that had learned the pod's own address
//! ```
//!
//! What is made is kept in one file beside the records of attachments and is taken away when it is
//! wanted no more. Where the pod comes back to its link, the link is told of its own address again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::announce::announce;
use super::hop::{self, Hop};
use super::kernel::{Kernel, Link};
use super::need::Has;
use super::record::{Pod, Record};
use super::ways::{Error, Ways, unmake};
use super::{flows, neighbours, settings};
use crate::netlink::{Protocol, Socket};

/// One address of a restored pod on another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lead {
    pub address: IpAddr,
    /// See [`crate::api::PodRouteSpec`] for these.
    pub node_ips: Vec<IpAddr>,
    pub range_ips: Vec<IpAddr>,
    pub mac: Vec<u8>,
    pub sequence: i64,
}

/// A lead that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    lead: Lead,
    gateway: IpAddr,
    device: u32,
    /// The links of this node that answer for the address, as records without an attachment: what
    /// they share with restored pods of this node stays as long as either needs it.
    links: Vec<Record>,
}

impl Made {
    fn hop(&self) -> Hop {
        Hop { gateway: self.gateway, device: self.device }
    }
}

/// The file of all that were made, in the folder of records; its name is none of theirs.
const FILE: &str = "leads";

/// The leads of a folder.
fn read(folder: &Path) -> io::Result<Vec<Made>> {
    match fs::read(folder.join(FILE)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn write(folder: &Path, all: &[Made]) -> io::Result<()> {
    let path = folder.join(FILE);
    if all.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let beside = folder.join(format!("{FILE}.new"));
    fs::write(&beside, serde_json::to_vec_pretty(all)?)?;
    fs::rename(beside, path)
}

/// What the leads of a folder share with attachments: settings of links, and what these answer for.
pub fn shares(folder: &Path) -> io::Result<Vec<Record>> {
    Ok(read(folder)?.into_iter().flat_map(|made| made.links).collect())
}

impl Ways {
    /// Leads to exactly the wanted addresses on other nodes. An address that a restored pod of this
    /// node has, from the same move or a later one, is left to it. `lives` says whether a pod of this
    /// node has an address: then the link is told that it is back when it is led away no more.
    /// Answers what can't be led to, as sentences.
    ///
    /// # Errors
    /// [`Error`]; what was made is on file, and the next call goes on from there.
    pub fn lead(
        &self,
        wanted: &[Lead],
        lives: impl Fn(IpAddr) -> bool,
    ) -> Result<Vec<String>, Error> {
        let _changing = self.changing();
        let records = self.all()?;
        let own = |lead: &Lead| {
            let here =
                |record: &Record| record.has(lead.address) && record.sequence >= lead.sequence;
            records.iter().any(here)
        };
        let wanted: BTreeMap<IpAddr, &Lead> =
            wanted.iter().filter(|lead| !own(lead)).map(|lead| (lead.address, lead)).collect();
        let made = read(self.folder()).map_err(|source| self.failed(source))?;
        if wanted.is_empty() && made.is_empty() {
            return Ok(Vec::new());
        }
        Kernel::with(async |kernel| {
            let mut leading = Leading::begin(self, kernel, made, records).await?;
            for address in leading.addresses() {
                if !wanted.contains_key(&address) {
                    leading.end(address, &lives).await?;
                }
            }
            let mut lacks = Vec::new();
            for lead in wanted.into_values() {
                lacks.extend(leading.go(lead).await?);
            }
            Ok(lacks)
        })
    }

    /// Ends the leads to these addresses that are not from a later move: the pod is here now.
    pub(super) async fn arrived(
        &self,
        kernel: &Kernel,
        addresses: &[IpAddr],
        sequence: i64,
    ) -> Result<(), Error> {
        let made = read(self.folder()).map_err(|source| self.failed(source))?;
        let ended: Vec<_> = made
            .iter()
            .filter(|one| addresses.contains(&one.lead.address) && one.lead.sequence <= sequence)
            .map(|one| one.lead.address)
            .collect();
        if ended.is_empty() {
            return Ok(());
        }
        let records = self.all()?;
        let mut leading = Leading::begin(self, kernel, made, records).await?;
        for address in ended {
            // The pod itself announces where it is.
            leading.end(address, &|_| false).await?;
        }
        Ok(())
    }
}

/// Leads being brought to what is wanted.
struct Leading<'a> {
    ways: &'a Ways,
    kernel: &'a Kernel,
    socket: Socket,
    has: Has,
    made: Vec<Made>,
    records: Vec<Record>,
}

impl<'a> Leading<'a> {
    async fn begin(
        ways: &'a Ways,
        kernel: &'a Kernel,
        made: Vec<Made>,
        records: Vec<Record>,
    ) -> Result<Self, Error> {
        let socket = Socket::open(Protocol::Route)?;
        Ok(Self { ways, kernel, socket, has: Has::read(kernel).await?, made, records })
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.made.iter().map(|made| made.lead.address).collect()
    }

    /// Makes a lead; why it can't be made is no error.
    async fn go(&mut self, lead: &Lead) -> Result<Option<String>, Error> {
        let address = lead.address;
        let hop = hop::find(&mut self.socket, address.is_ipv4(), &lead.range_ips, &lead.node_ips)?;
        let Some(hop) = hop else {
            let nodes: Vec<_> = lead.node_ips.iter().map(ToString::to_string).collect();
            return Ok(Some(format!(
                "{address} is not led to: there is neither a route to the pod range of its node ({}), \
                 nor is that node on a link of this one",
                nodes.join(", ")
            )));
        };
        let before = self.made.iter().find(|one| one.lead.address == address).cloned();
        if let Some(before) = before.as_ref().filter(|one| one.hop() == hop && one.lead == *lead) {
            return self.again(before).await.map(|()| None);
        }
        if let Err(taken) = self.has.free(address, None) {
            return Ok(Some(format!("{address} is not led to its node: {taken}")));
        }
        let near = self.near(address, hop.device).await?;
        let records = near.iter().map(|link| self.record(address, link));
        let links = records.collect::<Result<Vec<_>, Error>>()?;
        let made = Made { lead: lead.clone(), gateway: hop.gateway, device: hop.device, links };
        self.made.retain(|one| one.lead.address != address);
        self.made.push(made.clone());
        self.save()?;
        self.make(&made).await?;
        flows::forget(&BTreeSet::from([address]))?;
        for link in &near {
            neighbours::forget(&mut self.socket, link.index, address)?;
            announce(link.index, &link.mac, [(address, &link.mac[..])])?;
        }
        Ok(None)
    }

    /// The links of this node where the address is looked for: those with its range, and the bridges,
    /// as a restored pod may have had it there. The node that leads on the same link has told the
    /// others there to go the straight way (ICMP redirect), and they hold on to that for minutes.
    /// On one link with the other node the pod is reached as any neighbour is.
    async fn near(&self, address: IpAddr, to: u32) -> Result<Vec<Link>, Error> {
        let ranged = self.has.ranged(address);
        let mut near = Vec::new();
        for index in self.has.addressed().into_iter().filter(|index| *index != to) {
            let link = self.kernel.link(index).await?;
            near.extend(link.filter(|link| link.is_bridge || ranged.contains(&index)));
        }
        Ok(near)
    }

    /// Of a lead that is on file: whatever of it was taken away by others is made again.
    async fn again(&mut self, made: &Made) -> Result<(), Error> {
        let led = self.has.led(made.lead.address, made.device);
        if led && self.links_answer(made) {
            return Ok(());
        }
        self.make(made).await
    }

    fn links_answer(&self, made: &Made) -> bool {
        let mut names = made.links.iter().flat_map(|link| link.settings.keys());
        names.all(|name| settings::get(name).is_ok_and(|value| value == settings::wanted(name)))
    }

    async fn make(&mut self, made: &Made) -> Result<(), Error> {
        for link in &made.links {
            for name in link.settings.keys() {
                settings::set(name, settings::wanted(name))?;
            }
            for address in &link.proxied {
                let of =
                    Link { index: link.device, name: link.device_name.clone(), ..Link::default() };
                self.kernel.add_proxy(*address, &of).await?;
            }
        }
        Ok(self.socket.request(hop::lead(made.lead.address, &made.hop()))?)
    }

    /// What a link needs to answer for an address; proxied ARP of single addresses needs no switch.
    fn record(&self, address: IpAddr, link: &Link) -> Result<Record, Error> {
        let names: Vec<String> = if address.is_ipv4() {
            settings::proxy_arp(&link.name).into_iter().skip(1).map(|(name, _)| name).collect()
        } else {
            settings::proxy_ndp(&link.name).into_iter().map(|(name, _)| name).collect()
        };
        Ok(Record {
            container_id: String::new(),
            interface: String::new(),
            pod: Pod::default(),
            netns: "/".into(),
            netns_id: (0, 0),
            device: link.index,
            device_name: link.name.clone(),
            addresses: Vec::new(),
            gateways: Vec::new(),
            proxied: vec![address],
            settings: self.ways.before(&names, link.index, &self.shared())?,
            ..Record::default()
        })
    }

    /// What anything else on this node needs.
    fn shared(&self) -> Vec<Record> {
        let leads = self.made.iter().flat_map(|made| made.links.clone());
        self.records.iter().cloned().chain(leads).collect()
    }

    /// Takes a lead away. A restored pod of this node that it was led away from gets its way back.
    async fn end(&mut self, address: IpAddr, lives: &impl Fn(IpAddr) -> bool) -> Result<(), Error> {
        let Some(place) = self.made.iter().position(|one| one.lead.address == address) else {
            return Ok(());
        };
        let made = self.made.remove(place);
        for route in self.has.ours_to(address).filter(|route| route.gateway) {
            self.kernel.remove_route(route).await?;
        }
        let rest = self.shared();
        for link in &made.links {
            unmake(self.kernel, link, &rest).await?;
        }
        for record in self.records.iter().filter(|one| one.addresses.contains(&address)) {
            if let Some(link) = self.kernel.link(record.device).await?
                && link.name == record.device_name
            {
                self.kernel.add_route(address, &link).await?;
            }
        }
        if lives(address) {
            for record in &made.links {
                if let Some(link) = self.kernel.link(record.device).await? {
                    announce(link.index, &link.mac, [(address, &made.lead.mac[..])])?;
                }
            }
        }
        self.save()
    }

    fn save(&self) -> Result<(), Error> {
        write(self.ways.folder(), &self.made).map_err(|source| self.ways.failed(source))
    }
}
