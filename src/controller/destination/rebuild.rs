//! From an image to a pod's network on this node: rebuilt, verified, reachable. Without Kubernetes,
//! and blocking.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::RestoreError;
use crate::gate::protocol::{Address, Restored, Route};
use crate::host::{self, Attached, Inside, Pod, Record, Way, Ways, flows};
use crate::image::{Image, Unsupported};
use crate::netns::Namespace;
use crate::restore::{self, Options, Report, Undone};

/// What is to be rebuilt, and where.
#[derive(Debug)]
pub struct Rebuild<'a> {
    pub container_id: &'a str,
    pub interface: &'a str,
    pub pod: Pod,
    pub netns: &'a Namespace,
    pub path: &'a Path,
    pub image: &'a Image,
    /// Addresses of the captured pod, in their order: the node leads to these, and the answer tells these.
    pub pod_ips: &'a [IpAddr],
    /// Number of this move of the addresses.
    pub sequence: i64,
    pub on_unsupported: Unsupported,
    /// Set when nobody waits any more: what was done is then taken back.
    pub given_up: &'a AtomicBool,
}

/// What was rebuilt.
#[derive(Debug)]
pub struct Rebuilt {
    pub restored: Restored,
    pub report: Report,
    /// The way to it.
    pub record: Record,
    /// What the node can't do for the pod, as sentences.
    pub lacks: Vec<String>,
}

impl Rebuilt {
    /// Time of planning and applying.
    #[must_use]
    pub fn rebuild(&self) -> Duration {
        self.report.timings.total.saturating_sub(self.report.timings.verify)
    }
}

impl Rebuild<'_> {
    /// Does it, in the node's namespace, which is the calling thread's.
    ///
    /// # Errors
    /// [`RestoreError`]. The namespace is then again what it was, and the node leads nowhere: where
    /// that could not be done, the error says so.
    pub fn run(self, ways: &Ways) -> Result<Rebuilt, RestoreError> {
        // The addresses may still be led to a pod that went without a DEL.
        if let Err(error) = ways.sweep() {
            tracing::warn!(%error, "what is left of pods that are gone can't be swept");
        }
        ways.free(self.pod_ips)?;
        let before = Inside::read(self.netns, self.interface)?;
        let bridge = ways.bridge(&before)?;
        let node = Namespace::current().map_err(restore::Error::from)?;
        let options = Options {
            on_unsupported: self.on_unsupported,
            known_ends_only: true,
            ..Options::default()
        };
        let (netns, flag) = (self.netns, self.given_up);
        let report = restore::restore_while(netns, Some(&node), self.image, &options, flag)?;
        match self.lead(ways, bridge, &before) {
            Ok((restored, Attached { record, lacks })) => {
                Ok(Rebuilt { restored, report, record, lacks })
            }
            Err(failure) => Err(undone(netns, &node, &report, failure)),
        }
    }

    /// Gives the node the way to what was restored.
    fn lead(
        &self,
        ways: &Ways,
        bridge: Option<u32>,
        before: &Inside,
    ) -> Result<(Restored, Attached), RestoreError> {
        let flows = self.image.snapshot.sections.get(flows::SECTION);
        let flows = flows.map(|flows| flows::insert(flows, restore::age(self.image), self.pod_ips));
        let untracked = flows.transpose().map_err(host::Error::from)?.unwrap_or_default();
        let range: Vec<_> = before.addresses.iter().map(|(address, _)| *address).collect();
        let way = Way {
            container_id: self.container_id,
            interface: self.interface,
            pod: self.pod.clone(),
            netns: self.netns,
            path: self.path,
            pod_ips: self.pod_ips,
            bridge,
            range: &range,
        };
        let inside = Inside::read(self.netns, self.interface)?;
        let mut attached = ways.prepare(&way)?;
        attached.lacks.extend(untracked);
        let switched = ways.switch(self.container_id, self.interface, self.sequence);
        attached.record = switched.inspect_err(|_| {
            // The first error is the one to tell; what can't be undone now is in the record.
            let _ = ways.detach(self.container_id, self.interface);
        })?;
        if self.given_up.load(Ordering::SeqCst) {
            // DEL may have come and gone before there was anything to take away.
            ways.detach(self.container_id, self.interface)?;
            return Err(restore::Error::GivenUp.into());
        }
        Ok((restored(&inside, self.pod_ips), attached))
    }
}

/// Takes the restore back after `failure`.
fn undone(
    netns: &Namespace,
    node: &Namespace,
    report: &Report,
    failure: RestoreError,
) -> RestoreError {
    match restore::undo(netns, Some(node), report) {
        Ok(Undone::Wholly) => failure,
        Ok(undone) => {
            RestoreError::NotUndone { failure: Box::new(failure), why: undone.to_string() }
        }
        Err(error) => {
            RestoreError::NotUndone { failure: Box::new(failure), why: error.to_string() }
        }
    }
}

/// The interface as the CNI result tells it, with the pod's IPs in their order. Other addresses are
/// left out: kubelet makes the first of each family an IP of the pod, to which services lead.
fn restored(inside: &Inside, pod_ips: &[IpAddr]) -> Restored {
    let own = |ip: &IpAddr| inside.addresses.iter().find(|(address, _)| address == ip);
    let addresses = pod_ips.iter().filter_map(own).map(|(address, prefix)| Address {
        address: *address,
        prefix: *prefix,
        gateway: inside.default_gateway(address.is_ipv4()),
    });
    let main = inside.gateways.iter().filter(|one| one.table == u32::from(libc::RT_TABLE_MAIN));
    let routes = main.map(|one| Route { to: one.to.0, prefix: one.to.1, gateway: one.gateway });
    let mac = inside.mac_text();
    Restored {
        mac: Some(mac).filter(|mac| !mac.is_empty()),
        mtu: Some(inside.mtu),
        addresses: addresses.collect(),
        routes: routes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Gateway;

    #[test]
    fn the_pods_own_addresses_are_told_in_their_order() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let inside = Inside {
            mac: vec![2, 0, 0, 0, 0, 0xa7],
            mtu: 1450,
            addresses: vec![(ip("10.9.9.9"), 24), (ip("fd00::7"), 64), (ip("10.244.1.7"), 24)],
            gateways: vec![
                Gateway { to: (ip("0.0.0.0"), 0), table: 100, gateway: ip("10.9.9.1") },
                Gateway { to: (ip("0.0.0.0"), 0), table: 254, gateway: ip("10.244.1.1") },
            ],
            ..Inside::default()
        };
        let restored = restored(&inside, &[ip("10.244.1.7"), ip("fd00::7")]);
        let order: Vec<_> = restored.addresses.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(order, ["10.244.1.7", "fd00::7"]);
        assert_eq!(restored.addresses[0].gateway, Some(ip("10.244.1.1")));
        assert_eq!(restored.addresses[1].gateway, None);
        assert_eq!(restored.routes.len(), 1);
        assert_eq!(restored.mac.as_deref(), Some("02:00:00:00:00:a7"));
    }
}
