//! A real API server without nodes, and kubectl: one per test binary, ended with it (see `run.sh`).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The binaries that `tests/cluster/build.sh` builds once.
pub fn bin() -> PathBuf {
    let cache = std::env::var_os("NETCKPT_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/netckpt"),
        PathBuf::from,
    );
    cache.join("bin")
}

/// A binary of the cache.
///
/// # Panics
/// When it is not there: a test that can't run is a failed test.
pub fn tool(name: &str) -> PathBuf {
    let path = bin().join(name);
    assert!(path.exists(), "{} is missing: `make test` builds it", path.display());
    path
}

pub struct ApiServer {
    kubeconfig: PathBuf,
    /// Its standard input, open as long as this process lives.
    _runs: Child,
}

/// What a kubectl answered.
#[derive(Debug)]
pub struct Answer {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// Standard output of a call that must have gone well.
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert!(self.ok, "{}{}", self.out, self.err);
        self.out
    }

    /// Standard error of a call that must have failed, and said these words.
    #[track_caller]
    pub fn refused(self, with: &str) -> String {
        assert!(!self.ok, "not refused: {}", self.out);
        assert!(self.err.contains(with), "refused, but not with {with:?}: {}", self.err);
        self.err
    }
}

impl ApiServer {
    /// The API server of this test binary, started by the first test that asks.
    pub fn get() -> &'static Self {
        static SERVER: OnceLock<ApiServer> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        for name in ["etcd", "kube-apiserver", "kubectl"] {
            tool(name);
        }
        let ports: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut command =
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apiserver/run.sh"));
        command.arg(bin()).stdin(Stdio::piped()).stdout(Stdio::piped());
        for port in &ports {
            command.arg(port.local_addr().unwrap().port().to_string());
        }
        drop(ports);
        let mut runs = command.spawn().expect("bash runs");
        let mut line = String::new();
        BufReader::new(runs.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the API server did not start; it said why above");
        Self { kubeconfig: line.trim_end().into(), _runs: runs }
    }

    /// Path of the administrator's kubeconfig; other files of the server's life may go beside it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Its address, `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        let config = std::fs::read_to_string(&self.kubeconfig).expect("the kubeconfig is there");
        let (_, rest) = config.split_once("server: \"").expect("it names the server");
        let (server, _) = rest.split_once('"').expect("in quotes");
        server.to_owned()
    }

    /// kubectl as an administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Answer {
        self.run(arguments, None)
    }

    /// kubectl with something on its standard input.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Answer {
        self.run(arguments, Some(input))
    }

    /// kubectl as whom the token belongs to.
    pub fn kubectl_as(&self, token: &str, arguments: &[&str]) -> Answer {
        let mut all = vec!["--context", "nobody", "--token", token];
        all.extend(arguments);
        self.run(&all, None)
    }

    /// One PATCH of a path of the API, as a client library sends it; kubectl reads first, which takes
    /// a right more.
    pub fn patch_as(&self, token: &str, path: &str, kind: &str, body: &str) -> Answer {
        let server = self.url();
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--insecure",
                "--max-time",
                "30",
                "--request",
                "PATCH",
            ])
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .args(["--header", &format!("Content-Type: application/{kind}-patch+json")])
            .args(["--data", body, "--write-out", "\n%{http_code}", &format!("{server}{path}")])
            .output()
            .expect("curl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = said.rsplit_once('\n').unwrap_or((&said, ""));
        let ok = code == "200";
        let err = String::from_utf8_lossy(&output.stderr);
        Answer {
            ok,
            out: if ok { body.to_owned() } else { String::new() },
            err: if ok { String::new() } else { format!("{err}{body}") },
        }
    }

    fn run(&self, arguments: &[&str], input: Option<&str>) -> Answer {
        let mut child = Command::new(tool("kubectl"))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.kubeconfig.with_file_name("cache"))
            .args(["--request-timeout", "30s"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.unwrap_or_default().as_bytes()).expect("kubectl reads its input");
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        Answer {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
