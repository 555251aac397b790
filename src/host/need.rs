//! What the node needs for a pod, judged from what it has.

use std::net::IpAddr;

use super::inside::Inside;
use super::kernel::{self, Address, HostRoute, Kernel, Link};
use super::settings;

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

    /// Sees that nobody here has the address. A way through `device` that the CNI plugin has made
    /// (ptp) is the pod's own: then nothing is needed, and the answer is false.
    ///
    /// # Errors
    /// [`InUse`] with who has it.
    pub fn free(&self, address: IpAddr, device: Option<u32>) -> Result<bool, InUse> {
        if let Some(own) = self.addresses.iter().find(|one| one.address == address && !one.ours) {
            let by = format!("it is an address of the node's link {}", own.device);
            return Err(InUse { address, by });
        }
        let mut routes = self.routes.iter().filter(|one| one.address == address && !one.ours);
        let Some(route) = routes.next() else { return Ok(true) };
        if route.device == device && !route.gateway {
            return Ok(false);
        }
        let by = format!("a route leads to it through link {}", route.device.unwrap_or_default());
        Err(InUse { address, by })
    }

    /// Whether a range of the device, not made by us, holds the address.
    fn covers(&self, device: &Link, address: IpAddr) -> bool {
        self.addresses.iter().any(|one| {
            one.device == device.index && !one.ours && contains(one.address, one.prefix, address)
        })
    }

    /// Whether the node answers for the address on this device: for an IPv4 one on every link, for
    /// an IPv6 one on its own only.
    fn answers(&self, device: &Link, address: IpAddr) -> bool {
        self.addresses.iter().any(|one| {
            let here = address.is_ipv4() || one.device == device.index;
            one.address == address && !one.ours && here
        })
    }
}

impl Need {
    /// What a pod behind `device` needs. Addresses that the device's own range covers need nothing:
    /// on such a link the gateway and the neighbours answer for themselves.
    ///
    /// # Errors
    /// [`InUse`].
    pub fn of(has: &Has, inside: &Inside, device: &Link) -> Result<Self, InUse> {
        let mut need = Self::default();
        for (address, _) in &inside.addresses {
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
        if need.addresses.iter().any(IpAddr::is_ipv4) {
            need.answer_v4(has, inside, device);
        }
        if need.addresses.iter().any(IpAddr::is_ipv6) {
            need.answer_v6(has, inside, device);
        }
        Ok(need)
    }

    fn answer_v4(&mut self, has: &Has, inside: &Inside, device: &Link) {
        let gateways = inside.gateways(true).filter(|gateway| !has.answers(device, *gateway));
        self.gateways.extend(gateways);
        // The pod asks for the rest of its range on the link, where only the node can answer.
        if inside.on_link.iter().any(|(to, length)| to.is_ipv4() && *length < 32) {
            self.settings.extend(settings::proxy_arp(&device.name).map(|(name, _)| name));
        }
    }

    /// IPv6 has no proxy for a whole range: the neighbours that the pod was talking to.
    fn answer_v6(&mut self, has: &Has, inside: &Inside, device: &Link) {
        let gateways: Vec<_> =
            inside.gateways(false).filter(|gateway| !has.answers(device, *gateway)).collect();
        let near = |address: IpAddr| {
            let local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            let on_link = |(to, length): &(IpAddr, u8)| contains(*to, *length, address);
            address.is_ipv6() && !local && inside.on_link.iter().any(on_link)
        };
        let neighbours = inside.neighbours.iter().map(|one| one.address).filter(|address| {
            near(*address) && !gateways.contains(address) && !has.answers(device, *address)
        });
        self.proxied.extend(neighbours);
        self.gateways.extend(gateways);
        if !self.proxied.is_empty() {
            self.settings.extend(settings::proxy_ndp(&device.name).map(|(name, _)| name));
        }
    }
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
