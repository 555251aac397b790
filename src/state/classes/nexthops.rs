//! Table to come.

use crate::state::table::Class;

pub static NEXTHOPS: Class = Class { name: "nexthops", ..Class::BASE };
