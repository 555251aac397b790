//! Table to come.

use crate::state::table::Class;

pub static NEIGHBOUR_TABLES: Class = Class { name: "neighbour-tables", ..Class::BASE };
