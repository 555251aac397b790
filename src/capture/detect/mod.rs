//! What is in a namespace and in no class: found and named, so that nothing is lost in silence.
//!
//! Each row of [`DETECTORS`] looks for one kind of state. A row whose name is that of a class that
//! is read steps aside; when a class comes for good its row goes.

mod files;
mod kernel;
mod multicast;

use crate::image::NotCarried;
use crate::netlink::Error as NetlinkError;
use crate::state::table::Class;
use crate::state::{ReadError, Reader};

/// Looks for one kind of state.
struct Detector {
    /// Name of the class that will carry it.
    class: &'static str,
    /// Names what there is; nothing when there is nothing.
    find: fn(&mut Probe<'_>) -> Result<Vec<String>, ReadError>,
    /// Why it is not carried.
    why: &'static str,
    /// Whether the network behaves differently without it.
    matters: bool,
}

/// Where detectors look: on a thread inside the namespace.
struct Probe<'a> {
    reader: &'a mut Reader,
    /// Index and name of the links.
    links: Vec<(u32, String)>,
}

const fn state(
    class: &'static str,
    find: fn(&mut Probe<'_>) -> Result<Vec<String>, ReadError>,
    why: &'static str,
) -> Detector {
    Detector { class, find, why, matters: true }
}

/// What informs only: the kernel makes it again when it needs it.
const fn cache(
    class: &'static str,
    find: fn(&mut Probe<'_>) -> Result<Vec<String>, ReadError>,
    why: &'static str,
) -> Detector {
    Detector { class, find, why, matters: false }
}

const LEARNED: &str = "the kernel has learned it, takes it from nobody, and learns it again";

static DETECTORS: &[Detector] = &[
    state(
        "ebtables",
        kernel::ebtables,
        "a kernel that is asked for its legacy tables of bridges makes them; nftables has others",
    ),
    cache("learned-addresses", kernel::learned, LEARNED),
    state("xt-recent", |_| files::filled("/proc/thread-self/net/xt_recent"), LEARNED),
    cache("xt-hashlimit", |_| files::filled("/proc/thread-self/net/ipt_hashlimit"), LEARNED),
    cache("xt-hashlimit", |_| files::filled("/proc/thread-self/net/ip6t_hashlimit"), LEARNED),
    state(
        "xfrm-socket-policies",
        kernel::xfrm_socket_policies,
        "they are the sockets', and come back with the program that sets them",
    ),
    state(
        "multicast-routes",
        multicast::routes,
        "it is the socket's of a routing daemon, which makes it again",
    ),
    state(
        "l2tp",
        |probe| kernel::generic(probe, "l2tp", 3, "tunnel"),
        "this version does not carry the class",
    ),
    cache(
        "netns-ids",
        kernel::namespace_ids,
        "the other namespace may not be where the pod goes; the kernel gives another id when one is needed",
    ),
    cache("tcp-metrics", |probe| kernel::generic(probe, "tcp_metrics", 1, "destination"), LEARNED),
];

/// Objects of one kind that are named one by one; of more only the number is told.
const MOST: usize = 20;

/// Looks for everything that `classes` do not cover.
pub(super) fn beside(reader: &mut Reader, classes: &[&'static Class]) -> Vec<NotCarried> {
    let links = kernel::links(reader);
    let mut probe = Probe { reader, links: Vec::new() };
    let mut found = Vec::new();
    match links {
        Ok(links) => probe.links = links,
        Err(error) => found.push(not_looked_for("links", &error)),
    }
    let missing = |detector: &&Detector| !classes.iter().any(|class| class.name == detector.class);
    for detector in DETECTORS.iter().filter(missing) {
        match (detector.find)(&mut probe) {
            Ok(objects) => found.extend(named(detector, objects)),
            Err(error) if is_absent(&error) => {}
            Err(error) => found.push(not_looked_for(detector.class, &error)),
        }
    }
    found
}

fn named(detector: &Detector, mut objects: Vec<String>) -> Vec<NotCarried> {
    let more = objects.len().saturating_sub(MOST);
    objects.truncate(MOST);
    if more > 0 {
        objects.push(format!("{more} more"));
    }
    let entry = |object| NotCarried {
        class: detector.class.to_owned(),
        object,
        why: detector.why.to_owned(),
        matters: detector.matters,
    };
    objects.into_iter().map(entry).collect()
}

fn not_looked_for(class: &str, error: &ReadError) -> NotCarried {
    NotCarried {
        class: class.to_owned(),
        object: String::new(),
        why: format!("it is not known whether there are any: {error}"),
        matters: true,
    }
}

/// The kernel does not have what was asked for, so there is nothing of it.
fn is_absent(error: &ReadError) -> bool {
    match error {
        ReadError::Netlink { source, .. } => {
            matches!(source, NetlinkError::Refused(_) | NetlinkError::System { .. })
                && matches!(
                    source.errno(),
                    Some(
                        libc::EOPNOTSUPP
                            | libc::EAFNOSUPPORT
                            | libc::EPROTONOSUPPORT
                            | libc::ENOENT
                    )
                )
        }
        ReadError::File { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        ReadError::Unexpected { .. } => false,
    }
}
