//! The cases: states to be made, by name.

/// A name, and what makes it: lines for `nft -f -`, or with `!` first for the shell.
pub type Case = (&'static str, &'static str);

pub const CASES: &[Case] = &[
    (
        "tables of all families",
        "add table ip t4 { comment \"of v4\" ; }
         add table ip6 t6
         add table inet both
         add table arp a
         add table bridge b
         add table netdev n",
    ),
    ("a dormant table", "table inet t { flags dormant; chain c { type filter hook input priority 0; } }"),
    (
        "base chains with types, hooks, priorities and policies",
        "table inet t {
           chain in { type filter hook input priority filter; policy drop; iifname lo accept; }
           chain out { type route hook output priority mangle + 3; policy accept; }
           chain nat { type nat hook prerouting priority dstnat; }
           chain plain { comment \"only jumped to\"; }
         }",
    ),
    (
        "chains on devices",
        "table netdev n { chain i { type filter hook ingress device eth0 priority -5; counter; } }
         table inet t { chain i { type filter hook ingress device lo priority 7; counter; } }",
    ),
    (
        "jumps, gotos and a nameless chain",
        "table ip t {
           chain last { return; }
           chain mid { jump last; tcp dport 1 goto last; }
           chain c { type filter hook input priority 0; jump mid; ip saddr 10.0.0.1 jump { tcp dport 22 accept; udp dport 53 drop; }; ct state established,related accept; }
         }",
    ),
    (
        "rules between rules",
        "table inet t { chain c { tcp dport 1 accept; tcp dport 2 accept; tcp dport 3 accept; } ; chain d { } }
         insert rule inet t c tcp dport 10
         insert rule inet t c index 2 tcp dport 11
         add rule inet t c index 0 tcp dport 12
         add chain inet t e
         add rule inet t d counter packets 3 bytes 99 jump e
         add rule inet t e tcp dport 5 accept",
    ),
    (
        "anonymous sets and maps",
        "table inet t {
           chain x { }
           chain c { type filter hook input priority 0;
             tcp dport { 22, 80, 443, 1000-2000 } accept
             ip saddr { 10.0.0.0/8, 192.168.1.1 } drop
             ip saddr vmap { 10.0.0.1 : jump x, 10.0.0.2 : drop, 10.0.1.0/24 : return }
             meta mark set tcp dport map { 80 : 1, 443 : 2 }
             iifname . tcp dport { eth0 . 5, lo . 6 } accept
             ip saddr . tcp dport { 10.0.0.0/8 . 1-5, 1.2.3.4 . 8 } accept
           } }",
    ),
    (
        "named sets",
        "table inet t {
           set plain { type ipv4_addr; elements = { 1.1.1.1 comment \"one\", 2.2.2.2 }; }
           set six { type ipv6_addr; flags interval; auto-merge; elements = { fd00::/8, fe80::1-fe80::9 }; }
           set range { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 11.0.0.0-11.0.0.5, 192.0.2.7, 0.0.0.0/8, 224.0.0.0/3 }; comment \"ranges\"; }
           set ports { type inet_service; flags interval; elements = { 0-10, 11-20, 65000-65535 }; }
           set pair { type ipv4_addr . inet_service; elements = { 1.1.1.1 . 80, 2.2.2.2 . 81 }; }
           set wide { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 1-99, 1.1.1.1 . 5 }; }
           set of { typeof ip saddr . meta mark; elements = { 1.2.3.4 . 0x7 }; }
           set names { type ifname; elements = { eth0, lo }; }
           set small { type mark; size 5; policy memory; elements = { 1, 2 }; }
           set fixed { type mark; flags constant; elements = { 3, 4 }; }
           set empty { type ether_addr; }
           chain c { ip saddr @range drop; meta mark @fixed accept; tcp dport != @ports drop; }
         }",
    ),
    (
        "sets with timeouts",
        "table inet t {
           set s { type ipv4_addr; timeout 1h; gc-interval 5m; elements = { 1.1.1.1, 2.2.2.2 timeout 2h, 3.3.3.3 timeout 3h expires 50m }; }
           set i { type ipv4_addr; flags interval,timeout; elements = { 10.0.0.0/8 timeout 1h, 11.0.0.0/8 }; }
         }",
    ),
    (
        "intervals in sets with a timeout for all",
        "table inet t {
           set i { type ipv4_addr; flags interval,timeout; timeout 5h; auto-merge; elements = { 10.0.0.0/24, 10.0.1.0/24 timeout 2h, 10.9.0.1-10.9.0.77 timeout 3h comment \"these\" }; }
           set c { type ipv4_addr . inet_service; flags interval,timeout; timeout 5h; elements = { 10.0.0.0/24 . 1-9 }; }
           map m { type inet_service : verdict; flags interval,timeout; timeout 5h; elements = { 1-9 : accept, 10-20 timeout 6h : drop }; }
         }",
    ),
    (
        "maps and verdict maps",
        "table inet t {
           chain a { drop; }
           map m { type ipv4_addr : mark; elements = { 1.1.1.1 : 1, 2.2.2.2 : 2 }; }
           map r { type inet_service : ipv4_addr; flags interval; elements = { 1-9 : 10.0.0.1, 10-20 : 10.0.0.2 }; }
           map p { type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = { 1.1.1.1 . 80 : 2.2.2.2 . 8080 }; }
           map v { type inet_service : verdict; elements = { 22 : jump a, 23 : accept, 24 : goto b }; }
           chain b { tcp dport vmap @v; }
           chain c { meta mark set ip saddr map @m; }
         }",
    ),
    (
        "catch-all elements",
        "table inet t {
           map v { type ipv4_addr : verdict; elements = { 1.1.1.1 : drop, * : accept }; }
           set s { type ipv4_addr; flags interval; counter; elements = { 10.0.0.0/8, * }; }
         }",
    ),
    (
        "elements with counters and limits",
        "table inet t {
           set s { type ipv4_addr; counter; elements = { 1.1.1.1 counter packets 5 bytes 50, 2.2.2.2 }; }
           set l { type ipv4_addr; limit rate 5/second; elements = { 1.1.1.1 limit rate 5/second }; }
           set q { type ipv4_addr; flags dynamic; quota over 5 kbytes; elements = { 1.1.1.1 }; }
         }",
    ),
    (
        "sets that rules fill",
        "table ip t {
           set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; size 128; }
           set per-port { type ipv4_addr . inet_service; flags dynamic; size 65535; }
           map back { type ipv4_addr : ipv4_addr; flags dynamic; size 100; }
           chain c { type filter hook input priority 0;
             add @seen { ip saddr }
             update @seen { ip saddr timeout 30m counter } counter
             tcp dport 80 add @per-port { ip saddr . tcp dport limit rate 10/second burst 20 packets } accept
             add @per-port { ip saddr . tcp dport ct count over 3 } drop
             delete @seen { ip daddr }
             add @back { ip saddr : ip daddr }
           } }",
    ),
    (
        "stateful objects",
        "table inet t {
           counter c { packets 12 bytes 1234; comment \"mine\"; }
           quota q { over 25 mbytes used 3 mbytes; }
           quota u { 10 mbytes; }
           limit l { rate 10/minute burst 7 packets; }
           limit b { rate over 100 kbytes/second burst 3 kbytes; }
           ct helper ftp-std { type \"ftp\" protocol tcp; l3proto ip; }
           ct timeout slow { protocol tcp; l3proto ip; policy = { established: 9999, close: 3 }; }
           ct expectation e { protocol udp; dport 9876; timeout 2m; size 12; l3proto ip; }
           synproxy s { mss 1460; wscale 7; timestamp sack-perm; }
           map cs { type inet_service : counter; elements = { 80 : \"c\", 81 : \"d\" }; }
           counter d { packets 0 bytes 0; }
           chain in { type filter hook prerouting priority filter;
             counter name c; quota name q; limit name l accept
             tcp dport 21 ct helper set \"ftp-std\"
             ct timeout set \"slow\"
             ct expectation set \"e\"
             counter name tcp dport map @cs
           }
           chain f { type filter hook input priority 0; tcp dport 8 synproxy name s; }
         }",
    ),
    ("secmarks", "table inet t { secmark s { \"system_u:object_r:ssh_server_packet_t:s0\"; } }"),
    (
        "flowtables",
        "table inet t { flowtable f { hook ingress priority 0; devices = { eth0, lo }; counter; }
           chain c { type filter hook forward priority 0; ct state established flow add @f; } }",
    ),
    (
        "statements with a state",
        "table inet t { chain c { type filter hook input priority 0;
             counter packets 77 bytes 7777
             quota over 30 kbytes used 7 kbytes drop
             limit rate 5/second burst 9 packets accept
             limit rate over 1 mbytes/second drop
             ct count over 10 drop
         } }",
    ),
    ("when a packet passed last", "table inet t { chain c {
           last used 5m
           counter; } }"),
    (
        "payload, header and metadata",
        "table inet t { chain c {
             tcp flags & (syn | ack) == syn accept
             ip saddr & 255.0.0.255 == 10.0.0.1 accept
             ip ttl > 5 ip dscp cs1 ip frag-off & 0x1fff != 0 drop
             tcp option maxseg size 1-500 drop
             tcp option sack-perm exists accept
             tcp flags syn reset tcp option sack-perm
             ip option rr exists drop
             exthdr frag exists drop
             frag more-fragments 1 drop
             @th,16,16 0x16 accept
             @nh,8,8 set 5
             meta l4proto { tcp, udp } th dport 53 accept
             meta iif eth0 meta oif lo meta iiftype ether meta skuid 0 meta skgid 7 drop
             meta day Monday meta hour \"10:00\"-\"11:00\" drop
             meta pkttype multicast meta cpu 0 meta random < 0.5 drop
             meta mark set meta mark and 0xff or 0x100
             meta mark set meta mark << 3
             meta priority set 1:2 meta nftrace set 1
             meta cgroup 7 drop
             iifgroup 3 oifgroup default drop
             ether saddr 00:11:22:33:44:55 drop
             icmp type echo-request drop
             icmpv6 type nd-router-advert drop
             tcp dport 5-9 tcp sport != 7-8 ip6 flowlabel 5 drop
             sctp chunk data exists drop
             ct state vmap { established : accept, new : continue }
             rt classid 5 rt ip nexthop 10.0.0.1 drop
             tcp flags syn tcp option maxseg size set rt mtu
             ipsec in reqid 5 drop
             socket transparent 1 socket mark 5 drop
             osf name \"Linux\" drop
             fib saddr . iif oif missing drop
             fib daddr type local drop
             numgen inc mod 3 0 drop
             meta mark set numgen random mod 4 offset 10
             jhash ip saddr . tcp dport mod 7 seed 0xdeadbeef offset 3 vmap { 3 : accept }
             symhash mod 2 1 drop
         } }",
    ),
    (
        "conntrack",
        "table inet t { chain c { type filter hook prerouting priority raw; notrack; }
           chain d { type filter hook input priority 0;
             ct direction original ct status assured ct mark 5 ct expiration > 5s ct helper \"ftp\" drop
             ct original ip saddr 10.0.0.1 ct zone 5 drop
             ct original bytes > 5 drop
             ct mark set 7 ct label 3 drop
             ct event set new,destroy
             ct mark set meta mark
           }
           chain z { type filter hook prerouting priority -300; ct original zone set 5; ct zone set 6; }
         }",
    ),
    (
        "log, queue, reject, trace, dup and fwd",
        "table inet t { chain c { type filter hook input priority 0;
             log prefix \"a rule: \" level warn flags all
             log group 3 snaplen 64 queue-threshold 5 prefix \"b\"
             tcp dport 1 queue num 3-5 bypass,fanout
             tcp dport 2 reject with tcp reset
             reject with icmpx type admin-prohibited
             ip protocol icmp reject with icmp type host-unreachable
           } }
         table ip t { chain c { type filter hook prerouting priority 0; dup to 10.0.0.7 device lo; } }
         table netdev n { chain i { type filter hook ingress device eth0 priority 0; ip saddr 1.1.1.1 fwd to lo; dup to lo; } }",
    ),
    (
        "address translation",
        "table ip t {
           map vip { type inet_service : ipv4_addr . inet_service; elements = { 80 : 10.0.0.1 . 8080 }; }
           chain pre { type nat hook prerouting priority dstnat;
             tcp dport 80 dnat to 10.0.0.1:8080
             tcp dport 81 dnat to 10.0.0.1-10.0.0.9 random,persistent
             tcp dport 83 redirect to :84
             dnat ip addr . port to tcp dport map @vip
           }
           chain post { type nat hook postrouting priority srcnat;
             ip saddr 10.0.0.0/8 tcp dport 9 masquerade to :1000-2000 fully-random
             masquerade
             udp dport 4 snat to 1.2.3.4-1.2.3.9:5-6
             snat ip prefix to ip saddr map { 10.1.0.0/16 : 10.2.0.0/16 }
           } }
         table inet u { chain pre { type nat hook prerouting priority -90; tcp dport 5 dnat ip6 to [fd00::1]:80; dnat ip to numgen inc mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }; } }
         table inet tp { chain c { type filter hook prerouting priority mangle; tcp dport 80 tproxy to :50080 meta mark set 1 accept; } }",
    ),
    (
        "inline synproxy",
        "table inet t { chain c { type filter hook input priority 0; tcp dport 80 synproxy mss 1460 wscale 9 timestamp sack-perm; } }",
    ),
    ("tunnel headers", "table netdev t { chain c {
           udp dport 4789 vxlan ip saddr 10.0.0.1 drop
           counter; } }"),
    (
        "comments",
        "table inet t { comment \"a table\"; set s { type mark; comment \"a set\"; elements = { 5 comment \"an element\" }; }
           chain c { comment \"a chain\"; counter comment \"a rule\"; } }",
    ),
    (
        "arp and bridge",
        "table arp a { chain c { type filter hook input priority 0; arp operation request arp saddr ip 10.0.0.1 drop; } }
         table bridge b { chain c { type filter hook prerouting priority filter; ether type ip ip saddr 1.1.1.1 drop; vlan id 5 accept
           meta ibrname br0; } }",
    ),
    (
        "iptables-nft",
        "!iptables-nft -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
          iptables-nft -A INPUT -p udp -m multiport --dports 53,67:69 -m comment --comment 'a comment' -j ACCEPT
          iptables-nft -A INPUT ! -p tcp -m length --length 100:200 -j DROP
          iptables-nft -A INPUT -p icmp --icmp-type echo-request -m limit --limit 5/s --limit-burst 9 -j ACCEPT
          iptables-nft -A INPUT -p tcp -m tcpmss --mss 1:500 -j DROP
          iptables-nft -A INPUT -p tcp --tcp-flags SYN,ACK SYN -m hashlimit --hashlimit-name h --hashlimit-above 5/s --hashlimit-mode srcip -j DROP
          iptables-nft -A INPUT -m recent --name r --set -j RETURN
          iptables-nft -A INPUT -m statistic --mode nth --every 3 --packet 1 -j LOG --log-prefix 'x: ' --log-level 3
          iptables-nft -A INPUT -p tcp -m string --string hello --algo bm -j REJECT --reject-with tcp-reset
          iptables-nft -A INPUT -m addrtype --dst-type LOCAL -m mark --mark 0x1/0xf -m time --timestart 10:00 -j NFQUEUE --queue-num 4
          iptables-nft -A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -m u32 --u32 '0&0xf=1' -j DROP
          iptables-nft -A INPUT -p tcp -m socket --transparent -j MARK --set-mark 1 || true
          iptables-nft -A OUTPUT -m owner --uid-owner 5 -j DROP
          iptables-nft -N mine; iptables-nft -A INPUT -j mine; iptables-nft -A mine -p sctp --dport 5 -j RETURN
          iptables-nft -P FORWARD DROP
          iptables-nft -t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080
          iptables-nft -t nat -A PREROUTING -p tcp --dport 81 -j DNAT --to-destination 10.0.0.1:80
          iptables-nft -t nat -A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE --random
          iptables-nft -t nat -A POSTROUTING -j SNAT --to-source 1.2.3.4
          iptables-nft -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
          iptables-nft -t mangle -A PREROUTING -p tcp --dport 5 -j TPROXY --on-port 6 --tproxy-mark 1
          iptables-nft -t mangle -A OUTPUT -p udp -j DSCP --set-dscp 4
          iptables-nft -t mangle -A OUTPUT -j CONNMARK --save-mark
          iptables-nft -t mangle -A OUTPUT -j TTL --ttl-set 4
          iptables-nft -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp
          iptables-nft -t raw -A PREROUTING -p udp -j NOTRACK
          iptables-nft -I INPUT 3 -c 5 500 -s 1.1.1.1 -j DROP",
    ),
    (
        "ip6tables-nft",
        "!ip6tables-nft -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
          ip6tables-nft -A INPUT -p icmpv6 --icmpv6-type router-advertisement -m hl --hl-eq 255 -j ACCEPT
          ip6tables-nft -A INPUT -m frag --fragfirst -j DROP
          ip6tables-nft -A INPUT -p udp -m multiport --sports 1,2 -j REJECT --reject-with icmp6-adm-prohibited
          ip6tables-nft -t nat -A POSTROUTING -s fd00::/8 -j MASQUERADE
          ip6tables-nft -t mangle -A POSTROUTING -s fd00:1::/64 -j SNPT --src-pfx fd00:1::/64 --dst-pfx fd00:2::/64",
    ),
    (
        "arptables-nft",
        "!arptables-nft -A INPUT -s 10.0.0.1 -j DROP
          arptables-nft -A OUTPUT -d 10.0.0.2 -j mangle --mangle-ip-s 10.0.0.3",
    ),
    (
        "ebtables-nft",
        "!ebtables-nft -A FORWARD -p IPv4 --ip-src 10.0.0.1 --ip-proto tcp --ip-dport 5 -j DROP
          ebtables-nft -A FORWARD -p ARP --arp-opcode 1 -j ACCEPT
          ebtables-nft -A FORWARD --limit 5/s -j ACCEPT
          ebtables-nft -A FORWARD -p 802_1Q --vlan-id 7 -j DROP
          ebtables-nft -A FORWARD -p IPv6 --ip6-src fd00::1 --log-level info --log-prefix e -j DROP
          ebtables-nft -t nat -A PREROUTING -d 00:11:22:33:44:55 -j dnat --to-destination 54:44:33:22:11:00
          ebtables-nft -P FORWARD DROP",
    ),
];
