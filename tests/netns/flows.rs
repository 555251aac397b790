//! Flows of connection tracking that no packet made.

use netckpt::netlink::Builder;

/// The message that makes a flow of DNS from `pod` to `peer`, for an hour (`linux/netfilter/nfnetlink_conntrack.h`).
pub fn udp(pod: [u8; 4], peer: [u8; 4]) -> Vec<u8> {
    const IPCTNL_MSG_CT_NEW: u16 = 1 << 8;
    const FLAGS: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    /// `IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED`.
    const STATUS: u32 = 0xe;
    let mut message = Builder::new(IPCTNL_MSG_CT_NEW, FLAGS, &[libc::AF_INET as u8, 0, 0, 0]);
    for (id, from, to, ports) in [(1, pod, peer, [4_000_u16, 53]), (2, peer, pod, [53, 4_000])] {
        let tuple = message.begin(id | Builder::NESTED);
        let ip = message.begin(1 | Builder::NESTED);
        message.put(1, &from).put(2, &to).end(ip);
        let proto = message.begin(2 | Builder::NESTED);
        message.put(1, &[libc::IPPROTO_UDP as u8]);
        message.put(2, &ports[0].to_be_bytes()).put(3, &ports[1].to_be_bytes()).end(proto);
        message.end(tuple);
    }
    message.put(3, &STATUS.to_be_bytes()).put(7, &3_600_u32.to_be_bytes());
    message.finish()
}
