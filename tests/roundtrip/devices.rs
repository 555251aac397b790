//! Settings of devices that `ethtool` shows.

use super::all;

const QUESTIONS: &[&[&str]] = &[
    &["ethtool", "--json", "-k", "eth0"],
    &[
        "sh",
        "-c",
        "for i in $(ls /proc/sys/net/ipv4/conf); do ethtool -k $i; done 2>&1 | jq -R . | jq -s .",
    ],
    &[
        "sh",
        "-c",
        "for i in $(ls /proc/sys/net/ipv4/conf); do ethtool -l $i; done 2>&1 | jq -R . | jq -s .",
    ],
    &[
        "sh",
        "-c",
        "for i in $(ls /proc/sys/net/ipv4/conf); do ethtool -c $i; done 2>&1 | jq -R . | jq -s .",
    ],
];

#[test]
fn devices() {
    all(
        "device",
        &[
            ("as they are", ""),
            ("no checksums", "!ethtool -K eth0 tx off rx off"),
            ("no segmentation", "!ethtool -K eth0 tso off gso off"),
            ("what is off by itself", "!ethtool -K eth0 tx-nocache-copy on rx-gro-list on rx-udp-gro-forwarding on"),
            ("no VLAN offload", "!ethtool -K eth0 rxvlan off txvlan off"),
            (
                "of a bridge and its port",
                "link add br0 type bridge\nlink add a0 type veth peer name b0
                 link set a0 master br0\nlink set br0 up
                 !ethtool -K br0 tx off\n!ethtool -K a0 gro on",
            ),
            ("of loopback", "!ethtool -K lo tso off"),
            (
                "channels",
                "link add a0 numtxqueues 4 numrxqueues 4 type veth peer name b0 numtxqueues 4 numrxqueues 4
                 !ethtool -L a0 rx 2 tx 3",
            ),
            ("coalescing", "tuntap add t0 mode tap\n!ethtool -C t0 rx-frames 7"),
        ],
        QUESTIONS,
    );
}
