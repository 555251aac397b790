//! Actions: the table that filters share with [`TC_ACTIONS`], those that were made for themselves.

use super::action_kinds::{ACTIONS, POLICE, references};
use super::{BITFIELD, RTM_DELACTION, RTM_NEWACTION, STATS, TCA_ACT_TAB, read, told, watched};
use crate::netlink::{Message, attributes};
use crate::state::classes::conntrack::HELPERS;
use crate::state::table::{Attr, Class, Fate, Field, Shape};
use crate::state::{Fault, Names, Value};

const RTM_NEWTFILTER: u16 = super::RTM_NEWTFILTER;
const RTM_DELTFILTER: u16 = super::RTM_DELTFILTER;

/// A list of actions (`TCA_U32_ACT` and its like, `TCA_ACT_TAB`), by order.
pub const LIST: Shape = Shape::List(&Shape::Nest(ACTION));
/// What a filter has that was made before there were actions: police alone.
pub const OLD_POLICE: Shape = Shape::Nest(POLICE);

/// `TCA_ACT_*`.
const ACTION: &[Attr] = &[
    Attr::keep(1, "kind", Shape::Text),
    Attr::keep(2, "options", Shape::By("kind", ACTIONS)),
    told(3, "index"),
    Attr::keep(4, "stats", STATS),
    told(5, "pad"),
    Attr::keep(6, "cookie", Shape::Bytes),
    Attr::keep(7, "flags", BITFIELD),
    Attr::keep(8, "hw_stats", BITFIELD),
    told(9, "used_hw_stats"),
    told(10, "in_hw_count"),
];

/// Actions that live without a filter. Those that were made within one come and go with it, and are
/// told by it.
pub static TC_ACTIONS: Class = Class {
    name: "tc-actions",
    source: watched(read::actions, &[RTM_NEWACTION, RTM_DELACTION, RTM_NEWTFILTER, RTM_DELTFILTER]),
    // `struct tcamsg`.
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Strip),
        Field::new("padding", 1, Shape::U8, Fate::Strip),
        Field::new("more_padding", 2, Shape::U16, Fate::Strip),
    ],
    attributes: &[
        Attr::keep(TCA_ACT_TAB, "tab", LIST),
        told(2, "flags"),
        told(3, "count"),
        told(4, "time_delta"),
        told(5, "ext_warn_msg"),
    ],
    // Each kind has its own place for the number.
    key: &[
        "tab.0.kind",
        "tab.0.options.parms.index",
        "tab.0.options.parms_ex.index",
        "tab.0.options.tbf.index",
    ],
    tells: RTM_NEWACTION,
    make: RTM_NEWACTION,
    remove: RTM_DELACTION,
    belongs: is_its_own,
    after: &["links"],
    label,
    faults: |value| action_faults(value, "tab"),
    shown_by: "tests/tc",
    ..Class::BASE
};

/// Whether more than filters refer to it.
fn is_its_own(message: &Message<'_>) -> bool {
    let find = |bytes, id| {
        let mut all = attributes(bytes).map_while(Result::ok);
        all.find(|found| found.id == id).map(|found| found.payload)
    };
    let action = message.attributes(4).map_while(Result::ok).find(|tab| tab.id == TCA_ACT_TAB);
    let action = action.and_then(|tab| attributes(tab.payload).next()?.ok());
    let Some(action) = action.map(|action| action.payload) else { return false };
    let kind = find(action, 1).and_then(|kind| std::str::from_utf8(kind).ok()).unwrap_or_default();
    let Some((id, all, bound)) = references(kind.trim_end_matches('\0')) else {
        // Of a kind that is not known: it is told by name.
        return true;
    };
    let parms = |id| find(find(action, 2)?, id);
    // The extended form of pedit has another number.
    let parms = parms(id).or_else(|| parms(4)).unwrap_or_default();
    let count = |at: usize| parms.get(at..)?.first_chunk().map(|four| i32::from_ne_bytes(*four));
    count(all) > count(bound)
}

/// What is wrong with the actions in the list at `path`, beside their layouts.
pub fn action_faults(value: &Value, path: &str) -> Vec<Fault> {
    let Some(Value::List(actions)) = value.field(path) else { return Vec::new() };
    actions.iter().filter_map(action_fault).collect()
}

fn action_fault(action: &Value) -> Option<Fault> {
    let kind = action.text("kind").unwrap_or_default();
    if !ACTIONS.iter().any(|(known, _)| *known == kind) {
        // With options the layout is missed already.
        let told = action.field("options").is_some() && !kind.is_empty();
        return (!told).then(|| Fault::Object(format!("actions of kind {kind:?} are not known")));
    }
    let fault = |why: String| Some(Fault::Object(why));
    match kind {
        "mirred" => {
            let gone = action.number("options.parms.ifindex").unwrap_or_default() == 0
                && action.number("options.blockid").unwrap_or_default() == 0;
            if gone { fault("it sends to a link that is gone".to_owned()) } else { None }
        }
        "ct" => {
            let helper = action.text("options.helper_name")?;
            if HELPERS.contains(&helper) {
                return None;
            }
            fault(format!("a helper of connection tracking that is not known ({helper})"))
        }
        "bpf" => program(action, "options").and_then(fault),
        _ => None,
    }
}

/// Why a program at `path` can't be carried: it has no form outside the kernel that loaded it.
pub fn program(value: &Value, path: &str) -> Option<String> {
    let part = |name: &str| value.field(&format!("{path}.{name}"));
    let id = part("id")?;
    let name = part("name").map(|name| format!(" {name}")).unwrap_or_default();
    let tag = part("tag").map(|tag| format!(" (tag {tag})")).unwrap_or_default();
    Some(format!("the eBPF program{name}{tag}, number {id}, is its owner's to load and attach"))
}

fn label(value: &Value, _names: &Names) -> String {
    let part = |path: &str| value.field(path).map(ToString::to_string);
    let kind = part("tab.0.kind").unwrap_or_default();
    let index = TC_ACTIONS.key[1..].iter().find_map(|path| part(path)).unwrap_or_default();
    format!("action {kind} {index}")
}
