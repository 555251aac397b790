//! A pod, its node with a bridge, a client on that bridge and one behind the node; and a wire capture.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netckpt::hold::{Hold, Id, Kind, Note};

use crate::netns::Ns;

/// Addresses of the pod, and of the client on its bridge.
pub const POD: &str = "10.61.0.2";
pub const POD6: &str = "fd61::2";
pub const CLIENT: &str = "10.61.0.9";

/// The pod is `eth0` on the port `veth0` of `cni0`, the near client on its port `near`; the far
/// client is routed to through the node.
pub struct World {
    pub pod: Ns,
    pub near: Ns,
    pub far: Ns,
    pub node: Ns,
}

impl World {
    pub fn new(label: &str) -> Self {
        let world = Self {
            pod: Ns::new(&format!("{label}-pod")),
            near: Ns::new(&format!("{label}-near")),
            far: Ns::new(&format!("{label}-far")),
            node: Ns::new(&format!("{label}-node")),
        };
        for one in [&world.pod, &world.near, &world.far, &world.node] {
            one.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
        }
        world.node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        world.node.ip(&format!(
            "link set lo up
             link add cni0 type bridge
             addr add 10.61.0.1/24 dev cni0
             addr add fd61::1/64 dev cni0 nodad
             link set cni0 up
             link add veth0 type veth peer name eth0 netns {}
             link add near type veth peer name eth0 netns {}
             link add far type veth peer name eth0 netns {}
             link set veth0 master cni0 up
             link set near master cni0 up
             addr add 10.62.0.1/24 dev far
             addr add fd62::1/64 dev far nodad
             link set far up",
            world.pod.name(),
            world.near.name(),
            world.far.name()
        ));
        for (one, net, host) in [(&world.pod, 61, 2), (&world.near, 61, 9), (&world.far, 62, 9)] {
            one.ip(&format!(
                "link set lo up
                 link set eth0 up
                 addr add 10.{net}.0.{host}/24 dev eth0
                 addr add fd{net}::{host}/64 dev eth0 nodad
                 route add default via 10.{net}.0.1
                 route add default via fd{net}::1"
            ));
        }
        world
    }

    /// Whether the pod answers a client's ping within a second.
    pub fn answers(&self, client: &Ns, address: &str) -> bool {
        client.try_run(&["ping", "-c", "1", "-W", "1", address]).is_ok()
    }

    #[track_caller]
    pub fn reachable(&self) {
        for client in [&self.near, &self.far] {
            for address in [POD, POD6] {
                eventually(address, || self.answers(client, address));
            }
        }
    }

    /// `netckpt` on the node.
    pub fn netckpt(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = vec![env!("CARGO_BIN_EXE_netckpt")];
        command.extend(arguments);
        command.extend(["--netns", self.pod.path().to_str().unwrap()]);
        self.node.try_run(&command)
    }
}

pub fn hold(id: &str, kind: Kind) -> Hold {
    Hold { id: id.parse::<Id>().unwrap(), kind }
}

pub fn note() -> Note {
    Note("a test".to_owned())
}

#[track_caller]
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Frames that come in on an interface, as tcpdump tells them.
pub struct Wire {
    tcpdump: Child,
    frames: tempfile::NamedTempFile,
}

impl Wire {
    /// Captures what `filter` says of what comes in on `eth0`.
    pub fn on(at: &Ns, filter: &str) -> Self {
        let frames = tempfile::NamedTempFile::new().unwrap();
        let out: File = frames.reopen().unwrap();
        let options = ["-i", "eth0", "-Q", "in", "-n", "-e", "-l", "--immediate-mode", filter];
        let mut tcpdump = Command::new("nsenter")
            .arg(format!("--net={}", at.path().display()))
            .arg("tcpdump")
            .args(options)
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump runs");
        let mut told = BufReader::new(tcpdump.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "tcpdump listens");
        }
        // It may tell more when it ends.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Self { tcpdump, frames }
    }

    pub fn seen(&self) -> String {
        std::thread::sleep(Duration::from_millis(100));
        std::fs::read_to_string(self.frames.path()).unwrap()
    }

    #[track_caller]
    pub fn is_silent(&self) {
        let seen = self.seen();
        assert!(seen.is_empty(), "something came: {seen}");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// A process inside a namespace that ends with the test.
pub struct Process(Child);

impl Process {
    pub fn start(at: &Ns, command: &[&str]) -> Self {
        // nsenter becomes the command, so that a signal reaches it.
        let child = Command::new("nsenter")
            .arg(format!("--net={}", at.path().display()))
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("nsenter runs"))
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
