//! Tests of the interpreter and the tables on messages that a kernel gave (`tests/recorded`).

use proptest::prelude::*;

use super::*;
use crate::netlink::messages;

const SECTIONS: &[(&str, &[u8])] = &[
    ("links", include_bytes!("../../tests/recorded/links.bin")),
    ("addresses", include_bytes!("../../tests/recorded/addresses.bin")),
    ("routes", include_bytes!("../../tests/recorded/routes.bin")),
    ("rules", include_bytes!("../../tests/recorded/rules.bin")),
    ("nexthops", include_bytes!("../../tests/recorded/nexthops.bin")),
    ("neighbours", include_bytes!("../../tests/recorded/neighbours.bin")),
    ("proxy-neighbours", include_bytes!("../../tests/recorded/proxy-neighbours.bin")),
    ("neighbour-tables", include_bytes!("../../tests/recorded/neighbour-tables.bin")),
];

fn section(name: &str) -> &'static [u8] {
    SECTIONS.iter().find(|(section, _)| *section == name).unwrap().1
}

#[test]
fn print_all() {
    let names = Names::of(section("links"));
    for (name, bytes) in SECTIONS {
        let class = class(name).unwrap();
        for object in objects(class, bytes).unwrap() {
            println!("{name}: {} [{}]\n    {}", object.label(&names), object.key, object.value());
            for problem in check(class, &object.bytes, &names) {
                println!("  !! {problem}");
            }
        }
    }
}
