//! A pod's network through a whole CNI chain, as a runtime runs it: the real plugins `bridge` and
//! `host-local`, then ours from the conflist that `cni-install` has changed, with the agent's socket
//! behind it. A pod of node A is captured and comes back on node B.

mod netns;

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use netckpt::capture::{self, capture};
use netckpt::controller::destination::rebuild::Rebuild;
use netckpt::gate::attachment::Checked;
use netckpt::gate::install::{self, Done};
use netckpt::gate::protocol::{Answer, Attachment, Refused};
use netckpt::gate::server::{Attachments, Server};
use netckpt::host::{Pod, Ways};
use netckpt::image::{Image, Origin, Unsupported};
use netckpt::restore;
use netns::Ns;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The CNI project's own plugins, from the folder that `tests/cluster/install.sh` fills.
fn plugins() -> PathBuf {
    let cache = std::env::var_os("NETCKPT_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/netckpt"),
        PathBuf::from,
    );
    let plugins = cache.join("bin/cni");
    assert!(plugins.join("bridge").exists(), "{plugins:?} lacks the CNI plugins: make cluster");
    plugins
}

/// A node: its namespace, its CNI folders, and what its address management remembers.
struct Node {
    ns: Ns,
    folder: tempfile::TempDir,
}

impl Node {
    /// Node number `own`, with the pod ranges 10.244.`own`.0/24 and fd00:`own`::/64.
    fn new(label: &str, own: u8) -> Self {
        Self::with(label, own, &[])
    }

    /// As [`Self::new`], with more plugins behind `bridge`.
    fn with(label: &str, own: u8, more: &[Value]) -> Self {
        let node = Self { ns: Ns::new(label), folder: tempfile::tempdir().unwrap() };
        node.ns.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
                    net.ipv6.conf.default.accept_dad=0; ip link set lo up");
        let mut list = json!({
            "cniVersion": "1.0.0", "name": "lab",
            "plugins": [{
                "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": node.folder.path().join("ipam"),
                    "ranges": [[{"subnet": format!("10.244.{own}.0/24")}],
                               [{"subnet": format!("fd00:{own}::/64")}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                },
            }],
        });
        list["plugins"].as_array_mut().unwrap().extend(more.iter().cloned());
        std::fs::create_dir(node.conf_dir()).unwrap();
        std::fs::write(node.conf_dir().join("10-lab.conflist"), list.to_string()).unwrap();
        std::fs::create_dir(node.bin_dir()).unwrap();
        for plugin in ["bridge", "host-local", "portmap"] {
            std::fs::copy(plugins().join(plugin), node.bin_dir().join(plugin)).unwrap();
        }
        let plugin = Path::new(env!("CARGO_BIN_EXE_netckpt-cni"));
        install::binary(plugin, &node.bin_dir()).unwrap();
        let done = install::entry(&node.conf_dir(), node.socket().to_str().unwrap()).unwrap();
        assert!(matches!(done, Done::Changed(_)));
        node
    }

    fn conf_dir(&self) -> PathBuf {
        self.folder.path().join("net.d")
    }

    fn bin_dir(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/agent.sock")
    }

    fn plugins(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.conf_dir().join("10-lab.conflist")).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        list["plugins"].as_array().unwrap().clone()
    }

    /// ADD of the whole chain.
    fn add(&self, pod: &Ns, container: &str, annotations: &Value) -> Result<Value, Value> {
        let mut previous = None;
        for plugin in self.plugins() {
            let ran = self.run("ADD", &plugin, pod.path(), container, annotations, previous);
            previous = Some(ran?);
        }
        Ok(previous.unwrap())
    }

    /// DEL of the whole chain, last plugin first.
    fn del(&self, netns: &Path, container: &str, annotations: &Value) {
        for plugin in self.plugins().iter().rev() {
            self.run("DEL", plugin, netns, container, annotations, None).unwrap();
        }
    }

    /// One plugin as libcni runs it: the list's name and version, the previous result, and of the
    /// runtime's capabilities those that the entry asks for.
    fn run(
        &self,
        command: &str,
        plugin: &Value,
        netns: &Path,
        container: &str,
        annotations: &Value,
        previous: Option<Value>,
    ) -> Result<Value, Value> {
        const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";
        let mut config = plugin.clone();
        config["cniVersion"] = json!("1.0.0");
        config["name"] = json!("lab");
        if plugin["capabilities"][ANNOTATIONS] == json!(true) {
            config["runtimeConfig"] = json!({ANNOTATIONS: annotations});
        }
        if plugin["capabilities"]["portMappings"] == json!(true) {
            let mapping = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
            config["runtimeConfig"] = json!({"portMappings": [mapping]});
        }
        if let Some(previous) = previous {
            config["prevResult"] = previous;
        }
        let binary = self.bin_dir().join(plugin["type"].as_str().unwrap());
        let mut child = self
            .ns
            .command(&[binary.to_str().unwrap()])
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.bin_dir())
            .env(
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u-1",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if output.status.success() { Ok(json) } else { Err(json) }
    }

    /// What is left of restored pods.
    fn ways(&self) -> String {
        self.ns.sh("ip route show proto 78; ip -6 route show proto 78
                    ip addr show dev cni0 | grep 'inet 10.244.1.1\\|inet6 fd00:1::1' || true
                    cat /proc/sys/net/ipv4/conf/cni0/proxy_arp")
    }
}

/// The agent's work without the API server: the image is given.
struct Agent {
    image: Arc<Image>,
    ways: Arc<Ways>,
}

impl Attachments for Agent {
    async fn add(&self, attachment: Attachment, _end: tokio::time::Instant) -> Answer {
        let (image, ways) = (self.image.clone(), self.ways.clone());
        let pod_ips: [IpAddr; 2] = ["10.244.1.2".parse().unwrap(), "fd00:1::2".parse().unwrap()];
        let work = move || {
            let request = Checked::new(&attachment).map_err(|error| error.to_string())?;
            let rebuild = Rebuild {
                container_id: &request.container_id,
                interface: &request.interface,
                pod: Pod::default(),
                netns: &request.netns,
                path: Path::new(request.netns.name()),
                image: &image,
                pod_ips: &pod_ips,
                sequence: Some(1),
                on_unsupported: Unsupported::Fail,
                given_up: &AtomicBool::new(false),
                wait: None,
            };
            let started = Instant::now();
            let outcome = rebuild.run(&ways).map_err(|error| error.to_string());
            println!("rebuilding with the node's side took {:?}", started.elapsed());
            outcome
        };
        match tokio::task::spawn_blocking(work).await.unwrap() {
            Ok(rebuilt) => {
                println!("{:?}", rebuilt.report.timings);
                Answer::Restored(rebuilt.restored)
            }
            Err(message) => {
                Answer::Refused(Refused { transient: false, message, details: String::new() })
            }
        }
    }
    async fn check(&self, _: Attachment, _: tokio::time::Instant) -> Answer {
        Answer::Untouched
    }
    async fn del(&self, attachment: Attachment) {
        let ways = self.ways.clone();
        let work = move || ways.detach(&attachment.container_id, &attachment.interface);
        tokio::task::spawn_blocking(work).await.unwrap().unwrap();
    }
    async fn gc(&self) {}
}

/// Runs `work` while an agent with this image serves the node's socket, in the node's namespace.
fn serving<T: Send>(node: &Node, image: Image, work: impl FnOnce() -> T + Send) -> T {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let serve = move || {
            // Threads of the runtime are in the namespace that their maker is in.
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let ways = Arc::new(Ways::open(&node.folder.path().join("ways")).unwrap());
            let agent = Arc::new(Agent { image: Arc::new(image), ways });
            runtime.block_on(async {
                let server = Server::bind(&node.socket()).unwrap();
                ready.send(()).unwrap();
                server.serve(agent, async { drop(stopped.await) }, Duration::from_secs(5)).await;
            });
        };
        let server = scope.spawn(move || node.ns.open().run(serve).unwrap());
        is_ready.recv().unwrap();
        let outcome = work();
        drop(stop);
        server.join().unwrap();
        outcome
    })
}

/// The image of a pod of node A with more in its network than CNI gave it.
fn captured(node: &Node) -> Image {
    let pod = Ns::new("chain-src");
    pod.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    let result = node.add(&pod, "source", &json!({"team": "a"})).unwrap();
    assert_eq!(result["ips"][0]["address"], "10.244.1.2/24", "{result}");
    pod.sh("ip link set lo up; sysctl -qw net.ipv4.conf.eth0.rp_filter=0 net.ipv4.tcp_keepalive_time=77");
    pod.ip("link set eth0 mtu 1400
            addr add 192.168.9.1/32 dev lo
            route add 192.168.50.0/24 via 10.244.1.1 table 50
            rule add from 192.168.9.1 table 50 pref 100
            neigh add 10.244.1.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent");
    let image = capture(&pod.open(), &capture::Options::default()).unwrap();
    let image = image.into_image(Origin::default());
    node.del(pod.path(), "source", &json!({}));
    image
}

fn wanted() -> Value {
    json!({"netckpt.io/restore-from": "web"})
}

#[track_caller]
fn reaches(from: &Ns, to: &str) {
    let ping = from.try_run(&["ping", "-n", "-q", "-c", "1", "-W", "2", to]);
    assert!(ping.is_ok(), "{} does not reach {to}: {ping:?}", from.name());
}

#[test]
fn a_pod_comes_back_on_another_node_before_the_chain_has_ended() {
    let (a, b) = (Node::new("chain-a", 1), Node::new("chain-b", 2));
    let image = captured(&a);
    let (native, pod) = (Ns::new("chain-native"), Ns::new("chain-pod"));
    for one in [&native, &pod] {
        one.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    }
    b.add(&native, "native", &json!({})).unwrap();
    let before = b.ways();
    let kept = image.clone();
    serving(&b, image, || {
        let started = Instant::now();
        let result = b.add(&pod, "moved", &wanted()).unwrap();
        println!("the whole chain took {:?}", started.elapsed());
        let eth0 = result["interfaces"].as_array().unwrap().iter().position(|one| {
            one["name"] == "eth0" && one["sandbox"] == pod.path().to_str().unwrap()
        });
        let expected = json!([
            {"address": "10.244.1.2/24", "interface": eth0, "gateway": "10.244.1.1"},
            {"address": "fd00:1::2/64", "interface": eth0, "gateway": "fd00:1::1"},
        ]);
        assert_eq!(result["ips"], expected);
        let link = &pod.json(&["ip", "-j", "link", "show", "eth0"])[0];
        assert_eq!(result["interfaces"][eth0.unwrap()]["mac"], link["address"]);
        assert_eq!(link["mtu"], 1400);

        let differences = restore::verify(&pod.open(), &kept).unwrap();
        let differences: Vec<_> =
            differences.iter().filter(|one| one.matters()).map(ToString::to_string).collect();
        assert!(differences.is_empty(), "{differences:#?}");
        assert!(pod.run(&["ip", "route", "show", "table", "50"]).contains("192.168.50.0/24"));
        assert_eq!(pod.run(&["sysctl", "-n", "net.ipv4.tcp_keepalive_time"]).trim(), "77");
        for to in ["10.244.1.1", "10.244.2.1", "10.244.2.2", "fd00:1::1", "fd00:2::1", "fd00:2::2"]
        {
            reaches(&pod, to);
        }
        // The plugin `bridge` still finds its bridge as it made it.
        let later = Ns::new("chain-later");
        b.add(&later, "later", &json!({})).unwrap();
        for from in [&b.ns, &native, &later] {
            reaches(from, "10.244.1.2");
            reaches(from, "fd00:1::2");
        }
        b.del(later.path(), "later", &json!({}));
        // A runtime that asks again for the same sandbox gets the same answer.
        let ours = b.plugins().pop().unwrap();
        let again = b.run("ADD", &ours, pod.path(), "moved", &wanted(), Some(result.clone()));
        assert_eq!(again.unwrap(), result);
        // DEL comes twice, the second time without a namespace.
        b.del(pod.path(), "moved", &wanted());
        b.del(Path::new(""), "moved", &wanted());
    });
    assert_eq!(b.ways(), before);
    reaches(&native, "10.244.2.1");
}

#[test]
fn a_restore_that_fails_leaves_what_the_chain_had_made() {
    let (a, b) = (Node::new("fail-a", 1), Node::new("fail-b", 2));
    let mut image = captured(&a);
    image.snapshot.sections.insert("from-the-future".into(), bytes::Bytes::from_static(b"x"));
    let pod = Ns::new("fail-pod");
    let message = serving(&b, image.clone(), || b.add(&pod, "moved", &wanted()).unwrap_err());
    assert_eq!(message["code"], 100);
    assert!(message["msg"].as_str().unwrap().contains("from-the-future"), "{message}");
    let told = pod.run(&["ip", "-o", "addr", "show", "dev", "eth0"]);
    assert!(told.contains("10.244.2.2/24") && !told.contains("10.244.1.2"), "{told}");
    assert_eq!(b.ways().trim(), "0");

    // All is rebuilt, and then the node can't keep a record of the way: it is taken back.
    image.snapshot.sections.remove("from-the-future");
    let record = b.folder.path().join("ways/moved1@eth0.json");
    std::fs::create_dir_all(record.join("in-the-way")).unwrap();
    let first = Ns::new("fail-first");
    let message = serving(&b, image.clone(), || b.add(&first, "moved1", &wanted()).unwrap_err());
    let text = message["msg"].as_str().unwrap();
    assert!(text.contains("can't be given a way") && !text.contains("taken back"), "{message}");
    let told = first.run(&["ip", "-o", "addr", "show", "dev", "eth0"]);
    assert!(told.contains("10.244.2.3/24") && !told.contains("10.244.1.2"), "{told}");
    assert!(!first.run(&["ip", "rule"]).contains("192.168.9.1"));
    assert_eq!(b.ways().trim(), "0");
    std::fs::remove_dir_all(record).unwrap();

    // Nobody waits any more: nothing is begun.
    let gone = AtomicBool::new(true);
    let options = restore::Options::default();
    let error = restore::restore_while(&first.open(), None, &image, &options, &gone).unwrap_err();
    assert!(matches!(error, restore::Error::GivenUp), "{error}");
    assert!(first.run(&["ip", "-o", "addr", "show", "dev", "eth0"]).contains("10.244.2.3/24"));

    // Somebody on the node has the address: nothing is begun.
    b.ns.ip("link add other type bridge
             link set other up
             route add 10.244.1.2/32 dev other");
    let second = Ns::new("fail-second");
    let message = serving(&b, image, || b.add(&second, "moved2", &wanted()).unwrap_err());
    assert!(message["msg"].as_str().unwrap().contains("10.244.1.2 is in use"), "{message}");
    assert!(second.run(&["ip", "-o", "addr", "show", "dev", "eth0"]).contains("10.244.2.4/24"));

    // Without an agent the pod waits, and says for what.
    let third = Ns::new("fail-third");
    let message = b.add(&third, "moved3", &wanted()).unwrap_err();
    assert_eq!(message["code"], 11, "{message}");
    b.add(&Ns::new("fail-plain"), "plain", &json!({})).unwrap();
}

/// Portmap comes after ours, so that it maps the node's port to the restored address.
#[test]
fn a_host_port_leads_to_the_restored_pod() {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    let portmap =
        json!({"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}});
    let (a, b) = (Node::new("port-a", 1), Node::with("port-b", 2, &[portmap]));
    let types: Vec<_> = b.plugins().iter().map(|one| one["type"].clone()).collect();
    assert_eq!(types, ["bridge", "netckpt-cni", "portmap"]);
    let client = Ns::new("port-client");
    b.ns.ip(&format!(
        "link add wire type veth peer name eth0 netns {}
                      addr add 192.168.77.2/24 dev wire
                      link set wire up",
        client.name()
    ));
    client.ip("addr add 192.168.77.9/24 dev eth0\nlink set eth0 up");
    let image = captured(&a);
    let pod = Ns::new("port-pod");
    pod.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    serving(&b, image, || {
        b.add(&pod, "moved", &wanted()).unwrap();
        let rules = b.ns.run(&["nft", "list", "ruleset"]);
        assert!(rules.contains("10.244.1.2:80"), "{rules}");
        let listener = pod.open().run(|| TcpListener::bind("10.244.1.2:80").unwrap()).unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"here").unwrap();
        });
        let ask = || {
            let mut stream = TcpStream::connect("192.168.77.2:8080").unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert_eq!(client.open().run(ask).unwrap(), "here");
        answering.join().unwrap();
        b.del(pod.path(), "moved", &wanted());
        let rules = b.ns.run(&["nft", "list", "ruleset"]);
        assert!(!rules.contains("10.244.1.2"), "{rules}");
    });
}
