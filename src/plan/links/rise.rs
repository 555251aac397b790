//! Coming up, and what is set around it: how addresses are made, the state of dormant links.

use super::{PLAIN, RTM_GETLINK, RTM_SETLINK, header};
use crate::netlink::Builder;
use crate::plan::Stage;
use crate::plan::draft::Draft;
use crate::plan::link::{Link, UP};
use crate::state::classes::LINKS;

const IFLA_QDISC: u16 = 6;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKMODE: u16 = 17;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET6_TOKEN: u16 = 7;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// `IN6_ADDR_GEN_MODE_EUI64`, the kernel's default, and `IN6_ADDR_GEN_MODE_NONE`.
const EUI64: u8 = 0;
const NO_ADDRESS: u8 = 1;

/// How the link makes its IPv6 addresses. While it comes up it makes none by itself: the captured
/// ones are added as they were, without the second of duplicate address detection.
pub fn modes(old: Option<&Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    let Some(mode) = new.address_mode() else { return };
    let now = old.map_or(Some(EUI64), Link::address_mode);
    let rises = new.is_up() && !old.is_some_and(Link::is_up) || is_touched(old, new);
    let quiet = rises && !new.is_loopback();
    if quiet && now != Some(NO_ADDRESS) {
        let message = inet6(new, IFLA_INET6_ADDR_GEN_MODE, &[NO_ADDRESS]);
        let label = format!("no addresses by itself on {}", new.name);
        draft.send(Stage::SetLinks, &LINKS, label, message, &[]);
    }
    if now != Some(mode) || quiet && mode != NO_ADDRESS {
        let message = inet6(new, IFLA_INET6_ADDR_GEN_MODE, &[mode]);
        let label = format!("address generation of {}", new.name);
        draft.send(Stage::LateLinks, &LINKS, label, message, &[]);
    }
    let token = new.ipv6(IFLA_INET6_TOKEN).filter(|token| token.iter().any(|byte| *byte != 0));
    let had = old.and_then(|old| old.ipv6(IFLA_INET6_TOKEN));
    if let Some(token) = token.filter(|token| had != Some(*token)) {
        let message = inet6(new, IFLA_INET6_TOKEN, token);
        draft.send(Stage::LateLinks, &LINKS, format!("token of {}", new.name), message, &[]);
    }
}

fn inet6(link: &Link<'_>, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(link.index, 0, 0));
    let families = builder.begin(IFLA_AF_SPEC | Builder::NESTED);
    let family = builder.begin(libc::AF_INET6 as u16 | Builder::NESTED);
    builder.put(id, payload).end(family);
    builder.end(families);
    builder.finish()
}

/// Whether a link that is down was up once and is to be so again for a moment: since then it has a
/// queueing discipline, and groups that it is a member of when it comes up.
fn is_touched(old: Option<&Link<'_>>, new: &Link<'_>) -> bool {
    let was_up = |link: &Link<'_>| link.raw.text(IFLA_QDISC).is_some_and(|name| name != "noop");
    let given = new.is_given() && old.is_none();
    !given && !new.is_up() && was_up(new) && !old.is_some_and(was_up)
}

pub fn raise(old: Option<Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    let was = old.is_some_and(|old| old.is_up());
    if is_touched(old.as_ref(), new) {
        for (word, flags) in [("raise", UP), ("lower", 0)] {
            let message = Builder::new(RTM_SETLINK, PLAIN, &header(new.index, flags, UP)).finish();
            let label = format!("{word} {}, as it once was", new.name);
            draft.send(Stage::RaiseLinks, &LINKS, label, message, &[]);
        }
        return;
    }
    if was == new.is_up() || new.is_given() && old.is_none() {
        return;
    }
    let (word, flags) = if new.is_up() { ("raise", UP) } else { ("lower", 0) };
    let message = Builder::new(RTM_SETLINK, PLAIN, &header(new.index, flags, UP)).finish();
    draft.send(Stage::RaiseLinks, &LINKS, format!("{word} {}", new.name), message, &[]);
    if new.is_up() {
        draft.raised.insert(new.index);
        // The kernel tells the rest of itself about a carrier from delayed work. To ask for one link
        // has that work done first (`linkwatch_sync_dev`), so that IPv6 is ready for addresses.
        let message = Builder::new(RTM_GETLINK, PLAIN, &header(new.index, 0, 0)).finish();
        draft.send(Stage::RaiseLinks, &LINKS, format!("wait for {}", new.name), message, &[]);
    }
}

/// A link of mode `dormant` carries traffic once someone says so (802.1X), which coming up takes back.
pub fn wake(old: Option<Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    const DORMANT: u8 = 1;
    const IF_OPER_DORMANT: u8 = 5;
    const IF_OPER_UP: u8 = 6;
    let first =
        |link: &Link<'_>, id| link.raw.attribute(id).and_then(|state| state.first().copied());
    let awake = |link: &Link<'_>| first(link, IFLA_OPERSTATE) == Some(IF_OPER_UP);
    if first(new, IFLA_LINKMODE) != Some(DORMANT) || !new.is_up() {
        return;
    }
    let (was, shall) = (old.as_ref().is_some_and(awake), awake(new));
    if was != shall || shall && draft.raised.contains(&new.index) {
        let state = if shall { IF_OPER_UP } else { IF_OPER_DORMANT };
        let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(new.index, 0, 0));
        builder.put(IFLA_OPERSTATE, &[state]);
        let label = format!("state of {}", new.name);
        draft.send(Stage::LateLinks, &LINKS, label, builder.finish(), &[]);
    }
}
