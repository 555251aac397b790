//! The outer end of a pair that CNI has made is as it was where the pod came from.

use netckpt::capture;
use netckpt::image::Origin;
use netckpt::restore::{self, Options};

use crate::netns::Ns;
use crate::world::{Nodes, pod};

/// What of an outer end is mended.
fn seen(node: &Ns, link: &str) -> String {
    let json = node.json(&["ip", "-d", "-j", "link", "show", link]);
    let (link, port) = (&json[0], &json[0]["linkinfo"]["info_slave_data"]);
    let of = |names: &[&str], value: &serde_json::Value| {
        names.iter().map(|name| format!("{name}={}\n", value[*name])).collect::<String>()
    };
    of(
        &[
            "mtu",
            "txqlen",
            "group",
            "ifalias",
            "gso_max_size",
            "gro_max_size",
            "master",
            "operstate",
        ],
        link,
    ) + &of(
        &[
            "hairpin",
            "isolated",
            "learning",
            "flood",
            "mcast_flood",
            "bcast_flood",
            "guard",
            "root_block",
            "neigh_suppress",
            "cost",
            "priority",
        ],
        port,
    )
}

#[test]
fn an_outer_end_that_is_there_is_mended_and_put_back() {
    let nodes = Nodes::new("outer");
    let source = pod(&nodes.a, "source", 1, 7);
    nodes.a.ip("link set veth17 mtu 1400 txqueuelen 77 group 9 alias of-the-pod gso_max_size 32768
                link set veth17 promisc on allmulticast on");
    source.ip("link set eth0 mtu 1400");
    nodes.a.sh("bridge link set dev veth17 hairpin on isolated on learning off flood off \
                mcast_flood off bcast_flood off guard on root_block on neigh_suppress on cost 7 priority 9");
    let shall = seen(&nodes.a, "veth17");
    let node = nodes.a.open();
    let image = capture::network(&source.open(), Some(&node), &capture::Options::default())
        .unwrap()
        .into_image(Origin::default());
    let target = pod(&nodes.b, "target", 1, 7);
    let bystander = pod(&nodes.b, "bystander", 2, 5);
    let (before, others) = (seen(&nodes.b, "veth17"), seen(&nodes.b, "veth25"));
    assert_ne!(shall, before);
    let node = nodes.b.open();
    let options = Options { known_ends_only: true, ..Options::default() };
    let report = restore::restore(&target.open(), Some(&node), &image, &options).unwrap();
    assert_eq!(seen(&nodes.b, "veth17"), shall);
    let flags = nodes.b.run(&["ip", "link", "show", "veth17"]);
    assert!(flags.contains("PROMISC") && flags.contains("ALLMULTI"), "{flags}");
    assert_eq!(seen(&nodes.b, "veth25"), others);
    restore::undo(&target.open(), Some(&node), &report).unwrap();
    assert_eq!(seen(&nodes.b, "veth17"), before);
    drop(bystander);
}
