//! The cases: states to be made, by name.

/// A name, and lines for the shell that make it in a namespace with `eth0` and the pair `d0`, `d1`.
pub type Case = (&'static str, &'static str);

pub const CASES: &[Case] = &[
    (
        "queues of a length",
        "tc qdisc add dev d0 root handle 5: pfifo limit 77
         tc qdisc add dev d1 root bfifo limit 4321
         tc qdisc add dev eth0 root handle 7: pfifo_head_drop limit 12",
    ),
    (
        "what the kernel would put there, put there by hand",
        "tc qdisc add dev d0 root handle 1: noqueue
         tc qdisc add dev d1 root handle 2: pfifo_fast",
    ),
    (
        "a token bucket",
        "tc qdisc add dev d0 root handle 1: tbf rate 3mbit burst 1514 latency 50ms
         tc qdisc add dev d1 root handle 8001: tbf rate 1gbit burst 100kb limit 1mb peakrate 2gbit minburst 1540
         tc qdisc add dev eth0 root tbf rate 20gbit burst 10mb limit 100mb overhead 18 linklayer ethernet mpu 64",
    ),
    (
        "a token bucket over another queue",
        "tc qdisc add dev d0 root handle 1: tbf rate 10mbit burst 32kb latency 400ms
         tc qdisc add dev d0 parent 1:1 handle 10: pfifo limit 33
         tc qdisc add dev d1 root handle 1: tbf rate 10mbit burst 32kb latency 400ms linklayer atm",
    ),
    (
        "a table of sizes",
        "tc qdisc add dev d0 root handle 1: stab overhead 24 linklayer atm mpu 64 mtu 2048 tsize 256 tbf rate 1mbit burst 10kb latency 50ms
         tc qdisc add dev d1 root handle 2: stab overhead -4 linklayer ethernet mpu 84 htb
         tc qdisc add dev eth0 root handle 3: stab overhead 22 pfifo limit 5",
    ),
    (
        "a tree of classes",
        "tc qdisc add dev d0 root handle 1: htb default 30 r2q 20 direct_qlen 100
         tc class add dev d0 parent 1: classid 1:1 htb rate 100mbit ceil 100mbit burst 15k
         tc class add dev d0 parent 1:1 classid 1:10 htb rate 50mbit ceil 100mbit prio 1 burst 15k cburst 20k
         tc class add dev d0 parent 1:1 classid 1:20 htb rate 30mbit ceil 90mbit prio 2 quantum 3000
         tc class add dev d0 parent 1:20 classid 1:21 htb rate 10mbit overhead 4 mpu 64
         tc class add dev d0 parent 1:20 classid 1:22 htb rate 20mbit linklayer atm
         tc class add dev d0 parent 1:1 classid 1:30 htb rate 40gbit ceil 100gbit
         tc class add dev d0 parent 1: classid 1:2 htb rate 8kbit",
    ),
    (
        "queues on classes",
        "tc qdisc add dev d0 root handle 1: htb default 20
         tc class add dev d0 parent 1: classid 1:1 htb rate 10mbit
         tc class add dev d0 parent 1:1 classid 1:10 htb rate 5mbit
         tc class add dev d0 parent 1:1 classid 1:20 htb rate 5mbit
         tc qdisc add dev d0 parent 1:10 handle 10: tbf rate 1mbit burst 3kb latency 20ms
         tc qdisc add dev d0 parent 10:1 handle 11: pfifo limit 3
         tc qdisc add dev d0 parent 1:20 handle 20: htb default 1
         tc class add dev d0 parent 20: classid 20:1 htb rate 2mbit
         tc qdisc add dev d0 parent 20:1 handle 21: bfifo limit 9999",
    ),
    (
        "many classes",
        "tc qdisc add dev d0 root handle 1: htb
         for i in $(seq 1 60); do tc class add dev d0 parent 1: classid 1:$(printf %x $((i * 7))) htb rate ${i}mbit; done",
    ),
    (
        "filters of classes",
        "tc qdisc add dev d0 root handle 1: htb default 20
         tc class add dev d0 parent 1: classid 1:1 htb rate 10mbit
         tc class add dev d0 parent 1:1 classid 1:10 htb rate 5mbit
         tc class add dev d0 parent 1:1 classid 1:20 htb rate 5mbit
         tc filter add dev d0 parent 1: protocol ip prio 5 u32 match ip dport 80 0xffff flowid 1:10
         tc filter add dev d0 parent 1: protocol ip prio 5 u32 match ip sport 22 0xffff match ip protocol 6 0xff flowid 1:20
         tc filter add dev d0 parent 1: protocol ipv6 prio 7 u32 match ip6 dst fd00::/64 flowid 1:20
         tc filter add dev d0 parent 1:1 protocol all prio 9 u32 match u32 0 0 at 0 flowid 1:10
         tc filter add dev d0 parent 1: protocol ip prio 3 bpf bytecode '1,6 0 0 4294967295' flowid 1:10",
    ),
    (
        "ingress to another link",
        "tc qdisc add dev eth0 ingress
         tc filter add dev eth0 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev d0
         tc filter add dev eth0 parent ffff: protocol ip prio 2 u32 match ip src 10.0.0.0/8 action mirred egress mirror dev d1 pipe action mirred ingress redirect dev d0",
    ),
    (
        "both sides with the same preference",
        "tc qdisc add dev d0 clsact
         tc filter add dev d0 ingress protocol ip u32 match ip dst 10.0.0.1/32 action mirred egress redirect dev d1
         tc filter add dev d0 egress protocol ip u32 match ip dst 10.0.0.2/32 action mirred egress mirror dev d1
         tc filter add dev d0 egress protocol ip u32 match ip dst 10.0.0.3/32 flowid 1:1
         tc filter add dev d0 ingress chain 4 protocol ip prio 49152 u32 match ip dst 10.0.0.4/32 flowid 1:4",
    ),
    (
        "sides made in the other order",
        "tc qdisc add dev d0 clsact
         tc filter add dev d0 egress protocol ip prio 9 u32 match ip dst 10.0.0.2/32 flowid 1:2
         tc filter add dev d0 ingress protocol ip prio 9 u32 match ip dst 10.0.0.1/32 flowid 1:1
         tc filter add dev d0 ingress protocol ip prio 3 u32 match ip dst 10.0.0.3/32 flowid 1:3",
    ),
    (
        "hash tables",
        "tc qdisc add dev d0 clsact
         tc filter add dev d0 ingress prio 5 protocol ip u32
         tc filter add dev d0 ingress prio 5 handle 2: protocol ip u32 divisor 256
         tc filter add dev d0 ingress prio 5 handle 7: protocol ip u32 divisor 4
         tc filter add dev d0 ingress protocol ip prio 5 u32 ht 2:7b: match ip src 10.0.0.123 flowid 1:1
         tc filter add dev d0 ingress protocol ip prio 5 handle ::5 u32 ht 2:7b: match ip src 10.0.1.123 flowid 1:2
         tc filter add dev d0 ingress protocol ip prio 5 u32 ht 2:1: match ip src 10.0.0.1 link 7:
         tc filter add dev d0 ingress protocol ip prio 5 u32 ht 7:2: match ip protocol 17 0xff flowid 1:3
         tc filter add dev d0 ingress protocol ip prio 5 u32 ht 800:: match ip src 10.0.0.0/8 link 2: hashkey mask 0x000000ff at 12
         tc filter add dev d0 ingress protocol ip prio 5 u32 ht 800:: match ip dst 10.0.0.0/8 link 7: offset at 0 mask 0x0f00 shift 6 plus 0 eat",
    ),
    (
        "tables with numbers of the kernel, and gaps between them",
        "tc qdisc add dev d0 clsact
         tc filter add dev d0 ingress prio 5 protocol ip u32 match ip dst 10.0.0.5 flowid 1:5
         tc filter add dev d0 ingress prio 6 protocol ip u32 match ip dst 10.0.0.6 flowid 1:6
         tc filter add dev d0 ingress prio 6 protocol ip u32 divisor 16
         tc filter add dev d0 ingress prio 7 protocol ip u32 match ip dst 10.0.0.7 flowid 1:7
         tc filter del dev d0 ingress prio 7
         tc filter add dev d0 egress prio 4 protocol ip u32 match ip dst 10.0.0.4 flowid 1:4
         tc filter del dev d0 ingress prio 5",
    ),
    (
        "keys with more than a match",
        "tc qdisc add dev d0 clsact
         tc filter add dev d0 ingress prio 5 protocol ip u32 match ip dst 10.0.0.5 match mark 5 0xff indev d0 flowid 1:5 skip_hw
         tc filter add dev d0 ingress prio 6 protocol 802.1q u32 match u32 0x11223344 0xffffffff at 4
         tc filter add dev d0 ingress prio 8 protocol 802.1q u32 match u16 0x1122 0xfff0 at nexthdr+2 match u8 1 1 at -14 flowid :8",
    ),
    (
        "classic programs, in their order",
        "tc qdisc add dev d0 clsact
         tc filter add dev d0 ingress prio 5 protocol all bpf bytecode '4,40 0 0 12,21 0 1 2048,6 0 0 4294967295,6 0 0 0' flowid 1:1
         tc filter add dev d0 ingress prio 5 protocol all bpf bytecode '1,6 0 0 0' flowid 1:2
         tc filter add dev d0 ingress prio 5 handle 9 protocol all bpf bytecode '1,6 0 0 65537' flowid 1:3 action mirred egress mirror dev d1
         tc filter add dev d0 egress prio 1 protocol ip bpf bytecode '1,6 0 0 1' flowid 2:2 skip_hw
         tc filter del dev d0 ingress prio 5 handle 2 bpf
         tc filter add dev d0 ingress prio 5 protocol all bpf bytecode '1,6 0 0 7' flowid 1:7",
    ),
    (
        "actions with names of their own",
        "tc actions add action mirred egress redirect dev d1 index 7 cookie aabbccdd
         tc actions add action mirred egress mirror dev d0 index 8
         tc actions add action mirred ingress redirect dev d0 index 3
         tc qdisc add dev d0 clsact
         tc filter add dev d0 ingress prio 5 protocol ip u32 match ip dst 10.0.0.5 action mirred index 7
         tc filter add dev d0 egress prio 5 protocol ip u32 match ip dst 10.0.0.5 action mirred index 8 action mirred index 7
         tc filter add dev d0 egress prio 6 protocol ip u32 match ip dst 10.0.0.6 action mirred egress redirect dev d1 index 20 cookie 0102
         tc filter add dev d0 egress prio 7 protocol ip u32 match ip dst 10.0.0.6 action mirred index 20",
    ),
    (
        "chains",
        "tc qdisc add dev d0 clsact
         tc chain add dev d0 ingress chain 11
         tc chain add dev d0 egress chain 12
         tc filter add dev d0 ingress chain 3 prio 1 protocol ip u32 match ip dst 10.0.0.5 flowid 1:1
         tc filter add dev d0 ingress chain 0 prio 1 protocol ip u32 match ip dst 10.0.0.5 action mirred egress mirror dev d1 goto chain 3
         tc filter add dev d0 ingress chain 2 prio 6 protocol ip bpf bytecode '1,6 0 0 1' flowid 1:2",
    ),
    (
        "chains in the order in which they were made",
        "tc qdisc add dev d0 clsact
         tc filter add dev d0 ingress protocol ip prio 1 u32 match ip dst 10.0.0.1 flowid 1:1
         tc chain add dev d0 ingress chain 5
         tc filter add dev d0 ingress chain 7 protocol ip prio 1 u32 match ip dst 10.0.0.7 flowid 1:7
         tc chain add dev d0 egress chain 3
         tc filter add dev d0 egress protocol ip prio 1 u32 match ip dst 10.0.0.2 flowid 1:2
         tc filter add dev d0 egress chain 3 protocol ip prio 1 u32 match ip dst 10.0.0.3 flowid 1:3",
    ),
    (
        "a block that links share",
        "tc qdisc add dev d0 ingress_block 22 ingress
         tc qdisc add dev d1 ingress_block 22 egress_block 23 clsact
         tc qdisc add dev eth0 egress_block 23 clsact
         tc chain add block 23 chain 9
         tc filter add block 22 protocol ip prio 1 u32 match ip dst 10.0.0.5 action mirred egress redirect dev eth0
         tc filter add block 23 protocol ip prio 1 u32 match ip dst 10.0.0.6 flowid 1:1
         tc filter add block 23 protocol ip prio 1 bpf bytecode '1,6 0 0 1' flowid 1:2 || true
         tc filter add block 23 protocol ip prio 2 bpf bytecode '1,6 0 0 1' flowid 1:2
         tc filter add dev eth0 ingress protocol ip prio 1 u32 match ip dst 10.0.0.7 flowid 1:1",
    ),
    (
        "a link of many queues",
        "ip link add m0 numtxqueues 4 numrxqueues 4 type veth peer name m1 numtxqueues 4
         ip link set m0 addrgenmode none up; ip link set m1 addrgenmode none up
         tc qdisc add dev m0 root handle 1: mq
         tc qdisc replace dev m0 parent 1:1 handle 11: pfifo limit 11
         tc qdisc replace dev m0 parent 1:3 handle 13: htb
         tc class add dev m0 parent 13: classid 13:1 htb rate 1mbit",
    ),
    (
        "a bandwidth plugin's shaping",
        "tc qdisc add dev eth0 ingress
         tc filter add dev eth0 parent ffff: protocol all prio 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev d0
         tc qdisc add dev d0 root handle 1: tbf rate 10mbit burst 256kb latency 25ms
         tc qdisc add dev eth0 root handle 1: tbf rate 20mbit burst 256kb latency 25ms",
    ),
    (
        "kinds that not every kernel has",
        "tc qdisc add dev d0 root handle 1: prio bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1
         tc qdisc add dev d0 parent 1:1 handle 10: sfq perturb 10 limit 100
         tc qdisc add dev d0 parent 1:2 handle 20: fq_codel limit 900 target 4ms interval 80ms noecn
         tc qdisc add dev d0 parent 1:3 handle 30: netem delay 10ms loss 1% rate 5mbit
         tc qdisc add dev d1 root handle 1: hfsc default 2
         tc class add dev d1 parent 1: classid 1:2 hfsc sc rate 1mbit ul rate 2mbit
         tc qdisc add dev eth0 root handle 1: fq flow_limit 50 quantum 3000
         tc qdisc add dev eth0 clsact
         tc filter add dev eth0 ingress prio 1 protocol ip flower dst_ip 10.0.0.1 ip_proto tcp dst_port 80 action drop
         tc filter add dev eth0 ingress prio 2 protocol all matchall action police rate 1mbit burst 10k
         tc filter add dev eth0 ingress prio 3 protocol ip basic match 'cmp(u8 at 9 layer network eq 6)' action skbedit priority 7
         tc filter add dev eth0 egress prio 3 protocol ip fw action ok",
    ),
];
