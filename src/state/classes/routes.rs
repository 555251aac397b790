//! Table to come.

use crate::state::table::Class;

pub static ROUTES: Class = Class { name: "routes", ..Class::BASE };
