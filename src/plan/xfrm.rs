//! IPsec: states before the policies that need them, all of it before links come up.
//!
//! What is made goes to the front of the kernel's list, which is the order of its dump: so the last is
//! made first. Among policies the order counts: from the first on that is not as it shall be, those in
//! front are removed and made again.

use super::Stage;
use super::difference::delta;
use super::draft::{CREATE, Draft, PLAIN, Sides};
use super::raw::Raw;
use super::tables;
use crate::netlink::Builder;
use crate::state::classes::xfrm::{
    POLICY_INDEX, POLICY_TYPE, XFRM_DEFAULTS, XFRM_POLICIES, XFRM_STATES, XFRM_THRESHOLDS,
    XFRMA_IF_ID, XFRMA_MARK, XFRMA_SRCADDR,
};
use crate::state::{self, Difference, Object, Value, replay};

/// Bytes of `struct xfrm_userpolicy_info` and of `struct xfrm_usersa_info`.
const POLICY: usize = 168;
const STATE: usize = 224;

/// Plans all of IPsec.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    tables::set(&XFRM_THRESHOLDS, Stage::Ipsec, sides, draft);
    states(sides, draft);
    policies(sides, draft);
    tables::set(&XFRM_DEFAULTS, Stage::Ipsec, sides, draft);
}

fn states(sides: &Sides<'_>, draft: &mut Draft) {
    let class = &XFRM_STATES;
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    let changed = || delta.changed.iter();
    for object in delta.removed.iter().copied().chain(changed().map(|changed| changed.from)) {
        let label = format!("remove {}", object.label(&sides.from.names));
        draft.send(Stage::Ipsec, class, label, removal_of_state(object), &[libc::ESRCH]);
    }
    let made: Vec<&Object> =
        delta.added.iter().copied().chain(changed().map(|changed| changed.to)).collect();
    for object in made.into_iter().rev() {
        let label = format!("add {}", object.label(&sides.to.names));
        draft.send(Stage::Ipsec, class, label, replay(class, &object.bytes, CREATE), &[]);
    }
}

/// `struct xfrm_usersa_id`: destination, spi, family, protocol.
fn removal_of_state(object: &Object) -> Vec<u8> {
    let raw = Raw::new(&object.bytes, STATE);
    let mut id = [0; 24];
    let parts = [(56, 0, 16), (72, 16, 4), (212, 20, 2), (76, 22, 1)];
    for (from, to, length) in parts {
        for at in 0..length {
            id[to + at] = raw.header_u8(from + at);
        }
    }
    let source: Vec<u8> = (80..96).map(|at| raw.header_u8(at)).collect();
    let mut builder = Builder::new(XFRM_STATES.remove, PLAIN, &id);
    builder.put(XFRMA_SRCADDR, &source);
    if let Some(mark) = raw.attribute(XFRMA_MARK) {
        builder.put(XFRMA_MARK, mark);
    }
    builder.finish()
}

fn policies(sides: &Sides<'_>, draft: &mut Draft) {
    let class = &XFRM_POLICIES;
    let (old, new) = (sides.from.of(class), sides.to.of(class));
    let same =
        |(old, new): &(&Object, &Object)| old.key == new.key && state::compare(old, new).is_empty();
    let kept = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    for object in &old[..old.len() - kept] {
        let label = format!("remove {}", object.label(&sides.from.names));
        draft.send(Stage::Ipsec, class, label, removal_of_policy(object), &[libc::ENOENT]);
    }
    for object in new[..new.len() - kept].iter().rev() {
        let label = format!("add {}", object.label(&sides.to.names));
        draft.send(Stage::Ipsec, class, label, replay(class, &object.bytes, CREATE), &[]);
    }
}

/// `struct xfrm_userpolicy_id` by the policy's index, with what the kernel keeps policies apart by.
fn removal_of_policy(object: &Object) -> Vec<u8> {
    let raw = Raw::new(&object.bytes, POLICY);
    let mut id: Vec<u8> = (0..64).map(|at| raw.header_u8(at)).collect();
    id[56..60].copy_from_slice(&raw.header_u32(POLICY_INDEX).to_ne_bytes());
    id[60] = raw.header_u8(POLICY_INDEX + 4);
    id[61..].fill(0);
    let mut builder = Builder::new(XFRM_POLICIES.remove, PLAIN, &id);
    for attribute in [POLICY_TYPE, XFRMA_MARK, XFRMA_IF_ID] {
        if let Some(payload) = raw.attribute(attribute) {
            builder.put(attribute, payload);
        }
    }
    builder.finish()
}

/// How far a state has come in its sequence numbers, if it is behind where it shall be: the other end
/// would drop what it sends as replayed. That it is further is no difference.
pub fn behind(from: &Object, to: &Object) -> Option<Difference> {
    let counts = |value: &Value| {
        let at = |name: &str| {
            let esn = |part: &str| value.number(&format!("replay_esn_val.{name}{part}"));
            let plain = value.number(&format!("replay_val.{name}"));
            match esn("") {
                Some(low) => esn("_hi").unwrap_or_default() << 32 | low,
                None => plain.unwrap_or_default(),
            }
        };
        (at("oseq"), at("seq"))
    };
    let (is, shall) = (counts(&from.value()), counts(&to.value()));
    let shown = |(sent, received): (u64, u64)| Some(format!("{sent} sent, {received} received"));
    (is.0 < shall.0 || is.1 < shall.1).then(|| Difference {
        path: "sequence".to_owned(),
        left: shown(is),
        right: shown(shall),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Snapshot;
    use crate::plan::{Action, Objects};
    use crate::state::decode;

    /// `struct xfrm_usersa_info` of an ESP tunnel from 192.0.2.1 to 192.0.2.2 with an AES key, as the
    /// header lays it out.
    fn state(oseq: u32, extra: &dyn Fn(&mut Builder)) -> Vec<u8> {
        let mut header = [0_u8; STATE];
        header[40..42].copy_from_slice(&2_u16.to_ne_bytes());
        header[56..60].copy_from_slice(&[192, 0, 2, 2]);
        header[72..76].copy_from_slice(&0x100_u32.to_be_bytes());
        header[76] = 50;
        header[80..84].copy_from_slice(&[192, 0, 2, 1]);
        header[96..128].fill(0xff);
        header[160..168].copy_from_slice(&7000_u64.to_ne_bytes());
        header[168..176].copy_from_slice(&70_u64.to_ne_bytes());
        header[176..184].copy_from_slice(&1_700_000_000_u64.to_ne_bytes());
        header[192..204].fill(9);
        header[208..212].copy_from_slice(&16_u32.to_ne_bytes());
        header[212..214].copy_from_slice(&2_u16.to_ne_bytes());
        header[214] = 1;
        header[215] = 32;
        let mut builder = Builder::new(XFRM_STATES.tells, 0, &header);
        let mut aead = [0_u8; 72 + 20];
        aead[..20].copy_from_slice(b"rfc4106(gcm(aes))\0\0\0");
        aead[64..68].copy_from_slice(&160_u32.to_ne_bytes());
        aead[68..72].copy_from_slice(&128_u32.to_ne_bytes());
        aead[72..].copy_from_slice(b"never shown to a man");
        builder.put(18, &aead);
        builder.put(10, &[oseq, 5, 0x1f].map(u32::to_ne_bytes).concat());
        extra(&mut builder);
        builder.finish()
    }

    fn objects(section: Vec<u8>) -> Objects {
        let sections = [(XFRM_STATES.name.to_owned(), section.into())];
        Objects::read(&Snapshot { sections: sections.into() }, 0).unwrap()
    }

    fn steps(from: Vec<u8>, to: Vec<u8>) -> Vec<Vec<u8>> {
        let mut draft = Draft::default();
        plan(&Sides { from: &objects(from), to: &objects(to) }, &mut draft);
        let message = |step: crate::plan::Step| match step.action {
            Action::Send { message, .. } => message,
            other => panic!("{other:?}"),
        };
        draft.finish().steps.into_iter().map(message).collect()
    }

    #[test]
    fn a_state_is_made_with_its_key_its_numbers_and_its_age() {
        let esn = |builder: &mut Builder| {
            builder.put(23, &[2, 7, 8, 1, 0, 64, 0xffff_0000, 3].map(u32::to_ne_bytes).concat());
            builder.put(21, &[7, 0xff].map(u32::to_ne_bytes).concat());
            builder.put_u32(31, 9).put_u32(29, 5).put_u32(30, 0xf).put_u32(22, 100);
            builder.put(15, &[1; 8]);
        };
        let told = state(77, &esn);
        assert_eq!(state::check(&XFRM_STATES, &told, &Default::default()), []);
        let made = steps(Vec::new(), told.clone());
        assert_eq!(made.len(), 1);
        let sent = decode(&XFRM_STATES, &made[0]);
        let number = |path: &str| sent.number(path);
        assert_eq!(number("replay_val.oseq"), Some(77));
        assert_eq!(number("replay_esn_val.oseq_hi"), Some(1));
        assert_eq!(sent.field("replay_esn_val.bitmap").unwrap().to_string(), "4294901760, 3");
        assert_eq!(
            (number("mark.value"), number("if_id"), number("set_mark")),
            (Some(7), Some(9), Some(5))
        );
        assert_eq!((number("tfcpad"), number("replay_window")), (Some(100), Some(32)));
        assert_eq!(
            (number("ltime_val.bytes"), number("ltime_val.packets")),
            (Some(7000), Some(70))
        );
        assert_eq!(number("ltime_val.add_time"), Some(1_700_000_000));
        assert_eq!((number("current.bytes"), sent.field("lastused")), (Some(0), None));
        let key = b"never shown to a man";
        assert!(made[0].windows(key.len()).any(|window| window == key), "the key is sent");
    }

    #[test]
    fn a_key_is_compared_and_never_printed() {
        let one = state(1, &|_| {});
        let mut other = one.clone();
        let place = one.windows(5).position(|window| window == b"never").unwrap();
        other[place] ^= 1;
        let read = |bytes: &[u8]| state::objects(&XFRM_STATES, bytes).unwrap().remove(0);
        let (one, other) = (read(&one), read(&other));
        let found = state::compare(&one, &other);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "alg_aead.key");
        let printed = [
            format!("{found:?}"),
            one.value().to_string(),
            format!("{:?}", one.value()),
            state::to_json(&one.value()).to_string(),
            one.label(&Default::default()),
            one.key.clone(),
        ];
        for text in printed {
            assert!(!text.contains("never") && !text.contains(&hex::encode("never")), "{text}");
        }
        assert_eq!(steps(one.bytes, other.bytes).len(), 2, "removed and made again");
    }

    #[test]
    fn a_state_that_is_behind_is_made_again() {
        let at = |oseq| state(oseq, &|_| {});
        assert_eq!(steps(at(70), at(77)).len(), 2);
        assert_eq!(steps(at(80), at(77)).len(), 0, "it went on meanwhile");
    }

    #[test]
    fn what_waits_for_a_key_manager_is_no_state() {
        let mut larval = Builder::new(XFRM_STATES.tells, 0, &[0; STATE]);
        larval.put(10, &[0; 12]);
        assert!(state::objects(&XFRM_STATES, &larval.finish()).unwrap().is_empty());
    }

    #[test]
    fn a_key_that_is_withheld_and_a_context_are_refused() {
        let mut locked = state(1, &|_| {});
        let place = locked.windows(5).position(|window| window == b"never").unwrap();
        locked[place..place + 20].fill(0);
        let labelled = state(1, &|builder| {
            builder.put(8, &[1, 1, 4, 0, 0, 0, 0, 0]);
        });
        for message in [locked, labelled] {
            let found = state::check(&XFRM_STATES, &message, &Default::default());
            let verdicts: Vec<_> = found.iter().map(|problem| problem.fault.verdict()).collect();
            assert_eq!(verdicts, [state::Verdict::NotCarried], "{found:?}");
        }
        // Hardware may be elsewhere; what it does the kernel does.
        let offloaded = state(1, &|builder| {
            builder.put(28, &[3, 0, 0, 0, 0, 0, 0, 0]);
        });
        let found = state::check(&XFRM_STATES, &offloaded, &Default::default());
        assert_eq!(found[0].fault.verdict(), state::Verdict::Without);
        let sent = decode(&XFRM_STATES, &steps(Vec::new(), offloaded)[0]);
        assert_eq!(sent.field("offload_dev"), None);
    }

    #[test]
    fn a_state_is_removed_by_what_the_kernel_finds_it_by() {
        let removed = steps(state(1, &|_| {}), Vec::new());
        let message = crate::netlink::messages(&removed[0]).next().unwrap().unwrap();
        assert_eq!(message.kind, XFRM_STATES.remove);
        assert_eq!(message.body[..4], [192, 0, 2, 2]);
        assert_eq!(message.body[16..20], 0x100_u32.to_be_bytes());
        assert_eq!((message.body[20], message.body[22]), (2, 50));
    }
}
