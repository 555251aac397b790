//! The same work by the ecosystem's tools, as a careful script does it.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::netns::{Ns, Pair};
use crate::pods::Size;

/// All that a script can ask for of what is in these pods.
const CAPTURE: &str = "\
    ip -d -j link; ip -j addr; ip -j -4 route show table all; ip -j -6 route show table all
    ip -j -4 rule; ip -j -6 rule; ip -j neigh; ip -j nexthop; nft -j list ruleset
    conntrack -L -o save 2>/dev/null; sysctl -a -r '^net' 2>/dev/null";

/// Prints everything into nothing.
pub fn capture(pair: &Pair) {
    let mut script = pair.pod.command(&["sh", "-c", CAPTURE]);
    let ended = script.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(ended.expect("sh runs").success());
}

/// The files that a script restores from.
#[derive(Debug)]
pub struct Saved {
    folder: tempfile::TempDir,
    rules: bool,
    flows: bool,
}

impl Saved {
    pub fn of(size: Size, source: &Pair) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("a file");
        };
        write("ip", size.ip());
        write("nft", size.nft());
        let flows = size.flows > 0;
        if flows {
            write("flows", source.pod.run(&["conntrack", "-L", "-o", "save"]));
        }
        Self { folder, rules: size.rules > 0, flows }
    }

    /// Makes a namespace and the pod in it; the outer end is made in `node`.
    pub fn restore(&self, size: Size, node: &Ns, name: &str) {
        let file = |name: &str| self.folder.path().join(name);
        std::fs::write(file("node"), size.node(name)).expect("a file");
        let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        run(Command::new("ip").args(["netns", "add", name]));
        run(Command::new("ip").args(["-n", node.name(), "-batch", &path(&file("node"))]));
        run(Command::new("ip").args(["-n", name, "-batch", &path(&file("ip"))]));
        let inside = |command: &[&str]| {
            run(Command::new("ip").args(["netns", "exec", name]).args(command));
        };
        if self.rules {
            inside(&["nft", "-f", &path(&file("nft"))]);
        }
        if self.flows {
            inside(&["conntrack", "-R", &path(&file("flows"))]);
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}
