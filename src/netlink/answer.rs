//! Answers: which of the messages received are the objects asked for, and what the kernel said of
//! the request.

use super::{
    Attribute, Attributes, Error, Malformed, Message, Refusal, align, attributes, messages,
};

/// What a piece of an answer means for the whole.
pub(super) enum Sifted {
    More,
    Acked,
    Done,
}

/// Appends the objects of what was received to `into`, and judges the rest.
pub(super) fn sift(
    received: &[u8],
    sequence: u32,
    interrupted: &mut bool,
    into: &mut Vec<u8>,
) -> Result<Sifted, Error> {
    let mut outcome = Sifted::More;
    for message in messages(received) {
        let message = message?;
        // An earlier question's answer that was not waited for.
        if message.sequence != sequence {
            continue;
        }
        *interrupted |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
        match i32::from(message.kind) {
            libc::NLMSG_NOOP => {}
            libc::NLMSG_OVERRUN => return Err(Error::Overrun),
            libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                if let Some(refusal) = refusal(&message)? {
                    return Err(refusal.into());
                }
                let done = i32::from(message.kind) == libc::NLMSG_DONE;
                outcome = if done { Sifted::Done } else { Sifted::Acked };
            }
            _ => {
                let start = into.len();
                into.extend_from_slice(message.bytes);
                into.resize(align(into.len()), 0);
                // What stays must not tell one run from another.
                into[start + 8..start + 16].fill(0);
            }
        }
    }
    Ok(outcome)
}

/// Reads `struct nlmsgerr` and the extended acknowledgement; `None` for a plain acknowledgement.
pub(super) fn refusal(message: &Message<'_>) -> Result<Option<Refusal>, Malformed> {
    let code = message.body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    if code >= 0 {
        return Ok(None);
    }
    let mut refusal = Refusal { errno: code.wrapping_neg(), message: None, offset: None };
    if i32::from(message.flags) & NLM_F_ACK_TLVS == 0 {
        return Ok(Some(refusal));
    }
    for attribute in extended(message) {
        let Attribute { id, payload, .. } = attribute?;
        match id {
            NLMSGERR_ATTR_MSG => {
                let text = String::from_utf8_lossy(payload);
                refusal.message = Some(text.trim_end_matches('\0').to_owned());
            }
            NLMSGERR_ATTR_OFFS => {
                refusal.offset = payload.first_chunk().map(|offset| u32::from_ne_bytes(*offset));
            }
            _ => {}
        }
    }
    Ok(Some(refusal))
}

/// `NLM_F_ACK_TLVS` and the attributes it announces (`linux/netlink.h`).
const NLM_F_ACK_TLVS: i32 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;

/// Attributes behind `nlmsgerr`: after the code alone in `NLMSG_DONE`, else after the code and the
/// request's header, with its body where the kernel did not cap it (`NLM_F_CAPPED`).
fn extended<'a>(message: &Message<'a>) -> Attributes<'a> {
    const NLM_F_CAPPED: u16 = 0x100;
    if i32::from(message.kind) == libc::NLMSG_DONE {
        return attributes(message.body.get(4..).unwrap_or_default());
    }
    let request = message.body.get(4..8).and_then(|length| length.first_chunk());
    let whole = request.map_or(16, |length| u32::from_ne_bytes(*length) as usize);
    let skip = if message.flags & NLM_F_CAPPED != 0 { 16 } else { align(whole) };
    attributes(message.body.get(4 + skip..).unwrap_or_default())
}
