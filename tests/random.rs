//! Networks drawn from a grammar come back: equal by the tools, and by our own comparison.
//!
//! Each draw has a seed, which is printed; `NETCKPT_SEED=NUMBER cargo test --test random` draws that
//! network alone. What the kernel refuses of a draw is simply not there.

mod everything;
mod netns;

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use everything::{differing, told, wired};
use netckpt::restore::{self, Options};
use netckpt::state::classes::links::is_carried;
use netns::{Ns, Pair};

/// No draw begins later than this.
const BOUND: Duration = Duration::from_secs(25);
const DRAWS: u32 = 40;

#[test]
fn drawn_networks_come_back() {
    if let Ok(seed) = std::env::var("NETCKPT_SEED") {
        let seed = seed.parse().expect("NETCKPT_SEED is a number");
        assert!(comes_back(seed), "the draw is not carried");
        return;
    }
    let start = Instant::now();
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let first = clock.expect("a clock").as_nanos() as u64;
    let (mut back, mut draws) = (0, 0);
    while draws < DRAWS && start.elapsed() < BOUND {
        let seed = first.wrapping_add(u64::from(draws)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        back += u32::from(comes_back(seed));
        draws += 1;
    }
    println!("{back} of {draws} networks came back in {:.1} s", start.elapsed().as_secs_f64());
    assert!(back * 2 > draws, "most draws are not carried: {back} of {draws}");
}

/// `false` where something of the draw is not carried by this version.
fn comes_back(seed: u64) -> bool {
    println!("NETCKPT_SEED={seed}");
    let source = wired("drawn");
    let drawn = Draw::new(seed);
    drawn.make(&source.pod);
    let image = everything::image(&source);
    if let Some(lost) = image.manifest.not_carried.iter().find(|lost| lost.matters) {
        println!("  not carried: {lost}");
        return false;
    }
    let expected = told(&source.pod);
    let target = Pair::bare("drawn");
    let (pod, node) = (target.pod.open(), target.node.open());
    let fail = |what: &str| -> ! { panic!("NETCKPT_SEED={seed}: {what}\n{drawn:#?}") };
    let report = restore::restore(&pod, Some(&node), &image, &Options::default());
    if let Err(error) = report {
        fail(&error.to_string());
    }
    let found = restore::verify(&pod, &image).unwrap();
    if let Some(finding) = found.iter().find(|one| one.matters()) {
        fail(&format!("verify: {finding}"));
    }
    let mut differ = differing(&expected, &told(&target.pod));
    for _ in 0..20 {
        if differ.is_empty() {
            return true;
        }
        thread::sleep(Duration::from_millis(100));
        differ = differing(&expected, &told(&target.pod));
    }
    fail(&differ.join("\n"))
}

/// A network as commands.
#[derive(Debug, Default)]
struct Draw {
    /// Lines for `ip -batch`.
    ip: String,
    nft: String,
    /// Each for a shell of its own.
    shell: Vec<String>,
}

/// A sequence of numbers by a seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32 % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u32) as usize]
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }
}

impl Draw {
    fn new(seed: u64) -> Self {
        let (mut draw, mut chance) = (Self::default(), Chance(seed | 1));
        let chance = &mut chance;
        let mut links = vec!["eth0".to_owned()];
        for number in 0..chance.below(4) {
            draw.link(chance, number, &mut links);
        }
        for number in 0..chance.below(5) {
            draw.address(chance, number, &links);
        }
        for number in 0..chance.below(4) {
            draw.nexthop(chance, number + 1);
        }
        for _ in 0..chance.below(10) {
            draw.route(chance);
        }
        for number in 0..chance.below(5) {
            draw.rule(chance, 100 + number);
        }
        for number in 0..chance.below(4) {
            draw.neighbour(chance, number);
        }
        for table in 0..chance.below(3) {
            draw.table(chance, table);
        }
        for _ in 0..chance.below(6) {
            draw.sysctl(chance, &links);
        }
        for number in 0..chance.below(4) {
            draw.flow(chance, number);
        }
        draw
    }

    fn make(&self, ns: &Ns) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let run = |text: &str, command: &[&str]| {
            std::fs::write(path, text).unwrap();
            let _ = ns.try_run(&[command, &[path]].concat());
        };
        run(&self.ip, &["ip", "-force", "-batch"]);
        run(&self.nft, &["nft", "-f"]);
        self.shell.iter().for_each(|line| drop(ns.try_run(&["sh", "-c", line])));
    }

    fn link(&mut self, chance: &mut Chance, number: u32, links: &mut Vec<String>) {
        let kinds = ["veth", "veth", "bridge", "macvlan", "vxlan", "ifb", "dummy"];
        let kind = chance.one_of(&kinds);
        if !is_carried(kind) {
            return;
        }
        let (name, index) = (format!("l{number}"), 20 + number * 2);
        let base = format!("link add {name} index {index} address 02:00:00:00:00:{index:02x}");
        let _ = match kind {
            "veth" => writeln!(
                self.ip,
                "{base} mtu {} type veth peer name {name}p index {}",
                1300 + chance.below(200),
                index + 1
            ),
            "macvlan" => {
                let mode = chance.one_of(&["bridge", "private", "vepa"]);
                writeln!(self.ip, "{base} link eth0 type macvlan mode {mode}")
            }
            "vxlan" => {
                let port = 4789 + chance.below(5);
                writeln!(self.ip, "{base} type vxlan id {} dstport {port}", chance.below(1 << 24))
            }
            kind => writeln!(self.ip, "{base} type {kind}"),
        };
        if chance.once_in(2) {
            let _ = writeln!(self.ip, "link set {name} txqueuelen {}", 10 + chance.below(2_000));
        }
        if chance.once_in(3) {
            let _ = writeln!(self.ip, "link property add dev {name} altname other-{name}");
        }
        if chance.once_in(3) {
            let _ = writeln!(self.ip, "link set {name} alias drawn-{}", chance.below(1_000));
        }
        if kind == "veth" && links.iter().any(|link| link.starts_with("br")) {
            let _ = writeln!(self.ip, "link set {name} master br0");
        }
        if !chance.once_in(4) {
            let _ = writeln!(self.ip, "link set {name} up");
            if kind == "veth" {
                let _ = writeln!(self.ip, "link set {name}p up");
            }
        }
        links.push(name);
    }

    fn address(&mut self, chance: &mut Chance, number: u32, links: &[String]) {
        let link = &links[chance.below(links.len() as u32) as usize];
        let length = chance.one_of(&["24", "25", "32", "16"]);
        let _ = match chance.below(4) {
            0 => writeln!(
                self.ip,
                "addr add fd00:{number}::{:x}/64 dev {link} nodad",
                1 + chance.below(9)
            ),
            1 => writeln!(
                self.ip,
                "addr add 10.{}.0.{}/{length} dev {link} valid_lft 9000 preferred_lft 8000",
                70 + number,
                1 + chance.below(200)
            ),
            2 => writeln!(
                self.ip,
                "addr add 10.{}.0.{}/{length} dev {link} label {link}:{number} noprefixroute",
                80 + number,
                1 + chance.below(200)
            ),
            _ => writeln!(
                self.ip,
                "addr add 10.{}.0.{}/{length} broadcast + dev {link}",
                90 + number,
                1 + chance.below(200)
            ),
        };
    }

    fn nexthop(&mut self, chance: &mut Chance, id: u32) {
        let _ = match chance.below(4) {
            0 => writeln!(self.ip, "nexthop add id {id} blackhole"),
            1 if id > 1 => writeln!(self.ip, "nexthop add id {id} group {}", id - 1),
            2 => writeln!(
                self.ip,
                "nexthop add id {id} via fd61::{:x} dev eth0",
                8 + chance.below(20)
            ),
            _ => writeln!(
                self.ip,
                "nexthop add id {id} via 10.61.0.{} dev eth0",
                8 + chance.below(20)
            ),
        };
    }

    fn route(&mut self, chance: &mut Chance) {
        let table = chance.one_of(&["", " table 100", " table 200", " table 1234567"]);
        let metric = chance.one_of(&["", " metric 7", " metric 1024"]);
        let more = chance.one_of(&[
            "",
            " mtu 1300",
            " mtu lock 1300 advmss 1200",
            " proto static",
            " initcwnd 20",
            " rto_min 5ms",
        ]);
        let to = format!("10.{}.{}.0/24", 100 + chance.below(50), chance.below(250));
        let to6 = format!("2001:db8:{:x}::/48", chance.below(1 << 16));
        let near = 3 + chance.below(200);
        let _ = match chance.below(7) {
            0 => writeln!(self.ip, "route add blackhole {to}{table}{metric}"),
            1 => writeln!(self.ip, "route add unreachable {to6}{table}{metric}"),
            2 => writeln!(self.ip, "route add {to6} via fd61::{near:x}{table}{metric}{more}"),
            3 => writeln!(self.ip, "route add {to} nhid {}{table}{metric}", 1 + chance.below(3)),
            4 => writeln!(
                self.ip,
                "route add {to}{table}{metric} nexthop via 10.61.0.{near} weight {} nexthop via 10.61.0.2{} weight 2",
                1 + chance.below(9),
                chance.below(10)
            ),
            5 => writeln!(self.ip, "route add {to} dev eth0 scope link{table}{metric}{more}"),
            _ => writeln!(self.ip, "route add {to} via 10.61.0.{near}{table}{metric}{more}"),
        };
    }

    fn rule(&mut self, chance: &mut Chance, priority: u32) {
        let what = chance.one_of(&[
            "from 10.1.0.0/16",
            "to 10.2.0.0/16",
            "fwmark 0x7/0xff",
            "iif eth0",
            "ipproto tcp dport 80",
            "tos 0x10",
            "not from 10.3.0.0/16",
        ]);
        let then = chance.one_of(&["lookup 100", "lookup 1234567", "blackhole", "prohibit"]);
        let family = if what.contains("10.") || chance.once_in(2) { "" } else { "-6 " };
        let _ = writeln!(self.shell_ip(), "ip {family}rule add {what} {then} priority {priority}");
    }

    /// `ip -batch` is of one family.
    fn shell_ip(&mut self) -> &mut String {
        self.shell.push(String::new());
        let last = self.shell.len() - 1;
        &mut self.shell[last]
    }

    fn neighbour(&mut self, chance: &mut Chance, number: u32) {
        let end = 30 + number * 3 + chance.below(3);
        let _ = match chance.below(4) {
            0 => writeln!(self.ip, "neigh add proxy 10.61.0.{end} dev eth0"),
            1 => writeln!(
                self.ip,
                "neigh add fd61::{end:x} lladdr 02:00:00:00:01:{end:02x} dev eth0"
            ),
            2 => writeln!(
                self.ip,
                "neigh add 10.61.0.{end} lladdr 02:00:00:00:01:{end:02x} dev eth0 nud noarp"
            ),
            _ => writeln!(
                self.ip,
                "neigh add 10.61.0.{end} lladdr 02:00:00:00:01:{end:02x} dev eth0"
            ),
        };
    }

    fn table(&mut self, chance: &mut Chance, number: u32) {
        let family = chance.one_of(&["inet", "ip", "ip6"]);
        let address = if family == "ip6" { "ip6 saddr fd77::" } else { "ip saddr 10.77.0." };
        let kind = if family == "ip6" { "ipv6_addr" } else { "ipv4_addr" };
        let prefix = address.rsplit(' ').next().unwrap_or_default();
        let _ =
            writeln!(self.nft, "table {family} t{number} {{\n counter c {{ packets 3 bytes 30 }}");
        let elements: Vec<_> = (1..=1 + chance.below(40)).map(|n| format!("{prefix}{n}")).collect();
        let _ = writeln!(
            self.nft,
            " set s {{ type {kind}; {} elements = {{ {} }} }}",
            chance.one_of(&["", "flags interval;", "timeout 2h;"]),
            elements.join(", ")
        );
        let _ = writeln!(self.nft, " chain other {{ counter name c return; }}");
        let hook = chance.one_of(&["input", "output", "forward", "prerouting", "postrouting"]);
        let policy = chance.one_of(&["accept", "drop"]);
        let _ = writeln!(
            self.nft,
            " chain base {{\n  type filter hook {hook} priority {}; policy {policy};",
            chance.below(100)
        );
        for _ in 0..chance.below(8) {
            let set = if prefix.contains(':') { "ip6 saddr @s" } else { "ip saddr @s" };
            let port = 1 + chance.below(60_000);
            let what = match chance.below(7) {
                0 => format!("{set} drop"),
                1 => format!("{address}1 counter accept"),
                2 => format!("tcp dport {port} counter packets 5 bytes 500 accept"),
                3 => format!("udp sport {{ {port}, 53 }} jump other"),
                4 => "ct state established,related accept".to_owned(),
                5 => format!("meta mark {port} limit rate 5/second accept comment \"drawn\""),
                _ => format!("meta mark set {port}"),
            };
            let _ = writeln!(self.nft, "  {what}");
        }
        let _ = writeln!(self.nft, " }}\n}}");
    }

    fn sysctl(&mut self, chance: &mut Chance, links: &[String]) {
        let link = &links[chance.below(links.len() as u32) as usize];
        let per_link = chance.one_of(&[
            "ipv4/conf/{}/rp_filter",
            "ipv4/conf/{}/arp_announce",
            "ipv4/conf/{}/accept_local",
            "ipv6/conf/{}/accept_ra",
            "ipv6/conf/{}/use_tempaddr",
            "ipv6/conf/{}/forwarding",
        ]);
        let all = chance.one_of(&[
            "ipv4/tcp_syn_retries",
            "ipv4/tcp_retries2",
            "ipv4/ip_forward",
            "ipv6/idgen_retries",
            "ipv4/conf/all/rp_filter",
            "ipv4/conf/default/arp_ignore",
        ]);
        let path = if chance.once_in(2) { all.to_owned() } else { per_link.replace("{}", link) };
        self.shell.push(format!("echo {} > /proc/sys/net/{path}", 1 + chance.below(2)));
    }

    fn flow(&mut self, chance: &mut Chance, number: u32) {
        let port = 1_000 + number * 10 + chance.below(9);
        self.shell.push(match chance.below(3) {
            0 => format!(
                "conntrack -I -p udp -s 10.61.0.2 -d 10.62.0.1 --sport {port} --dport 53 --timeout 9000"
            ),
            1 => format!(
                "conntrack -I -p tcp -s 10.61.0.2 -d 10.62.0.1 --sport {port} --dport 80 \
                 --state ESTABLISHED --timeout 90000 -u SEEN_REPLY,ASSURED --mark {port}"
            ),
            _ => format!(
                "conntrack -I -p tcp -s 10.61.0.2 -d 10.62.0.1 --sport {port} --dport 80 \
                 --state ESTABLISHED --timeout 90000 -u SEEN_REPLY,ASSURED --dst-nat 10.62.0.9:8080"
            ),
        });
    }
}
