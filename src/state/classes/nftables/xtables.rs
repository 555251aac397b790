//! Matches and targets of xtables inside nftables, as iptables-nft, ebtables-nft and arptables-nft
//! make them (`linux/netfilter/nf_tables_compat.h`). Which may be carried is told by the
//! list that legacy tables have, too.

use crate::netlink::Builder;
use crate::state::classes::xtables::extensions::{Kind, MATCHES, TARGETS, fault, layouts};
use crate::state::table::{Attr, Shape};
use crate::state::{Fault, Value};

/// `NFTA_MATCH_*`.
pub const MATCH: &[Attr] = &[
    Attr::keep(1, "name", Shape::Text),
    Attr::keep(2, "rev", Shape::Be32),
    Attr::keep(3, "info", Shape::By("name", &MATCH_LAYOUTS)),
];
const MATCH_LAYOUTS: [(&str, Shape); MATCHES.len()] = layouts(&MATCHES);

/// `NFTA_TARGET_*`.
pub const TARGET: &[Attr] = &[
    Attr::keep(1, "name", Shape::Text),
    Attr::keep(2, "rev", Shape::Be32),
    Attr::keep(3, "info", Shape::By("name", &TARGET_LAYOUTS)),
];
const TARGET_LAYOUTS: [(&str, Shape); TARGETS.len()] = layouts(&TARGETS);

/// What is wrong with the match or target that an expression has.
pub fn xtables_fault(expression: &str, value: &Value) -> Option<Fault> {
    let kind = match expression {
        "match" => Kind::Match,
        "target" => Kind::Target,
        _ => return None,
    };
    let name = value.text("data.name").unwrap_or_default();
    let revision = value.number("data.rev").unwrap_or_default();
    fault(kind, name, revision, value.field("data.info"))
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
