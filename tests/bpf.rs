//! eBPF programs are told by name and place, and are never lost in silence: a restore refuses them, or
//! leaves them to their owner and says so.

mod netns;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use netckpt::capture::{self, Captured};
use netckpt::image::{Origin, Unsupported};
use netckpt::netlink::{Builder, Protocol, Socket};
use netckpt::restore::{self, Options};
use netns::Pair;

/// A kernel that does not list its hooks tells of netfilter's programs without their namespace: while
/// there is one, every capture names it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
/// `enum bpf_prog_type`.
const SCHED_CLS: u32 = 3;
const XDP: u32 = 6;
/// `enum bpf_attach_type`.
const AT_XDP: u32 = 37;
const AT_TCX_INGRESS: u32 = 46;
const AT_TCX_EGRESS: u32 = 47;
/// `XDP_FLAGS_SKB_MODE`.
const GENERIC: u32 = 2;

fn bpf(command: libc::c_long, attributes: &mut [u64]) -> OwnedFd {
    // SAFETY: pointer and size are those of `attributes`.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            std::mem::size_of_val(attributes),
        )
    };
    assert!(fd >= 0, "bpf({command}): {}", std::io::Error::last_os_error());
    // SAFETY: the kernel gave it just now.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// A program that lets everything pass.
fn load(kind: u32, name: &str) -> OwnedFd {
    load_for(kind, name, 0)
}

/// For a place that the program must be told when it is loaded.
fn load_for(kind: u32, name: &str, place: u32) -> OwnedFd {
    // `r0 = 2` (`XDP_PASS`; of no meaning elsewhere), `exit`; netfilter knows 0 and 1 (`NF_ACCEPT`).
    let answer = if place == 0 { 2_u64 } else { 1 };
    let instructions = [answer << 32 | 0xb7, 0x95];
    let license = c"GPL";
    let mut attributes = [0_u64; 16];
    attributes[0] = u64::from(kind) | 2 << 32;
    attributes[1] = instructions.as_ptr().expose_provenance() as u64;
    attributes[2] = license.as_ptr().expose_provenance() as u64;
    // `prog_name` is at byte 48.
    let mut text = [0_u8; 16];
    text[..name.len()].copy_from_slice(name.as_bytes());
    attributes[6] = u64::from_ne_bytes(text[..8].try_into().unwrap());
    attributes[7] = u64::from_ne_bytes(text[8..].try_into().unwrap());
    // `prog_ifindex`, `expected_attach_type`.
    attributes[8] = u64::from(place) << 32;
    bpf(BPF_PROG_LOAD, &mut attributes)
}

fn attach(program: &OwnedFd, link: u32, place: u32, flags: u32) -> OwnedFd {
    let fd = u64::from(program.as_raw_fd().unsigned_abs());
    let mut attributes =
        [fd | u64::from(link) << 32, u64::from(place) | u64::from(flags) << 32, 0, 0];
    bpf(BPF_LINK_CREATE, &mut attributes)
}

/// A filter of an eBPF program on the ingress side of clsact.
fn filter(program: &OwnedFd, link: u32) {
    let info = 5_u32 << 16 | u32::from(3_u16.to_be());
    let header = [0, link, 1, 0xffff_fff2, info].map(u32::to_ne_bytes).concat();
    let mut builder = Builder::new(44, (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, &header);
    builder.put_text(1, "bpf");
    let options = builder.begin(2);
    builder.put_u32(6, program.as_raw_fd().unsigned_abs()).put_text(7, "cil_filter").put_u32(8, 1);
    builder.end(options);
    Socket::open(Protocol::Route).unwrap().request(builder.finish()).expect("a filter is made");
}

fn captured(pair: &Pair) -> Captured {
    let (pod, node) = (pair.pod.open(), pair.node.open());
    capture::network(&pod, Some(&node), &capture::Options::default()).unwrap()
}

#[test]
fn programs_are_told_by_name_and_place() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let pair = Pair::wired("bpf");
    pair.pod.run(&["tc", "qdisc", "add", "dev", "eth0", "clsact"]);
    let link: u32 = pair.pod.run(&["cat", "/sys/class/net/eth0/ifindex"]).trim().parse().unwrap();
    let held = pair.pod.open().run(move || {
        let (from, to, xdp) =
            (load(SCHED_CLS, "cil_from"), load(SCHED_CLS, "cil_to"), load(XDP, "cil_xdp"));
        filter(&from, link);
        [
            attach(&from, link, AT_TCX_INGRESS, 0),
            attach(&to, link, AT_TCX_INGRESS, 0),
            attach(&to, link, AT_TCX_EGRESS, 0),
            attach(&xdp, link, AT_XDP, GENERIC),
        ]
    });
    let held = held.unwrap();
    let captured = captured(&pair);
    let named: Vec<String> = captured
        .not_carried
        .iter()
        .filter(|lost| lost.matters)
        .map(|lost| format!("{}: {}: {}", lost.class, lost.object, lost.why))
        .collect();
    for words in [
        "bpf: eBPF program cil_from (tag ",
        ") at tcx ingress of eth0: it is its owner's",
        "bpf: eBPF program cil_to (tag ",
        ") at tcx egress of eth0: it is its owner's",
        "bpf: eBPF program cil_xdp (tag ",
        ") at xdp of eth0: it is its owner's",
        "tc-filters: filter bpf pref 5 handle 0x1 at ingress of eth0: the eBPF program cil_filter (tag ",
    ] {
        assert!(named.iter().any(|line| line.contains(words)), "{words}: {named:#?}");
    }
    assert_eq!(captured.counts["bpf"], 4);

    // Another kernel can't have them: the image is refused, or they are left to their owner.
    let image = captured.into_image(Origin::default());
    let target = Pair::bare("bpf-to");
    let (pod, node) = (target.pod.open(), target.node.open());
    let strict = restore::restore(&pod, Some(&node), &image, &Options::default());
    assert!(matches!(strict, Err(restore::Error::NotCarried(_))), "{strict:?}");
    let options = Options { on_unsupported: Unsupported::Report, ..Options::default() };
    let report = restore::restore(&pod, Some(&node), &image, &options).unwrap();
    let left = |name: &str| report.left.iter().filter(|(class, _)| class == name).count();
    assert_eq!((left("bpf"), left("tc-filters")), (4, 1), "{:?}", report.left);
    let programs = self::captured(&target).counts["bpf"];
    assert_eq!(programs, 0);

    // Of an owner who was there first nothing is taken away.
    let again = restore::restore(&pair.pod.open(), Some(&pair.node.open()), &image, &options);
    again.unwrap();
    let there = self::captured(&pair).counts["bpf"];
    assert_eq!(there, 4);
    drop(held);
}

/// No place of the namespace tells of them; a kernel that lists its hooks tells whose they are.
#[test]
fn programs_of_netfilter_are_told() {
    const NETFILTER: u32 = 32;
    const AT_NETFILTER: u32 = 45;
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let pair = Pair::wired("nfbpf");
    let held = pair.pod.open().run(|| {
        let program = load_for(NETFILTER, "nf_judge", AT_NETFILTER);
        // `netfilter` of `union bpf_attr`: family, hook (local input), priority, flags.
        let fd = u64::from(program.as_raw_fd().unsigned_abs());
        let mut attributes = [fd, u64::from(AT_NETFILTER), 2 | 1 << 32, 77, 0, 0];
        bpf(BPF_LINK_CREATE, &mut attributes)
    });
    let _held = held.unwrap();
    let named = captured(&pair).not_carried.into_iter().filter(|lost| lost.matters);
    let named: Vec<_> = named.map(|lost| lost.object).collect();
    let found = named.iter().any(|object| {
        object.starts_with("eBPF program nf_judge (tag ") && object.ends_with(") at netfilter")
    });
    assert!(found, "{named:#?}");
}
