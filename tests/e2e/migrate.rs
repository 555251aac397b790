//! Pods that move between two kubelets with their open connections, by `netckpt migrate`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::lab::{Namespace, Storage, eventually, kill_agent, on_node, run_folder};
use crate::programs::{Client, traffic};
use crate::wire::Wire;

/// Network namespace of the machine that the clients are on, and its interface.
pub const MACHINE: &str = "netckpt-client";
pub const INTERFACE: &str = "eth0";
/// Port of the server in the pods.
pub const PORT: u16 = 7000;
/// What tells CRIU to carry open connections (`tests/cluster/node.sh`).
const CRIU: &str = "/etc/criu/established.conf";

/// A pod with the server of the traffic program; answers its addresses, IPv4 first.
fn server(namespace: &Namespace, name: &str, node: &str) -> Vec<String> {
    create(namespace, name, node, &json!({}));
    addresses(&namespace.running(name))
}

pub fn create(namespace: &Namespace, name: &str, node: &str, more: &Value) {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": {"org.criu.config": CRIU}},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": "localhost/netckpt-test:latest", "imagePullPolicy": "Never",
                "command": ["traffic", "serve", PORT.to_string()],
            }],
        },
    });
    for part in ["metadata", "spec"] {
        if let (Some(into), Some(from)) = (pod[part].as_object_mut(), more[part].as_object()) {
            into.extend(from.clone());
        }
    }
    namespace.feed(&["create", "-f", "-"], &pod.to_string()).succeeds();
}

pub fn addresses(pod: &Value) -> Vec<String> {
    let ips = pod["status"]["podIPs"].as_array().expect("it has addresses");
    ips.iter().map(|ip| ip["ip"].as_str().expect("text").to_owned()).collect()
}

pub fn at(address: &str) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{PORT}"),
        false => format!("{address}:{PORT}"),
    }
}

/// A client on its machine, outside of the cluster.
fn client(arguments: &[&str]) -> Client {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", MACHINE]).arg(traffic()).args(arguments);
    Client::start(&mut command)
}

/// `netckpt migrate`.
pub fn migrate(namespace: &Namespace, pod: &str, to: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netckpt"));
    command.args(["migrate", pod, "--namespace", namespace.name(), "--to", to]).args(more);
    command.env("KUBECONFIG", run_folder().join("kubeconfig"));
    command
}

/// Moves a pod; answers the name of its successor.
#[track_caller]
pub fn moved(namespace: &Namespace, pod: &str, to: &str, more: &[&str]) -> String {
    let output = migrate(namespace, pod, to, more).output().expect("netckpt runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    eprintln!("{told}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Why a pod was not moved.
#[track_caller]
fn not_moved(namespace: &Namespace, pod: &str, to: &str, more: &[&str]) -> String {
    let output = migrate(namespace, pod, to, more).output().expect("netckpt runs");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A move leaves the pod that goes on, and nothing else.
#[track_caller]
fn nothing_but(namespace: &Namespace, pod: &str) {
    eventually(&format!("{pod} alone is left"), || {
        let names = ["get", "pods,netcheckpoints", "-o", "name"];
        (namespace.kubectl(&names).succeeds().trim() == format!("pod/{pod}")).then_some(())
    });
    for node in ["node-a", "node-b"] {
        let archives = run_folder().join(node).join("data/var/lib/kubelet/checkpoints");
        let left: Vec<_> = archives_of(&archives, namespace.name());
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Nothing is left of the hold of a pod that has taken over: leave would end with its source's time.
#[track_caller]
fn speaks_for_good(pod: &Value) {
    let (node, uid) = (pod["spec"]["nodeName"].as_str(), pod["metadata"]["uid"].as_str());
    let table = format!("netckpt-wait-{}", uid.expect("it has one"));
    let node = node.expect("it is on one");
    eventually("it speaks for good", || {
        (!on_node(node, &["nft", "list", "tables"]).contains(&table)).then_some(())
    });
}

fn archives_of(folder: &Path, namespace: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(&format!("_{namespace}-"))).collect()
}

/// Moves a server there and back under a client outside of the cluster, who sees nothing but a pause.
/// Answers what it saw.
#[track_caller]
fn there_and_back(more: &[&str], what: impl Fn(&[String]) -> Vec<String>) -> Value {
    let namespace = Namespace::new();
    let ips = server(&namespace, "web", "node-a");
    let wire = Wire::tap(MACHINE, INTERFACE);
    let arguments = what(&ips);
    let client = client(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let mut pod = "web".to_owned();
    for node in ["node-b", "node-a"] {
        std::thread::sleep(Duration::from_millis(500));
        pod = moved(&namespace, &pod, node, more);
        let told = namespace.running(&pod);
        assert_eq!(addresses(&told), ips, "the pod keeps its addresses");
        assert_eq!(told["spec"]["nodeName"], node);
        speaks_for_good(&told);
    }
    // The client's retransmission timer has grown to as much as the pause was long.
    std::thread::sleep(Duration::from_millis(5000));
    let report = client.content();
    eprintln!("{report}");
    assert!(report["silentMs"].as_f64() < Some(1000.0), "it does not go on: {report}");
    wire.clean_of(&ips);
    nothing_but(&namespace, &pod);
    report
}

#[test]
fn a_connection_moves_there_and_back() {
    let report = there_and_back(&[], |ips| vec!["count".into(), at(&ips[0])]);
    assert!(report["answers"].as_u64() > Some(100), "{report}");
}

#[test]
fn a_connection_over_ipv6_moves_there_and_back() {
    there_and_back(&[], |ips| vec!["count".into(), at(&ips[1])]);
}

#[test]
fn a_connection_moves_to_a_successor_that_was_prepared() {
    there_and_back(&["--staged"], |ips| vec!["count".into(), at(&ips[0])]);
}

#[test]
fn a_thousand_connections_move_there_and_back() {
    there_and_back(&[], |ips| {
        let many = ["--connections", "1000", "--every", "200"].map(str::to_owned);
        [vec!["count".into(), at(&ips[0])], many.to_vec()].concat()
    });
}

#[test]
fn streams_both_ways_lose_no_byte() {
    there_and_back(&[], |ips| vec!["bulk".into(), "both".into(), at(&ips[0])]);
}

#[test]
fn a_half_closed_connection_goes_on() {
    there_and_back(&[], |ips| vec!["half".into(), at(&ips[0])]);
}

#[test]
fn datagrams_find_the_same_server() {
    there_and_back(&[], |ips| vec!["datagrams".into(), at(&ips[0])]);
}

/// The successor is refused, or its node is not fit: the source goes on as if nothing had been.
#[test]
fn what_can_t_be_moved_is_refused_and_undisturbed() {
    let namespace = Namespace::new();
    let volumes = json!({"spec": {"volumes": [{"name": "data", "emptyDir": {}}]}});
    create(&namespace, "web", "node-a", &volumes);
    namespace.running("web");
    let told = not_moved(&namespace, "web", "node-b", &[]);
    assert!(told.contains("emptyDir"), "{told}");
    let told = not_moved(&namespace, "web", "node-z", &[]);
    assert!(told.contains("node-z"), "{told}");
    namespace.delete_pod("web");
    create(&namespace, "plain", "node-a", &json!({"metadata": {"annotations": {}}}));
    namespace.running("plain");
    let told = not_moved(&namespace, "plain", "node-b", &[]);
    assert!(told.contains("org.criu.config"), "{told}");
    nothing_but(&namespace, "plain");
}

/// A client that talks to a pod whose move fails: the pause is all that it sees.
#[track_caller]
fn goes_on_though(namespace: Namespace, fails: impl FnOnce(&Namespace) -> String) {
    let ips = server(&namespace, "web", "node-a");
    let wire = Wire::tap(MACHINE, INTERFACE);
    let client = client(&["count", &at(&ips[0])]);
    let told = fails(&namespace);
    eprintln!("{told}");
    nothing_but(&namespace, "web");
    std::thread::sleep(Duration::from_millis(3000));
    let report = client.content();
    eprintln!("{report}");
    assert!(report["silentMs"].as_f64() < Some(1000.0), "it does not go on: {report}");
    wire.clean_of(&ips);
}

#[test]
fn the_source_goes_on_when_the_store_is_away() {
    // Nothing listens there.
    let s3 = json!({"bucket": "images", "endpoint": "http://127.0.0.1:9", "allowHTTP": true,
                    "secretRef": {"name": "netckpt-store"}});
    let storage = Storage::new("e2e-move-away", &json!({"type": "S3", "s3": s3}));
    goes_on_though(Namespace::new(), |namespace| {
        let more = ["--storage", "e2e-move-away", "--hold-timeout", "12"];
        not_moved(namespace, "web", "node-b", &more)
    });
    drop(storage);
}

#[test]
fn the_source_goes_on_when_the_command_is_interrupted() {
    for pause in [50, 300, 700] {
        goes_on_though(Namespace::new(), |namespace| {
            let child = migrate(namespace, "web", "node-b", &[])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("netckpt runs");
            std::thread::sleep(Duration::from_millis(pause));
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT);
            let output = child.wait_with_output().expect("it ends");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "after {pause} ms: {told}");
            assert!(told.contains("interrupted"), "{told}");
            told
        });
    }
}

#[test]
fn the_source_goes_on_when_criu_is_killed_on_the_destination() {
    goes_on_though(Namespace::alone(), |namespace| {
        // Whatever is tried, CRIU dies at once there: in that machine's mount namespace, and not this
        // shell, whose words have the pattern in brackets.
        let deadly = tempfile::NamedTempFile::new().expect("a file");
        let script = format!(
            "end=$(($(date +%s) + 60)); \
             while [ -e {} ] && [ $(date +%s) -lt $end ]; do \
             pkill -KILL --ns $$ --nslist mnt -f '[c]riu swrk'; sleep 0.01; done",
            deadly.path().display()
        );
        let on = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/on.sh");
        let mut killer = Command::new(on).args(["node-b", "sh", "-c", &script]).spawn().unwrap();
        let told = not_moved(namespace, "web", "node-b", &["--hold-timeout", "20"]);
        drop(deadly);
        killer.wait().expect("it ends with its file");
        told
    });
}

/// The agent of the destination dies and comes back: the move fails and is undone, or it succeeds; the
/// connection goes on either way.
#[test]
fn an_agent_that_is_killed_in_the_middle_costs_no_connection() {
    for (node, pause) in [("node-b", 200), ("node-a", 300), ("node-b", 700)] {
        let namespace = Namespace::alone();
        let ips = server(&namespace, "web", "node-a");
        let client = client(&["count", &at(&ips[0])]);
        let begun = Instant::now();
        let child = migrate(&namespace, "web", "node-b", &[])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("netckpt runs");
        std::thread::sleep(Duration::from_millis(pause));
        kill_agent(node);
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        let end = Instant::now() + Duration::from_secs(70);
        eprintln!("{node} after {pause} ms: {}\n{told}", output.status);
        let mut last = 0;
        // Whatever became of it, answers come again before the hold's time is long over.
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(500));
            let pods = namespace.kubectl(&["get", "pods", "-o", "name"]).succeeds();
            last = pods.lines().count();
            if last == 1 {
                break;
            }
        }
        assert_eq!(last, 1, "one pod is left: {told}");
        // The client's retransmission timer has grown to as much as the pause was long.
        std::thread::sleep(begun.elapsed() + Duration::from_millis(3000));
        let report = client.content();
        eprintln!("{report}");
        assert!(report["silentMs"].as_f64() < Some(2000.0), "{report} after {told}");
    }
}

/// Twenty moves each way of moving, and what they took: the server pushes a number each two
/// milliseconds, so that the gap is not rounded up to the client's retransmission timer. netckpt's share
/// is what is left of the pause without kubelet, containerd and CRIU: the hold and the transfer.
///
/// `cargo test --test e2e -- --ignored --nocapture measured`
#[test]
#[ignore = "a measurement for people, not a check"]
fn measured() {
    for more in [&[][..], &["--staged"][..]] {
        let namespace = Namespace::new();
        let ips = server(&namespace, "web", "node-a");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("timeline.json");
        let (mut pod, mut gaps) = ("web".to_owned(), Vec::new());
        let mut steps: std::collections::BTreeMap<String, Vec<f64>> = Default::default();
        for number in 0..20 {
            let node = ["node-b", "node-a"][number % 2];
            let client = client(&["half", &at(&ips[0])]);
            std::thread::sleep(Duration::from_millis(500));
            let timeline = ["--timeline", file.to_str().expect("UTF-8")];
            pod = moved(&namespace, &pod, node, &[more, &timeline[..]].concat());
            std::thread::sleep(Duration::from_millis(1000));
            gaps.push(client.content()["longestGapMs"].as_f64().unwrap_or(f64::NAN));
            let text = std::fs::read(&file).expect("the timeline");
            let timeline: netckpt::migrate::Timeline = serde_json::from_slice(&text).expect("JSON");
            for span in &timeline.steps {
                let took = (span.end_micros - span.begin_micros) as f64 / 1000.0;
                steps.entry(span.step.clone()).or_default().push(took);
            }
        }
        println!("\nnetckpt migrate {}, 20 moves     median    worst (ms)", more.join(" "));
        line("client's longest gap", gaps);
        steps.into_iter().for_each(|(step, times)| line(&step, times));
    }
}

fn line(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!("{what:<32}{median:>9.1} {:>8.1}", times[times.len() - 1]);
}
