//! One instant of settings: those of links, which a capture takes from a dump of links, and those of the
//! namespace, which it reads from files, are never of two moments.
//!
//! A writer raises a number, first in a setting of lo and then in one of the namespace. An image in
//! which the second is ahead of the first was never there. With the feature `torn` captures read once
//! only, and have to be found torn.

mod netns;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netckpt::capture::{Captured, Options, capture};
use netns::Ns;

const CAPTURES: u32 = 150;
/// Torn images after which it is known that the test can find some.
const ENOUGH: u32 = 3;
/// In the order of writing.
const SETTINGS: [&str; 2] = ["ipv4/conf/lo/medium_id", "ipv4/tcp_keepalive_time"];
/// Between two steps: long enough for a capture to see nothing change for once. One that does not look
/// for that is disturbed more often.
const PAUSE: Duration = Duration::from_millis(if cfg!(feature = "torn") { 1 } else { 25 });

#[test]
fn settings_of_links_and_of_the_namespace_are_of_one_instant() {
    let ns = Ns::new("settings");
    ns.sh("sysctl -qw net.ipv4.conf.lo.medium_id=1 net.ipv4.tcp_keepalive_time=1");
    let namespace = ns.open();
    let stop = AtomicBool::new(false);
    let write = || {
        for step in 2_u32.. {
            for setting in SETTINGS {
                std::fs::write(format!("/proc/sys/net/{setting}"), step.to_string()).unwrap();
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    };
    let options = Options { patience: Duration::from_secs(60), ..Options::default() };
    let (mut torn, mut again) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| namespace.run(write).unwrap());
        let look = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..CAPTURES {
                let captured = capture(&namespace, &options).expect("a capture in time");
                let [first, second] = values(&captured);
                torn += u32::from(second != first && second + 1 != first);
                again += u32::from(!captured.evidence.read_again.is_empty());
                if torn == ENOUGH {
                    break;
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        look.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    println!("{torn} torn, {again} read again");
    if cfg!(feature = "torn") {
        assert!(torn > 0, "captures without a second look were never torn");
    } else {
        assert_eq!(torn, 0);
        assert!(again > 0, "the writer never came between: nothing was tried");
    }
}

/// The two numbers.
fn values(captured: &Captured) -> [u32; 2] {
    let section = &captured.snapshot.sections["sysctls"];
    let mut parts = section.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut found = [0; 2];
    while let (Some(path), Some(value)) = (parts.next(), parts.next()) {
        if let Some(place) = SETTINGS.iter().position(|setting| *setting == path) {
            found[place] = value.parse().unwrap();
        }
    }
    found
}
