//! Links of every kind that this kernel makes, alone and upon each other.

use netckpt::restore::{self, Options};

use super::netns::Pair;
use super::{Case, QUESTIONS, all, image_of, wired};

#[test]
fn links() {
    all(
        "links",
        &[
            ("nothing special", ""),
            ("mtu", "link set eth0 mtu 1400"),
            ("small mtu without IPv6", "link set eth0 mtu 1000"),
            ("queue length", "link set eth0 txqueuelen 17"),
            ("alias", "link set eth0 alias the-pods-own"),
            ("the longest alias", "!ip link set eth0 alias $(printf %0255d 7)"),
            (
                "alternative names",
                "link property add dev eth0 altname one altname two
                 link property add dev eth0 altname a-name-that-is-longer-than-fifteen-characters",
            ),
            ("group", "link set eth0 group 77"),
            ("promiscuous", "link set eth0 promisc on"),
            ("all multicast", "link set eth0 allmulticast on"),
            ("no multicast", "link set eth0 multicast off"),
            ("no ARP", "link set eth0 arp off"),
            ("hardware address", "link set eth0 address 02:aa:bb:cc:dd:ee"),
            ("broadcast address", "link set eth0 broadcast ff:ff:ff:ff:ff:fe"),
            ("down", "link set eth0 down"),
            ("renamed", "link set eth0 down\nlink set eth0 name net7\nlink set net7 up\n!sleep 2"),
            ("GSO limits", "link set eth0 gso_max_size 20000 gso_max_segs 11"),
            ("GRO limit", "link set eth0 gro_max_size 20000"),
            ("IPv4 GSO and GRO", "link set eth0 gso_ipv4_max_size 20000 gro_ipv4_max_size 20001"),
            ("no generated addresses", "link set eth0 addrgenmode none"),
            ("random generated addresses", "link set eth0 addrgenmode random"),
            (
                "addresses from a secret",
                "!sysctl -qw net.ipv6.conf.eth0.stable_secret=2001:db8::1234",
            ),
            (
                "token",
                "!sysctl -qw net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.eth0.forwarding=0
                 token set ::17 dev eth0",
            ),
            (
                "dormant mode",
                "link set eth0 down\nlink set eth0 mode dormant\nlink set eth0 up\n!sleep 2",
            ),
            (
                "dormant mode, and yet in use",
                "link set eth0 down\nlink set eth0 mode dormant\nlink set eth0 up\n!sleep 2
                 link set eth0 state up",
            ),
            ("lo down", "link set lo down"),
            ("lo with an address of its own", "link set lo address 02:00:00:00:00:01"),
            ("lo with another mtu", "link set lo mtu 1500"),
            ("lo with an alias and a group", "link set lo alias self group 3"),
            (
                "both ends inside",
                "link add a0 type veth peer name b0
                 link set a0 up\nlink set b0 up
                 addr add 10.0.0.1/24 dev a0\naddr add 10.0.0.2/24 dev b0",
            ),
            ("both ends inside, one down", "link add a0 type veth peer name b0\nlink set a0 up"),
            (
                "down, and up before that",
                "link add a0 type veth peer name b0\nlink set a0 up\nlink set b0 up\n!sleep 0.2
                 addr add 10.0.0.1/24 dev a0\nlink set b0 down\nlink set a0 down",
            ),
            (
                "chosen indexes, the later end first",
                "link add a0 index 500 type veth peer name b0 index 40\nlink set b0 up",
            ),
            (
                "queues",
                "link add a0 numtxqueues 4 numrxqueues 3 type veth peer name b0 numtxqueues 2 numrxqueues 2",
            ),
            (
                "names that change places",
                "link add a0 type veth peer name b0
                 link set a0 name c0\nlink set b0 name a0\nlink set c0 name b0",
            ),
            (
                "many pairs",
                "!for i in $(seq 20); do ip link add a$i type veth peer name b$i; ip link set a$i up; done",
            ),
        ],
        QUESTIONS,
    );
}

/// Two veths of the pod's own to stand upon.
const PAIR: &str = "link add a0 type veth peer name b0\nlink set a0 up\nlink set b0 up\n";

#[track_caller]
fn upon_a_pair(class: &str, cases: &[Case<'_>]) {
    let lines: Vec<String> = cases.iter().map(|(_, lines)| format!("{PAIR}{lines}")).collect();
    let names = cases.iter().map(|(name, _)| *name);
    let cases: Vec<_> = names.zip(lines.iter().map(String::as_str)).collect();
    all(class, &cases, QUESTIONS);
}

#[test]
fn bridges() {
    upon_a_pair(
        "bridge",
        &[
            ("bare", "link add br0 type bridge"),
            ("up, without ports", "link add br0 type bridge priority 4096\nlink set br0 up"),
            ("with a port", "link add br0 type bridge\nlink set a0 master br0\nlink set br0 up"),
            (
                "with the way out as a port",
                "link add br0 type bridge\nlink set br0 up\nlink set eth0 master br0
                 addr add 10.9.0.1/24 dev br0",
            ),
            (
                "an address of its own",
                "link add br0 type bridge\nlink set br0 address 02:00:00:00:00:77
                 link set a0 master br0\nlink set br0 up",
            ),
            (
                "an mtu of its own",
                "link add br0 mtu 1400 type bridge\nlink set a0 master br0\nlink set br0 mtu 1300",
            ),
            (
                "ports of another mtu",
                "link set a0 mtu 9000\nlink set b0 mtu 9000
                 link add br0 type bridge\nlink set a0 master br0\nlink set br0 up",
            ),
            (
                "spanning tree",
                "link add br0 type bridge stp_state 1 forward_delay 700 hello_time 300 max_age 1500 \
                 ageing_time 20000 priority 4096\nlink set a0 master br0\nlink set br0 up",
            ),
            (
                "group addresses",
                "link add br0 type bridge group_fwd_mask 8 group_address 01:80:c2:00:00:0e",
            ),
            (
                "multicast",
                "link add br0 type bridge mcast_snooping 1 mcast_router 2 mcast_querier 1 \
                 mcast_query_use_ifaddr 1 mcast_hash_max 1024 mcast_last_member_count 3 \
                 mcast_startup_query_count 4 mcast_last_member_interval 200 \
                 mcast_membership_interval 30000 mcast_querier_interval 20000 \
                 mcast_query_interval 6000 mcast_query_response_interval 900 \
                 mcast_startup_query_interval 2000 mcast_stats_enabled 1 mcast_igmp_version 3 \
                 mcast_mld_version 2",
            ),
            ("without multicast", "link add br0 type bridge mcast_snooping 0"),
            ("no learning of link-local", "link add br0 type bridge no_linklocal_learn 1"),
            (
                "calls of netfilter",
                "link add br0 type bridge nf_call_iptables 1 nf_call_ip6tables 1 nf_call_arptables 1",
            ),
            (
                "VLANs",
                "link add br0 type bridge vlan_filtering 1 vlan_default_pvid 7 vlan_stats_enabled 1",
            ),
            (
                "settings of ports",
                "link add br0 type bridge\nlink set a0 master br0\nlink set br0 up
                 link set a0 type bridge_slave priority 3 cost 77 hairpin on guard on root_block on \
                 fastleave on learning off flood off proxy_arp on mcast_router 2 mcast_flood off \
                 bcast_flood off mcast_to_unicast on group_fwd_mask 8 neigh_suppress on isolated on \
                 locked on",
            ),
            (
                "a port for when another fails",
                "link add br0 type bridge\nlink set a0 master br0\nlink set b0 master br0
                 link set a0 type bridge_slave backup_port b0",
            ),
            (
                "ports in an order of their own",
                "link add br0 type bridge\nlink set b0 master br0\nlink set a0 master br0
                 link set br0 up",
            ),
            (
                "a blocked port",
                "link add br0 type bridge\nlink set a0 master br0\nlink set br0 up
                 !sleep 0.3\n!bridge link set dev a0 state blocking",
            ),
            (
                "a disabled port",
                "link add br0 type bridge\nlink set a0 master br0\nlink set br0 up
                 !sleep 0.3\n!bridge link set dev a0 state disabled",
            ),
            (
                "two, joined",
                "link add br0 type bridge\nlink add br1 type bridge
                 link set a0 master br0\nlink set b0 master br1\nlink set br0 up\nlink set br1 up",
            ),
        ],
    );
}

#[test]
fn macvlans() {
    upon_a_pair(
        "macvlan",
        &[
            ("bridge mode", "link add m0 link a0 type macvlan mode bridge\nlink set m0 up"),
            ("private mode", "link add m0 link a0 type macvlan mode private"),
            ("vepa mode", "link add m0 link a0 type macvlan mode vepa"),
            ("passthru mode", "link add m0 link a0 type macvlan mode passthru nopromisc"),
            (
                "source mode",
                "link add m0 link a0 type macvlan mode source
                 link set m0 type macvlan macaddr add 02:00:00:00:00:01
                 link set m0 type macvlan macaddr add 02:00:00:00:00:02",
            ),
            ("source mode without any", "link add m0 link a0 type macvlan mode source"),
            ("broadcast queue", "link add m0 link a0 type macvlan mode bridge bcqueuelen 77"),
            (
                "on the way out",
                "link add m0 link eth0 type macvlan mode bridge\nlink set m0 up
                 addr add 10.9.0.1/24 dev m0",
            ),
            ("a tap", "link add m0 link a0 type macvtap mode bridge\nlink set m0 up"),
            (
                "a tap of sources",
                "link add m0 link a0 type macvtap mode source
                 link set m0 type macvtap macaddr add 02:00:00:00:00:01",
            ),
            (
                "several, some with a lower index than theirs",
                "link add m0 index 900 link a0 type macvlan mode bridge
                 link add m1 index 30 link a0 type macvlan mode bridge
                 link set m1 up\nlink set m0 up",
            ),
            (
                "upon each other's bridge",
                "link add br0 type bridge\nlink set a0 master br0\nlink set br0 up
                 link add m0 link br0 type macvlan mode bridge\nlink set m0 up",
            ),
        ],
    );
}

#[test]
fn vxlans() {
    upon_a_pair(
        "vxlan",
        &[
            ("to one", "link add x0 type vxlan id 5 remote 10.9.0.1 dstport 4789\nlink set x0 up"),
            (
                "to a group",
                "addr add 10.9.0.2/24 dev a0
                 link add x0 type vxlan id 5 group 239.1.1.1 dev a0 dstport 4789 local 10.9.0.2 ttl 7 \
                 tos 4 ageing 77 maxaddress 99 srcport 1000 2000 noudpcsum proxy rsc l2miss l3miss \
                 nolearning\nlink set x0 up",
            ),
            (
                "over IPv6",
                "link add x0 type vxlan id 5 remote 2001:db8::1 dstport 4789 flowlabel 0x77 \
                 udp6zerocsumtx udp6zerocsumrx",
            ),
            ("fragments", "link add x0 type vxlan id 5 remote 10.9.0.1 dstport 4789 df set"),
            (
                "the inner time to live",
                "link add x0 type vxlan id 5 remote 10.9.0.1 dstport 4789 ttl inherit tos inherit",
            ),
            ("of policy", "link add x0 type vxlan id 5 remote 10.9.0.1 dstport 4789 gbp"),
            ("of any protocol", "link add x0 type vxlan dstport 4790 external gpe"),
            (
                "remote checksums",
                "link add x0 type vxlan id 5 remote 10.9.0.1 dstport 4789 remcsumtx remcsumrx",
            ),
            ("told from outside", "link add x0 type vxlan dstport 4789 external\nlink set x0 up"),
            (
                "in a bridge",
                "link add x0 type vxlan id 5 dstport 4789 dev a0 remote 10.9.0.1
                 link add br0 type bridge\nlink set x0 master br0\nlink set x0 up\nlink set br0 up",
            ),
        ],
    );
}

#[test]
fn tuns() {
    upon_a_pair(
        "tun",
        &[
            ("tun", "tuntap add t0 mode tun"),
            ("tap", "tuntap add t0 mode tap\nlink set t0 up\naddr add 10.9.0.1/24 dev t0"),
            ("of someone", "tuntap add t0 mode tap user 1000 group 100"),
            ("with headers", "tuntap add t0 mode tun pi vnet_hdr"),
            ("with queues", "tuntap add t0 mode tap multi_queue"),
            (
                "with settings of a link",
                "tuntap add t0 mode tap\nlink set t0 address 02:00:00:00:00:77 mtu 1400 alias seven
                 link set t0 txqueuelen 77 group 7\nlink property add dev t0 altname the-tap",
            ),
            (
                "in a bridge",
                "tuntap add t0 mode tap\nlink add br0 type bridge\nlink set t0 master br0
                 link set t0 up\nlink set br0 up",
            ),
            ("of another index", "tuntap add t0 mode tun\nlink del b0\ntuntap add t1 mode tun"),
        ],
    );
}

#[test]
fn other_kinds() {
    upon_a_pair(
        "kinds",
        &[
            ("ifb", "link add i0 type ifb\nlink set i0 up"),
            ("ifb with queues", "link add i0 numtxqueues 3 numrxqueues 3 type ifb"),
            (
                "ifb with as many queues as there are processors",
                "!ip link add i0 numtxqueues $(nproc) numrxqueues $(nproc) type ifb",
            ),
            (
                "protocol down",
                "link add m0 link a0 type macvlan\nlink set m0 protodown on
                 link set m0 protodown_reason 3 on",
            ),
            (
                "protocol down of what is up",
                "link add m0 link a0 type macvlan\nlink set m0 up\n!sleep 0.2
                 link set m0 protodown on",
            ),
            ("dummy", "link add d0 type dummy"),
            ("vlan", "link add link a0 name v0 type vlan id 7"),
            ("a vrf", "link add v0 type vrf table 77\nlink set v0 up\nlink set a0 master v0"),
            (
                "everything at once",
                "link add br0 type bridge
                 link add x0 type vxlan id 5 dstport 4789 dev b0 remote 10.9.0.1
                 link set a0 master br0\nlink set x0 master br0
                 link add m0 link br0 type macvlan mode bridge
                 link add m1 link eth0 type macvtap mode bridge
                 link add i0 type ifb
                 link add c0 type veth peer name d0
                 link set c0 master br0
                 link property add dev br0 altname the-bridge
                 link set m0 alias upon-the-bridge group 7 address 02:00:00:00:00:55
                 link set br0 txqueuelen 77 gso_max_size 20000
                 link set br0 up\nlink set x0 up\nlink set m0 up\nlink set m1 up\nlink set i0 up
                 link set c0 up\nlink set d0 up
                 addr add 10.9.0.1/24 dev m0\naddr add 10.9.1.1/24 dev br0",
            ),
        ],
    );
}

/// A link that is there with other settings of its kind stays, where the kernel changes them; and a
/// second restore does nothing.
#[test]
fn what_can_be_changed_is_changed_in_place() {
    let source = wired("place");
    source.pod.ip(
        "link add br0 index 50 type bridge ageing_time 20000 mcast_snooping 0 no_linklocal_learn 1
         link add a0 index 60 type veth peer name b0 index 61
         link set a0 master br0
         link set a0 type bridge_slave cost 77 isolated on
         link add m0 index 70 link b0 type macvlan mode source
         link set m0 type macvlan macaddr add 02:00:00:00:00:01",
    );
    let target = wired("place");
    target.pod.ip("link add br0 index 50 type bridge stp_state 1
         link add a0 index 60 type veth peer name b0 index 61
         link set a0 master br0
         link add m0 index 70 link b0 type macvlan mode source
         link set m0 type macvlan macaddr add 02:00:00:00:00:02
         link set m0 type macvlan macaddr add 02:00:00:00:00:03");
    let image = image_of(&source);
    let (pod, node) = (target.pod.open(), target.node.open());
    let restored = || restore::restore(&pod, Some(&node), &image, &Options::default()).unwrap();
    let report = restored();
    let steps: Vec<_> = report.plans.iter().flat_map(|plan| &plan.steps).collect();
    let remade = steps
        .iter()
        .find(|step| step.label.starts_with("make ") || step.label.starts_with("remove br0"));
    assert!(remade.is_none(), "{steps:#?}");
    let findings = restore::verify(&pod, &image).unwrap();
    let findings: Vec<_> = findings.iter().filter(|finding| finding.matters()).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(restored().rounds, 0);
}

/// But for one that the host has given to a link of its own.
#[test]
fn an_outer_end_that_is_made_has_its_other_names() {
    let source = wired("names");
    source.node.ip("link property add dev veth0 altname of-the-pod altname taken");
    let image = image_of(&source);
    let target = Pair::bare("names");
    target.node.ip("link add taken type veth peer name other");
    let (pod, node) = (target.pod.open(), target.node.open());
    restore::restore(&pod, Some(&node), &image, &Options::default()).unwrap();
    let link = target.node.json(&["ip", "-j", "-d", "link", "show", "veth0"]);
    assert_eq!(link[0]["altnames"], serde_json::json!(["of-the-pod"]));
}
