//! Policy rules.

use super::{QUESTIONS, all};

#[test]
fn rules() {
    all(
        "rules",
        &[
            ("from and to", "rule add pref 100 from 10.1.0.0/16 to 10.2.0.0/24 lookup 100"),
            ("not", "rule add pref 100 not from 10.1.0.0/16 lookup 100"),
            (
                "mark",
                "rule add pref 100 fwmark 0x10/0xff lookup 100\nrule add pref 101 fwmark 7 lookup 70000",
            ),
            (
                "interfaces",
                "rule add pref 100 iif eth0 oif lo lookup 100\nrule add pref 101 iif nothere lookup 100",
            ),
            ("users", "rule add pref 100 uidrange 1000-2000 lookup 100"),
            (
                "protocol and ports",
                "rule add pref 100 ipproto udp sport 53 dport 1000-2000 lookup 100",
            ),
            ("type of service", "rule add pref 100 tos 0x10 lookup 100"),
            (
                "suppressors",
                "rule add pref 100 lookup main suppress_prefixlength 0\nrule add pref 101 lookup main suppress_ifgroup 5",
            ),
            (
                "goto and nop",
                "rule add pref 100 goto 200\nrule add pref 200 nop\nrule add pref 300 goto 400",
            ),
            (
                "verdicts",
                "rule add pref 100 from 10.1.0.0/16 blackhole\nrule add pref 101 from 10.2.0.0/16 unreachable\nrule add pref 102 from 10.3.0.0/16 prohibit",
            ),
            ("master devices", "rule add pref 100 l3mdev"),
            ("who made it", "rule add pref 100 from 10.1.0.0/16 lookup 100 protocol bird"),
            ("tunnel id", "rule add pref 100 tun_id 77 lookup 100"),
            ("realms", "rule add pref 100 from 10.1.0.0/16 lookup 100 realms 3/4"),
            (
                "one priority, in order",
                "rule add pref 100 from 10.3.0.0/16 lookup 103\nrule add pref 100 from 10.1.0.0/16 lookup 101\nrule add pref 100 from 10.2.0.0/16 lookup 102",
            ),
            ("zero priority", "rule add pref 0 from 10.1.0.0/16 lookup 100"),
            ("local moved", "rule add pref 10 lookup local\nrule del pref 0"),
            ("defaults gone", "rule del pref 32767\nrule del pref 32766"),
            (
                "IPv6",
                "-6 rule add pref 100 from 2001:db8::/32 to 2001:db8:1::/48 fwmark 1 lookup 100\n-6 rule add pref 101 iif eth0 ipproto tcp dport 80 prohibit",
            ),
            (
                "IPv6 in order",
                "-6 rule add pref 100 from 2001:db8:2::/48 lookup 100\n-6 rule add pref 100 from 2001:db8:1::/48 lookup 100",
            ),
            ("IPv6 local moved", "-6 rule add pref 10 lookup local\n-6 rule del pref 0"),
            (
                "many",
                "!for i in $(seq 200); do echo rule add pref $((1000 + i)) from 10.1.$i.0/24 lookup $i; done | ip -batch -",
            ),
        ],
        QUESTIONS,
    );
}
