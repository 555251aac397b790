//! CRIU's lock, as it makes it and as it takes it away.

use std::time::{Duration, Instant};

use netckpt::hold::criu::{self, Lock, Watch};

use crate::world::{POD, POD6, World};

const NAME: &str = "CRIU-0c7a3f2e-1b2c-4d5e-8";

#[test]
fn a_planted_lock_holds_until_it_is_deleted_by_name() {
    let world = World::new("lock");
    let pod = world.pod.open();
    world.reachable();
    let lock: Lock = NAME.parse().unwrap();
    let mut watch = Watch::open(&pod).unwrap();
    assert_eq!(watch.lock().unwrap(), None);
    assert!(!watch.changed(Duration::from_millis(50)).unwrap());

    world.netckpt(&["hold", "--criu-lock", NAME]).unwrap();
    assert!(watch.changed(Duration::from_secs(5)).unwrap());
    assert_eq!(watch.lock().unwrap(), Some(lock.clone()));
    let shown = world.pod.run(&["nft", "list", "table", "inet", NAME]);
    for part in ["hook input", "hook output", "policy drop", "meta mark 0x0000c114 accept"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!world.answers(&world.near, POD) && !world.answers(&world.far, POD6));
    assert!(!watch.gone(&lock, Duration::from_millis(100)).unwrap());

    let name = world.pod.name().to_owned();
    let deleted = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        let delete = ["netns", "exec", &name, "nft", "delete", "table", "inet", NAME];
        let status = std::process::Command::new("ip").args(delete).status().unwrap();
        (status.success(), Instant::now())
    });
    assert!(watch.gone(&lock, Duration::from_secs(10)).unwrap());
    let known = Instant::now();
    let (well, at) = deleted.join().unwrap();
    assert!(well);
    assert!(known.saturating_duration_since(at) < Duration::from_millis(50));
    world.reachable();

    criu::plant(&pod, &lock).unwrap();
    assert!(criu::is_there(&pod, &lock).unwrap());
    world.netckpt(&["release", "--criu-lock", NAME]).unwrap();
    assert!(!criu::is_there(&pod, &lock).unwrap());
    criu::lift(&pod, &lock).unwrap();
}

#[test]
fn a_lock_is_no_part_of_a_pod_s_state() {
    let world = World::new("lockstate");
    let pod = world.pod.open();
    criu::plant(&pod, &NAME.parse().unwrap()).unwrap();
    world.pod.run(&["nft", "add", "table", "inet", "own"]);
    let captured = netckpt::capture::capture(&pod, &netckpt::capture::Options::default()).unwrap();
    assert_eq!(captured.counts["nft-tables"], 1);
    assert_eq!((captured.counts["nft-chains"], captured.counts["nft-rules"]), (0, 0));
}
