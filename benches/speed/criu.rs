//! CRIU's dump and restore of a network namespace: of a process that sleeps in it, the time with the
//! namespace less the time with the namespace left out (`external`).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::netns::Pair;

/// The folder that `tests/cluster/criu.sh` installs it to.
const CACHE: &str = ".cache/netckpt/bin/criu";

/// Where it is: on `PATH`, or as the tests install it.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("criu"));
    let cached = std::env::var_os("HOME").map(|home| Path::new(&home).join(CACHE));
    on_path.chain(cached).find(|path| path.exists())
}

/// One dump and one restore. `None`, with CRIU's own words, where it can't.
pub fn measure(criu: &Path, pair: &Pair) -> Option<(Duration, Duration)> {
    let (own, left_out) = (once(criu, pair, false)?, once(criu, pair, true)?);
    Some((own.0.saturating_sub(left_out.0), own.1.saturating_sub(left_out.1)))
}

fn once(criu: &Path, pair: &Pair, external: bool) -> Option<(Duration, Duration)> {
    let folder = tempfile::tempdir().ok()?;
    let images = folder.path().to_str()?;
    let mut sleeper = Sleeper::start(pair)?;
    let pid = sleeper.0.id().to_string();
    let inode = std::fs::metadata(pair.pod.path()).ok()?;
    let inode = std::os::unix::fs::MetadataExt::ino(&inode);
    let named = format!("net[{inode}]:left");
    let common = ["-D", images, "--manage-cgroups=ignore", "-v1", "-o"];
    let mut dump = vec!["dump", "-t", &pid];
    if external {
        dump.extend(["--external", &named]);
    }
    dump.extend(common);
    dump.push("dump.log");
    let dumped = timed(criu, pair, &dump, folder.path(), "dump.log")?;
    sleeper.end();
    let mut restore = vec!["restore", "-d", "--pidfile", "pid"];
    let veth = format!("veth[eth0]:criu{}", std::process::id() % 10_000);
    match external {
        true => restore.extend(["--inherit-fd", "fd[3]:left"]),
        false => restore.extend(["--external", &veth]),
    }
    restore.extend(common);
    restore.push("restore.log");
    let restored = timed(criu, pair, &restore, folder.path(), "restore.log")?;
    let pid = std::fs::read_to_string(folder.path().join("pid")).ok()?;
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().ok()?);
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    Some((dumped, restored))
}

/// Runs it in the node's namespace, with the pod's as descriptor 3.
fn timed(
    criu: &Path,
    pair: &Pair,
    arguments: &[&str],
    folder: &Path,
    log: &str,
) -> Option<Duration> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", pair.node.path().display()));
    command.args(["sh", "-c", "exec \"$@\" 3<\"$0\""]).arg(pair.pod.path()).arg(criu);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let ended = command.status().ok()?;
    let took = start.elapsed();
    if !ended.success() {
        let log = std::fs::read_to_string(folder.join(log)).unwrap_or_default();
        let why = log.lines().find(|line| line.contains("Error")).unwrap_or("no word of why");
        eprintln!("criu {}: {why}", arguments[0]);
        return None;
    }
    Some(took)
}

/// A process that does nothing in the pod.
struct Sleeper(Child);

impl Sleeper {
    fn start(pair: &Pair) -> Option<Self> {
        let net = format!("--net={}", pair.pod.path().display());
        let mut command = Command::new("setsid");
        command.args(["nsenter", &net, "sleep", "1000"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let sleeper = Self(command.spawn().ok()?);
        let program = format!("/proc/{}/comm", sleeper.0.id());
        // Until it is the last of the three programs.
        for _ in 0..200 {
            if std::fs::read_to_string(&program).is_ok_and(|name| name.trim() == "sleep") {
                return Some(sleeper);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.end();
    }
}
