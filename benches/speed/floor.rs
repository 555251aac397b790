//! The floor: the bare system calls, with no work on the data. A capture can't be below it that reads
//! by the same calls, and a restore not that makes by the same messages.

use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use netckpt::netlink::{Builder, Protocol, Socket, messages};
use netckpt::netns::Namespace;
use netckpt::plan::{Action, Plan, Side};
use netckpt::state::CLASSES;
use netckpt::state::table::Source;

const ROOM: usize = 1 << 20;
const NFT_MSG_GETSET: u16 = 10 << 8 | 10;
const NFT_MSG_GETSETELEM: u16 = 10 << 8 | 13;
const IPCTNL_MSG_CT_GET: u16 = 1 << 8 | 1;
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// Reads what a capture reads, files by these paths; answers the bytes.
pub fn capture(namespace: &Namespace, files: &[String]) -> usize {
    let read = || {
        let mut bytes = 0;
        let mut route = Raw::open(Protocol::Route);
        let mut netfilter = Raw::open(Protocol::Netfilter);
        for class in CLASSES {
            let Source::Netlink { protocol, dumps, .. } = class.source else { continue };
            for dump in dumps {
                let raw = match protocol {
                    Protocol::Route => &mut route,
                    Protocol::Netfilter => &mut netfilter,
                    _ => continue,
                };
                bytes += raw.dump(dump.kind, dump.body, |_| {});
            }
        }
        let mut sets = Vec::new();
        bytes += netfilter.dump(NFT_MSG_GETSET, &[0; 4], |bytes| sets.extend_from_slice(bytes));
        for set in messages(&sets).map_while(Result::ok).filter(|set| set.body.len() > 4) {
            let mut body = vec![set.body[0], 0, 0, 0];
            for name in set.attributes(4).map_while(Result::ok).filter(|name| name.id <= 2) {
                body.extend(Builder::attribute(name.id, name.payload));
            }
            bytes += netfilter.dump(NFT_MSG_GETSETELEM, &body, |_| {});
        }
        if std::fs::read_to_string(COUNT).is_ok_and(|count| count.trim() != "0") {
            bytes += netfilter.dump(IPCTNL_MSG_CT_GET, &[0; 4], |_| {});
        }
        bytes + sysctls(files)
    };
    namespace.run(read).expect("inside")
}

fn sysctls(files: &[String]) -> usize {
    let mut value = [0; 1024];
    let read = |path: &String| std::fs::File::open(path).and_then(|mut file| file.read(&mut value));
    files.iter().map(read).filter_map(Result::ok).sum()
}

/// Makes a namespace and does a plan's steps in it, without a look at what comes of it.
pub fn restore(plan: &Plan, host: &mut Socket) -> Namespace {
    let namespace = Namespace::create().expect("a namespace");
    let work = || {
        let mut route = Socket::open(Protocol::Route).expect("a socket");
        let mut netfilter = Socket::open(Protocol::Netfilter).expect("a socket");
        let mut rest = &plan.steps[..];
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|step| way(step) == way(first)).count();
            let (run, after) = rest.split_at(same);
            rest = after;
            let messages = run.iter().filter_map(|step| match &step.action {
                Action::Send { message, .. } => Some(message.as_slice()),
                _ => None,
            });
            match (&first.action, first.side) {
                (Action::Write { .. }, _) => run.iter().for_each(write),
                (Action::Transaction { parts, .. }, _) => {
                    let parts = parts.iter().map(|part| part.message.as_slice());
                    netfilter.transaction(parts).expect("a transaction");
                }
                (Action::Send { .. }, Side::Host) => drop(host.batch(messages).expect("a batch")),
                (Action::Send { protocol: Protocol::Netfilter, .. }, _) => {
                    netfilter.batch(messages).expect("a batch");
                }
                (Action::Send { .. }, _) => drop(route.batch(messages).expect("a batch")),
                // Waiting is no work, and no pod that is measured has the others.
                _ => {}
            }
        }
    };
    namespace.run(work).expect("inside");
    namespace
}

/// Steps of one way go out together.
fn way(step: &netckpt::plan::Step) -> (u8, Side, Option<Protocol>) {
    match &step.action {
        Action::Send { protocol, .. } => (0, step.side, Some(*protocol)),
        Action::Write { .. } => (1, step.side, None),
        Action::Transaction { .. } => (2, step.side, None),
        _ => (3, step.side, None),
    }
}

fn write(step: &netckpt::plan::Step) {
    if let Action::Write { path, value } = &step.action {
        // What a kernel refuses costs the same.
        let _ = std::fs::write(format!("/proc/sys/net/{path}"), value);
    }
}

/// A socket without anything that the program's own has beside.
struct Raw {
    fd: OwnedFd,
    room: Vec<u8>,
}

impl Raw {
    fn open(protocol: Protocol) -> Self {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: plain system calls; the descriptor is owned from here on, and the option is read
        // from a living number of the told size.
        let fd = unsafe {
            let fd = libc::socket(libc::AF_NETLINK, kind, protocol as libc::c_int);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            let on = 1_i32;
            let at = std::ptr::from_ref(&on).cast();
            libc::setsockopt(fd, libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, at, 4);
            OwnedFd::from_raw_fd(fd)
        };
        Self { fd, room: vec![0; ROOM] }
    }

    /// One dump to its end (`NLMSG_DONE` or an error); answers the bytes.
    fn dump(&mut self, kind: u16, body: &[u8], mut told: impl FnMut(&[u8])) -> usize {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        let request = Builder::new(kind, flags, body).finish();
        let fd = self.fd.as_raw_fd();
        // SAFETY: pointer and length are those of one slice.
        let sent = unsafe { libc::send(fd, request.as_ptr().cast(), request.len(), 0) };
        assert_eq!(sent, request.len() as isize);
        let mut bytes = 0;
        loop {
            // SAFETY: pointer and length are those of one slice.
            let got = unsafe { libc::recv(fd, self.room.as_mut_ptr().cast(), self.room.len(), 0) };
            let got = usize::try_from(got).expect("an answer");
            bytes += got;
            told(&self.room[..got]);
            // The end of a dump stands in a message of its own, or behind the last of its objects.
            let ends = [libc::NLMSG_DONE as u16, libc::NLMSG_ERROR as u16];
            if messages(&self.room[..got]).map_while(Result::ok).any(|m| ends.contains(&m.kind)) {
                return bytes;
            }
        }
    }
}
