//! What must not come to the client: a reset, an ICMP error.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Resets and ICMP errors, of both families: no echo, and no redirect, by which a router only tells a
/// shorter way. tcpdump's tcp[] is of IPv4 only.
const BAD: &str = "tcp[tcpflags] & tcp-rst != 0 or (ip6[6] == 6 and ip6[53] & 4 != 0) \
     or (icmp and icmp[0] != 0 and icmp[0] != 5 and icmp[0] != 8) or (icmp6 and ip6[40] < 128)";

/// A capture that runs.
pub struct Wire(Child);

impl Wire {
    /// On an interface of a network namespace, by its name or its path; in force when this returns.
    pub fn tap(netns: &str, interface: &str) -> Self {
        let path = if netns.contains('/') { netns } else { &format!("/run/netns/{netns}") };
        let mut child = Command::new("nsenter")
            .arg(format!("--net={path}"))
            .args(["tcpdump", "-n", "-l", "-U", "-Q", "in", "-i", interface, BAD])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump runs");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(said.read_line(&mut line).expect("text") > 0, "tcpdump did not start");
        }
        // Its last words must not meet a closed pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self(child)
    }

    /// Ends it; what was seen.
    pub fn seen(mut self) -> String {
        // What was sent is in the kernel's ring; tcpdump reads it within its timeout.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let mut text = String::new();
        let stdout = self.0.stdout.as_mut().expect("piped");
        stdout.read_to_string(&mut text).expect("text");
        // It ends its output with an empty line.
        text.trim().to_owned()
    }

    /// Nothing bad of these addresses may have been seen; others share the wire.
    #[allow(dead_code, reason = "each test takes what it needs")]
    #[track_caller]
    pub fn clean_of(self, addresses: &[String]) {
        let seen = self.seen();
        let of = |line: &&str| addresses.iter().any(|address| line.contains(address.as_str()));
        let bad: Vec<_> = seen.lines().filter(of).collect();
        assert!(bad.is_empty(), "on the client's wire:\n{}", bad.join("\n"));
    }

    /// Nothing bad may have been seen.
    #[allow(dead_code, reason = "each test takes what it needs")]
    #[track_caller]
    pub fn clean(self) {
        let seen = self.seen();
        assert!(seen.is_empty(), "on the client's wire:\n{seen}");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
