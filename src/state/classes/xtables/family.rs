//! The three families of legacy tables, as far as they differ.

/// A family of tables: where they are asked for, and how their entries are laid out
/// (`linux/netfilter_ipv4/ip_tables.h`, `linux/netfilter_ipv6/ip6_tables.h`,
/// `linux/netfilter_arp/arp_tables.h`).
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Name of its class.
    pub class: &'static str,
    /// File that names the tables that the namespace has. To ask for any other would make it.
    pub names: &'static str,
    /// Tables that the kernel has. It would load a module for any other name.
    pub tables: &'static [&'static str],
    /// Names of hooks, by number.
    pub hooks: &'static [&'static str],
    /// Domain of the socket, and level of its options.
    pub domain: libc::c_int,
    pub level: libc::c_int,
    /// The lowest of its socket options (`IPT_BASE_CTL`, `IP6T_BASE_CTL`, `ARPT_BASE_CTL`).
    pub base: libc::c_int,
    /// Bytes of what packets are compared with (`struct ipt_ip`, `ip6t_ip6`, `arpt_arp`).
    pub matched: usize,
    /// Where in an entry the `nfcache` of old is, if there is one.
    pub nfcache: Option<usize>,
    /// Where in an entry the offset of its target is; that of the next entry follows.
    pub target_offset: usize,
    /// Where in an entry its counters are.
    pub counters: usize,
    /// Bytes of an entry before its matches.
    pub entry: usize,
}

/// Bytes of a table's name with its NUL (`XT_TABLE_MAXNAMELEN`).
pub const TABLE_NAME: usize = 32;
/// Bytes of the header of a match or target (`struct xt_entry_match`, `xt_entry_target`): size, name,
/// revision.
pub const EXTENSION: usize = 32;
pub const EXTENSION_NAME: std::ops::Range<usize> = 2..31;
pub const EXTENSION_REVISION: usize = 31;
/// Bytes of a standard target (`struct xt_standard_target`): header, verdict, padding.
pub const STANDARD: usize = 40;
/// Bytes of the target that begins a chain or ends a table (`struct xt_error_target`), padded.
pub const ERROR: usize = 64;
/// Bytes of a chain's name with its NUL (`XT_FUNCTION_MAXNAMELEN`).
pub const CHAIN_NAME: usize = 30;
/// Name of the target that begins a chain or ends a table, and what it names at the end.
pub const ERROR_NAME: &str = "ERROR";
/// `struct xt_counters`: packets, bytes.
pub const COUNTERS: usize = 16;
/// `NF_REPEAT`, which in a standard target stands for the return to where a jump came from
/// (`XT_RETURN`).
pub const RETURN: u32 = 4;

impl Family {
    /// Bytes of `struct ipt_replace` before the entries: name, hooks, entries, size, two offsets for each
    /// hook, number of counters, where to put them.
    #[must_use]
    pub const fn replace(&self) -> usize {
        self.pointer_at() + 8
    }

    /// Where in it the number of counters is.
    #[must_use]
    pub const fn counters_at(&self) -> usize {
        TABLE_NAME + 12 + 8 * self.hooks.len()
    }

    /// Where in it the place for the counters is.
    #[must_use]
    pub const fn pointer_at(&self) -> usize {
        (self.counters_at() + 4).next_multiple_of(8)
    }
}

const IP_HOOKS: &[&str] = &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
const IP_TABLES: &[&str] = &["filter", "mangle", "nat", "raw", "security"];

pub static IPV4: Family = Family {
    class: "iptables",
    names: "/proc/thread-self/net/ip_tables_names",
    tables: IP_TABLES,
    hooks: IP_HOOKS,
    domain: libc::AF_INET,
    level: libc::IPPROTO_IP,
    base: 64,
    matched: 84,
    nfcache: Some(84),
    target_offset: 88,
    counters: 96,
    entry: 112,
};

pub static IPV6: Family = Family {
    class: "ip6tables",
    names: "/proc/thread-self/net/ip6_tables_names",
    tables: IP_TABLES,
    hooks: IP_HOOKS,
    domain: libc::AF_INET6,
    level: libc::IPPROTO_IPV6,
    base: 64,
    matched: 136,
    nfcache: Some(136),
    target_offset: 140,
    counters: 152,
    entry: 168,
};

pub static ARP: Family = Family {
    class: "arptables",
    names: "/proc/thread-self/net/arp_tables_names",
    tables: &["filter"],
    hooks: &["INPUT", "OUTPUT", "FORWARD"],
    domain: libc::AF_INET,
    level: libc::IPPROTO_IP,
    base: 96,
    matched: 164,
    nfcache: None,
    target_offset: 164,
    counters: 176,
    entry: 192,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_is_as_long_as_in_the_kernels_headers() {
        assert_eq!((IPV4.counters_at(), IPV4.replace()), (84, 96));
        assert_eq!((ARP.counters_at(), ARP.replace()), (68, 80));
    }
}
