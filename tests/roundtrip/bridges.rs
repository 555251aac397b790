//! What bridges and vxlan links forward by: addresses, groups, VLANs, network identifiers.

use super::{Case, all};

/// Every way of asking `bridge`. What is learned comes and goes.
const QUESTIONS: &[&[&str]] = &[
    &["bridge", "-j", "-d", "link"],
    &["sh", "-c", STAYING],
    &["sh", "-c", "bridge -d vlan 2>/dev/null | jq -R . | jq -s ."],
    &["sh", "-c", "bridge vni | jq -R . | jq -s ."],
    &[
        "sh",
        "-c",
        "bridge -d mdb show | grep -e permanent -e 'proto static' | sort | jq -R . | jq -s .",
    ],
];

/// Entries that do not age, sorted: they are kept by chance. Those of multicast are of the links'
/// memberships.
const STAYING: &str = "bridge -j fdb | jq -c 'map(select((.mac | test(\"^(33:33|01:00:5e)\") | not) and \
                       (.state == \"permanent\" or .state == \"static\" or \
                       (.flags | index(\"extern_learn\"))))) | sort_by(tostring)'";

/// A bridge with two ports.
const BRIDGE: &str = "link add br0 type bridge
    link add a0 type veth peer name b0\nlink add c0 type veth peer name d0
    link set a0 master br0\nlink set c0 master br0
    link set br0 up\nlink set a0 up\nlink set b0 up\nlink set c0 up\nlink set d0 up
    !sleep 1.5\n";

#[track_caller]
fn on(start: &str, class: &str, cases: &[Case<'_>]) {
    let lines: Vec<String> = cases.iter().map(|(_, lines)| format!("{start}{lines}")).collect();
    let names = cases.iter().map(|(name, _)| *name);
    let cases: Vec<_> = names.zip(lines.iter().map(String::as_str)).collect();
    all(class, &cases, QUESTIONS);
}

#[test]
fn addresses() {
    on(
        BRIDGE,
        "fdb",
        &[
            ("those of the ports", ""),
            ("permanent", "!bridge fdb add 02:00:00:00:00:01 dev a0 master permanent"),
            ("static", "!bridge fdb add 02:00:00:00:00:01 dev a0 master static"),
            ("sticky", "!bridge fdb add 02:00:00:00:00:01 dev a0 master static sticky"),
            (
                "learned outside",
                "!bridge fdb add 02:00:00:00:00:01 dev a0 master dynamic extern_learn",
            ),
            ("of the bridge itself", "!bridge fdb add 02:00:00:00:00:01 dev br0 self permanent"),
            ("of a device", "!bridge fdb add 02:00:00:00:00:01 dev b0 self permanent"),
            (
                "a bridge that had its address first",
                "link set a0 nomaster\nlink set br0 address 02:00:00:00:00:05
                 link set a0 address 02:00:00:00:00:05\nlink set a0 master br0\n!sleep 1.5",
            ),
            (
                "many",
                "!for i in $(seq 10 99); do bridge fdb add 02:00:00:00:01:$i dev a0 master static; done",
            ),
        ],
    );
}

#[test]
fn remote_ends() {
    on(
        "addr add 10.9.0.1/24 dev eth0\nlink add x0 type vxlan id 5 dstport 4789\nlink set x0 up\n",
        "vxlan-fdb",
        &[
            ("one", "!bridge fdb add 02:00:00:00:00:01 dev x0 dst 10.9.0.2"),
            ("static", "!bridge fdb add 02:00:00:00:00:01 dev x0 dst 10.9.0.2 static"),
            (
                "for all others, several",
                "!bridge fdb append 00:00:00:00:00:00 dev x0 dst 10.9.0.2
                 !bridge fdb append 00:00:00:00:00:00 dev x0 dst 10.9.0.3
                 !bridge fdb append 00:00:00:00:00:00 dev x0 dst 10.9.0.4 port 4790 vni 77",
            ),
            ("through a link", "!bridge fdb add 02:00:00:00:00:01 dev x0 dst 10.9.0.2 via eth0"),
            ("over IPv6", "!bridge fdb add 02:00:00:00:00:01 dev x0 dst 2001:db8::2"),
            (
                "by a nexthop",
                "nexthop add id 5 via 10.9.0.2 fdb\nnexthop add id 9 group 5 fdb
                 !bridge fdb add 02:00:00:00:00:01 dev x0 nhid 9",
            ),
            ("a router", "!bridge fdb add 02:00:00:00:00:01 dev x0 dst 10.9.0.2 router"),
            (
                "of identifiers",
                "link add x1 type vxlan dstport 4790 external
                 !bridge fdb add 02:00:00:00:00:01 dev x1 dst 10.9.0.2 src_vni 7 vni 8",
            ),
            (
                "in a bridge",
                "link add br0 type bridge\nlink set x0 master br0\nlink set br0 up
                 !bridge fdb add 02:00:00:00:00:01 dev x0 dst 10.9.0.2 self static
                 !bridge fdb add 02:00:00:00:00:01 dev x0 master static",
            ),
        ],
    );
}

#[test]
fn network_identifiers() {
    on(
        "link add x0 type vxlan dstport 4789 external vnifilter\nlink set x0 up\n",
        "vni",
        &[
            ("none", ""),
            ("one", "!bridge vni add vni 100 dev x0"),
            ("a range", "!bridge vni add vni 100-110 dev x0\n!bridge vni add vni 200 dev x0"),
            ("with a remote end", "!bridge vni add vni 100 remote 10.9.0.2 dev x0"),
        ],
    );
}

#[test]
fn groups() {
    on(
        BRIDGE,
        "mdb",
        &[
            ("of IP", "!bridge mdb add dev br0 port a0 grp 239.1.1.1 permanent"),
            ("for a time", "!bridge mdb add dev br0 port a0 grp 239.1.1.1 temp"),
            ("of IPv6", "!bridge mdb add dev br0 port a0 grp ff0e::77 permanent"),
            (
                "on both ports",
                "!bridge mdb add dev br0 port a0 grp 239.1.1.1 permanent
                 !bridge mdb add dev br0 port c0 grp 239.1.1.1 permanent",
            ),
            ("of Ethernet", "!bridge mdb add dev br0 port a0 grp 01:02:03:04:05:06 permanent"),
            (
                "from a source",
                "link set br0 type bridge mcast_igmp_version 3
                 !bridge mdb add dev br0 port a0 grp 239.1.1.1 src 10.9.0.7 permanent",
            ),
            (
                "of a bridge that is down",
                "!bridge mdb add dev br0 port a0 grp 239.1.1.1 permanent\nlink set br0 down",
            ),
        ],
    );
}

#[test]
fn vlans() {
    on(
        BRIDGE,
        "vlan",
        &[(
            "filtered",
            "link set br0 type bridge vlan_filtering 1
                 !bridge vlan add vid 7 dev a0 pvid untagged
                 !bridge vlan add vid 10-20 dev c0\n!bridge vlan del vid 1 dev a0
                 !bridge vlan add vid 7 dev br0 self",
        )],
    );
}
