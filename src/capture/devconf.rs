//! Settings of devices by `RTM_GETLINK`, in place of their files.
//!
//! A dump of links carries, for each device, all numbers behind `net/ipv4/conf/DEVICE` and most of
//! those behind `net/ipv6/conf/DEVICE` in two arrays (`IFLA_INET_CONF`, `IFLA_INET6_CONF`). That is
//! one system call in place of some two hundred for each device. What the arrays lack is still read
//! from its file, as are `all` and `default`, which are no devices.
//!
//! Sources: `IPV4_DEVCONF_*` of `linux/ip.h`, `DEVCONF_*` of `linux/ipv6.h`; `inet_fill_link_af` of
//! `net/ipv4/devinet.c`, `ipv6_store_devconf` of `net/ipv6/addrconf.c`.

use std::collections::BTreeMap;

use crate::netlink::{Message, Protocol, attributes, messages};
use crate::state::Reader;

const RTM_GETLINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const HEADER: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;

/// How a file prints its number of an array.
#[derive(Debug, Clone, Copy)]
enum Form {
    Signed,
    Unsigned,
    /// The array has milliseconds, the file whole seconds.
    Seconds,
    /// The file can't be written: it is no state.
    Told,
}

use Form::{Seconds, Signed, Told, Unsigned};

/// Files below `ipv4/conf/DEVICE`, by their place in the array.
const INET: [(&str, Form); 33] = [
    ("forwarding", Signed),
    ("mc_forwarding", Told),
    ("proxy_arp", Signed),
    ("accept_redirects", Signed),
    ("secure_redirects", Signed),
    ("send_redirects", Signed),
    ("shared_media", Signed),
    ("rp_filter", Signed),
    ("accept_source_route", Signed),
    ("bootp_relay", Signed),
    ("log_martians", Signed),
    ("tag", Signed),
    ("arp_filter", Signed),
    ("medium_id", Signed),
    ("disable_xfrm", Signed),
    ("disable_policy", Signed),
    ("force_igmp_version", Signed),
    ("arp_announce", Signed),
    ("arp_ignore", Signed),
    ("promote_secondaries", Signed),
    ("arp_accept", Signed),
    ("arp_notify", Signed),
    ("accept_local", Signed),
    ("src_valid_mark", Signed),
    ("proxy_arp_pvlan", Signed),
    ("route_localnet", Signed),
    ("igmpv2_unsolicited_report_interval", Signed),
    ("igmpv3_unsolicited_report_interval", Signed),
    ("ignore_routes_with_linkdown", Signed),
    ("drop_unicast_in_l2_multicast", Signed),
    ("drop_gratuitous_arp", Signed),
    ("bc_forwarding", Signed),
    ("arp_evict_nocarrier", Signed),
];

/// Files below `ipv6/conf/DEVICE`. `stable_secret` has a place and no number there.
const INET6: [(&str, Form); 60] = [
    ("forwarding", Signed),
    ("hop_limit", Signed),
    ("mtu", Signed),
    ("accept_ra", Signed),
    ("accept_redirects", Signed),
    ("autoconf", Signed),
    ("dad_transmits", Signed),
    ("router_solicitations", Signed),
    ("router_solicitation_interval", Seconds),
    ("router_solicitation_delay", Seconds),
    ("use_tempaddr", Signed),
    ("temp_valid_lft", Signed),
    ("temp_prefered_lft", Signed),
    ("regen_max_retry", Signed),
    ("max_desync_factor", Signed),
    ("max_addresses", Signed),
    ("force_mld_version", Signed),
    ("accept_ra_defrtr", Signed),
    ("accept_ra_pinfo", Signed),
    ("accept_ra_rtr_pref", Signed),
    ("router_probe_interval", Seconds),
    ("accept_ra_rt_info_max_plen", Signed),
    ("proxy_ndp", Signed),
    ("optimistic_dad", Signed),
    ("accept_source_route", Signed),
    ("mc_forwarding", Told),
    ("disable_ipv6", Signed),
    ("accept_dad", Signed),
    ("force_tllao", Signed),
    ("ndisc_notify", Signed),
    ("mldv1_unsolicited_report_interval", Signed),
    ("mldv2_unsolicited_report_interval", Signed),
    ("suppress_frag_ndisc", Signed),
    ("accept_ra_from_local", Signed),
    ("use_optimistic", Signed),
    ("accept_ra_mtu", Signed),
    ("", Told),
    ("use_oif_addrs_only", Signed),
    ("accept_ra_min_hop_limit", Signed),
    ("ignore_routes_with_linkdown", Signed),
    ("drop_unicast_in_l2_multicast", Signed),
    ("drop_unsolicited_na", Signed),
    ("keep_addr_on_down", Signed),
    ("router_solicitation_max_interval", Seconds),
    ("seg6_enabled", Signed),
    ("seg6_require_hmac", Signed),
    ("enhanced_dad", Signed),
    ("addr_gen_mode", Signed),
    ("disable_policy", Signed),
    ("accept_ra_rt_info_min_plen", Signed),
    ("ndisc_tclass", Signed),
    ("rpl_seg_enabled", Signed),
    ("ra_defrtr_metric", Unsigned),
    ("ioam6_enabled", Signed),
    ("ioam6_id", Unsigned),
    ("ioam6_id_wide", Unsigned),
    ("ndisc_evict_nocarrier", Signed),
    ("accept_untracked_na", Signed),
    ("accept_ra_min_lft", Signed),
    ("force_forwarding", Signed),
];

/// What one dump told of all devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Devices(BTreeMap<Vec<u8>, Arrays>);

/// The two arrays of a device, in bytes; empty where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Arrays {
    inet: Vec<u8>,
    inet6: Vec<u8>,
}

/// The settings of one device in one family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings<'a> {
    names: &'static [(&'static str, Form)],
    array: &'a [u8],
}

/// What is known of a file without a look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Signed(i32),
    Unsigned(u32),
    /// It can't be written.
    Told,
}

impl Devices {
    /// Asks the kernel. Where that fails nothing is known, and every file is read.
    ///
    /// A dump that was interrupted is good as well: each device's numbers are its own, and one that is
    /// missing is read from its files.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut body = [0; HEADER + 8];
        body[HEADER..HEADER + 2].copy_from_slice(&8_u16.to_ne_bytes());
        body[HEADER + 2..HEADER + 4].copy_from_slice(&IFLA_EXT_MASK.to_ne_bytes());
        body[HEADER + 4..].copy_from_slice(&RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
        let dump =
            reader.socket(Protocol::Route).and_then(|socket| socket.dump(RTM_GETLINK, &body));
        let Ok(dump) = dump else { return Self::default() };
        Self(messages(&dump.bytes).map_while(Result::ok).filter_map(|link| device(&link)).collect())
    }

    /// Of a folder below `/proc/sys/net`, if it is that of a device whose settings are known.
    pub(super) fn of(&self, folder: &[u8]) -> Option<Settings<'_>> {
        let inet = folder.strip_prefix(b"ipv4/conf/");
        let (device, is_inet) = match inet {
            Some(device) => (device, true),
            None => (folder.strip_prefix(b"ipv6/conf/")?, false),
        };
        let arrays = self.0.get(device)?;
        Some(match is_inet {
            true => Settings { names: &INET, array: &arrays.inet },
            false => Settings { names: &INET6, array: &arrays.inet6 },
        })
    }
}

/// Name and arrays.
fn device(link: &Message<'_>) -> Option<(Vec<u8>, Arrays)> {
    let mut found = (Vec::new(), Arrays::default());
    for attribute in link.attributes(HEADER).map_while(Result::ok) {
        match attribute.id {
            IFLA_IFNAME => {
                found.0 = attribute.payload.split(|byte| *byte == 0).next()?.to_vec();
            }
            IFLA_AF_SPEC => {
                for family in attributes(attribute.payload).map_while(Result::ok) {
                    let array = |id| {
                        let mut all = attributes(family.payload).map_while(Result::ok);
                        let found = all.find(|attribute| attribute.id == id);
                        found.map(|array| array.payload.to_vec()).unwrap_or_default()
                    };
                    match family.id {
                        AF_INET => found.1.inet = array(IFLA_INET_CONF),
                        AF_INET6 => found.1.inet6 = array(IFLA_INET6_CONF),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (!found.0.is_empty()).then_some(found)
}

impl Settings<'_> {
    /// What a file of the folder says; `None` where it must be read.
    pub(super) fn known(&self, name: &[u8]) -> Option<Known> {
        let place = self.names.iter().position(|(known, _)| known.as_bytes() == name)?;
        let number = self.array.get(place * 4..place * 4 + 4)?.first_chunk()?;
        let (signed, unsigned) = (i32::from_ne_bytes(*number), u32::from_ne_bytes(*number));
        Some(match self.names[place].1 {
            Signed => Known::Signed(signed),
            Unsigned => Known::Unsigned(unsigned),
            Seconds => Known::Signed(signed / 1000),
            Told => Known::Told,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Namespace;
    use std::path::Path;

    const ROOT: &str = "/proc/sys/net";

    /// Each file that can be written gets a number of its own where the kernel takes one, and what the
    /// arrays say then is what the files say.
    #[test]
    fn arrays_say_what_files_say() {
        let compared = Namespace::create().unwrap().run(compare).unwrap();
        // Both families' files but those that the arrays lack, of two devices.
        assert!(compared > 2 * 85, "{compared}");
    }

    fn compare() -> usize {
        let made = std::process::Command::new("ip")
            .args(["link", "add", "a.b", "type", "veth", "peer", "name", "other"])
            .status();
        assert!(made.unwrap().success());
        for family in ["ipv4", "ipv6"] {
            for device in ["lo", "a.b"] {
                let folder = Path::new(ROOT).join(family).join("conf").join(device);
                for (number, entry) in std::fs::read_dir(folder).unwrap().enumerate() {
                    let path = entry.unwrap().path();
                    if path.ends_with("disable_ipv6") || path.ends_with("mtu") {
                        continue;
                    }
                    for value in [1000 + number, 1 + number % 3, 1] {
                        if std::fs::write(&path, value.to_string()).is_ok() {
                            break;
                        }
                    }
                }
            }
        }
        let devices = Devices::read(&mut Reader::new());
        let mut compared = 0;
        for family in ["ipv4", "ipv6"] {
            for device in ["lo", "a.b"] {
                let folder = format!("{family}/conf/{device}");
                let settings = devices.of(folder.as_bytes()).unwrap();
                for entry in std::fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
                    let entry = entry.unwrap();
                    let name = entry.file_name();
                    let said = std::fs::read_to_string(entry.path()).unwrap_or_default();
                    let known = match settings.known(name.as_encoded_bytes()) {
                        Some(Known::Signed(number)) => number.to_string(),
                        Some(Known::Unsigned(number)) => number.to_string(),
                        Some(Known::Told) | None => continue,
                    };
                    assert_eq!(known, said.trim(), "{folder}/{}", name.display());
                    compared += 1;
                }
            }
        }
        compared
    }
}
