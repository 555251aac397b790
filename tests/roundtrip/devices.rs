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
    &[
        "sh",
        "-c",
        "for i in $(ls /proc/sys/net/ipv4/conf); do ethtool $i; done 2>&1 | jq -R . | jq -s .",
    ],
    &["sh", "-c", "ip tuntap | jq -R . | jq -s ."],
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
            (
                "a cable that is none",
                "tuntap add t0 mode tap\n!ethtool -s t0 speed 100 duplex half port mii phyad 7",
            ),
            ("a driver that writes its log", "tuntap add t0 mode tap\n!ethtool -s t0 msglvl 7"),
            ("a flag without effect", "tuntap add t0 mode tap one_queue multi_queue"),
        ],
        QUESTIONS,
    );
}

/// Every file of a link that can be written, and says a plain thing.
const FILES: &[&[&str]] = &[
    &[
        "sh",
        "-c",
        "find /sys/class/net/*/ -type f -perm -200 | grep -v -e uevent -e flush -e /carrier | sort | \
         while read -r file; do echo \"$file $(cat $file 2>/dev/null)\"; done | jq -R . | jq -s .",
    ],
    &["sh", "-c", "sysctl net.core.rps_default_mask | jq -R . | jq -s ."],
];

#[test]
fn files_that_no_message_tells_of() {
    const QUEUES: &str = "link add a0 numtxqueues 2 numrxqueues 2 type veth \
                          peer name b0 numtxqueues 2 numrxqueues 2\n";
    let queues = |lines: &str| format!("{QUEUES}{lines}");
    all(
        "file",
        &[
            ("as they are", ""),
            ("a pause before packets", "!echo 20000 > /sys/class/net/eth0/gro_flush_timeout"),
            ("no interrupts", "!echo 3 > /sys/class/net/eth0/napi_defer_hard_irqs"),
            ("threads", "!ethtool -K eth0 gro on\n!echo 1 > /sys/class/net/eth0/threaded"),
            ("never asleep", "!echo on > /sys/class/net/eth0/power/control"),
            ("processors that take in", "!echo 1 > /sys/class/net/lo/queues/rx-0/rps_cpus"),
            ("flows", "!echo 4096 > /sys/class/net/eth0/queues/rx-0/rps_flow_cnt"),
            ("processors that send", &queues("!echo 1 > /sys/class/net/a0/queues/tx-1/xps_cpus")),
            ("queues that send", &queues("!echo 2 > /sys/class/net/a0/queues/tx-1/xps_rxqs")),
            (
                "processors of new links",
                "!sysctl -qw net.core.rps_default_mask=1\nlink add a0 type veth peer name b0",
            ),
        ],
        FILES,
    );
}
