//! What the node needs for a pod, judged from what it has.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::inside::Inside;
use super::kernel::{self, Address, HostRoute, Kernel, Link};
use super::settings;

/// Neighbours at most that the node answers for, for one pod.
const MOST_PROXIED: usize = 64;
/// Bits that a range of the pod must fix at least, for the node to answer for an address of it: the
/// pod chooses its prefix, and a short one would hold the addresses of services and resolvers.
pub const NARROW_V4: u8 = 16;
pub const NARROW_V6: u8 = 48;

/// Metrics of our routes, of IPv4 and IPv6: what the kernel gives those that name none.
const METRIC: [u32; 2] = [0, 1024];

/// What the node has.
#[derive(Debug, Default)]
pub struct Has {
    addresses: Vec<Address>,
    routes: Vec<HostRoute>,
}

/// An address belongs to somebody else on this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address {address} is in use on this node: {by}")]
pub struct InUse {
    pub address: IpAddr,
    pub by: String,
}

/// What is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// Routes to these, through the device.
    pub addresses: Vec<IpAddr>,
    /// Addresses of the device.
    pub gateways: Vec<IpAddr>,
    /// Neighbours that the device answers for.
    pub proxied: Vec<IpAddr>,
    /// Files under `/proc/sys/net`, see [`settings`].
    pub settings: Vec<String>,
    /// What can't be made, as sentences for a person.
    pub lacks: Vec<String>,
}

impl Has {
    /// Reads it.
    ///
    /// # Errors
    /// [`kernel::Error`].
    pub async fn read(kernel: &Kernel) -> Result<Self, kernel::Error> {
        Ok(Self { addresses: kernel.addresses().await?, routes: kernel.host_routes().await? })
    }

    /// Sees that nobody here has the address. A route to another node that is behind ours is nobody's
    /// claim: routing protocols tell of pods of other nodes so. A way through `device` that the CNI plugin has made
    /// (ptp) is the pod's own: then nothing is needed, and the answer is false.
    ///
    /// # Errors
    /// [`InUse`] with who has it.
    pub fn free(&self, address: IpAddr, device: Option<u32>) -> Result<bool, InUse> {
        if let Some(own) = self.addresses.iter().find(|one| one.address == address && !one.ours) {
            let by = format!("it is an address of the node's link {}", own.device);
            return Err(InUse { address, by });
        }
        let mut routes = self.routes.iter().filter(|one| {
            let behind = one.gateway && one.metric > METRIC[usize::from(address.is_ipv6())];
            one.address == address && !one.ours && !behind
        });
        let Some(route) = routes.next() else { return Ok(true) };
        if route.device == device && !route.gateway {
            return Ok(false);
        }
        let by = format!("a route leads to it through link {}", route.device.unwrap_or_default());
        Err(InUse { address, by })
    }

    /// The links with a range, not made by us, that holds the address.
    pub fn ranged(&self, address: IpAddr) -> Vec<u32> {
        let mut links: Vec<_> = self
            .addresses
            .iter()
            .filter(|one| !one.ours && contains(one.address, one.prefix, address))
            .map(|one| one.device)
            .collect();
        links.dedup();
        links
    }

    /// The links that have an address which is not ours.
    pub fn addressed(&self) -> BTreeSet<u32> {
        self.addresses.iter().filter(|one| !one.ours).map(|one| one.device).collect()
    }

    /// The routes of agents to an address.
    pub fn ours_to(&self, address: IpAddr) -> impl Iterator<Item = &HostRoute> {
        self.routes.iter().filter(move |one| one.ours && one.address == address)
    }

    /// Whether an agent's route leads to the address on another node, through this device.
    pub fn led(&self, address: IpAddr, device: u32) -> bool {
        self.ours_to(address).any(|one| one.gateway && one.device == Some(device))
    }

    /// Whether a range of the device, not made by us, holds the address.
    fn covers(&self, device: &Link, address: IpAddr) -> bool {
        self.addresses.iter().any(|one| {
            one.device == device.index && !one.ours && contains(one.address, one.prefix, address)
        })
    }

    /// Whether anything here speaks for its being somebody else's: a range of a link, a route to it
    /// alone, or an address that is not ours.
    fn holds(&self, address: IpAddr) -> bool {
        let own = |one: &Address| one.ours && one.address == address;
        let ranged = self.addresses.iter().any(|one| {
            !one.ours && (one.address == address || contains(one.address, one.prefix, address))
        });
        // An IPv6 address of ours brings a route of the kernel's with it.
        let led = |route: &HostRoute| {
            let made = |one: &Address| own(one) && Some(one.device) == route.device;
            route.address == address && !self.addresses.iter().any(made)
        };
        ranged || self.routes.iter().any(led)
    }

    /// Whether the node answers for the address on this device: for an IPv4 one on every link, for
    /// an IPv6 one on its own only.
    pub fn answers(&self, device: &Link, address: IpAddr) -> bool {
        self.addresses.iter().any(|one| {
            let here = address.is_ipv4() || one.device == device.index;
            one.address == address && !one.ours && here
        })
    }
}

/// What a pod has on its interface, as the image or somebody in the pod made it, and the addresses
/// that Kubernetes knew the captured pod by. Only these are beyond the pod's own choice: nothing of
/// the rest may lead the node's traffic to the pod, or have the node answer for others.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    pub inside: &'a Inside,
    pub pod_ips: &'a [IpAddr],
}

impl Claims<'_> {
    /// Whether the node may answer the pod for this address: one of a narrow range that a pod address
    /// is of too, and nobody's.
    fn may_be_answered(&self, has: &Has, address: IpAddr) -> bool {
        let narrow = |length: u8| length >= if address.is_ipv4() { NARROW_V4 } else { NARROW_V6 };
        let ranges = self.inside.addresses.iter().filter(|(own, _)| self.pod_ips.contains(own));
        let mut ranges = ranges.filter(|(own, length)| contains(*own, *length, address));
        let own = self.pod_ips.contains(&address)
            || self.inside.addresses.iter().any(|(own, _)| *own == address);
        ranges.any(|(_, length)| narrow(*length)) && !own && !has.holds(address)
    }
}

impl Need {
    /// What a pod behind `device` needs. Addresses that the device's own range covers need nothing:
    /// on such a link the gateway and the neighbours answer for themselves.
    ///
    /// # Errors
    /// [`InUse`].
    pub fn of(has: &Has, claims: Claims<'_>, device: &Link) -> Result<Self, InUse> {
        let mut need = Self::default();
        let mut others = 0;
        for (address, _) in &claims.inside.addresses {
            if !claims.pod_ips.contains(address) {
                others += usize::from(!has.covers(device, *address));
                continue;
            }
            let own_way = !has.free(*address, Some(device.index))?;
            if own_way || has.covers(device, *address) {
                continue;
            }
            if address.is_ipv6() && !settings::has_ipv6(&device.name) {
                let name = &device.name;
                need.lacks
                    .push(format!("{address} is not reached: IPv6 is off on the node's {name}"));
                continue;
            }
            need.addresses.push(*address);
        }
        if others > 0 {
            need.lacks.push(format!(
                "{others} more of its addresses are not led to from outside: they are not among the captured pod's IPs"
            ));
        }
        if need.addresses.iter().any(IpAddr::is_ipv4) {
            need.answer_v4(has, claims, device);
        }
        if need.addresses.iter().any(IpAddr::is_ipv6) {
            need.answer_v6(has, claims, device);
        }
        Ok(need)
    }

    fn answer_v4(&mut self, has: &Has, claims: Claims<'_>, device: &Link) {
        self.gateway(has, claims, device, true);
        // The pod asks for the rest of its range on the link, where only the node can answer.
        if claims.inside.on_link.iter().any(|(to, length)| to.is_ipv4() && *length < 32) {
            self.settings.extend(settings::proxy_arp(&device.name).map(|(name, _)| name));
        }
    }

    /// IPv6 has no proxy for a whole range: the neighbours that the pod was talking to.
    fn answer_v6(&mut self, has: &Has, claims: Claims<'_>, device: &Link) {
        self.gateway(has, claims, device, false);
        let near = |address: IpAddr| {
            let on_link = |(to, length): &(IpAddr, u8)| contains(*to, *length, address);
            address.is_ipv6() && claims.inside.on_link.iter().any(on_link)
        };
        let neighbours = claims.inside.neighbours.iter().map(|one| one.address);
        let gateways = self.gateways.clone();
        let mut neighbours = neighbours.filter(|address| {
            near(*address)
                && !gateways.contains(address)
                && !has.answers(device, *address)
                && claims.may_be_answered(has, *address)
        });
        self.proxied.extend(neighbours.by_ref().take(MOST_PROXIED));
        let more = neighbours.count();
        if more > 0 {
            let lack =
                format!("{more} of the IPv6 neighbours that it had talked to are not answered for");
            self.lacks.push(lack);
        }
        if !self.proxied.is_empty() {
            self.settings.extend(settings::proxy_ndp(&device.name).map(|(name, _)| name));
        }
    }

    /// The default gateway that the pod knows becomes an address of the node, if nobody has it.
    fn gateway(&mut self, has: &Has, claims: Claims<'_>, device: &Link, v4: bool) {
        let gateway = claims.inside.default_gateway(v4);
        let Some(gateway) = gateway.filter(|gateway| !has.answers(device, *gateway)) else {
            return;
        };
        if claims.may_be_answered(has, gateway) {
            self.gateways.push(gateway);
        } else {
            self.lacks.push(format!(
                "the node does not answer for the gateway {gateway}: it may be somebody else's, or is not of the range of the pod's IPs"
            ));
        }
    }
}

/// Whether the prefix holds the address; a single address is no range.
pub fn contains(of: IpAddr, length: u8, address: IpAddr) -> bool {
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
    use super::super::inside::{Gateway, Neighbour};
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A node with the pod range 10.244.2.0/24 on link 5, and the link 2 to its network.
    fn node() -> (Has, Link) {
        let address =
            |device, address, prefix| Address { device, address: ip(address), prefix, ours: false };
        let addresses = vec![address(5, "10.244.2.1", 24), address(2, "192.168.77.2", 24)];
        let device = Link { index: 5, name: "cni0".into(), ..Link::default() };
        (Has { addresses, routes: Vec::new() }, device)
    }

    fn pod(address: (&str, u8), gateway: &str) -> Inside {
        let to = (ip("0.0.0.0"), 0);
        Inside {
            addresses: vec![(ip(address.0), address.1)],
            gateways: vec![Gateway { to, table: 254, gateway: ip(gateway) }],
            ..Inside::default()
        }
    }

    #[test]
    fn only_what_kubernetes_knew_is_led_to() {
        let (has, device) = node();
        let mut inside = pod(("10.244.1.7", 24), "10.244.1.1");
        // The address of an API server, and the node's own: neither a route nor a refusal.
        inside.addresses.extend([(ip("10.96.0.1"), 32), (ip("192.168.77.2"), 32)]);
        let claims = Claims { inside: &inside, pod_ips: &[ip("10.244.1.7")] };
        let need = Need::of(&has, claims, &device).unwrap();
        assert_eq!(need.addresses, [ip("10.244.1.7")]);
        assert_eq!(need.gateways, [ip("10.244.1.1")]);
        assert_eq!(need.lacks.len(), 1);
        let nobody = Need::of(&has, Claims { inside: &inside, pod_ips: &[] }, &device).unwrap();
        assert_eq!((nobody.addresses, nobody.gateways), (Vec::new(), Vec::new()));
    }

    #[test]
    fn no_gateway_is_somebody_elses() {
        let (mut has, device) = node();
        has.addresses.push(Address {
            device: 9,
            address: ip("10.244.1.66"),
            prefix: 32,
            ours: false,
        });
        let gateways = |own, gateway: &str| {
            let inside = pod(own, gateway);
            let claims = Claims { inside: &inside, pod_ips: &[ip("10.244.1.7")] };
            let need = Need::of(&has, claims, &device).unwrap();
            assert_eq!(need.gateways.is_empty(), !need.lacks.is_empty(), "{:?}", need.lacks);
            need.gateways
        };
        assert_eq!(gateways(("10.244.1.7", 24), "10.244.1.1").len(), 1);
        // A neighbour on the bridge, the node's router, an address of another link, the pod's own,
        // a resolver far away, and one that a prefix as wide as the world would hold.
        for other in ["10.244.2.9", "192.168.77.1", "10.244.1.7", "8.8.8.8"] {
            assert!(gateways(("10.244.1.7", 24), other).is_empty(), "{other}");
        }
        assert!(gateways(("10.244.1.7", 1), "8.8.8.8").is_empty());
        assert!(gateways(("10.244.1.7", 8), "10.96.0.10").is_empty());
    }

    #[test]
    fn a_gateway_of_another_table_is_none() {
        let (has, device) = node();
        let mut inside = pod(("10.244.1.7", 24), "10.244.1.1");
        let to = (ip("203.0.113.0"), 24);
        inside.gateways.push(Gateway { to, table: 100, gateway: ip("10.77.0.9") });
        let claims = Claims { inside: &inside, pod_ips: &[ip("10.244.1.7")] };
        assert_eq!(Need::of(&has, claims, &device).unwrap().gateways, [ip("10.244.1.1")]);
    }

    #[test]
    fn neighbours_are_bounded_and_nobody_elses() {
        let (mut has, _) = node();
        has.addresses.push(Address {
            device: 5,
            address: ip("fd00:2::1"),
            prefix: 64,
            ours: false,
        });
        let neighbour = |address: String| Neighbour { address: ip(&address), mac: vec![2; 6] };
        let mut neighbours = vec![neighbour("fd00:2::5".into()), neighbour("fd09::1".into())];
        neighbours.extend((1..=70).map(|at| neighbour(format!("fd00:1::a:{at}"))));
        let inside = Inside {
            addresses: vec![(ip("fd00:1::7"), 64)],
            on_link: vec![(ip("fd00:1::"), 64), (ip("fd00:2::"), 64), (ip("fd09::"), 64)],
            neighbours,
            ..Inside::default()
        };
        let device = Link { index: 5, name: "lo".into(), ..Link::default() };
        let mut need = Need::default();
        let claims = Claims { inside: &inside, pod_ips: &[ip("fd00:1::7")] };
        need.answer_v6(&has, claims, &device);
        assert_eq!(need.proxied.len(), MOST_PROXIED);
        assert!(need.proxied.iter().all(|one| contains(ip("fd00:1::"), 64, *one)));
        assert_eq!(need.lacks.len(), 1);
    }

    #[test]
    fn prefixes_hold_addresses() {
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
