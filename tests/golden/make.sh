#!/usr/bin/env bash
# Makes a golden image: a namespace with some of everything, captured. Wants root and the program.
#
#   tests/golden/make.sh OUTPUT [CAPTURE...]     the capture command gets --netns PATH -o OUTPUT
#
# A golden image that is committed is never made again: it shows that what an older program wrote is
# still read. Make a new one, under a new name, when an image can hold something new.

set -euo pipefail

output=$(realpath -m -- "$1")
shift
capture=("$@")
((${#capture[@]})) || capture=(netckpt capture --no-host)

namespace="nckpt-golden-$$"
ip netns add "$namespace"
trap 'ip netns delete "$namespace"' EXIT
inside() { ip -n "$namespace" "$@"; }

inside link set lo up
inside link add eth0 index 7 address 02:00:00:00:00:01 mtu 1450 numtxqueues 2 type veth \
	peer name eth1 index 8 address 02:00:00:00:00:02
inside link set eth0 alias "the first" txqueuelen 500
inside link property add dev eth0 altname ethernet0
inside link set eth0 up
inside link set eth1 up
inside address add 10.1.0.5/24 broadcast + dev eth0
inside address add 10.1.0.6/24 dev eth0 label eth0:b
inside address add 192.0.2.1 peer 192.0.2.2/32 dev eth1
inside address add 2001:db8::5/64 dev eth0 nodad
inside route add default via 10.1.0.1
inside route add 10.9.0.0/16 via 10.1.0.1 table 100 metric 7 mtu 1400
inside route add blackhole 10.66.0.0/16
inside route add 10.8.0.0/16 nexthop via 10.1.0.1 weight 1 nexthop via 192.0.2.2 weight 3
inside route add 2001:db8:1::/48 via 2001:db8::1
inside nexthop add id 11 via 10.1.0.9 dev eth0
inside nexthop add id 12 group 11,5
inside route add 10.7.0.0/16 nhid 11
inside rule add from 10.1.0.6 lookup 100 priority 500
inside -6 rule add fwmark 0x10/0xff lookup 100 priority 600
inside neighbour add 10.1.0.1 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
inside neighbour add proxy 10.1.0.77 dev eth0
inside ntable change name arp_cache dev eth0 base_reachable 20000
ip netns exec "$namespace" sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.tcp_keepalive_time=600

"${capture[@]}" --netns "/run/netns/$namespace" -o "$output"
