//! Nothing leaves, whatever is asked of the pod and whatever happens in it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use netckpt::hold::{self, Element, Kind};

use crate::netns::Ns;
use crate::world::{CLIENT, POD, POD6, Process, Wire, World, hold, note};

const PORT: u16 = 7000;
const CLOSED: u16 = 7999;

/// A connection from inside a client's namespace, over which the pod's echo has answered once.
fn talking(client: &Ns) -> TcpStream {
    let address: SocketAddr = format!("{POD}:{PORT}").parse().unwrap();
    let connect = || {
        for _ in 0..100 {
            if let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
                return stream;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the pod's echo listens");
    };
    let mut stream = client.open().run(connect).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    echoed(&mut stream, b"hello");
    stream
}

#[track_caller]
fn echoed(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).expect("the echo answers");
    assert_eq!(back, text);
}

/// Asks for everything that a kernel answers by itself.
fn provoke(client: &Ns) {
    client.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0");
    let _ = client.try_run(&["ping", "-c", "2", "-i", "0.2", "-W", "1", POD]);
    let _ = client.try_run(&["ping", "-c", "2", "-i", "0.2", "-W", "1", POD6]);
    client
        .open()
        .run(|| {
            for pod in [POD.to_owned(), format!("[{POD6}]")] {
                let address: SocketAddr = format!("{pod}:{CLOSED}").parse().unwrap();
                let refused = TcpStream::connect_timeout(&address, Duration::from_millis(300));
                assert_ne!(
                    refused.unwrap_err().kind(),
                    std::io::ErrorKind::ConnectionRefused,
                    "a reset came"
                );
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let udp = UdpSocket::bind(any).unwrap();
                let _ = udp.send_to(b"nobody there", address);
            }
        })
        .unwrap();
}

fn echo(world: &World) -> Process {
    let listen = format!("TCP-LISTEN:{PORT},fork,reuseaddr");
    Process::start(&world.pod, &["socat", &listen, "EXEC:cat"])
}

fn mac(pod: &Ns) -> String {
    pod.sh("cat /sys/class/net/eth0/address").trim().to_owned()
}

#[test]
fn nothing_leaves_while_it_is_held_and_all_goes_on_after() {
    let world = World::new("hold");
    let _echo = echo(&world);
    let (mut near, mut far) = (talking(&world.near), talking(&world.far));
    world.reachable();
    let said = world.netckpt(&["hold", "--timeout", "60"]).unwrap();
    assert!(said.contains("eth0 (pod)") && said.contains("veth0 (node)"), "{said}");

    let from_pod = format!("ether src {}", mac(&world.pod));
    let near_wire = Wire::on(&world.near, &from_pod);
    // What the node itself says of the pod.
    let far_wire = Wire::on(&world.far, "icmp or icmp6 or tcp");
    near.write_all(b"into the silence").unwrap();
    far.write_all(b"into the silence").unwrap();
    for client in [&world.near, &world.far] {
        provoke(client);
        let _ = client.try_run(&["arping", "-c", "1", "-w", "1", "-I", "eth0", POD]);
    }
    // What the pod would say unasked, past its routing as well.
    let _ = world.pod.try_run(&["ping", "-c", "1", "-W", "1", CLIENT]);
    let _ = world.pod.try_run(&["arping", "-A", "-c", "2", "-w", "1", "-I", "eth0", POD]);
    // Loopback is the pod's own.
    world.pod.run(&["ping", "-c", "1", "-W", "1", "127.0.0.1"]);
    near_wire.is_silent();
    let said = far_wire.seen();
    // Neighbour discovery between the client and the node is theirs.
    let of_pod = |line: &&str| line.contains(POD) || line.contains("unreachable");
    let told: Vec<_> = said.lines().filter(of_pod).collect();
    assert!(told.is_empty(), "{told:?}");

    world.netckpt(&["release"]).unwrap();
    for stream in [&mut near, &mut far] {
        let mut back = [0; 16];
        stream.read_exact(&mut back).expect("what was sent into the silence is answered");
        echoed(stream, b"and on");
    }
    world.reachable();
    assert!(!near_wire.seen().is_empty(), "the capture sees what there is to see");
    assert_eq!(world.node.run(&["nft", "list", "tables"]), "");
    assert_eq!(world.pod.run(&["nft", "list", "tables"]), "");
}

#[test]
fn a_process_that_dies_held_says_nothing() {
    let world = World::new("dies");
    let mut listening = echo(&world);
    let near = talking(&world.near);
    world.netckpt(&["hold", "--timeout", "60"]).unwrap();
    let wire = Wire::on(&world.near, &format!("ether src {}", mac(&world.pod)));
    // Unread data makes the end of its process a reset.
    (&near).write_all(b"never read").unwrap();
    listening.kill();
    // The one that the connection was handed to.
    let pod = world.pod.name();
    let left = format!("for pid in $(ip netns pids {pod}); do kill -9 $pid; done");
    std::process::Command::new("sh").args(["-c", &left]).status().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    provoke(&world.near);
    wire.is_silent();
    assert_eq!(world.pod.sh("ss -Htn state established"), "", "the connection's end is dead");
}

/// The bandwidth plugin sends what comes from a pod through an ifb, past the node's ingress hook.
#[test]
fn a_shaped_pod_is_held_as_well() {
    let world = World::new("shaped");
    world.node.sh("ip link add ifb7 type ifb; ip link set ifb7 up; \
        tc qdisc add dev veth0 ingress; \
        tc filter add dev veth0 parent ffff: protocol all u32 match u32 0 0 \
            action mirred egress redirect dev ifb7");
    world.reachable();
    world.netckpt(&["hold", "--timeout", "60"]).unwrap();
    let wire = Wire::on(&world.near, &format!("ether src {}", mac(&world.pod)));
    provoke(&world.near);
    let _ = world.pod.try_run(&["arping", "-A", "-c", "1", "-w", "1", "-I", "eth0", POD]);
    wire.is_silent();
}

/// After some seconds the node knows that no neighbour answers; it must not tell.
#[test]
fn the_node_does_not_say_that_nobody_is_there() {
    let world = World::new("unreach");
    world.reachable();
    world.node.sh("ip neigh flush dev cni0; ip -6 neigh flush dev cni0");
    world.netckpt(&["hold", "--timeout", "60"]).unwrap();
    let wire = Wire::on(&world.far, "icmp[0] == 3 or icmp6[0] == 1");
    for address in [POD, POD6] {
        let _ = world.far.try_run(&["ping", "-c", "6", "-i", "1", "-W", "1", address]);
    }
    wire.is_silent();
    // An address that is nobody's is told of, so that the capture is known to see it.
    let _ = world.far.try_run(&["ping", "-c", "6", "-i", "1", "-W", "1", "10.61.0.77"]);
    assert!(wire.seen().contains("unreachable"), "{}", wire.seen());
}

#[test]
fn half_open_connections_are_counted() {
    let world = World::new("half");
    let _echo = echo(&world);
    drop(talking(&world.near));
    assert_eq!(hold::unowned(&world.pod.open()).unwrap().half_open, 0);
    world.near.sh(
        "nft 'table ip x { chain in { type filter hook input priority 0; tcp flags & (syn|ack) == syn|ack drop; }; }'",
    );
    let address: SocketAddr = format!("{POD}:{PORT}").parse().unwrap();
    let tried = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).map(drop);
    world.near.open().run(tried).unwrap().unwrap_err();
    assert_eq!(hold::unowned(&world.pod.open()).unwrap().half_open, 1);
    let said = world.netckpt(&["hold"]).unwrap();
    assert!(said.contains("1 half-open"), "{said}");
}

/// The peer takes its connection for open, and its last word of the handshake is still on its way when
/// the hold is asked for: it arrives first, and nobody new is let in meanwhile.
#[test]
fn a_handshake_comes_to_its_end_before_the_hold() {
    let world = World::new("settle");
    let _echo = echo(&world);
    drop(talking(&world.near));
    world.near.sh(
        "nft 'table ip x { chain out { type filter hook output priority 0; tcp flags & (syn|ack) == ack drop; }; }'",
    );
    let address: SocketAddr = format!("{POD}:{PORT}").parse().unwrap();
    let mut stream = world.near.open().run(|| TcpStream::connect(address)).unwrap().unwrap();
    stream.set_nodelay(true).unwrap();
    assert_eq!(hold::unowned(&world.pod.open()).unwrap().half_open, 1);
    let (pod, node, hold) = (world.pod.open(), world.node.open(), hold("s", Kind::Source));
    let (standing, left) = std::thread::scope(|scope| {
        let element = Element::For(Duration::from_secs(60));
        let hold = &hold;
        let (pod, node) = (&pod, &node);
        let taken = scope.spawn(move || hold.take(pod, node, element, &note()).unwrap());
        crate::world::eventually("nobody new is let in", || {
            world.pod.run(&["nft", "list", "tables"]).contains("netckpt-mark-settle")
        });
        world.near.sh("nft delete table ip x");
        // Whatever it says completes the handshake.
        stream.write_all(b"x").unwrap();
        taken.join().unwrap()
    });
    assert!(standing.element.is_there());
    assert!(left.is_none(), "{left:?}");
    assert!(!world.pod.run(&["nft", "list", "tables"]).contains("settle"));
    hold.lift(Some(&pod), &node).unwrap();
    let mut byte = [0];
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
    world.reachable();
}

/// CRIU would refuse it.
#[test]
fn a_connection_that_no_process_accepts_is_counted() {
    let world = World::new("queue");
    let listener = world.pod.open().run(|| std::net::TcpListener::bind(("0.0.0.0", 7999)));
    let listener = listener.unwrap().unwrap();
    let address: SocketAddr = format!("{POD}:7999").parse().unwrap();
    let _stream = world.near.open().run(|| TcpStream::connect(address)).unwrap().unwrap();
    crate::world::eventually("it waits", || {
        hold::unowned(&world.pod.open()).unwrap() == hold::Unowned { half_open: 0, unaccepted: 1 }
    });
    let said = world.netckpt(&["hold"]).unwrap();
    assert!(said.contains("1 connections that no process has accepted"), "{said}");
    drop(listener);
}

#[test]
fn a_link_that_cannot_be_held_is_no_hold() {
    let world = World::new("refused");
    // A table that a process owns can't be replaced by another's.
    let mut owner = std::process::Command::new("nsenter")
        .arg(format!("--net={}", world.pod.path().display()))
        .args(["nft", "-i"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let text = b"add table netdev netckpt-hold-x { flags owner; }\n";
    owner.stdin.as_mut().unwrap().write_all(text).unwrap();
    crate::world::eventually("nft owns its table", || {
        world.pod.run(&["nft", "list", "tables"]).contains("netckpt-hold-x")
    });
    let (pod, node) = (world.pod.open(), world.node.open());
    let element = Element::For(Duration::from_secs(9));
    let error = hold("x", Kind::Source).plant(&pod, &node, element, &note()).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EPERM), "{error}");
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(world.node.run(&["nft", "list", "tables"]), "", "nothing is left of it");
    world.reachable();
}
