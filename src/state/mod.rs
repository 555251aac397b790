//! What a network namespace holds, one file per class of objects.
//!
//! A class is a table (see [`table`]): which dumps read it, which attributes its messages have, and
//! what becomes of each attribute on a restore. The interpreter in this room prints, compares, checks
//! and replays any message by its table; nothing else in the project knows a message's layout.

mod object;
mod reader;
pub mod table;

pub use object::{Difference, Object, Value};
pub use reader::{ReadError, Reader};
