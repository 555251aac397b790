//! Namespaces for tests: real ones, with unique names, gone when the test ends however it ends.
//!
//! Use with `mod netns;` from a file in `tests/`. The commands are the ecosystem's own (`ip`,
//! `sysctl`, ...): what they say is the measure that this project's own reading is held against.

#![allow(dead_code, reason = "each test takes what it needs")]

pub mod cases;
pub mod flows;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use netckpt::netns::Namespace;

/// A named network namespace that is removed on drop, with all that runs in it.
#[derive(Debug)]
pub struct Ns {
    name: String,
    path: PathBuf,
}

impl Ns {
    /// Makes a namespace whose name starts with `nckpt-` and `label`.
    pub fn new(label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nckpt-{label}-{}-{count}", std::process::id());
        succeed(Command::new("ip").args(["netns", "add", &name]));
        let path = Path::new("/run/netns").join(&name);
        Self { name, path }
    }

    /// As for `ip -n` and `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The namespace, opened.
    pub fn open(&self) -> Namespace {
        Namespace::open(&self.path).expect("the test's own namespace opens")
    }

    /// Runs a command inside and answers what it printed; a failing command fails the test.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> String {
        succeed(&mut self.command(command))
    }

    /// Runs a command inside that may fail: its output, or its error text.
    pub fn try_run(&self, command: &[&str]) -> Result<String, String> {
        output(&mut self.command(command))
    }

    /// Runs lines of `ip` commands in one process (`ip -batch`).
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        let lines: Vec<_> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let file = tempfile::NamedTempFile::new().expect("a file for ip -batch");
        std::fs::write(file.path(), lines.join("\n")).expect("lines for ip -batch");
        let batch = file.path().to_str().expect("a path in UTF-8");
        self.run(&["ip", "-batch", batch]);
    }

    /// Runs a shell script inside, ending at the first failure.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.run(&["sh", "-euc", script])
    }

    /// Waits until duplicate address detection is over for every address.
    #[track_caller]
    pub fn settle(&self) {
        self.sh("for i in $(seq 50); do \
                 ip -6 addr | grep -q tentative || exit 0; sleep 0.1; done; exit 1");
    }

    /// What a command says in JSON (`ip -j`, `tc -j`, `nft -j`).
    #[track_caller]
    pub fn json(&self, command: &[&str]) -> serde_json::Value {
        let text = self.run(command);
        // iproute2 prints nothing where there is nothing.
        if text.trim().is_empty() {
            return serde_json::Value::Array(Vec::new());
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command:?}: {error}: {text}"))
    }

    /// The command, to be run inside by the caller.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]).args(command);
        inside
    }
}

impl Drop for Ns {
    fn drop(&mut self) {
        // Processes that a test left behind keep a namespace alive: end those inside first.
        if let Ok(pids) = output(Command::new("ip").args(["netns", "pids", &self.name])) {
            for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
        if let Err(error) = output(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("{}: {error}", self.name);
        }
    }
}

/// Two namespaces: a pod, and the node that it is on.
#[derive(Debug)]
pub struct Pair {
    // Dropped first: the veth pair goes with either end.
    pub pod: Ns,
    pub node: Ns,
}

impl Pair {
    /// A bare pair: lo down on both sides, nothing else.
    pub fn bare(label: &str) -> Self {
        Self { pod: Ns::new(&format!("{label}-pod")), node: Ns::new(&format!("{label}-node")) }
    }

    /// As a CNI plugin leaves it: `eth0` in the pod with 10.61.0.2/24 and fd61::2/64, its peer
    /// `veth0` on the node with the gateways 10.61.0.1 and fd61::1, default routes, all up.
    pub fn wired(label: &str) -> Self {
        let pair = Self::bare(label);
        pair.wire();
        pair
    }

    /// Makes a bare pair what [`Self::wired`] says.
    pub fn wire(&self) {
        let pod = self.pod.name();
        self.node.ip(&format!(
            "link add veth0 type veth peer name eth0 netns {pod}
             link set lo up
             addr add 10.61.0.1/24 dev veth0
             addr add fd61::1/64 dev veth0 nodad
             link set veth0 up"
        ));
        self.pod.ip("link set lo up
             link set eth0 up
             addr add 10.61.0.2/24 dev eth0
             addr add fd61::2/64 dev eth0 nodad
             route add default via 10.61.0.1
             route add default via fd61::1");
    }
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    output(command).unwrap_or_else(|error| panic!("{error}"))
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{command:?} failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}
