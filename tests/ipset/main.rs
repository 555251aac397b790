//! Sets of `ipset`, case by case: made with the tool, captured, made again in a bare namespace, and
//! told the same by `ipset save`.
//!
//! Types that this kernel lacks are named and passed over.

#[path = "../netns/mod.rs"]
mod netns;

mod judged;

use netckpt::capture;
use netckpt::image::{Image, Origin};
use netckpt::restore::{self, Options, Report};
use netns::{Ns, Pair};

/// A name, and what makes it: lines of the shell.
const CASES: &[(&str, &str)] = &[
    (
        "bitmaps",
        "ipset create i bitmap:ip range 10.0.0.0/24 timeout 100; ipset add i 10.0.0.5; ipset add i 10.0.0.9 timeout 0
         ipset create n bitmap:ip range 10.0.0.0/16 netmask 24 counters; ipset add n 10.0.3.0 packets 7 bytes 70
         ipset create m bitmap:ip,mac range 10.0.0.0/24 comment; ipset add m 10.0.0.1,02:00:00:00:00:01 comment 'with words'; ipset add m 10.0.0.2
         ipset create p bitmap:port range 1-1000 skbinfo; ipset add p 5-7 skbmark 0x1/0xff skbprio 1:5 skbqueue 2",
    ),
    (
        "hash:ip",
        "ipset create a hash:ip hashsize 64 maxelem 100 forceadd; ipset add a 10.0.0.1-10.0.0.9
         ipset create b hash:ip family inet6 timeout 600 counters comment skbinfo; ipset add b fd00::1 packets 5 bytes 9 comment x skbmark 0x9
         ipset create c hash:ip netmask 24; ipset add c 10.0.1.0
         ipset create e hash:ip bitmask 255.255.0.255 bucketsize 8 initval 0x1234; ipset add e 10.0.7.1
         ipset create f hash:ip bucketsize 4 initval 0xabcd; ipset add f 10.0.7.1",
    ),
    ("hash:ip,port", "ipset create a hash:ip,port; ipset add a 10.0.0.1,tcp:80-82; ipset add a 10.0.0.1,icmp:echo-request; ipset add a 10.0.0.1,89:0"),
    ("hash:ip,port,ip", "ipset create a hash:ip,port,ip family inet6; ipset add a fd00::1,udp:53,fd00::2"),
    ("hash:ip,port,net", "ipset create a hash:ip,port,net timeout 50; ipset add a 10.0.0.1,sctp:53,10.0.0.0/8; ipset add a 10.0.0.1,tcp:53,10.1.0.0/16 nomatch"),
    ("hash:net", "ipset create a hash:net comment; ipset add a 10.0.0.0/8; ipset add a 10.1.0.0/16 nomatch comment 'but this'; ipset add a 128.0.0.0/1; ipset create b hash:net family inet6; ipset add b fe80::/10; ipset add b 8000::/1"),
    ("hash:net,iface", "ipset create a hash:net,iface; ipset add a 0.0.0.0/0,eth0; ipset add a 10.0.0.0/8,physdev:eth0; ipset add a 10.0.0.0/8,eth0; ipset add a 10.0.0.0/8,et wildcard; ipset add a 10.2.0.0/16,eth0 nomatch"),
    ("hash:net,port", "ipset create a hash:net,port; ipset add a 10.0.0.0/8,tcp:80; ipset add a 10.0.0.0/8,vrrp:0"),
    ("list:set", "ipset create z hash:ip; ipset create l list:set size 16 counters; ipset create a hash:net; ipset create y hash:ip; ipset add l z; ipset add l y; ipset add l a before z; ipset create k list:set timeout 400; ipset add k y; ipset add k a timeout 0"),
    ("empty sets", "ipset create b hash:ip; ipset create a hash:ip,port; ipset create 'with blank' bitmap:port range 0-65535"),
    ("gaps among indexes", "for n in 1 2 3 4 5 6 7; do ipset create s$n hash:ip; done; ipset destroy s1; ipset destroy s2; ipset destroy s5; ipset add s4 1.1.1.1"),
    (
        "rules of iptables-nft that look into sets",
        "ipset create gone hash:ip; ipset create a hash:ip; ipset create p bitmap:port range 1-100; ipset destroy gone; ipset create m hash:net family inet6
         iptables-nft -A INPUT -m set --match-set a src -m set ! --match-set p dst -j DROP
         iptables-nft -A INPUT -m set --match-set a src --packets-gt 5 -j SET --add-set a src --exist --timeout 5 || iptables-nft -A INPUT -j SET --add-set a src
         ip6tables-nft -A INPUT -m set --match-set m src -j DROP",
    ),
    ("hash:mac", "ipset create a hash:mac; ipset add a 02:00:00:00:00:01"),
    ("hash:ip,mac", "ipset create a hash:ip,mac; ipset add a 10.0.0.1,02:00:00:00:00:01"),
    ("hash:ip,mark", "ipset create a hash:ip,mark markmask 0xff; ipset add a 10.0.0.1,0x7"),
    ("hash:net,net", "ipset create a hash:net,net; ipset add a 10.0.0.0/8,10.1.0.0/16"),
    ("hash:net,port,net", "ipset create a hash:net,port,net; ipset add a 10.0.0.0/8,tcp:7,10.1.0.0/16"),
];

/// What the tools tell, times left and the order in hashes aside.
fn told(ns: &Ns) -> Vec<String> {
    let text = ns.run(&["ipset", "save"]);
    let coarse = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if let Some(at) =
            words.iter().position(|word| word == "timeout").filter(|_| words[0] == "add")
        {
            let left: u64 = words[at + 1].parse().unwrap();
            words[at + 1] = left.div_ceil(200).to_string();
        }
        words.join(" ")
    };
    let mut lines: Vec<String> = text.lines().map(coarse).collect();
    // A stable sort by the set keeps the order in lists; in hashes it has none.
    let lists: Vec<String> = lines
        .iter()
        .filter(|line| line.starts_with("create") && line.contains(" list:set"))
        .map(|line| line.split(' ').nth(1).unwrap().to_owned())
        .collect();
    let creates = lines.iter().filter(|line| line.starts_with("create")).cloned();
    let creates: Vec<String> = creates.collect();
    lines.retain(|line| line.starts_with("add"));
    let (in_order, mut others): (Vec<String>, Vec<String>) = lines
        .into_iter()
        .partition(|line| lists.contains(&line.split(' ').nth(1).unwrap().to_owned()));
    others.sort();
    let rules = ns.run(&["sh", "-c", "iptables-nft-save -c; ip6tables-nft-save -c"]);
    let rules = rules.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
    [creates, others, in_order, rules.collect()].concat()
}

fn image_of(pair: &Pair) -> Image {
    let (pod, node) = (pair.pod.open(), pair.node.open());
    let captured = capture::network(&pod, Some(&node), &capture::Options::default()).unwrap();
    captured.into_image(Origin::default())
}

fn restored(target: &Pair, image: &Image) -> Result<Report, restore::Error> {
    let (pod, node) = (target.pod.open(), target.node.open());
    restore::restore(&pod, Some(&node), image, &Options::default())
}

fn findings(target: &Pair, image: &Image) -> Vec<String> {
    let findings = restore::verify(&target.pod.open(), image).unwrap();
    findings.iter().filter(|f| f.matters()).map(ToString::to_string).collect()
}

/// `Ok(false)` where this kernel has not what the case needs.
fn case(lines: &str) -> Result<bool, String> {
    let source = Pair::bare("ipset");
    for line in lines.lines() {
        match source.pod.try_run(&["sh", "-euc", line.trim()]) {
            Err(error) if error.contains("set type not supported") => return Ok(false),
            outcome => drop(outcome?),
        }
    }
    let expected = told(&source.pod);
    let image = image_of(&source);
    if !image.manifest.not_carried.is_empty() {
        return Err(format!("not carried: {:#?}", image.manifest.not_carried));
    }
    let target = Pair::bare("ipset");
    let report = restored(&target, &image).map_err(|error| format!("restore: {error}"))?;
    let found = told(&target.pod);
    if found != expected {
        return Err(format!("told otherwise:\n{expected:#?}\n{found:#?}"));
    }
    let differences = findings(&target, &image);
    if !differences.is_empty() || report.steps == 0 {
        return Err(format!("{} steps, verify: {differences:#?}", report.steps));
    }
    let again = restored(&target, &image).map_err(|error| format!("again: {error}"))?;
    if again.steps != 0 {
        return Err(format!("{} steps the second time: {:?}", again.steps, again.plans));
    }
    Ok(true)
}

#[test]
fn everything_comes_back() {
    netns::cases::all_come_back(CASES, case);
}
