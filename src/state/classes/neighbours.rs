//! Table to come.

use crate::state::table::Class;

pub static NEIGHBOURS: Class = Class { name: "neighbours", ..Class::BASE };
pub static PROXY_NEIGHBOURS: Class = Class { name: "proxy-neighbours", ..Class::BASE };
