#!/bin/bash
# Records the raw dumps that the unit tests of `src/state` read, from a namespace with some of
# everything. Run as root in this folder; the files change with the kernel's version.
set -eu
cd "$(dirname "$0")"
ns=netckpt-record
out=netckpt-record-out
trap 'ip netns del $ns 2>/dev/null || true; ip netns del $out 2>/dev/null || true' EXIT
ip netns add $ns
ip netns add $out
# What this kernel lacks is left out and said.
i() { ip -n $ns "$@" || echo "left out: $*" >&2; }
ip netns exec $ns sysctl -qw net.mpls.platform_labels=100 || true

i link set lo up
i link add eth0 index 7 address 02:00:00:00:00:07 mtu 1400 txqueuelen 123 type veth peer name host0 netns $out
i link add in0 index 10 numtxqueues 2 type veth peer name in1 index 11
i link set eth0 alias "the pod's" group 5
i link property add dev eth0 altname first altname second
i link set in0 gso_max_size 30000 addrgenmode none
ip -n $out link set host0 up
i link set eth0 up
i link set in0 up
i link set in1 up
i link add br0 index 20 type bridge
i link add vx0 index 21 type vxlan id 42 dstport 4789 local 10.1.0.2 dev eth0
i link add mv0 index 22 link in0 type macvlan mode bridge
ip netns exec $ns ip tuntap add tap0 mode tap user 1000
i link add port0 index 24 master br0 type veth peer name port1 index 25
i link add ifb0 index 26 type ifb

i addr add 10.1.0.2/24 brd + dev eth0
i addr add 10.1.0.3/24 dev eth0 label eth0:x valid_lft 3600 preferred_lft 1800
i addr add 10.9.0.1 peer 10.9.0.2 dev in0 metric 77
i addr add 2001:db8::2/64 dev eth0 nodad
i addr add 2001:db8::3/64 dev eth0 nodad valid_lft 3600 preferred_lft 1800 noprefixroute
i addr add 2001:db8:9::1 peer 2001:db8:9::2/64 dev in0 nodad

i route add default via 10.1.0.1 mtu lock 1300 advmss 1200 congctl reno
i route add 10.2.0.0/16 table 1000 proto bird metric 9 src 10.1.0.2 via 10.1.0.9
i route append 10.2.0.0/16 table 1000 proto bird metric 9 via 10.1.0.8
i route add 10.3.0.0/16 nexthop via 10.1.0.4 weight 3 nexthop via 10.1.0.5 onlink dev eth0
for type in blackhole unreachable prohibit throw; do i route add $type 10.4.0.0/24 table 50$((${#type} % 10)); done
i route add local 10.5.0.0/16 dev lo
i route add 10.6.0.0/16 via inet6 2001:db8::9 dev eth0
i route add 10.7.0.0/16 encap ip id 7 dst 10.1.0.7 dev eth0
i route add 10.7.1.0/24 encap mpls 100/200 via 10.1.0.1
i -6 route add default via 2001:db8::1 pref high expires 600
i -6 route add 2001:db8:2::/48 nexthop via 2001:db8::4 nexthop via 2001:db8::5 weight 2
i -6 route add blackhole 2001:db8:4::/48 table 77
i -6 route add 2001:db8:5::/48 encap seg6 mode encap segs 2001:db8::a,2001:db8::b dev eth0
i -6 route add 2001:db8:6::1 encap seg6local action End.DX6 nh6 2001:db8::1 count dev eth0
i -6 route add 2001:db8:7::/48 encap ioam6 trace prealloc type 0x800000 ns 1 size 12 dev eth0

i nexthop add id 1 via 10.1.0.1 dev eth0
i nexthop add id 2 via 10.1.0.4 dev eth0 proto bird
i nexthop add id 3 blackhole
i nexthop add id 4 via 2001:db8::1 dev eth0
i nexthop add id 10 group 1,3/2
i nexthop add id 11 group 1/2 type resilient buckets 8 idle_timer 60 unbalanced_timer 300
i route add 10.8.0.0/16 nhid 10
i route add 10.8.1.0/24 nhid 1
i -6 route add 2001:db8:8::/48 nhid 4

i rule add pref 100 from 10.1.0.0/24 to 10.2.0.0/16 fwmark 1/0xff iif eth0 lookup 1000
i rule add pref 101 not from 10.1.0.0/24 uidrange 1-99 ipproto tcp dport 80-90 lookup 1001
i rule add pref 102 oif eth0 goto 200
i rule add pref 200 tos 0x10 suppress_prefixlength 0 lookup main protocol bird
i rule add pref 103 blackhole
i rule add pref 104 l3mdev
i -6 rule add pref 100 from 2001:db8::/64 lookup 77

i neigh add 10.1.0.1 lladdr 02:00:00:00:00:01 dev eth0
i neigh add 10.1.0.20 lladdr 02:00:00:00:00:20 dev eth0 nud reachable
i neigh add 10.1.0.21 lladdr 02:00:00:00:00:21 dev eth0 nud stale extern_learn
i neigh add 10.1.0.22 dev eth0 managed
i neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 dev eth0 router nud permanent
i neigh add proxy 10.1.0.30 dev eth0
i neigh add proxy 2001:db8::30 dev eth0
i ntable change name arp_cache dev eth0 retrans 1500 ucast_probes 7

i addrlabel add prefix 2001:db8::/32 dev eth0 label 99
i addrlabel add prefix fd77::/64 label 100
i addrlabel del prefix 2002::/16 label 2
i mptcp limits set subflows 5 add_addr_accepted 3
i mptcp endpoint add 10.1.0.2 id 9 dev eth0 subflow backup
i mptcp endpoint add 2001:db8::2 id 3 signal
printf 'not a secret\n%.0s' 1 2 | ip netns exec $ns setsid -w ip sr hmac set 17 sha256 || true
i sr tunsrc set 2001:db8::7
i ioam schema add 7 words
i ioam namespace add 5 data 0x10 wide 0x20
i ioam namespace set 5 schema 7
i xfrm policy add src 10.0.0.0/8 dst 10.2.0.0/16 dir out priority 5 action block
i xfrm policy add src 10.0.0.0/8 dst 10.3.0.0/16 dev eth0 dir out ptype sub mark 7 mask 0xff if_id 9 \
	tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 77 mode tunnel
i xfrm policy add src 2001:db8::/32 dst fd00::/8 dir in limit packet-hard 30 tmpl proto comp level use

ip netns exec $ns nft -f ./record.nft
ip netns exec $ns iptables-nft -A INPUT -p tcp -m tcpmss --mss 1:500 -j LOG

ip netns exec $ns nft -f - <<'END'
table ip flows {
	ct helper files {
		type "ftp" protocol tcp;
	}
	chain redirected {
		type nat hook output priority -100;
		tcp dport 80 redirect to :15001
	}
	chain labelled {
		type filter hook output priority 0;
		tcp dport 15001 ct label set 7
	}
	chain helped {
		type filter hook output priority 0;
		tcp dport 21 ct helper set "files"
	}
}
table ip6 flows {
	chain tracked {
		type nat hook output priority -100;
	}
}
END
made() { ip netns exec $ns conntrack -I "$@"; }
tcp=(-p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 3000)
made "${tcp[@]}" -s 10.1.0.2 -d 192.0.2.1 --sport 1001 --dport 80 -m 77 --src-nat 198.51.100.1:2005
made "${tcp[@]}" -s 10.1.0.2 -d 192.0.2.1 --sport 1002 --dport 80 -w 5
made "${tcp[@]}" -s 2001:db8::2 -d 2001:db8:99::1 --sport 1003 --dport 80 --orig-zone 7
made -p udp -t 100 -s 10.1.0.2 -d 192.0.2.1 --sport 1004 --dport 53
made -p gre --srckey 0x11 --dstkey 0x22 -t 100 -s 10.1.0.2 -d 192.0.2.1
made -p sctp --state ESTABLISHED --orig-vtag 5 --reply-vtag 6 -t 100 -s 10.1.0.2 -d 192.0.2.1 --sport 1005 --dport 80
ip netns exec $ns ping -c 1 127.0.0.1
ip netns exec $ns ping -c 1 ::1

# Names of sections, or nothing for all.
ip netns exec $ns python3 ./record.py "$@"

# What a section has otherwise than the kernel tells it: by the program, from the image.
tool=${NETCKPT:-../../target/debug/netckpt}
pod=netckpt-record-sets
image=$(mktemp)
trap 'ip netns del $ns 2>/dev/null || true; ip netns del $out 2>/dev/null || true; ip netns del $pod 2>/dev/null || true; rm -f "$image"' EXIT
ip netns add $pod
ip netns exec $pod bash -eu <<'END'
ipset create gone hash:ip
ipset create a hash:ip timeout 600 counters comment skbinfo
ipset add a 10.0.0.1 packets 5 bytes 50 comment one skbmark 0x1/0xff
ipset add a 10.0.0.2 timeout 0
ipset create n hash:net family inet6
ipset add n fd00::/8
ipset add n fd00:1::/32 nomatch
ipset create i hash:net,iface
ipset add i 10.0.0.0/8,physdev:eth0
ipset create p hash:ip,port
ipset add p 10.0.0.1,tcp:80
ipset create q hash:ip,port,net
ipset add q 10.0.0.1,udp:53,10.1.0.0/16
ipset create b bitmap:ip,mac range 10.0.0.0/24
ipset add b 10.0.0.9,02:00:00:00:00:09
ipset create l list:set
ipset add l a
ipset destroy gone
iptables-legacy -N mine
iptables-legacy -A INPUT -s 10.0.0.0/8 -i eth+ -p tcp --dport 80 -c 5 500 -g mine
iptables-legacy -A INPUT -m set --match-set a src -j DROP
iptables-legacy -A mine -m limit --limit 5/s -m comment --comment seen -j LOG --log-prefix x
iptables-legacy -A mine ! -d 10.1.0.0/16
iptables-legacy -P OUTPUT DROP
iptables-legacy -t nat -A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1:80
ip6tables-legacy -A INPUT -s fd00::/8 -j ACCEPT
arptables-legacy -A INPUT -s 10.0.0.1 --source-mac 02:00:00:00:00:01 -j DROP
END
"$tool" capture --netns /run/netns/$pod --no-host -o "$image"
python3 - "$image" ipsets ipset-members iptables ip6tables arptables <<'END'
import sys

sys.path.insert(0, "..")
import read_image

_, sections = read_image.read(sys.argv[1])
for name in sys.argv[2:]:
    with open(f"{name}.bin", "wb") as file:
        file.write(sections[name])
END
