//! The cases: states to be made, by name.

/// A name, and what makes it: lines of the shell.
pub type Case = (&'static str, &'static str);

pub const CASES: &[Case] = &[
    ("an empty table", "iptables-legacy -L >/dev/null"),
    (
        "empty tables of all families",
        "for t in filter nat mangle raw security; do iptables-legacy -t $t -S; ip6tables-legacy -t $t -S; done
         arptables-legacy -L",
    ),
    (
        "policies with counters",
        "printf '*filter\\n:INPUT DROP [5:55]\\n:FORWARD ACCEPT [6:66]\\n:OUTPUT ACCEPT [7:77]\\nCOMMIT\\n' | iptables-legacy-restore -c",
    ),
    (
        "chains that lead to each other",
        "iptables-legacy -N z; iptables-legacy -N a; iptables-legacy -N 'a.name_of-28-characters!!'
         iptables-legacy -A INPUT -j z; iptables-legacy -A z -g a; iptables-legacy -A a -j RETURN; iptables-legacy -A FORWARD -j a
         iptables-legacy -A a -s 10.0.0.0/8; iptables-legacy -A a -j QUEUE || true; iptables-legacy -A z -j DROP
         iptables-legacy -A a -j 'a.name_of-28-characters!!'",
    ),
    (
        "rules with counters",
        "iptables-legacy -A INPUT -c 5 500 -s 10.0.0.1 -j ACCEPT; iptables-legacy -A INPUT -c 6 600 -j DROP
         iptables-legacy -A INPUT -c 18446744073709551 123456789012345 -p tcp",
    ),
    (
        "what packets are compared with",
        "iptables-legacy -A INPUT ! -s 10.0.0.0/8 -d 10.1.2.3 -i eth+ -j ACCEPT; iptables-legacy -A FORWARD ! -i eth0 -o lo ! -p tcp -j DROP
         iptables-legacy -A INPUT -f -j DROP; iptables-legacy -A INPUT ! -f -s 10.0.0.3/255.0.255.255 -j DROP; iptables-legacy -A OUTPUT -p 89 -j DROP
         ip6tables-legacy -A INPUT -s fd00::/8 ! -d fe80::1 -i eth+ -p udp -j ACCEPT",
    ),
    (
        "protocols",
        "iptables-legacy -A INPUT -p tcp --sport 1:5 ! --dport 80 --tcp-flags SYN,ACK SYN --tcp-option 5 -j ACCEPT; iptables-legacy -A INPUT -p udp --dport 53 -j ACCEPT
         iptables-legacy -A INPUT -p udplite -m udplite --dport 53 -j ACCEPT || true; iptables-legacy -A INPUT -p sctp --dport 5 --chunk-types any DATA,INIT -j ACCEPT
         iptables-legacy -A INPUT -p dccp --dport 5 --dccp-types REQUEST -j ACCEPT; iptables-legacy -A INPUT -p icmp --icmp-type 3/4 -j ACCEPT
         iptables-legacy -A INPUT -p ah -m ah --ahspi 5:9 -j DROP; iptables-legacy -A INPUT -p esp -m esp --espspi 7 -j DROP
         iptables-legacy -A INPUT -p 108 -m ipcomp --ipcompspi 5 -j DROP
         ip6tables-legacy -A INPUT -p icmpv6 --icmpv6-type echo-request -j ACCEPT; ip6tables-legacy -A INPUT -p ah -m ah --ahspi 5 --ahlen 8 -j DROP",
    ),
    (
        "headers of IPv6",
        "ip6tables-legacy -A INPUT -m hbh --hbh-len 8 --hbh-opts 1:2 -j DROP
         ip6tables-legacy -A INPUT -m dst --dst-len 8 -j DROP
         ip6tables-legacy -A INPUT -m rt --rt-type 0 --rt-segsleft 1:2 -j DROP
         ip6tables-legacy -A INPUT -m frag --fragid 5 --fragfirst -j DROP
         ip6tables-legacy -A INPUT -m ipv6header --header dst,frag --soft -j DROP
         ip6tables-legacy -A INPUT -p ipv6-mh -m mh --mh-type 1:3 -j DROP
         ip6tables-legacy -A INPUT -m eui64 -j DROP
         ip6tables-legacy -A INPUT -m srh --srh-next-hdr 17 --srh-segs-left-eq 1 -j DROP
         ip6tables-legacy -A INPUT -m hl --hl-gt 5 -j ACCEPT",
    ),
    (
        "matches without a state",
        "iptables-legacy -A INPUT -m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT
         iptables-legacy -A INPUT -m comment --comment 'what it is for, \"in words\"' -j ACCEPT
         iptables-legacy -A INPUT -m cpu --cpu 1 -j ACCEPT
         iptables-legacy -A INPUT -m devgroup --src-group 5/0xf -j ACCEPT
         iptables-legacy -A INPUT -m dscp --dscp 0x10 -j ACCEPT
         iptables-legacy -A INPUT -p tcp -m ecn --ecn-tcp-cwr --ecn-ip-ect 1 -j ACCEPT
         iptables-legacy -A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 ! --dst-range 10.0.1.1-10.0.1.5 -j ACCEPT
         iptables-legacy -A INPUT -m length --length 100:200 -j ACCEPT
         iptables-legacy -A INPUT -m mac --mac-source 02:00:00:00:00:01 -j ACCEPT
         iptables-legacy -A INPUT -m mark ! --mark 0x1/0xff -j ACCEPT
         iptables-legacy -A INPUT -p tcp -m multiport --dports 1,5:9,80 -m multiport ! --sports 3 -j ACCEPT
         iptables-legacy -A OUTPUT -m owner --uid-owner 5-9 ! --gid-owner 7 -j ACCEPT
         iptables-legacy -A OUTPUT -m owner --socket-exists -j ACCEPT
         iptables-legacy -A FORWARD -m physdev --physdev-in eth0 --physdev-is-bridged -j ACCEPT
         iptables-legacy -A INPUT -m pkttype --pkt-type broadcast -j DROP
         iptables-legacy -A INPUT -m policy --dir in --pol ipsec --strict --reqid 5 --proto esp --mode tunnel --tunnel-src 10.0.0.1 --tunnel-dst 10.0.0.2 -j ACCEPT
         iptables-legacy -A INPUT -m realm --realm 0x5/0xff -j ACCEPT
         iptables-legacy -t raw -A PREROUTING -m rpfilter --invert --loose -j DROP
         iptables-legacy -A INPUT -p tcp -m socket --transparent --nowildcard -j ACCEPT
         iptables-legacy -A INPUT -p tcp -m string --string 'hello there' --algo kmp --from 5 --to 99 -j DROP
         iptables-legacy -A INPUT -p tcp -m string --hex-string 'a|00ff|b' --algo bm --icase -j DROP
         iptables-legacy -A INPUT -p tcp --tcp-flags SYN SYN -m tcpmss --mss 1:500 -j DROP
         iptables-legacy -A INPUT -m time --timestart 10:00 --timestop 12:00 --weekdays Mon,Tue --kerneltz -j ACCEPT
         iptables-legacy -A INPUT -m tos --tos 0x10/0x3f -j ACCEPT
         iptables-legacy -A INPUT -m ttl --ttl-lt 5 -j DROP
         iptables-legacy -A INPUT -m u32 --u32 '0>>22&0x3C@12>>26&0x3C@0=0x5,0x7:0x9&&4=1' -j DROP
         iptables-legacy -A INPUT -m osf --genre Linux --ttl 0 -p tcp -j DROP
         iptables-legacy -A INPUT -m bpf --bytecode '4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0' -j DROP
         iptables-legacy -A OUTPUT -m cgroup --cgroup 5 -j DROP
         iptables-legacy -A INPUT -m cluster --cluster-total-nodes 3 --cluster-local-node 1 --cluster-hash-seed 0x5 -j DROP
         iptables-legacy -A INPUT -p udp -m l2tp --tid 5 -j DROP",
    ),
    (
        "matches with a state",
        "iptables-legacy -A INPUT -m limit --limit 5/minute --limit-burst 9 -j ACCEPT
         iptables-legacy -A INPUT -m hashlimit --hashlimit-name h --hashlimit-above 5/s --hashlimit-burst 7 --hashlimit-mode srcip,dstport -p tcp --hashlimit-srcmask 24 --hashlimit-htable-expire 5000 -j DROP
         iptables-legacy -A INPUT -m hashlimit --hashlimit-name b --hashlimit-upto 5kb/s --hashlimit-mode srcip --hashlimit-rate-match --hashlimit-rate-interval 3 -j DROP
         iptables-legacy -A INPUT -m statistic --mode nth --every 3 --packet 2 -j DROP; iptables-legacy -A INPUT -m statistic --mode random --probability 0.25 -j DROP
         iptables-legacy -A INPUT -m quota --quota 5000 -j ACCEPT
         iptables-legacy -A INPUT -p tcp -m connlimit --connlimit-above 5 --connlimit-mask 24 --connlimit-saddr -j DROP
         iptables-legacy -A INPUT -m recent --name r --set --rsource; iptables-legacy -A INPUT -m recent --name r --update --seconds 60 --hitcount 4 --rttl -j DROP",
    ),
    (
        "matches of connections",
        "iptables-legacy -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
         iptables-legacy -A INPUT -m conntrack --ctstate NEW,DNAT --ctproto tcp --ctorigsrc 10.0.0.0/8 --ctstatus ASSURED --ctexpire 5:9 --ctdir REPLY --ctorigdstport 5:9 -j ACCEPT
         iptables-legacy -A INPUT -m connmark --mark 5/0xf -j ACCEPT
         iptables-legacy -A INPUT -m connbytes --connbytes 5:9 --connbytes-dir both --connbytes-mode avgpkt -j ACCEPT
         iptables-legacy -A INPUT -m connlabel --label 5 --set -j ACCEPT
         iptables-legacy -A INPUT -m helper --helper ftp -j ACCEPT",
    ),
    (
        "targets of filter and mangle",
        "iptables-legacy -A INPUT -p tcp -j REJECT --reject-with tcp-reset; iptables-legacy -A INPUT -j REJECT --reject-with icmp-host-prohibited; ip6tables-legacy -A INPUT -j REJECT --reject-with icmp6-adm-prohibited
         iptables-legacy -A INPUT -j LOG --log-prefix 'seen: ' --log-level 5 --log-tcp-options --log-uid
         iptables-legacy -A INPUT -j NFLOG --nflog-group 5 --nflog-prefix hello --nflog-size 77 --nflog-threshold 9
         iptables-legacy -A INPUT -j NFQUEUE --queue-balance 3:7 --queue-bypass --queue-cpu-fanout
         iptables-legacy -A INPUT -j AUDIT --type accept
         iptables-legacy -t mangle -A OUTPUT -j MARK --set-xmark 0x5/0xff; iptables-legacy -t mangle -A OUTPUT -j CONNMARK --save-mark --nfmask 0xf --ctmask 0xff
         iptables-legacy -t mangle -A OUTPUT -j CLASSIFY --set-class 1:5
         iptables-legacy -t mangle -A OUTPUT -p udp -j CHECKSUM --checksum-fill
         iptables-legacy -t mangle -A OUTPUT -j DSCP --set-dscp 0x10; iptables-legacy -t mangle -A OUTPUT -j TOS --set-tos 0x10/0x3f
         iptables-legacy -t mangle -A OUTPUT -p tcp -j ECN --ecn-tcp-remove
         iptables-legacy -t mangle -A OUTPUT -j TTL --ttl-inc 1; ip6tables-legacy -t mangle -A OUTPUT -j HL --hl-dec 2
         iptables-legacy -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
         iptables-legacy -t mangle -A OUTPUT -p tcp -j TCPOPTSTRIP --strip-options 5,timestamp
         iptables-legacy -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 80 --on-ip 127.0.0.1 --tproxy-mark 0x1/0x1
         iptables-legacy -t mangle -A PREROUTING -j TEE --gateway 10.0.0.7
         iptables-legacy -t mangle -A PREROUTING -j TEE --gateway 10.0.0.7 --oif eth0
         iptables-legacy -t mangle -A PREROUTING -j HMARK --hmark-tuple src,dst --hmark-mod 5 --hmark-offset 7 --hmark-rnd 9
         iptables-legacy -A INPUT -p tcp -m conntrack --ctstate INVALID -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460
         iptables-legacy -t mangle -A INPUT -j CONNSECMARK --save
         iptables-legacy -t mangle -A INPUT -j SECMARK --selctx system_u:object_r:x_t:s0",
    ),
    (
        "targets of nat and raw",
        "iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1-10.0.0.5:8080-8090 --random --persistent
         iptables-legacy -t nat -A PREROUTING -p tcp --dport 100:200 -j DNAT --to-destination 10.0.0.1:1100-1200/100
         iptables-legacy -t nat -A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE --random-fully; iptables-legacy -t nat -A POSTROUTING -p udp -j SNAT --to-source 192.0.2.1:100-200
         iptables-legacy -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 8081; iptables-legacy -t nat -A PREROUTING -d 10.5.0.0/16 -j NETMAP --to 10.6.0.0/16
         ip6tables-legacy -t nat -A PREROUTING -p tcp -j DNAT --to-destination '[fd00::1]:80'; ip6tables-legacy -t nat -A POSTROUTING -j MASQUERADE
         ip6tables-legacy -t nat -A POSTROUTING -j SNAT --to-source fd00::5; ip6tables-legacy -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 5; ip6tables-legacy -t nat -A PREROUTING -d fd05::/64 -j NETMAP --to fd06::/64
         iptables-legacy -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp --zone 5; iptables-legacy -t raw -A PREROUTING -p udp -j CT --notrack; iptables-legacy -t raw -A OUTPUT -j CT --ctevents new,destroy --zone-orig 7
         iptables-legacy -t raw -A PREROUTING -j TRACE
         iptables-legacy -t raw -A PREROUTING -j NOTRACK
         ip6tables-legacy -t mangle -A POSTROUTING -j SNPT --src-pfx fd00:1::/48 --dst-pfx 2001:db8::/48
         ip6tables-legacy -t mangle -A PREROUTING -j DNPT --src-pfx 2001:db8::/48 --dst-pfx fd00:1::/48",
    ),
    (
        "arptables",
        "arptables-legacy -N mine; arptables-legacy -P OUTPUT DROP; arptables-legacy -A INPUT -s 10.0.0.1 --source-mac 02:00:00:00:00:01 -i eth0 -j mine
         arptables-legacy -A mine --opcode 2 --h-type 1 --proto-type 0x800 -d 10.0.0.0/8 -j ACCEPT
         arptables-legacy -A OUTPUT -s 10.0.0.2 --h-length 6 -j mangle --mangle-ip-s 10.0.0.3 --mangle-mac-s 02:00:00:00:00:09",
    ),
    (
        "rules that look into sets, old and new",
        "ipset create gone hash:ip; ipset create a hash:ip; ipset add a 10.0.0.1; ipset create p bitmap:port range 1-100 counters; ipset create l list:set; ipset add l a; ipset destroy gone; ipset create six hash:net family inet6
         iptables-legacy -A INPUT -m set --match-set a src -m set ! --match-set p dst ! --packets-eq 5 --bytes-gt 7 -j DROP; iptables-legacy -A INPUT -m set --match-set l dst --return-nomatch -j DROP
         iptables-legacy -A INPUT -j SET --add-set a src --exist --timeout 5; iptables-legacy -A INPUT -j SET --del-set a src
         ip6tables-legacy -A INPUT -m set --match-set six src -j DROP
         iptables-legacy -t mangle -A INPUT -j SET --map-set a src --map-mark
         iptables-nft -A OUTPUT -m set --match-set a src -j DROP; iptables-nft -A OUTPUT -j SET --add-set p src",
    ),
    (
        "policies of timeouts and counters, named by rules and not",
        "nfct timeout add slow inet tcp established 500 close 5; nfct timeout add six inet6 udp replied 99 unreplied 7; nfct timeout add any inet generic timeout 9
         nfacct add hits; nfacct add bytes byte 1000000; nfacct add packets packet 7
         iptables-legacy -t raw -A PREROUTING -p tcp -j CT --timeout slow; ip6tables-legacy -t raw -A OUTPUT -p udp -j CT --timeout six
         iptables-legacy -A INPUT -m nfacct --nfacct-name hits -j ACCEPT; ip6tables-legacy -A INPUT -m nfacct --nfacct-name bytes
         iptables-nft -t raw -A OUTPUT -p tcp -j CT --timeout slow; iptables-nft -A INPUT -m nfacct --nfacct-name packets -j DROP",
    ),
    (
        "old beside new",
        "iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT; iptables-nft -A INPUT -p tcp --dport 23 -j ACCEPT; nft add table inet t; ip6tables-legacy -P FORWARD DROP",
    ),
];
