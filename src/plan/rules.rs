//! Policy rules. Those of one priority are looked at in their order, and the kernel removes the first
//! that a request fits, whatever else it selects by: so a priority that is not right is cleared as a
//! whole and made again.

use super::Stage;
use super::difference::{groups, same_start};
use super::draft::{CREATE, Draft, PLAIN, Sides};
use super::raw::Raw;
use crate::netlink::Builder;
use crate::state::classes::{MULTICAST_RULES, RULES};
use crate::state::table::Class;
use crate::state::{Object, replay};

/// Bytes of `struct fib_rule_hdr`.
const HEADER: usize = 12;
const FRA_PRIORITY: u16 = 6;

/// Rules of one family and priority.
pub fn group(object: &Object) -> Option<String> {
    let (family, priority) = place(object);
    Some(format!("{family} {priority}"))
}

fn place(object: &Object) -> (u8, u32) {
    let raw = Raw::new(&object.bytes, HEADER);
    (raw.header_u8(0), raw.number(FRA_PRIORITY).unwrap_or_default())
}

/// Plans the rules.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    of_class(&RULES, sides, draft);
    of_class(&MULTICAST_RULES, sides, draft);
}

fn of_class(class: &'static Class, sides: &Sides<'_>, draft: &mut Draft) {
    for (old, new) in groups(sides.from.of(class), sides.to.of(class), group) {
        let same = same_start(&old, &new);
        let mut added = &new[same..];
        if same < old.len() {
            let stage = if new.is_empty() { Stage::RemoveRules } else { Stage::Rules };
            for object in &old {
                let label = format!("remove {}", object.label(&sides.from.names));
                draft.send(stage, class, label, removal(object), &[libc::ENOENT]);
            }
            added = &new;
        }
        for object in added {
            let label = format!("add {}", object.label(&sides.to.names));
            // The same rule may be there twice, which the kernel allows only without NLM_F_EXCL.
            let flags = CREATE & !(libc::NLM_F_EXCL as u16);
            draft.send(Stage::Rules, class, label, replay(class, &object.bytes, flags), &[]);
        }
    }
}

/// Removes the first rule of the object's family and priority. Priority 0 stands for any, and the
/// first of all is then the one that is meant.
fn removal(object: &Object) -> Vec<u8> {
    let (family, priority) = place(object);
    let mut header = [0; HEADER];
    header[0] = family;
    let mut builder = Builder::new(RULES.remove, PLAIN, &header);
    builder.put_u32(FRA_PRIORITY, priority);
    builder.finish()
}
