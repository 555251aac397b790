//! The agent: watches, reconciles, status. Its two roles are the source, which captures the pods of
//! its node, and the destination, which rebuilds.

mod archives;
mod context;
pub mod destination;
pub mod health;
mod shutdown;
pub mod source;
mod storages;
pub mod uninstall;
pub mod watches;

pub use archives::NodeArchives;
pub use context::{Agent, CONTROLLER, SharedAgent, reference};
pub use shutdown::{End, Ending, ending};
pub use storages::{Storage, StorageError, Storages};
