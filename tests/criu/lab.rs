//! Two nodes, a switch and a client, and a pod that moves with plain CRIU: no Kubernetes, no runtime.
//!
//! ```text
//!   client 10.71.0.20 ─┐          ┌─ node A 10.71.0.11 ─ cni0 10.72.1.1/24 ─ pod 10.72.1.5
//!                      ├─ switch ─┤
//!                      ┘          └─ node B 10.71.0.12 ─ cni0 10.72.2.1/24 ─ pod 10.72.2.5, then 10.72.1.5
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netckpt::capture::Standing;
use netckpt::hold::{Element, Hold, Kind, Note, criu};
use netckpt::image::{Image, Origin};
use netckpt::netlink::{Protocol, Socket};
use netckpt::netns::Namespace;
use netckpt::restore::Prepared;
use netckpt::{capture, restore};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::netns::Ns;
use crate::netns::flows::udp;
use crate::programs::{Client, traffic};

// Both nodes' bridges have one MAC, as gateways of routed pod networks often do: the pod's neighbour
// entry is right on either. Where they differ, the agent puts the entry right (src/host).

/// What the pod is reached by, wherever it is.
pub const ADDRESS4: &str = "10.72.1.5";
pub const ADDRESS6: &str = "fd72:1::5";
/// Port of the server in the pod.
pub const PORT: u16 = 7000;

pub struct Lab {
    pub client: Ns,
    nodes: [Ns; 2],
    _switch: Ns,
    mounts: Mounts,
    folder: tempfile::TempDir,
    moves: usize,
    /// Which node the pod is on.
    at: usize,
    pod: Ns,
    /// The server, a child of this process: CRIU leaves what it restores to whom it was started by.
    server: Pid,
}

/// How long the steps of a move took; the client's gap is its own to tell.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    /// Until the pod is silent, and was seen so.
    pub hold: Duration,
    /// CRIU.
    pub dump: Duration,
    /// Where it is staged: what has changed is captured, beside the dump.
    pub update: Duration,
    /// Capturing and rebuilding (staged: applying and verifying), beside the dump, and what of both the
    /// dump did not cover.
    pub network: Duration,
    pub waited: Duration,
    /// CRIU's lock is planted, netckpt's own hold lifted.
    pub release: Duration,
    /// The path leads to the other node (`ip`).
    pub switch: Duration,
    /// CRIU.
    pub restore: Duration,
    /// From the hold to the restored process.
    pub all: Duration,
}

/// How a pod moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// With CRIU alone.
    Alone,
    /// With netckpt, from nothing.
    Plain,
    /// With netckpt, which has prepared it.
    Staged,
}

impl Lab {
    /// The pod has `more` in its namespace (a shell script) before the server starts.
    pub fn new(more: &str) -> Self {
        let switch = Ns::new("criu-switch");
        switch.ip("link set lo up
             link add br0 type bridge mcast_snooping 0
             link set br0 up");
        let client = Ns::new("criu-client");
        let nodes = [Ns::new("criu-a"), Ns::new("criu-b")];
        plug(&switch, &client, 20);
        for (number, node) in (1..).zip(&nodes) {
            plug(&switch, node, 10 + number);
            node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
            node.ip(&format!(
                "link add cni0 address 02:72:00:00:00:01 type bridge
                 addr add 10.72.{number}.1/24 dev cni0
                 addr add fd72:{number}::1/64 dev cni0 nodad
                 link set cni0 up"
            ));
            client.ip(&format!(
                "route add 10.72.{number}.0/24 via 10.71.0.1{number}
                 route add fd72:{number}::/64 via fd71::1{number}"
            ));
        }
        let pod = attach(&nodes[0], 1, "host0");
        pod.sh(more);
        let folder = tempfile::tempdir().expect("a folder");
        let mounts = Mounts::new();
        set_child_subreaper(true).expect("this kernel has subreapers");
        let server = Pid::from_raw(mounts.serve(&pod).id().cast_signed());
        let _switch = switch;
        let lab = Self { client, nodes, _switch, mounts, folder, moves: 0, at: 0, pod, server };
        lab.answers();
        lab
    }

    /// Waits until the server answers.
    fn answers(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        let ask = format!("{ADDRESS4}:{PORT}");
        let asked = traffic().to_str().expect("UTF-8");
        while self.client.try_run(&[asked, "count", &ask, "--answers", "1"]).is_err() {
            assert!(Instant::now() < end, "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A client with these arguments of the traffic program, on the client machine.
    pub fn client(&self, arguments: &[&str]) -> Client {
        let program = [traffic().to_str().expect("UTF-8")];
        Client::start(&mut self.client.command(&[&program[..], arguments].concat()))
    }

    /// Moves the pod to the other node with netckpt and CRIU. Staged, its network is built there
    /// before anything is held, and only what has changed since is applied.
    pub fn go(&mut self, way: Way) -> Steps {
        let staged = way == Way::Staged;
        let mut steps = Steps::default();
        self.moves += 1;
        let to = 1 - self.at;
        let images = self.folder.path().join(self.moves.to_string());
        std::fs::create_dir(&images).expect("a folder");
        let port = format!("host{}", self.moves);
        let prepared = attach(&self.nodes[to], to + 1, &port);
        let (from, into) = (self.sides(self.at, &self.pod), self.sides(to, &prepared));
        if way == Way::Alone {
            return self.alone(&images, prepared);
        }
        let ready = staged.then(|| stage(&from, &into));

        let begun = Instant::now();
        // Nothing leaves the pod from here on, and what is captured is what is dumped.
        steps.hold = timed(|| hold(&from));
        std::thread::scope(|scope| {
            let network = scope.spawn(|| match ready {
                Some(ready) => ready.follow(),
                None => [Duration::ZERO, timed(|| rebuild(&capture(&from), &into))],
            });
            steps.dump = timed(|| self.dump(&images));
            steps.waited = timed(|| [steps.update, steps.network] = network.join().expect("done"));
        });
        steps.release = timed(|| {
            let lock = criu::Watch::open(&from.pod).and_then(|mut watch| watch.lock());
            let lock = lock.expect("the ruleset is read").expect("CRIU has locked the pod");
            criu::plant(&into.pod, &lock).expect("it is planted");
            if staged {
                own_hold().lift(Some(&into.pod), &into.node).expect("it is lifted");
            }
        });
        steps.switch = timed(|| self.lead(to));
        steps.restore = timed(|| self.restore(&images, &prepared));
        steps.all = begun.elapsed();
        (self.at, self.pod) = (to, prepared);
        // Its pod is gone with its links; on the node it would still hold the addresses.
        own_hold().lift(None, &from.node).expect("it is lifted");
        steps
    }

    /// Without netckpt: the namespace is made by hand, and led to once its sockets are there. CRIU's
    /// lock keeps the source silent.
    fn alone(&mut self, images: &Path, prepared: Ns) -> Steps {
        let to = 1 - self.at;
        prepared.ip(&format!(
            "addr flush dev eth0
             addr add {ADDRESS4}/24 dev eth0
             addr add {ADDRESS6}/64 dev eth0 nodad
             route replace default via 10.72.1.1
             route replace default via fd72:1::1"
        ));
        let (mut steps, begun) = (Steps::default(), Instant::now());
        steps.dump = timed(|| self.dump(images));
        steps.restore = timed(|| self.restore(images, &prepared));
        steps.switch = timed(|| self.lead(to));
        steps.all = begun.elapsed();
        (self.at, self.pod) = (to, prepared);
        steps
    }

    /// Entries of flows of others that both nodes track.
    #[allow(dead_code, reason = "the benchmark of the gap takes it")]
    pub fn crowd(&self, entries: u32) {
        let each = entries / 2;
        for node in &self.nodes {
            let made = node.open().run(|| {
                let mut socket = Socket::open(Protocol::Netfilter)?;
                let all: Vec<_> = (0..each).map(foreign).collect();
                socket.batch(all.iter().map(Vec::as_slice))
            });
            assert_eq!(made.expect("inside").expect("the kernel answers"), []);
        }
    }

    fn sides(&self, node: usize, pod: &Ns) -> Sides {
        Sides { pod: pod.open(), node: self.nodes[node].open() }
    }

    /// CRIU ends the process; it is our child, and its number must be free for the restore.
    fn dump(&self, images: &Path) {
        let inode = File::open(self.pod.path()).and_then(|file| file.metadata()).expect("a netns");
        let external = format!("net[{}]:podnet", inode.ino());
        let mut dump = self.mounts.criu(images);
        dump.args([
            "dump",
            "-t",
            &self.server.to_string(),
            "--external",
            &external,
            "-o",
            "dump.log",
        ]);
        run(&mut dump, &images.join("dump.log"));
        waitpid(self.server, None).expect("it is our child");
    }

    fn restore(&self, images: &Path, into: &Ns) {
        let netns = File::open(into.path()).expect("the namespace opens");
        let mut restore = self.mounts.criu(images);
        restore.args(["restore", "--inherit-fd", "fd[9]:podnet", "-d", "-o", "restore.log"]);
        let fd = netns.as_raw_fd();
        // SAFETY: both calls are async-signal-safe, and 9 is nobody else's in the child. Where it is the
        // namespace already, dup2 does nothing, and it would be closed.
        unsafe {
            restore.pre_exec(move || match (libc::dup2(fd, 9), libc::fcntl(9, libc::F_SETFD, 0)) {
                (9, 0) => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        run(&mut restore, &images.join("restore.log"));
    }

    /// The address is reached through the node from now on, by the client and by the other node.
    fn lead(&self, to: usize) {
        let (node, other) = (&self.nodes[to], &self.nodes[1 - to]);
        let number = to + 1;
        let away = format!(
            "route replace {ADDRESS4}/32 via 10.71.0.1{number}
             route replace {ADDRESS6}/128 via fd71::1{number}"
        );
        // The node first: one that has no way yet would answer that there is none.
        if to == 0 {
            // At home its subnet leads to it.
            node.ip(&format!("route del {ADDRESS4}/32\nroute del {ADDRESS6}/128"));
        } else {
            node.ip(&format!(
                "addr replace 10.72.1.1/32 dev cni0
                 addr replace fd72:1::1/128 dev cni0 nodad
                 route replace {ADDRESS4}/32 dev cni0
                 route replace {ADDRESS6}/128 dev cni0"
            ));
        }
        // The other node as well: it has told the client the shorter way to it while the pod was there.
        other.ip(&away);
        self.client.ip(&away);
    }
}

/// A machine at the switch, with DAD off everywhere: an address is there at once.
fn plug(switch: &Ns, ns: &Ns, part: usize) {
    ns.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    switch.ip(&format!(
        "link add p{part} type veth peer name eth0 netns {}
         link set p{part} master br0 up",
        ns.name()
    ));
    ns.ip(&format!(
        "link set lo up
         link set eth0 up
         addr add 10.71.0.{part}/24 dev eth0
         addr add fd71::{part}/64 dev eth0 nodad"
    ));
}

/// A pod as a CNI plugin makes it; the outer end of its eth0 is `end`.
fn attach(node: &Ns, number: usize, end: &str) -> Ns {
    let pod = Ns::new("criu-pod");
    node.ip(&format!(
        "link add {end} type veth peer name eth0 netns {}
         link set {end} master cni0 up",
        pod.name()
    ));
    pod.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    pod.ip(&format!(
        "link set lo up
         link set eth0 up
         addr add 10.72.{number}.5/24 dev eth0
         addr add fd72:{number}::5/64 dev eth0 nodad
         route add default via 10.72.{number}.1
         route add default via fd72:{number}::1"
    ));
    pod
}

/// A pod's namespace and its node's.
struct Sides {
    pod: Namespace,
    node: Namespace,
}

fn own_hold() -> Hold {
    Hold { id: "move".parse().expect("a name"), kind: Kind::Source }
}

fn hold(on: &Sides) {
    let (time, note) = (Element::For(Duration::from_secs(60)), Note("the move".to_owned()));
    own_hold().take(&on.pod, &on.node, time, &note).expect("it is held");
}

fn capture(from: &Sides) -> Image {
    let options = capture::Options::default();
    let captured = capture::network(&from.pod, Some(&from.node), &options);
    captured.expect("it is captured").into_image(Origin::default())
}

/// A move that is prepared: both ends are stood by.
struct Ready {
    source: Standing,
    target: Prepared,
}

fn stage(from: &Sides, into: &Sides) -> Ready {
    let options = capture::Options::default();
    let (source, early) =
        Standing::open(&from.pod, Some(&from.node), &options).expect("it stands by");
    // Two pods with one address on one wire: the one that waits is silent.
    hold(into);
    let early = early.into_image(Origin::default());
    let options = restore::Options::default();
    let target = Prepared::new(&into.pod, Some(&into.node), &early, &options);
    Ready { source, target: target.expect("it is prepared") }
}

impl Ready {
    /// How long the last capture has taken, and how long it took to apply it.
    fn follow(mut self) -> [Duration; 2] {
        let mut image = None;
        let update = timed(|| {
            let last = self.source.update().expect("it is captured");
            image = Some(last.captured.into_image(Origin::default()));
        });
        let image = image.expect("just made");
        [update, timed(|| drop(self.target.follow(&image).expect("it follows")))]
    }
}

#[allow(dead_code, reason = "the benchmark of the gap takes it")]
/// A flow that is of nobody here.
fn foreign(number: u32) -> Vec<u8> {
    let [_, high, middle, low] = number.to_be_bytes();
    udp([10, 99, 0, 2], [10, 100 + high, middle, low])
}

fn rebuild(image: &Image, into: &Sides) {
    let options = restore::Options::default();
    restore::restore(&into.pod, Some(&into.node), image, &options).expect("it is rebuilt");
}

fn timed(step: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    step();
    begun.elapsed()
}

fn run(command: &mut Command, log: &Path) {
    let output = command.output().expect("criu runs");
    if !output.status.success() {
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(25).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{command:?}: {}\n{}\n{said}", output.status, tail.join("\n"));
    }
}

/// A mount namespace with a tmpfs on /run, where CRIU keeps what it found out of the kernel; on any
/// other file system it would find it out each time. The server lives in it, too, or CRIU would have
/// to dump its mounts.
struct Mounts {
    holder: Child,
}

impl Mounts {
    fn new() -> Self {
        let script = "mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says that it is ready");
        assert_eq!(line, "ready\n");
        Self { holder }
    }

    fn enter(&self) -> Command {
        let mut enter = Command::new("nsenter");
        enter.args(["--mount", "-t", &self.holder.id().to_string()]);
        enter.stdin(Stdio::null());
        enter
    }

    /// The server, in the pod's network and in a session of its own. Its files are opened inside: CRIU
    /// has to find their mounts, also those of what whoever runs the tests left open.
    fn serve(&self, pod: &Ns) -> Child {
        let net = format!("--net={}", pod.path().display());
        let script = r#"for fd in /proc/self/fd/*; do
                fd=${fd##*/}; ((fd <= 2)) || eval "exec $fd>&-"
            done
            exec setsid "$0" serve "$1" </dev/null >/dev/null 2>&1"#;
        let mut serve = self.enter();
        serve.args([&net, "--", "bash", "-c", script]).arg(traffic()).arg(PORT.to_string());
        serve.spawn().expect("the server runs")
    }

    fn criu(&self, images: &Path) -> Command {
        let home = PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
        let cache = std::env::var_os("NETCKPT_CACHE");
        let cache = cache.map_or_else(|| home.join(".cache/netckpt"), PathBuf::from);
        let criu = cache.join("bin/criu");
        assert!(criu.exists(), "{} is missing: tests/cluster/criu.sh", criu.display());
        let mut command = self.enter();
        command.arg("--").arg(criu).arg("-D").arg(images);
        command.args(["-v3", "--tcp-established", "--network-lock", "nftables"]);
        command
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = kill(self.server, Signal::SIGKILL);
        let _ = waitpid(self.server, None);
    }
}
