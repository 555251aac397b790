//! Sysctls that rewrite others when they are written, in the orders in which a person may write them:
//! whatever came of it comes back, and goes again.

mod netns;
mod returns;

use returns::comes_back;

/// Every file of a device, of `all` and of `default`, as sysctl(8) tells it.
const QUESTION: &str =
    "sysctl -a 2>/dev/null | grep -e '^net.ipv[46].conf' -e ip_forward | grep -v stable_secret";

fn all(cases: &[(&str, &str)]) {
    for (label, script) in cases {
        comes_back(label, script, &[QUESTION]).expect("every kernel has these");
    }
}

#[test]
fn forwarding_of_ipv4_and_what_it_rewrites() {
    all(&[
        ("forward", "sysctl -qw net.ipv4.ip_forward=1"),
        (
            "redirects",
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.accept_redirects=1 \
                 net.ipv4.conf.eth0.accept_redirects=0",
        ),
        (
            "some-do-not",
            "sysctl -qw net.ipv4.conf.all.forwarding=1 net.ipv4.conf.eth0.forwarding=0 \
                 net.ipv4.conf.default.forwarding=0 net.ipv4.conf.lo.forwarding=0",
        ),
        (
            "some-do",
            "sysctl -qw net.ipv4.conf.eth0.forwarding=1 net.ipv4.conf.all.accept_redirects=0",
        ),
        (
            "there-and-back",
            "sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.ip_forward=0
             sysctl -qw net.ipv4.conf.default.forwarding=1",
        ),
    ]);
}

#[test]
fn forwarding_of_ipv6_and_what_it_rewrites() {
    all(&[
        ("forward6", "sysctl -qw net.ipv6.conf.all.forwarding=1"),
        (
            "some-do-not6",
            "sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.forwarding=0 \
                 net.ipv6.conf.default.forwarding=0 net.ipv6.conf.eth0.accept_redirects=0",
        ),
        (
            "some-do6",
            "sysctl -qw net.ipv6.conf.default.forwarding=1 net.ipv6.conf.eth0.accept_ra=2 \
                 net.ipv6.conf.eth0.forwarding=1",
        ),
        (
            "off-but-for-one",
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1
             sysctl -qw net.ipv6.conf.lo.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0",
        ),
        (
            "no-routes-of-links",
            "sysctl -qw net.ipv6.conf.all.ignore_routes_with_linkdown=1
             sysctl -qw net.ipv6.conf.eth0.ignore_routes_with_linkdown=0",
        ),
    ]);
}

#[test]
fn what_default_reaches() {
    all(&[
        (
            "default-last",
            "sysctl -qw net.ipv4.conf.eth0.rp_filter=2 net.ipv4.conf.all.rp_filter=1 \
                 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.default.arp_ignore=2 \
                 net.ipv4.conf.lo.arp_ignore=1",
        ),
        (
            "every-kind",
            "sysctl -qw net.ipv4.conf.eth0.arp_announce=2 net.ipv4.conf.eth0.proxy_arp=1 \
                 net.ipv4.conf.eth0.route_localnet=1 net.ipv4.conf.eth0.send_redirects=0 \
                 net.ipv4.conf.default.send_redirects=0 net.ipv4.conf.all.log_martians=1 \
                 net.ipv6.conf.eth0.accept_ra=0 net.ipv6.conf.eth0.use_tempaddr=2 \
                 net.ipv6.conf.all.hop_limit=33 net.ipv6.conf.eth0.seg6_enabled=1",
        ),
    ]);
}
