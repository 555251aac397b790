//! Queueing disciplines of outer ends: named, as the node's CNI makes them anew.

use crate::image::NotCarried;
use crate::netlink::{Error, Socket, messages};

const RTM_GETQDISC: u16 = 38;
/// Bytes of `struct tcmsg` and `struct ifinfomsg`.
const TCMSG: usize = 20;
const IFINFO: usize = 16;
const TCA_KIND: u16 = 1;
const IFLA_IFNAME: u16 = 3;
/// What a link has by itself (`net.core.default_qdisc` and below).
const DEFAULTS: &[&str] = &["noqueue", "pfifo_fast", "pfifo", "mq", "fq_codel", "fq"];

/// Names what shapes or filters on these outer ends (as a section of links): the bandwidth plugin's,
/// or somebody else's.
///
/// # Errors
/// As [`Socket::dump`].
pub fn shaping(host: &mut Socket, ends: &[u8]) -> Result<Vec<NotCarried>, Error> {
    let links: Vec<([u8; 4], String)> = messages(ends)
        .map_while(Result::ok)
        .filter_map(|link| {
            let mut all = link.attributes(IFINFO).map_while(Result::ok);
            let name = all.find(|one| one.id == IFLA_IFNAME)?.payload;
            Some((*link.body.get(4..8)?.first_chunk()?, text(name)))
        })
        .collect();
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let mut named = Vec::new();
    let dump = host.dump(RTM_GETQDISC, &[0; TCMSG])?;
    for qdisc in messages(&dump.bytes).map_while(Result::ok) {
        let of = links.iter().find(|(index, _)| qdisc.body.get(4..8) == Some(index));
        let mut all = qdisc.attributes(TCMSG).map_while(Result::ok);
        let kind = all.find(|one| one.id == TCA_KIND).map(|one| text(one.payload));
        if let (Some((_, link)), Some(kind)) = (of, kind)
            && !DEFAULTS.contains(&kind.as_str())
        {
            named.push(NotCarried {
                class: "host/qdiscs".to_owned(),
                object: format!("{kind} on {link}"),
                why: "the node's CNI plugins make it anew, from the annotations of the new pod \
                      (kubernetes.io/ingress-bandwidth, egress-bandwidth); what somebody else has \
                      put there is not made"
                    .to_owned(),
                matters: false,
            });
        }
    }
    Ok(named)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}
