//! Table to come.

use crate::state::table::Class;

pub static RULES: Class = Class { name: "rules", ..Class::BASE };
