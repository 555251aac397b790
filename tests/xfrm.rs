//! IPsec against `ip xfrm`. This project's machines have no IPsec protocol (ESP, AH), so that states are
//! tested as messages, beside their plan; what waits for a key manager can be made, and is no state.

mod netns;
mod returns;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use netckpt::image::Unsupported;
use netckpt::netlink::Builder;
use netckpt::restore;
use netckpt::state::classes::{XFRM_POLICIES, XFRM_STATES};
use netckpt::state::{Names, check, objects};
use netns::Pair;
use returns::{comes_back, image};

/// All that iproute2 tells of a policy, without when it was made.
const POLICIES: &str = "ip -s xfrm policy | sed '/^\t  add /d'";

#[test]
fn policies_come_back_in_their_order() {
    let Some(returned) = comes_back(
        "policies",
        "ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out priority 5 action block
         ip xfrm policy add src 10.0.0.0/8 dst 10.2.0.0/16 dir out priority 5 \
             tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 77 mode tunnel \
             tmpl src 192.0.2.1 dst 192.0.2.2 proto ah spi 0x1234 mode transport level use
         ip xfrm policy add src 10.0.0.0/8 dst 10.2.0.0/16 dir out ptype sub priority 6
         ip xfrm policy add src 10.2.0.0/16 dst 10.0.0.0/8 dir in priority 7 mark 7 mask 0xff if_id 9
         ip xfrm policy add src 10.2.0.0/16 dst 10.0.0.0/8 dir in priority 7 mark 8 mask 0xff
         ip xfrm policy add src 10.2.0.0/16 dst 10.0.0.0/8 dir fwd index 90 flag icmp
         ip xfrm policy add src 10.3.0.0/16 dst 10.0.0.0/8 dev eth0 proto tcp sport 80 dport 8080 dir in
         ip xfrm policy add src 2001:db8::/32 dst fd00::/8 dir out flag localok \
             limit byte-soft 1000 limit byte-hard 2000 limit packet-hard 30 \
             tmpl src 2001:db8::1 dst fd00::1 proto comp mode beet level required
         ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir out priority 5 action block
         ip xfrm policy add src 10.9.0.0/16 dst 0.0.0.0/0 dir out priority 5",
        &[POLICIES, "ip xfrm policy count"],
    ) else {
        return;
    };
    returned.notices(&[
        (
            "ip xfrm policy del src 10.0.0.0/8 dst 10.1.0.0/16 dir out",
            "10.1.0.0/16 priority 5 block: missing",
        ),
        (
            "ip xfrm policy update src 10.0.0.0/8 dst 10.1.0.0/16 dir out priority 4 action block",
            "priority is 4 instead of 5",
        ),
        ("ip xfrm policy add src 10.8.0.0/16 dst 10.7.0.0/16 dir out", "not in the image"),
        (
            "ip xfrm policy del src 10.9.0.0/16 dst 0.0.0.0/0 dir out
             ip xfrm policy del src 0.0.0.0/0 dst 0.0.0.0/0 dir out
             ip xfrm policy add src 10.9.0.0/16 dst 0.0.0.0/0 dir out priority 5
             ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir out priority 5 action block",
            "order of the image",
        ),
    ]);
}

#[test]
fn defaults_and_thresholds_come_back() {
    let returned = comes_back(
        "defaults",
        "ip xfrm policy setdefault in block fwd block out accept
         ip xfrm policy set hthresh4 16 24 hthresh6 64 96
         ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir in",
        &["ip xfrm policy getdefault", "ip -s -s xfrm policy count", POLICIES],
    );
    if let Some(returned) = returned {
        returned.notices(&[
            ("ip xfrm policy setdefault in accept", "in is accept instead of block"),
            ("ip xfrm policy set hthresh4 8 24", "ipv4.local is 8 instead of 16"),
        ]);
    }
}

#[test]
fn what_waits_for_a_key_manager_and_what_is_a_sockets_is_not_carried() {
    let pair = Pair::wired("beside");
    pair.pod.sh("ip xfrm state allocspi src 10.1.1.1 dst 10.1.1.2 proto esp min 256 max 512");
    assert!(pair.pod.sh("ip xfrm state").contains("proto esp"));
    let socket = pair.pod.open().run(|| {
        // SAFETY: plain system call; the descriptor is owned from here on.
        unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)) }
    });
    let socket = socket.unwrap();
    // `struct xfrm_userpolicy_info`: family of the selector, no limits, direction out.
    let mut policy = [0_u8; 168];
    policy[40..42].copy_from_slice(&2_u16.to_ne_bytes());
    policy[56..88].fill(0xff);
    policy[160] = 1;
    const IP_XFRM_POLICY: i32 = 17;
    // SAFETY: pointer and length are those of the policy.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            IP_XFRM_POLICY,
            policy.as_ptr().cast(),
            policy.len() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    assert!(pair.pod.sh("ip xfrm policy").contains("socket out"));
    let image = image(&pair);
    assert_eq!(image.manifest.counts["xfrm-states"], 0);
    assert_eq!(image.manifest.counts["xfrm-policies"], 0);
    let named: Vec<_> =
        image.manifest.not_carried.iter().map(|lost| lost.object.as_str()).collect();
    assert_eq!(named, ["policies of sockets: 1"]);
}

#[test]
fn that_the_time_of_a_policy_begins_anew_is_said() {
    let pair = Pair::wired("timed");
    pair.pod.sh("ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out limit time-hard 1000");
    let lost = image(&pair).manifest.not_carried;
    assert_eq!(lost.len(), 1, "{lost:#?}");
    assert!(lost[0].why.contains("begin anew") && !lost[0].matters, "{lost:#?}");
}

/// A state of ESP with a key, as the header lays it out.
fn state(key: &[u8; 20]) -> Vec<u8> {
    let mut header = [0_u8; 224];
    header[40..42].copy_from_slice(&2_u16.to_ne_bytes());
    header[56..60].copy_from_slice(&[192, 0, 2, 2]);
    header[72..76].copy_from_slice(&0x100_u32.to_be_bytes());
    header[76] = 50;
    header[80..84].copy_from_slice(&[192, 0, 2, 1]);
    header[96..128].fill(0xff);
    header[212..214].copy_from_slice(&2_u16.to_ne_bytes());
    header[214..216].copy_from_slice(&[1, 32]);
    let mut builder = Builder::new(XFRM_STATES.tells, 0, &header);
    let mut aead = [0_u8; 92];
    aead[..17].copy_from_slice(b"rfc4106(gcm(aes))");
    aead[64..68].copy_from_slice(&160_u32.to_ne_bytes());
    aead[68..72].copy_from_slice(&128_u32.to_ne_bytes());
    aead[72..].copy_from_slice(key);
    builder.put(18, &aead).put(10, &[7, 8, 9].map(u32::to_ne_bytes).concat());
    builder.finish()
}

/// A kernel without the protocol refuses a state: the restore fails by its name and without its key,
/// or goes on without it, as it was told.
#[test]
fn a_state_that_this_kernel_has_no_means_for_is_named_without_its_key() {
    const KEY: &[u8; 20] = b"a key that is secret";
    let source = Pair::wired("state");
    let mut image = image(&source);
    image.snapshot.sections.insert("xfrm-states".to_owned(), state(KEY).into());
    let target = Pair::bare("state");
    let restore = |on_unsupported| {
        let options = restore::Options { on_unsupported, ..Default::default() };
        restore::restore(&target.pod.open(), Some(&target.node.open()), &image, &options)
    };
    let error = match restore(Unsupported::Fail) {
        Ok(report) => {
            println!("skipped: this kernel has ESP");
            assert!(report.differences.iter().all(|finding| !finding.matters()));
            return;
        }
        Err(error) => error,
    };
    let text = format!("{error} {error:#?}");
    assert!(text.contains("esp 192.0.2.1 to 192.0.2.2 spi 0x100 tunnel"), "{error}");
    assert!(error.is_of_support(), "{error}");
    assert!(
        !error.to_string().contains("secret") && !error.to_string().contains(&hex(KEY)),
        "{error}"
    );
    let report = restore(Unsupported::Report).unwrap_or_else(|error| panic!("{error}"));
    let named = report.differences.iter().map(ToString::to_string);
    assert!(named.into_iter().any(|line| line.contains("spi 0x100")), "{:?}", report.differences);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A policy as the header lays it out.
fn policy(change: impl Fn(&mut [u8]), extra: impl Fn(&mut Builder)) -> Vec<u8> {
    let mut header = [0_u8; 168];
    header[40..42].copy_from_slice(&2_u16.to_ne_bytes());
    change(&mut header);
    let mut builder = Builder::new(XFRM_POLICIES.tells, 0, &header);
    extra(&mut builder);
    builder.finish()
}

#[test]
fn what_no_kernel_said_is_refused() {
    let names = Names::default();
    let faults = |message: &[u8]| -> Vec<String> {
        check(&XFRM_POLICIES, message, &names).iter().map(ToString::to_string).collect()
    };
    assert_eq!(faults(&policy(|_| {}, |_| {})), Vec::<String>::new());
    let elsewhere = policy(|header| header[48] = 9, |_| {});
    assert!(
        faults(&elsewhere)[0].contains("sel.ifindex: refers to link 9"),
        "{:?}",
        faults(&elsewhere)
    );
    let cut = policy(
        |_| {},
        |builder| {
            builder.put(5, &[0; 63]);
        },
    );
    assert!(faults(&cut)[0].contains("templates: 63 bytes"), "{:?}", faults(&cut));
    let labelled = policy(
        |_| {},
        |builder| {
            builder.put(8, &[0; 8]);
        },
    );
    assert!(faults(&labelled)[0].contains("sec_ctx: can't be carried"), "{:?}", faults(&labelled));
    // Of a socket: no object, and nothing is sent for it.
    let of_socket = policy(|header| header[160] = 4, |_| {});
    assert!(objects(&XFRM_POLICIES, &of_socket).unwrap().is_empty());
    // An algorithm that lies about its length.
    let mut header = [0_u8; 224];
    header[212..214].copy_from_slice(&2_u16.to_ne_bytes());
    let mut short = Builder::new(XFRM_STATES.tells, 0, &header);
    short.put(2, &[0; 67]);
    let found = check(&XFRM_STATES, &short.finish(), &names);
    assert!(found[0].to_string().contains("alg_crypt: 67 bytes"), "{found:?}");
}
