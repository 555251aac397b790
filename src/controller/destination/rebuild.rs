//! From an image to a pod's network on this node: rebuilt, verified, reachable. Without Kubernetes,
//! and blocking.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::RestoreError;
use crate::gate::protocol::{Address, Restored, Route};
use crate::hold::{self, Element, Hold, Kind, Listed, Note, criu};
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
    /// Number of this move of the addresses; none where they are not led here yet.
    pub sequence: Option<i64>,
    pub on_unsupported: Unsupported,
    /// Set when nobody waits any more: what was done is then taken back.
    pub given_up: &'a AtomicBool,
    /// Whether the pod stays silent until its turn comes, from before it has an address.
    pub wait: Option<Wait<'a>>,
}

/// How a pod waits for its turn.
#[derive(Debug, Clone, Copy)]
pub struct Wait<'a> {
    /// CRIU's lock, which it lifts itself once the pod's sockets are there.
    pub lock: Option<&'a str>,
    /// Time until the source's hold ends, where that is held.
    pub left: Option<Duration>,
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
    /// The hold of a pod that waits.
    pub waiting: Option<Listed>,
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
        // The hold of a pod that has moved away from here would hold this one, too: its addresses are
        // the same.
        let has_left =
            |one: &Listed| one.hold.kind == Kind::Source && !one.is_linked(&node).unwrap_or(true);
        if let Err(error) = hold::sweep(&node, has_left) {
            tracing::warn!(%error, "holds of pods that are gone can't be swept");
        }
        let options = Options {
            on_unsupported: self.on_unsupported,
            known_ends_only: true,
            led_by_caller: true,
            ..Options::default()
        };
        let (netns, flag) = (self.netns, self.given_up);
        // Before it has the addresses.
        self.hold(&node)?;
        let report = restore::restore_while(netns, Some(&node), self.image, &options, flag);
        let report = report.inspect_err(|_| self.let_go(&node))?;
        // On what there is now; a pair that was made anew leads nowhere yet.
        let waiting = self.hold(&node).and_then(|()| self.waiting(&node));
        let led =
            waiting.and_then(|waiting| Ok((waiting, self.lead(ways, &node, bridge, &before)?)));
        match led {
            Ok((waiting, (restored, Attached { record, lacks }))) => {
                Ok(Rebuilt { restored, report, record, lacks, waiting })
            }
            Err(failure) => {
                let failure = undone(netns, &node, &report, failure);
                self.let_go(&node);
                Err(failure)
            }
        }
    }

    fn own_hold(&self) -> Result<Hold, RestoreError> {
        Ok(Hold { id: self.pod.uid.parse()?, kind: Kind::Successor })
    }

    /// Keeps the pod silent, and plants CRIU's lock.
    fn hold(&self, node: &Namespace) -> Result<(), RestoreError> {
        let Some(wait) = self.wait else { return Ok(()) };
        let Pod { namespace, name, checkpoint, .. } = &self.pod;
        let note = Note(format!("successor {namespace}/{name} of {checkpoint}"));
        self.own_hold()?.plant(self.netns, node, Element::None, &note)?;
        if let Some(lock) = wait.lock {
            criu::plant_once(self.netns, &lock.parse()?)?;
        }
        Ok(())
    }

    /// While it is silent the node does not tell that nobody is there.
    fn hush(&self, node: &Namespace) -> Result<(), RestoreError> {
        match self.wait.and_then(|wait| wait.left) {
            Some(left) => Ok(self.own_hold()?.hush(self.netns, node, left)?),
            None => Ok(()),
        }
    }

    fn waiting(&self, node: &Namespace) -> Result<Option<Listed>, RestoreError> {
        if self.wait.is_none() {
            return Ok(None);
        }
        let hold = self.own_hold()?;
        Ok(hold::all(node)?.into_iter().find(|listed| listed.hold == hold))
    }

    /// Takes the hold away after a failure; the runtime takes the namespace down.
    fn let_go(&self, node: &Namespace) {
        let Some(wait) = self.wait else { return };
        let lifted = self.own_hold().and_then(|hold| Ok(hold.lift(Some(self.netns), node)?));
        let lock = wait.lock.and_then(|lock| lock.parse().ok());
        let unlocked = lock.map_or(Ok(()), |lock| {
            criu::lift(self.netns, &lock)?;
            criu::forget(self.netns, &lock)
        });
        if let Err(error) = lifted.and_then(|()| Ok(unlocked?)) {
            tracing::warn!(pod = self.pod.name, %error, "the hold of a failed restore stays");
        }
    }

    /// Gives the node the way to what was restored.
    fn lead(
        &self,
        ways: &Ways,
        node: &Namespace,
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
        if let Some(sequence) = self.sequence {
            let switch = || Ok(ways.switch(self.container_id, self.interface, sequence)?);
            attached.record = self.hush(node).and_then(|()| switch()).inspect_err(|_| {
                // The first error is the one to tell; what can't be undone now is in the record.
                let _ = ways.detach(self.container_id, self.interface);
            })?;
        }
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
