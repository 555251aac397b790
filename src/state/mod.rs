//! What a network namespace holds, one file per class of objects.
//!
//! A class is a table (see [`table`]): which dumps read it, which attributes its messages have, and
//! what becomes of each attribute on a restore. The interpreter in this room prints, compares, checks
//! and replays any message by its table; nothing else in the project knows a message's layout.

mod age;
mod check;
pub mod classes;
mod compare;
mod decode;
pub mod fidelity;
mod object;
mod plain;
mod reader;
mod replay;
mod sysfs;
pub mod table;
mod value;

pub use age::age;
pub use check::{Fault, Problem, Verdict, check, check_section, unknown};
pub use classes::{CLASSES, class};
pub use compare::{Difference, compare};
pub use decode::decode;
pub use object::{Names, Object, objects};
pub use reader::{ReadError, Reader};
pub use replay::{replay, replay_where, set_field};
pub use value::{Secret, Value, field, to_json};

#[cfg(test)]
mod recorded;
