//! The path switch in the cluster: `PodRoute`s written for the restored pods of this node, and those
//! of other nodes followed by this node's routes, neighbours and reservations.
//!
//! Both sides converge: what is on this node (the records of attachments) is what its `PodRoute`s are
//! made to tell, and what all `PodRoute`s tell is what this node is made to lead to. So a write that
//! failed, an agent that died in the middle and a watch that lagged end the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use tokio::time::{sleep, timeout};

use super::{occupied, on_thread};
use crate::api::{ConditionType, NetCheckpoint, PodRoute, PodRouteSpec, is_true};
use crate::controller::{Agent, SharedAgent};
use crate::host::{HostLocal, Lead, Record, Ways};

/// Longest wait for one write.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two looks at everything, changed or not.
const AGAIN: Duration = Duration::from_secs(30);
/// How long after its checkpoint the address of a pod that is deleted stays reserved, for a pod that
/// is still to be restored with it. From then on it is reserved by the `PodRoute`.
const AWAITED: SignedDuration = SignedDuration::from_mins(10);
/// Field manager of the routes.
const MANAGER: &str = "netckpt-path";

/// Where the node's CNI keeps what the agent must know of it.
#[derive(Debug, Clone)]
pub struct Cni {
    /// Configuration lists (`/etc/cni/net.d`).
    pub configurations: PathBuf,
    /// Reservations of host-local (`/var/lib/cni/networks`).
    pub networks: PathBuf,
}

impl Cni {
    /// The networks as they are configured now.
    #[must_use]
    pub fn host_local(&self) -> HostLocal {
        HostLocal::read(&self.configurations, &self.networks)
    }
}

/// Follows the routes until `changes` ends with the agent.
pub async fn follow(agent: SharedAgent, ways: Arc<Ways>, changes: impl Stream<Item = ()>) {
    // Before all are known, a lead that is there would look like one that nobody wants.
    let known = tokio::select! {
        known = async { agent.knows_pods().await && agent.routes.wait_until_ready().await.is_ok() } => known,
        () = agent.ending.begun() => false,
    };
    if !known {
        return;
    }
    let mut changes = std::pin::pin!(changes);
    loop {
        converge(&agent, &ways).await;
        tokio::select! {
            () = agent.ending.begun() => return,
            change = changes.next() => if change.is_none() { return },
            () = sleep(AGAIN) => {}
        }
    }
}

/// Brings this node to what the routes tell, and the routes of this node's pods to what is here.
async fn converge(agent: &SharedAgent, ways: &Arc<Ways>) {
    let routes = agent.routes.state();
    let Paths { leads, kept } = Paths::of(routes.iter().map(AsRef::as_ref), &agent.node);
    let awaited = awaited(agent);
    let reserved: BTreeSet<IpAddr> = kept.union(&awaited).copied().collect();
    let (of, cni, on) = (agent.clone(), agent.cni.clone(), ways.clone());
    let led = on_thread(move || {
        let lives = |address: IpAddr| lives(&of, address);
        // An address is reserved before it is led away.
        match cni.host_local().keep(&reserved, lives) {
            Ok(new) if !new.is_empty() => tracing::info!(?new, "reserved for restored pods"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "addresses of restored pods can't be reserved"),
        }
        let lacks = on.lead(&leads, lives).map_err(|error| error.to_string())?;
        let records = on.records().map_err(|error| error.to_string())?;
        Ok::<_, String>((lacks, records))
    });
    match led.await.and_then(|led| led) {
        Ok((lacks, records)) => {
            for lack in lacks {
                tracing::warn!(lack, "a restored pod of another node");
            }
            own(agent, &routes, &records).await;
        }
        Err(error) => tracing::warn!(error, "the ways to restored pods of other nodes"),
    }
}

/// Writes the routes of this node's records that are missing, and removes those without a record.
async fn own(agent: &Agent, routes: &[Arc<PodRoute>], records: &[Record]) {
    for record in records.iter().filter(|one| one.sequence > 0 && !one.pod.uid.is_empty()) {
        let told = routes.iter().find(|route| route.name_any() == record.pod.uid);
        if told.is_none_or(|route| route.spec != spec(record, &agent.node, &agent.node_ips))
            && let Err(error) = publish(agent, record).await
        {
            tracing::warn!(error, pod = record.pod.name, "other nodes can't be told of the pod");
        }
    }
    let here = |uid: &str| records.iter().any(|one| one.pod.uid == uid && one.sequence > 0);
    let mine = routes.iter().filter(|route| route.spec.node_name == agent.node);
    for route in mine.filter(|route| !here(&route.spec.pod_uid)) {
        withdraw(agent, &route.namespace().unwrap_or_default(), &route.name_any()).await;
    }
}

/// Tells all nodes that the pod of a record is on this one, if there is such a pod.
///
/// # Errors
/// Why it could not be told, as a sentence; it is tried again.
pub async fn publish(agent: &Agent, record: &Record) -> Result<(), String> {
    if record.kept.is_empty() {
        return Ok(());
    }
    let mut route = PodRoute::new(&record.pod.uid, spec(record, &agent.node, &agent.node_ips));
    route.metadata.namespace = Some(record.pod.namespace.clone());
    // The cluster takes it away with its pod, even when this node is gone.
    route.metadata.owner_references = Some(vec![OwnerReference {
        api_version: Pod::api_version(&()).into_owned(),
        kind: Pod::kind(&()).into_owned(),
        name: record.pod.name.clone(),
        uid: record.pod.uid.clone(),
        ..OwnerReference::default()
    }]);
    let api: Api<PodRoute> = Api::namespaced(agent.client.clone(), &record.pod.namespace);
    let parameters = PatchParams::apply(MANAGER).force();
    let apply = Patch::Apply(&route);
    match timeout(DEADLINE, api.patch(&record.pod.uid, &parameters, &apply)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("the PodRoute of the pod can't be written: {error}")),
        Err(_) => Err("the PodRoute of the pod: the API server did not answer in time".to_owned()),
    }
}

/// Takes the route of a pod back: all nodes lead to where its addresses were before.
pub async fn withdraw(agent: &Agent, namespace: &str, uid: &str) {
    let api: Api<PodRoute> = Api::namespaced(agent.client.clone(), namespace);
    let of = reflected(agent, namespace, uid);
    let preconditions = of.map(|uid| Preconditions { uid: Some(uid), resource_version: None });
    let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
    match timeout(DEADLINE, api.delete(uid, &parameters)).await {
        Ok(Ok(_)) => {}
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
        Ok(Err(error)) => tracing::warn!(%error, "a PodRoute can't be removed"),
        Err(_) => tracing::warn!("a PodRoute can't be removed: the API server did not answer"),
    }
}

fn reflected(agent: &Agent, namespace: &str, name: &str) -> Option<String> {
    let key = kube::runtime::reflector::ObjectRef::new(name).within(namespace);
    agent.routes.get(&key)?.uid()
}

/// Leads nobody any more to a restored pod that will never speak: its source goes on. What fails is
/// tried again while the agent runs.
pub async fn give_back(agent: &Agent, uid: &str) {
    let given = of_pod(agent, uid, |ways, record| {
        ways.give_back(&record.container_id, &record.interface).map(drop)
    });
    match given.await {
        Err(error) => tracing::warn!(error, pod = uid, "the path to it can't be switched back"),
        Ok(namespaces) => {
            for namespace in namespaces {
                withdraw(agent, &namespace, uid).await;
            }
        }
    }
}

/// Does something for each attachment of a pod; answers the namespaces of these, which is one or none.
async fn of_pod(
    agent: &Agent,
    uid: &str,
    work: impl Fn(&Ways, &Record) -> Result<(), crate::host::Error> + Send + 'static,
) -> Result<BTreeSet<String>, String> {
    let (Some(ways), uid) = (agent.ways.get().cloned(), uid.to_owned()) else {
        return Ok(BTreeSet::new());
    };
    let done = on_thread(move || {
        let records = ways.records()?;
        let mine = records.iter().filter(|record| record.pod.uid == uid);
        let each = mine.map(|record| work(&ways, record).map(|()| record.pod.namespace.clone()));
        each.collect::<Result<_, crate::host::Error>>()
    });
    done.await?.map_err(|error| error.to_string())
}

/// The number of the next move of these addresses.
#[must_use]
pub fn next(agent: &Agent, addresses: &[IpAddr]) -> i64 {
    let of = |route: &PodRoute| addresses_of(route).any(|one| addresses.contains(&one));
    let routes = agent.routes.state();
    let before = routes.iter().filter(|route| of(route)).map(|route| route.spec.sequence).max();
    before.unwrap_or_default().saturating_add(1)
}

/// The addresses of a pod of this node that was captured and is to stay reserved when it goes.
#[must_use]
pub fn captured(agent: &Agent, uid: &str) -> Vec<IpAddr> {
    let now = Timestamp::now();
    let of = own_checkpoints(agent);
    let of = of.iter().filter(|one| is_awaited(one, now));
    let of = of.filter_map(|one| one.status.as_ref());
    let of = of.filter(|status| status.source_pod_uid.as_deref() == Some(uid));
    of.flat_map(|status| &status.pod_ips).filter_map(|ip| ip.parse().ok()).collect()
}

/// The addresses of captured pods of this node that are gone and may still be restored.
fn awaited(agent: &Agent) -> BTreeSet<IpAddr> {
    let now = Timestamp::now();
    let pods = agent.pods.state();
    let is_here = |uid: &str| pods.iter().any(|pod| pod.metadata.uid.as_deref() == Some(uid));
    let checkpoints = own_checkpoints(agent);
    let gone = checkpoints.iter().filter(|one| is_awaited(one, now)).filter_map(|one| {
        let status = one.status.as_ref()?;
        (!is_here(status.source_pod_uid.as_deref()?)).then_some(status)
    });
    gone.flat_map(|status| &status.pod_ips).filter_map(|ip| ip.parse().ok()).collect()
}

fn own_checkpoints(agent: &Agent) -> Vec<Arc<NetCheckpoint>> {
    agent.checkpoints.get().map(kube::runtime::reflector::Store::state).unwrap_or_default()
}

/// Whether a checkpoint is one that a pod may be restored from soon.
fn is_awaited(checkpoint: &NetCheckpoint, now: Timestamp) -> bool {
    let Some(status) = &checkpoint.status else { return false };
    let stored = status.stored_at.as_ref().map(|at| now.duration_since(at.0));
    is_true(&status.conditions, ConditionType::Ready) && stored.is_some_and(|age| age < AWAITED)
}

/// Whether a pod of this node has the address.
fn lives(agent: &Agent, address: IpAddr) -> bool {
    let pods = agent.pods.state();
    occupied::free(pods.iter().map(AsRef::as_ref), &[address], "", None).is_err()
}

fn spec(record: &Record, node: &str, node_ips: &[IpAddr]) -> PodRouteSpec {
    let texts = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect();
    PodRouteSpec {
        pod_uid: record.pod.uid.clone(),
        pod_name: record.pod.name.clone(),
        node_name: node.to_owned(),
        node_ips: texts(node_ips),
        range_ips: texts(&record.range),
        addresses: texts(&record.kept),
        mac: Some(record.mac.clone()).filter(|mac| !mac.is_empty()),
        sequence: record.sequence,
    }
}

fn addresses_of(route: &PodRoute) -> impl Iterator<Item = IpAddr> {
    route.spec.addresses.iter().filter_map(|ip| ip.parse().ok()).filter(may_be_a_pods)
}

/// Whether a pod may have the address: what is written in an object of the API is not taken as it is.
fn may_be_a_pods(address: &IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

/// What a node has to do for all routes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Paths {
    /// To other nodes.
    leads: Vec<Lead>,
    /// Addresses of restored pods, wherever they are.
    kept: BTreeSet<IpAddr>,
}

impl Paths {
    /// Of several routes for one address that of the latest move counts.
    fn of<'a>(routes: impl Iterator<Item = &'a PodRoute>, node: &str) -> Self {
        let mut latest: BTreeMap<IpAddr, &PodRoute> = BTreeMap::new();
        for route in routes {
            for address in addresses_of(route) {
                let of = latest.entry(address).or_insert(route);
                if age(route) > age(of) {
                    *of = route;
                }
            }
        }
        let away = latest.iter().filter(|(_, route)| route.spec.node_name != node);
        let leads = away.map(|(address, route)| lead(*address, &route.spec)).collect();
        Self { leads, kept: latest.into_keys().collect() }
    }
}

/// What puts routes of one address in an order that all nodes agree on.
fn age(route: &PodRoute) -> (i64, Option<Timestamp>, &str) {
    let created = route.metadata.creation_timestamp.as_ref().map(|at| at.0);
    (route.spec.sequence, created, &route.spec.pod_uid)
}

fn lead(address: IpAddr, spec: &PodRouteSpec) -> Lead {
    let ips = |all: &[String]| all.iter().filter_map(|ip| ip.parse().ok()).collect();
    let mac = spec.mac.as_deref().unwrap_or_default().split(':');
    Lead {
        address,
        node_ips: ips(&spec.node_ips),
        range_ips: ips(&spec.range_ips),
        mac: mac.filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect(),
        sequence: spec.sequence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(uid: &str, node: &str, address: &str, sequence: i64) -> PodRoute {
        let record = Record {
            kept: vec![address.parse().unwrap()],
            mac: "02:00:00:00:00:07".into(),
            sequence,
            pod: crate::host::Pod { uid: uid.into(), ..crate::host::Pod::default() },
            ..Record::default()
        };
        PodRoute::new(uid, spec(&record, node, &["192.168.77.2".parse().unwrap()]))
    }

    #[test]
    fn the_latest_move_counts() {
        let all = [
            route("u1", "b", "10.244.1.7", 1),
            route("u2", "c", "10.244.1.7", 2),
            route("u3", "a", "10.244.1.8", 5),
            route("u4", "b", "fe80::1", 1),
            route("u5", "b", "224.0.0.1", 1),
        ];
        let paths = Paths::of(all.iter(), "a");
        assert_eq!(paths.leads.len(), 1);
        assert_eq!((paths.leads[0].sequence, paths.leads[0].mac.len()), (2, 6));
        assert_eq!(paths.kept.len(), 2, "what can't be a pod's is not kept");
        assert_eq!(Paths::of(all.iter(), "c").leads.len(), 1, "only that of the other address");
        // The move failed: what was before counts again.
        let back = Paths::of(all[..1].iter(), "a");
        assert_eq!(back.leads[0].sequence, 1);
        assert_eq!(Paths::of(all[..1].iter(), "b").leads, Vec::new());
    }
}
