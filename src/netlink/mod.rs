//! Netlink: the wire format of messages and attributes, and the one kind of socket that everything
//! in this project asks the kernel through. What messages mean is told elsewhere ([`crate::state`]).
//!
//! Sources: `linux/netlink.h`, `Documentation/userspace-api/netlink/intro.rst`.

mod answer;
mod error;
mod generic;
mod socket;
#[cfg(test)]
mod tests;
mod wire;

pub use error::{Error, Refusal};
pub use generic::Family;
pub use socket::{Dump, Events, Socket};
pub use wire::{
    Attribute, Attributes, Builder, Malformed, Message, Messages, align, attributes, ip, messages,
};

/// Netlink protocols (`NETLINK_*` of `linux/netlink.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum Protocol {
    Route = 0,
    SockDiag = 4,
    Xfrm = 6,
    Netfilter = 12,
    Generic = 16,
}
