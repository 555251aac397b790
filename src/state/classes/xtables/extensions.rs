//! Matches and targets that may be carried, by name, revision and size: one list for legacy tables and
//! for what iptables-nft makes of them inside nftables.
//!
//! Their data is a struct of each, kept as it is, but for what is the kernel's own in it: pointers and
//! what it works out by itself. Sizes and places are those of `linux/netfilter/xt_*.h`,
//! `linux/netfilter_ipv4/ipt_*.h`, `linux/netfilter_ipv6/ip6t_*.h`, `linux/netfilter_arp/arpt_*.h`
//! and `linux/netfilter_bridge/ebt_*.h`, on machines with 64 bits.
//!
//! Not in the list: what acts on the whole machine (`IDLETIMER`, `LED`, `RATEEST` and its match).

use std::ops::Range;

use crate::state::classes::conntrack::HELPERS;
use crate::state::table::Shape;
use crate::state::{Fault, Value};

/// A match or a target.
#[derive(Debug)]
pub struct Extension {
    pub name: &'static str,
    pub revision: u8,
    /// Bytes of its struct; [`ANY`] where it is of no fixed size. Entries have it padded to eight.
    size: usize,
    /// Bytes that are the kernel's own.
    private: Range<usize>,
    guard: Guard,
}

/// What else must hold of the data.
#[derive(Debug, Clone, Copy)]
enum Guard {
    None,
    /// `xt_bpf_info_v1`: a program, not a file or a descriptor of one.
    Bytecode,
    /// `xt_cgroup_info_v1` and `_v2`: no path of a cgroup.
    NoPath,
    /// `xt_ct_target_info` and `_v1`: helpers that the kernel may load.
    Tracking,
    /// Something of it is lost, for this reason.
    Forgets(&'static str),
}

const ANY: usize = usize::MAX;

const fn plain(name: &'static str, revision: u8, size: usize) -> Extension {
    Extension { name, revision, size, private: size..size, guard: Guard::None }
}

/// The kernel's own bytes start here, and go on to the end.
const fn until(name: &'static str, revision: u8, size: usize, private: usize) -> Extension {
    Extension { name, revision, size, private: private..size, guard: Guard::None }
}

impl Extension {
    const fn guarded(self, guard: Guard) -> Self {
        let Self { name, revision, size, private, .. } = self;
        Self { name, revision, size, private, guard }
    }
}

const QUOTA: Guard =
    Guard::Forgets("what was used of the quota is not told by the kernel: it starts again");

pub const MATCHES: [Extension; 94] = [
    plain("802_3", 0, 6),
    plain("addrtype", 0, 12),
    plain("addrtype", 1, 8),
    plain("ah", 0, 12),
    plain("ah", 0, 16),
    plain("among", 0, ANY),
    plain("arp", 0, 52),
    until("bpf", 0, 528, 520),
    until("bpf", 1, 528, 520).guarded(Guard::Bytecode),
    plain("cgroup", 0, 8),
    until("cgroup", 1, 4112, 4104).guarded(Guard::NoPath),
    until("cgroup", 2, 528, 520).guarded(Guard::NoPath),
    plain("cluster", 0, 16),
    plain("comment", 0, 256),
    plain("connbytes", 0, 24),
    plain("connlabel", 0, 4),
    until("connlimit", 0, 32, 24),
    until("connlimit", 1, 32, 24),
    plain("connmark", 1, 12),
    plain("conntrack", 1, 152),
    plain("conntrack", 2, 156),
    plain("conntrack", 3, 164),
    plain("cpu", 0, 8),
    plain("dccp", 0, 16),
    plain("devgroup", 0, 20),
    plain("dscp", 0, 2),
    plain("dst", 0, 40),
    plain("ecn", 0, 4),
    plain("esp", 0, 12),
    plain("eui64", 0, 4),
    plain("frag", 0, 16),
    until("hashlimit", 1, 56, 48),
    until("hashlimit", 2, 304, 296),
    until("hashlimit", 3, 312, 304),
    plain("hbh", 0, 40),
    plain("helper", 0, 36),
    plain("hl", 0, 2),
    plain("icmp", 0, 4),
    plain("icmp6", 0, 4),
    plain("ip", 0, 28),
    plain("ip6", 0, 76),
    plain("ipcomp", 0, 12),
    plain("iprange", 1, 68),
    plain("ipv6header", 0, 3),
    plain("ipvs", 0, 40),
    plain("l2tp", 0, 12),
    plain("length", 0, 6),
    until("limit", 0, 40, 8),
    // Of ebtables.
    until("limit", 0, 32, 8),
    plain("mac", 0, 12),
    plain("mark", 1, 12),
    plain("mark_m", 0, 24),
    plain("mh", 0, 3),
    plain("multiport", 0, 32),
    plain("multiport", 1, 48),
    until("nfacct", 0, 40, 32),
    until("nfacct", 1, 40, 32),
    plain("osf", 0, 48),
    plain("owner", 1, 20),
    plain("physdev", 0, 66),
    plain("pkttype", 0, 8),
    plain("pkttype", 0, 2),
    plain("policy", 0, 308),
    until("quota", 0, 24, 16).guarded(QUOTA),
    plain("realm", 0, 12),
    plain("recent", 0, 212),
    plain("recent", 1, 228),
    plain("rpfilter", 0, 1),
    plain("rt", 0, 280),
    plain("sctp", 0, 292),
    // These name a set by its index, at which a plan makes it.
    plain("set", 0, 32),
    plain("set", 1, 4),
    plain("set", 2, 4),
    plain("set", 3, 48),
    plain("set", 4, 48),
    plain("socket", 0, 0),
    plain("socket", 1, 1),
    plain("socket", 2, 1),
    plain("socket", 3, 1),
    plain("srh", 0, 10),
    plain("srh", 1, 108),
    plain("state", 0, 4),
    until("statistic", 0, 24, 16),
    plain("stp", 0, 72),
    until("string", 1, 160, 152),
    plain("tcp", 0, 12),
    plain("tcpmss", 0, 6),
    plain("time", 0, 24),
    plain("tos", 1, 3),
    plain("ttl", 0, 2),
    plain("u32", 0, 1984),
    plain("udp", 0, 10),
    plain("udplite", 0, 10),
    plain("vlan", 0, 8),
];

pub const TARGETS: [Extension; 64] = [
    plain("AUDIT", 0, 1),
    plain("AUDIT", 1, 1),
    plain("CHECKSUM", 0, 1),
    plain("CLASSIFY", 0, 4),
    plain("CONNMARK", 1, 16),
    plain("CONNMARK", 2, 16),
    plain("CONNSECMARK", 0, 1),
    until("CT", 0, 40, 32).guarded(Guard::Tracking),
    until("CT", 1, 72, 64).guarded(Guard::Tracking),
    until("CT", 2, 72, 64).guarded(Guard::Tracking),
    // Of IPv4, of all, and with a shift of ports.
    plain("DNAT", 0, 20),
    plain("DNAT", 1, 40),
    plain("DNAT", 2, 44),
    Extension { private: 34..36, ..plain("DNPT", 0, 36) },
    plain("DSCP", 0, 1),
    plain("ECN", 0, 3),
    plain("HL", 0, 2),
    plain("HMARK", 0, 60),
    plain("LOG", 0, 32),
    plain("MARK", 2, 8),
    plain("MASQUERADE", 0, 20),
    plain("MASQUERADE", 0, 40),
    plain("MASQUERADE", 0, 44),
    plain("NETMAP", 0, 20),
    plain("NETMAP", 0, 40),
    plain("NETMAP", 0, 44),
    plain("NFLOG", 0, 76),
    plain("NFQUEUE", 0, 2),
    plain("NFQUEUE", 1, 4),
    plain("NFQUEUE", 2, 6),
    plain("NFQUEUE", 3, 6),
    plain("NOTRACK", 0, 0),
    plain("REDIRECT", 0, 20),
    plain("REDIRECT", 0, 40),
    plain("REDIRECT", 0, 44),
    plain("REJECT", 0, 4),
    Extension { private: 4..8, ..plain("SECMARK", 0, 264) },
    until("SECMARK", 1, 264, 260),
    plain("SET", 0, 64),
    plain("SET", 1, 8),
    plain("SET", 2, 16),
    plain("SET", 3, 20),
    plain("SNAT", 0, 20),
    plain("SNAT", 1, 40),
    plain("SNAT", 2, 44),
    Extension { private: 34..36, ..plain("SNPT", 0, 36) },
    plain("SYNPROXY", 0, 4),
    plain("TCPMSS", 0, 2),
    plain("TCPOPTSTRIP", 0, 32),
    until("TEE", 1, 40, 32),
    plain("TOS", 1, 2),
    plain("TPROXY", 0, 16),
    plain("TPROXY", 1, 28),
    plain("TRACE", 0, 0),
    plain("TTL", 0, 2),
    plain("arpreply", 0, 12),
    // Of ebtables.
    plain("dnat", 0, 12),
    plain("log", 0, 36),
    // Of arptables.
    plain("mangle", 0, 48),
    plain("mark", 0, 16),
    plain("nflog", 0, 76),
    plain("nflog", 0, 80),
    plain("redirect", 0, 4),
    plain("snat", 0, 12),
];

/// The layouts of extensions by name, for [`Shape::By`].
pub const fn layouts<const N: usize>(all: &[Extension; N]) -> [(&'static str, Shape); N] {
    let mut layouts = [("", Shape::Bytes); N];
    let mut at = 0;
    while at < N {
        layouts[at].0 = all[at].name;
        at += 1;
    }
    layouts
}

/// The names with their revisions, for people.
pub fn listed(all: &[Extension]) -> String {
    let mut names: Vec<(&str, Vec<u8>)> = Vec::new();
    for known in all {
        match names.last_mut().filter(|(name, _)| *name == known.name) {
            Some((_, revisions)) if revisions.contains(&known.revision) => {}
            Some((_, revisions)) => revisions.push(known.revision),
            None => names.push((known.name, vec![known.revision])),
        }
    }
    let one = |(name, revisions): &(&str, Vec<u8>)| {
        let revisions: Vec<_> = revisions.iter().map(ToString::to_string).collect();
        format!("`{name}` ({})", revisions.join(", "))
    };
    names.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What an extension is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Match,
    Target,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Target => "target",
        }
    }

    fn all(self) -> &'static [Extension] {
        match self {
            Self::Match => &MATCHES,
            Self::Target => &TARGETS,
        }
    }
}

const ALIGNMENT: usize = 8;

/// The extension with data of this size, with padding or without.
fn find(kind: Kind, name: &str, revision: u64, size: usize) -> Option<&'static Extension> {
    let fits = |known: &&Extension| {
        known.size == ANY || (known.size..=known.size.next_multiple_of(ALIGNMENT)).contains(&size)
    };
    let named = |known: &&Extension| known.name == name && u64::from(known.revision) == revision;
    kind.all().iter().filter(named).find(fits)
}

/// Sets to zero what is the kernel's own, and the padding.
pub fn without_private(kind: Kind, name: &str, revision: u8, data: &mut [u8]) {
    let Some(known) = find(kind, name, u64::from(revision), data.len()) else { return };
    if known.size == ANY {
        return;
    }
    for range in [known.private.clone(), known.size..data.len()] {
        if let Some(own) = data.get_mut(range) {
            own.fill(0);
        }
    }
}

/// What is wrong with a match or target: its name, its revision, its size, or what its data says.
pub fn fault(kind: Kind, name: &str, revision: u64, data: Option<&Value>) -> Option<Fault> {
    let what = format!("the xtables {} {name}", kind.word());
    let refused = |why: &str| Some(Fault::Object(format!("{what}{why}")));
    if !kind.all().iter().any(|known| known.name == name) {
        return refused("");
    }
    let data = match data {
        Some(Value::Bytes(data)) => data.as_slice(),
        // Some have none.
        None if find(kind, name, revision, 0).is_some() => &[],
        _ => return refused(" without data"),
    };
    let Some(known) = find(kind, name, revision, data.len()) else {
        return refused(&format!(" of revision {revision} with {} bytes", data.len()));
    };
    match known.guard {
        Guard::None => None,
        Guard::Bytecode if data.starts_with(&[0, 0]) => None,
        Guard::Bytecode => refused(" with a program from a file"),
        Guard::NoPath if data.starts_with(&[0]) => None,
        Guard::NoPath => refused(" with a path of a cgroup"),
        Guard::Tracking => tracking(data),
        Guard::Forgets(why) => Some(Fault::Part(format!("{what}: {why}"))),
    }
}

/// Whether rules and objects may name this conntrack helper: those that entries may have, and the one
/// that only address translation registers (`net/ipv4/netfilter/nf_nat_snmp_basic_main.c`).
pub fn is_helper(name: &[u8]) -> bool {
    name == b"snmp_trap" || HELPERS.iter().any(|known| known.as_bytes() == name)
}

/// `struct xt_ct_target_info` and its `_v1` (`linux/netfilter/xt_CT.h`).
fn tracking(data: &[u8]) -> Option<Fault> {
    const HELPER: Range<usize> = 12..28;
    let helper = data.get(HELPER)?.split(|byte| *byte == 0).next()?;
    if helper.is_empty() || is_helper(helper) {
        return None;
    }
    let shown = String::from_utf8_lossy(helper);
    Some(Fault::Object(format!("a conntrack helper that is not known ({shown})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Kind, name: &str, revision: u64, data: &[u8]) -> Option<Fault> {
        fault(kind, name, revision, Some(&Value::Bytes(data.to_vec())))
    }

    #[test]
    fn only_what_is_in_the_list_is_carried() {
        assert_eq!(of(Kind::Match, "tcp", 0, &[0; 16]), None);
        assert_eq!(of(Kind::Match, "tcp", 0, &[0; 12]), None);
        assert!(of(Kind::Match, "tcp", 1, &[0; 16]).is_some());
        assert!(of(Kind::Match, "tcp", 0, &[0; 24]).is_some());
        assert!(of(Kind::Match, "rateest", 0, &[0; 40]).is_some());
        assert!(of(Kind::Target, "tcp", 0, &[0; 16]).is_some());
        assert!(of(Kind::Target, "IDLETIMER", 0, &[0; 40]).is_some());
        assert_eq!(fault(Kind::Target, "NOTRACK", 0, None), None);
        assert!(fault(Kind::Match, "tcp", 0, None).is_some());
    }

    #[test]
    fn data_that_reaches_out_is_refused() {
        let mut data = [0; 72];
        data[12..15].copy_from_slice(b"ftp");
        assert_eq!(of(Kind::Target, "CT", 1, &data), None);
        data[12] = b'x';
        assert!(of(Kind::Target, "CT", 0, &data[..40]).unwrap().to_string().contains("xtp"));
        assert_eq!(of(Kind::Match, "bpf", 1, &[0; 528]), None);
        assert!(of(Kind::Match, "bpf", 1, &[1; 528]).is_some());
        assert!(of(Kind::Match, "cgroup", 2, &[1; 528]).is_some());
        assert!(matches!(of(Kind::Match, "quota", 0, &[0; 24]), Some(Fault::Part(_))));
    }

    #[test]
    fn what_is_the_kernels_own_is_taken_out() {
        let mut data = [7; 40];
        without_private(Kind::Match, "limit", 0, &mut data);
        assert!(data[..8].iter().all(|byte| *byte == 7) && data[8..].iter().all(|byte| *byte == 0));
        let mut data = [7; 16];
        without_private(Kind::Match, "udp", 0, &mut data);
        assert_eq!(data[9..], [7, 0, 0, 0, 0, 0, 0]);
        let mut data = [7; 40];
        without_private(Kind::Target, "SNPT", 0, &mut data);
        assert_eq!(data[32..], [7, 7, 0, 0, 0, 0, 0, 0]);
    }
}
