//! Matches and targets of xtables inside nftables, as iptables-nft, ebtables-nft and arptables-nft
//! make them (`linux/netfilter/nf_tables_compat.h`). Their data is a struct of each, kept as it is.

use crate::netlink::Builder;
use crate::state::classes::conntrack::HELPERS;
use crate::state::table::{Attr, Shape};
use crate::state::{Fault, Value};

macro_rules! raw {
    ($($name:literal)*) => { &[$(($name, Shape::Bytes)),*] };
}

/// `NFTA_MATCH_*`. Not among the names: those whose data reaches out of the namespace (`bpf`: files
/// and descriptors, `cgroup`: paths) or points at things that are not carried (`nfacct`, `rateest`).
/// `set` names a set by its index, at which a plan makes it.
pub const MATCH: &[Attr] = &[
    Attr::keep(1, "name", Shape::Text),
    Attr::keep(2, "rev", Shape::Be32),
    Attr::keep(3, "info", Shape::By("name", MATCHES)),
];
const MATCHES: &[(&str, Shape)] = raw![
    "802_3" "addrtype" "ah" "among" "arp" "cluster" "comment" "connbytes" "connlabel" "connlimit"
    "connmark" "conntrack" "cpu" "dccp" "devgroup" "dscp" "dst" "ecn" "esp" "eui64" "frag"
    "hashlimit" "hbh" "helper" "hl" "icmp" "icmp6" "ip" "ip6" "ipcomp" "iprange" "ipv6header"
    "l2tp" "length" "limit" "mac" "mark" "mark_m" "mh" "multiport" "osf" "owner" "physdev"
    "pkttype" "policy" "quota" "realm" "recent" "rpfilter" "rt" "sctp" "set" "socket" "srh" "state"
    "statistic" "stp" "string" "tcp" "tcpmss" "time" "tos" "ttl" "u32" "udp" "udplite" "vlan"
];

/// `NFTA_TARGET_*`. Not among the names: what acts on the whole machine (`IDLETIMER`, `LED`,
/// `RATEEST`).
pub const TARGET: &[Attr] = &[
    Attr::keep(1, "name", Shape::Text),
    Attr::keep(2, "rev", Shape::Be32),
    Attr::keep(3, "info", Shape::By("name", TARGETS)),
];
const TARGETS: &[(&str, Shape)] = raw![
    "AUDIT" "CHECKSUM" "CLASSIFY" "CONNMARK" "CONNSECMARK" "CT" "DNAT" "DNPT" "DSCP" "ECN" "HL"
    "HMARK" "LOG" "MARK" "MASQUERADE" "NETMAP" "NFLOG" "NFQUEUE" "NOTRACK" "REDIRECT" "REJECT"
    "SECMARK" "SET" "SNAT" "SNPT" "SYNPROXY" "TCPMSS" "TCPOPTSTRIP" "TEE" "TOS" "TPROXY" "TRACE" "TTL"
    "arpreply" "dnat" "log" "mangle" "mark" "nflog" "redirect" "snat"
];

/// Whether rules and objects may name this conntrack helper: those that entries may have, and the one
/// that only address translation registers (`net/ipv4/netfilter/nf_nat_snmp_basic_main.c`).
pub fn is_helper(name: &[u8]) -> bool {
    name == b"snmp_trap" || HELPERS.iter().any(|known| known.as_bytes() == name)
}

/// `helper` of `struct xt_ct_target_info` and its `_v1` (`linux/netfilter/xt_CT.h`).
const CT_HELPER: std::ops::Range<usize> = 12..28;

/// The names of the matches and targets that an expression has, where their data is missing, and
/// the helper of the target `CT`.
pub fn xtables_fault(expression: &str, value: &Value) -> Option<Fault> {
    let known = match expression {
        "match" => MATCHES,
        "target" => TARGETS,
        _ => return None,
    };
    let name = value.text("data.name").unwrap_or_default();
    if !known.iter().any(|(known, _)| *known == name) {
        return Some(Fault::Object(format!("the xtables {expression} {name}")));
    }
    let Some(Value::Bytes(info)) = value.field("data.info") else {
        return Some(Fault::Object(format!("the xtables {expression} {name} without data")));
    };
    if name != "CT" || value.number("data.rev") == Some(0) && info.len() < CT_HELPER.end {
        return None;
    }
    let helper = info.get(CT_HELPER)?.split(|byte| *byte == 0).next().unwrap_or_default();
    let known = helper.is_empty() || is_helper(helper);
    let shown = String::from_utf8_lossy(helper);
    (!known).then(|| Fault::Object(format!("a conntrack helper that is not known ({shown})")))
}

/// Whether a rule has a match or target that holds on to a set of ipset.
#[must_use]
pub fn looks_into_sets(rule: &Value) -> bool {
    let Some(Value::List(expressions)) = rule.field("expressions") else { return false };
    expressions.iter().any(|expression| {
        matches!(
            (expression.text("name"), expression.text("data.name")),
            (Some("match"), Some("set")) | (Some("target"), Some("SET"))
        )
    })
}

/// `NFT_RULE_COMPAT_F_INV`.
const INVERTED: u32 = 2;
/// `NFPROTO_BRIDGE`.
const BRIDGE: u64 = 7;

/// `NFTA_RULE_COMPAT_*` of a rule with matches or targets: they ask it for the protocol that the
/// rule is about (`-p tcp`), and the kernel does not tell it again. The rule compares it itself.
pub fn compat(rule: &Value) -> Option<Vec<u8>> {
    let Some(Value::List(expressions)) = rule.field("expressions") else { return None };
    let is_xtables = |e: &Value| matches!(e.text("name"), Some("match" | "target"));
    if !expressions.iter().any(is_xtables) {
        return None;
    }
    let family = rule.number("family")?;
    let (protocol, inverted) =
        expressions.windows(2).find_map(|pair| compared(family, &pair[0], &pair[1]))?;
    let mut nest = Builder::attribute(1, &protocol.to_be_bytes());
    let flags = if inverted { INVERTED } else { 0 };
    nest.extend(Builder::attribute(2, &flags.to_be_bytes()));
    Some(nest)
}

/// The protocol that two expressions compare, and whether it must differ.
fn compared(family: u64, load: &Value, cmp: &Value) -> Option<(u32, bool)> {
    if cmp.text("name") != Some("cmp") || cmp.number("data.sreg") != load.number("data.dreg") {
        return None;
    }
    let inverted = match cmp.text("data.op") {
        Some("eq") => false,
        Some("neq") => true,
        _ => return None,
    };
    let Some(Value::Bytes(data)) = cmp.field("data.data.value") else { return None };
    let place = (load.number("data.base"), load.number("data.offset"), load.number("data.len"));
    let protocol = match (load.text("name")?, family) {
        ("meta", _) if load.text("data.key") == Some("l4proto") && family != BRIDGE => {
            u32::from(*data.first()?)
        }
        // An EtherType, which ebtables keeps as it is in the frame.
        ("meta", BRIDGE) if load.text("data.key") == Some("protocol") => ether_type(data)?,
        ("payload", BRIDGE) if place == (Some(0), Some(12), Some(2)) => ether_type(data)?,
        // The protocol of an IPv4 header, the next header of an IPv6 one.
        ("payload", 2) if place == (Some(1), Some(9), Some(1)) => u32::from(*data.first()?),
        ("payload", 10) if place == (Some(1), Some(6), Some(1)) => u32::from(*data.first()?),
        _ => return None,
    };
    Some((protocol, inverted))
}

fn ether_type(data: &[u8]) -> Option<u32> {
    data.first_chunk().map(|bytes| u32::from(u16::from_ne_bytes(*bytes)))
}
