//! The traffic program (`traffic/main.rs` tells what it can), for tests.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The program, built once for each process of tests.
pub fn traffic() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("traffic");
        let build = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/build.sh");
        let built = Command::new(build).arg(&file).status();
        assert!(built.expect("bash runs").success(), "{build} failed");
        file
    })
}

/// A client that runs until it is asked what it saw.
pub struct Client {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Client {
    /// `command` is the traffic program and its arguments, wherever it runs. It is connected then.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the client runs");
        let says = BufReader::new(child.stdout.take().expect("piped"));
        let mut client = Self { child, says };
        let mut line = String::new();
        client.says.read_line(&mut line).expect("text");
        assert_eq!(line, "connected\n", "{command:?}");
        client
    }

    /// Waits for its end; what it saw must be right. Answers its report.
    #[track_caller]
    pub fn finished(mut self) -> Value {
        let (report, good) = self.report();
        assert!(good, "the client saw {report:#}");
        report
    }

    /// Ends it; answers its report, and whether it found nothing wrong.
    #[track_caller]
    pub fn end(mut self) -> (Value, bool) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        self.report()
    }

    #[track_caller]
    fn report(&mut self) -> (Value, bool) {
        let mut text = String::new();
        self.says.read_to_string(&mut text).expect("text");
        let status = self.child.wait().expect("it ends");
        let last = text.lines().last().unwrap_or_else(|| panic!("no report: {status}"));
        (serde_json::from_str(last).expect("JSON"), status.success())
    }

    /// Ends it; what it saw must be right. Answers its report.
    #[track_caller]
    pub fn content(self) -> Value {
        let (report, good) = self.end();
        assert!(good, "the client saw {report:#}");
        report
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
