//! Tests of the interpreter and the tables on messages that a kernel gave (`tests/recorded`).

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::classes::{ADDRESSES, CONNTRACK, LINKS, NEIGHBOURS, NEXTHOPS, ROUTES, RULES};
use super::table::{Class, Source};
use super::*;
use crate::netlink::{Builder, messages};

const SECTIONS: &[(&str, &[u8])] = &[
    ("links", include_bytes!("../../tests/recorded/links.bin")),
    ("addresses", include_bytes!("../../tests/recorded/addresses.bin")),
    ("routes", include_bytes!("../../tests/recorded/routes.bin")),
    ("rules", include_bytes!("../../tests/recorded/rules.bin")),
    ("nexthops", include_bytes!("../../tests/recorded/nexthops.bin")),
    ("neighbours", include_bytes!("../../tests/recorded/neighbours.bin")),
    ("proxy-neighbours", include_bytes!("../../tests/recorded/proxy-neighbours.bin")),
    ("neighbour-tables", include_bytes!("../../tests/recorded/neighbour-tables.bin")),
    ("address-labels", include_bytes!("../../tests/recorded/address-labels.bin")),
    ("mptcp-endpoints", include_bytes!("../../tests/recorded/mptcp-endpoints.bin")),
    ("mptcp-limits", include_bytes!("../../tests/recorded/mptcp-limits.bin")),
    ("seg6-hmac", include_bytes!("../../tests/recorded/seg6-hmac.bin")),
    ("seg6-source", include_bytes!("../../tests/recorded/seg6-source.bin")),
    ("ioam6-schemas", include_bytes!("../../tests/recorded/ioam6-schemas.bin")),
    ("ioam6-namespaces", include_bytes!("../../tests/recorded/ioam6-namespaces.bin")),
    ("xfrm-policies", include_bytes!("../../tests/recorded/xfrm-policies.bin")),
    ("nft-tables", include_bytes!("../../tests/recorded/nft-tables.bin")),
    ("nft-chains", include_bytes!("../../tests/recorded/nft-chains.bin")),
    ("nft-sets", include_bytes!("../../tests/recorded/nft-sets.bin")),
    ("nft-objects", include_bytes!("../../tests/recorded/nft-objects.bin")),
    ("nft-set-elements", include_bytes!("../../tests/recorded/nft-set-elements.bin")),
    ("nft-rules", include_bytes!("../../tests/recorded/nft-rules.bin")),
    ("ipsets", include_bytes!("../../tests/recorded/ipsets.bin")),
    ("ipset-members", include_bytes!("../../tests/recorded/ipset-members.bin")),
    ("iptables", include_bytes!("../../tests/recorded/iptables.bin")),
    ("ip6tables", include_bytes!("../../tests/recorded/ip6tables.bin")),
    ("arptables", include_bytes!("../../tests/recorded/arptables.bin")),
    ("conntrack", include_bytes!("../../tests/recorded/conntrack.bin")),
    ("conntrack-expectations", include_bytes!("../../tests/recorded/conntrack-expectations.bin")),
];

fn section(name: &str) -> &'static [u8] {
    SECTIONS.iter().find(|(section, _)| *section == name).unwrap().1
}

fn names() -> Names {
    Names::of(section("links"))
}

fn all() -> impl Iterator<Item = Object> {
    SECTIONS.iter().flat_map(|(name, bytes)| objects(class(name).unwrap(), bytes).unwrap())
}

/// The object with this label.
fn object(class: &'static Class, label: &str) -> Object {
    let mut all = objects(class, section(class.name)).unwrap();
    let labels: Vec<_> = all.iter().map(|object| object.label(&names())).collect();
    let at = labels.iter().position(|found| found == label);
    all.swap_remove(at.unwrap_or_else(|| panic!("no {label} among {labels:#?}")))
}

/// The replayed message as if the kernel had told it.
fn replayed(object: &Object) -> Object {
    let bytes = replay_where(object.class, &object.bytes, object.class.tells, 0, |_| true);
    Object { bytes, ..object.clone() }
}

#[test]
fn every_attribute_that_the_kernel_told_is_known() {
    for object in all() {
        let label = object.label(&names());
        let faults: Vec<_> = check(object.class, &object.bytes, &names());
        let expected = |problem: &Problem| matches!(problem.fault, Fault::Object(_));
        assert!(faults.iter().all(expected), "{label}: {faults:?}");
    }
}

#[test]
fn links_that_can_not_come_back_are_named() {
    let told: Vec<_> = objects(&LINKS, section("links"))
        .unwrap()
        .iter()
        .flat_map(|link| unknown(&LINKS, &link.bytes))
        .map(|problem| problem.to_string())
        .collect();
    assert_eq!(told, Vec::<String>::new());
    let link = |kind: &str, outside: bool, data: &[u8]| {
        let mut builder = Builder::new(16, 0, &[0; 16]);
        builder.put_text(3, "x0");
        if outside {
            builder.put_u32(5, 7).put_u32(37, 0);
        }
        let info = builder.begin(18);
        builder.put_text(1, kind).put(2, data).end(info);
        let problems = unknown(&LINKS, &builder.finish());
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(link("macsec", false, &[]).contains("kind macsec are not carried"));
    assert!(link("of-tomorrow", false, &[]).contains("no table"));
    assert!(link("macvlan", true, &[]).contains("of another namespace"));
    assert!(link("vxlan", true, &[]).contains("of another namespace"));
    assert_eq!(link("macvlan", false, &[]), "");
    assert_eq!(link("veth", true, &[]), "");
    let persist = |is: u8| Builder::attribute(6, &[is]);
    assert!(link("tun", false, &persist(0)).contains("holds it open"));
    assert_eq!(link("tun", false, &persist(1)), "");
}

#[test]
fn keys_are_unique() {
    for (name, bytes) in SECTIONS {
        let objects = objects(class(name).unwrap(), bytes).unwrap();
        let keys: BTreeSet<_> = objects.iter().map(|object| &object.key).collect();
        assert_eq!(keys.len(), objects.len(), "{name}");
        assert!(!objects.is_empty(), "{name}");
    }
}

#[test]
fn equal_objects_get_a_number() {
    let twice = [section("rules"), section("rules")].concat();
    let found = objects(&RULES, &twice).unwrap();
    let keys: BTreeSet<_> = found.iter().map(|object| &object.key).collect();
    assert_eq!(keys.len(), found.len());
    assert!(found.last().unwrap().key.ends_with(" #2"));
}

#[test]
fn what_is_replayed_is_what_is_compared() {
    // Never sent, or sent in another form: derived, outside, made by steps.
    const NOT_SENT: &[&str] = &[
        "schema",
        "tuple_reply",
        "index",
        "status",
        "type",
        "link",
        "link_netnsid",
        "prop_list",
        "cacheinfo",
        "expires",
        "oif",
        "gateway",
        "multipath",
        "secondary",
        "priority",
    ];
    for object in all() {
        for difference in compare(&object, &replayed(&object)) {
            let top = difference.path.split('.').next().unwrap();
            assert!(
                NOT_SENT.contains(&top) || difference.path.starts_with("linkinfo"),
                "{}: {difference:?}",
                object.label(&names())
            );
        }
    }
}

#[test]
fn what_only_a_dump_tells_is_not_sent() {
    let link = replayed(&object(&LINKS, "eth0")).value();
    for path in ["operstate", "stats64", "link", "link_netnsid", "promiscuity", "af_spec.inet"] {
        assert_eq!(link.field(path), None, "{path}");
    }
    assert_eq!(link.text("flags"), Some("up,multicast"));
    assert_eq!(link.number("change"), Some(0xffff_ffff));
    assert_eq!(link.text("ifalias"), Some("the pod's"));
    assert_eq!(link.text("af_spec.inet6.addr_gen_mode"), Some("eui64"));
    // All zero: the kernel refuses to be told that there is none.
    assert_eq!(link.field("af_spec.inet6.token"), None);
    assert_eq!(link.field("xdp"), None);
}

#[test]
fn the_end_of_a_link_elsewhere_is_not_compared_by_number() {
    let link = object(&LINKS, "eth0");
    let mut other = link.clone();
    let old = attribute_place(&link, 5);
    other.bytes[old..old + 4].copy_from_slice(&99_u32.to_ne_bytes());
    assert_eq!(compare(&link, &other), []);
    // Inside, the number is the peer's name.
    let link = object(&LINKS, "in0");
    let mut other = link.clone();
    let old = attribute_place(&link, 5);
    other.bytes[old..old + 4].copy_from_slice(&99_u32.to_ne_bytes());
    assert_eq!(compare(&link, &other)[0].path, "link");
    assert_eq!(check(&LINKS, &other.bytes, &names())[0].fault, Fault::NoLink(99));
}

/// Where the payload of an attribute starts in the object's bytes.
fn attribute_place(object: &Object, id: u16) -> usize {
    let message = messages(&object.bytes).next().unwrap().unwrap();
    let mut all = message.attributes(decode::header_size(object.class.header)).map(Result::unwrap);
    let payload = all.find(|attribute| attribute.id == id).unwrap().payload;
    payload.as_ptr().addr() - object.bytes.as_ptr().addr()
}

#[test]
fn alternative_names_are_told() {
    let link = object(&LINKS, "eth0").value();
    assert_eq!(classes::links::alternative_names(&link), ["first", "second"]);
}

#[test]
fn a_nexthop_object_stands_for_the_path() {
    let route = object(&ROUTES, "10.8.1.0/24 via 10.1.0.1 nhid 1 dev eth0 (table main)");
    let sent = replayed(&route).value();
    assert_eq!(sent.number("nh_id"), Some(1));
    assert_eq!((sent.field("oif"), sent.field("gateway")), (None, None));
    let group = object(&NEXTHOPS, "nexthop 11 group 1/2");
    let sent = replayed(&group).value();
    assert_eq!(sent.number("res_group.buckets"), Some(8));
    assert_eq!((sent.field("op_flags"), sent.field("res_group.unbalanced_time")), (None, None));
}

#[test]
fn times_left_run_on_in_transit() {
    let left = |seconds, label: &str| {
        let aged = age(&ADDRESSES, section("addresses"), seconds);
        let found = objects(&ADDRESSES, &aged).unwrap();
        let address = found.iter().find(|object| object.label(&names()) == label).unwrap().value();
        (address.number("cacheinfo.valid"), address.number("cacheinfo.preferred"))
    };
    let limited = "10.1.0.3/24 on eth0";
    assert_eq!(left(0, limited), (Some(3600), Some(1800)));
    assert_eq!(left(100, limited), (Some(3500), Some(1700)));
    assert_eq!(left(100_000, limited), (Some(1), Some(0)));
    let forever = u64::from(u32::MAX);
    assert_eq!(left(100, "10.1.0.2/24 on eth0"), (Some(forever), Some(forever)));
    // What runs on is not a difference, what ends and what does not is.
    let old = object(&ADDRESSES, limited);
    let aged = Object { bytes: age(&ADDRESSES, &old.bytes, 100), ..old.clone() };
    assert_eq!(compare(&old, &aged), []);
    let mut endless = old.clone();
    let place = attribute_place(&old, 6);
    endless.bytes[place..place + 8].fill(0xff);
    assert_eq!(compare(&old, &endless).len(), 2);
}

#[test]
fn the_end_of_a_route_is_sent_in_seconds() {
    let route = object(&ROUTES, "default (ipv6) via 2001:db8::1 dev eth0 (table main)");
    let sent = replayed(&route).value();
    assert_eq!((sent.number("expires"), sent.field("cacheinfo")), (Some(600), None));
    let aged = Object { bytes: age(&ROUTES, &route.bytes, 100), ..route };
    assert_eq!(replayed(&aged).value().number("expires"), Some(500));
}

#[test]
fn neighbours_come_back_stale_and_pass() {
    let resolved = object(&NEIGHBOURS, "10.1.0.20 on eth0");
    assert_eq!(replayed(&resolved).value().text("state"), Some("stale"));
    assert!(resolved.is_fleeting());
    for label in ["10.1.0.1 on eth0", "10.1.0.21 on eth0", "10.1.0.22 on eth0"] {
        assert!(!object(&NEIGHBOURS, label).is_fleeting(), "{label}");
    }
}

#[test]
fn the_order_of_ipv4_addresses_is_compared() {
    let second = object(&ADDRESSES, "10.1.0.3/24 on eth0");
    let mut first = second.clone();
    let place = attribute_place(&second, 8);
    first.bytes[place] &= !1;
    assert_eq!(compare(&second, &first)[0].path, "secondary");
}

#[test]
fn tunnel_options_are_refused() {
    let mut builder = Builder::new(24, 0, &[2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
    builder.put(1, &[10, 0, 0, 0]);
    builder.put(21, &2_u16.to_ne_bytes());
    let encap = builder.begin(22);
    builder.put(2, &[10, 0, 0, 1]);
    builder.put(8, &[8, 0, 1, 0, 0, 0, 0, 0]);
    builder.end(encap);
    let bytes = builder.finish();
    let found = check(&ROUTES, &bytes, &names());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].path.as_str(), &found[0].fault), ("encap.opts", &Fault::Refused));
    assert_eq!(found[0].fault.verdict(), Verdict::NotCarried);
    let sent = decode(&ROUTES, &replay(&ROUTES, &bytes, 0));
    assert_eq!(sent.field("encap.opts"), None);
    assert_eq!(sent.field("encap.dst").map(ToString::to_string).as_deref(), Some("10.0.0.1"));
}

#[test]
fn hostile_messages_are_told_apart() {
    let names = names();
    let header = [2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    let fault = |build: &dyn Fn(&mut Builder) -> usize| {
        let mut builder = Builder::new(24, 0, &header);
        build(&mut builder);
        check(&ROUTES, &builder.finish(), &names).into_iter().map(|p| (p.path, p.fault)).next()
    };
    let found = |path: &str, fault| Some((path.to_owned(), fault));
    assert_eq!(fault(&|b| b.len()), None);
    assert_eq!(fault(&|b| b.put(99, &[1]).len()), found("#99", Fault::Unknown));
    assert_eq!(fault(&|b| b.put(1, &[1; 5]).len()), found("dst", Fault::Length(5)));
    assert_eq!(fault(&|b| b.put_u32(4, 1234).len()), found("oif", Fault::NoLink(1234)));
    assert_eq!(fault(&|b| b.put_u32(6, 1).put_u32(6, 2).len()), found("priority", Fault::Twice));
    assert_eq!(fault(&|b| b.raw(&[1, 0, 1, 0]).len()), found("", Fault::Malformed));
    let layout = Fault::Layout("nothing".to_owned());
    assert_eq!(fault(&|b| b.put(22, &[]).len()), found("encap", layout));
    let foreign = Builder::new(25, 0, &header).finish();
    assert_eq!(check(&ROUTES, &foreign, &names)[0].fault, Fault::Foreign(25));
    assert_eq!(check(&ROUTES, &[1, 2, 3], &names)[0].fault, Fault::Malformed);
}

#[test]
fn a_translated_flow_is_told_as_the_kernel_wants_it() {
    let flow = object(&CONNTRACK, "tcp 10.1.0.2:1001 to 192.0.2.1:80");
    assert_eq!(
        flow.value().text("status"),
        Some("seen-reply,assured,confirmed,src-nat,src-nat-done,dst-nat-done")
    );
    let sent = replayed(&flow).value();
    let shown = |path: &str| sent.field(path).map(ToString::to_string).unwrap_or_default();
    assert_eq!(shown("tuple_reply.ip.v4_dst"), "10.1.0.2");
    assert_eq!(shown("tuple_reply.proto.dst_port"), "1001");
    assert!(shown("nat_src").contains("c6336401"), "198.51.100.1 in {}", shown("nat_src"));
    assert_eq!(shown("status"), "seen-reply,assured,confirmed");
    assert_eq!(shown("protoinfo.tcp.flags_original.mask"), "255");
    assert!(shown("protoinfo.tcp.flags_reply.flags").contains("be-liberal"));
    assert_eq!(shown("mark"), "77");
    for path in ["id", "use", "counters_orig"] {
        assert_eq!(sent.field(path), None, "{path}");
    }
    let aged = Object { bytes: age(&CONNTRACK, &flow.bytes, 1000), ..flow };
    let left = aged.value().number("timeout").unwrap();
    assert!((1900..=2000).contains(&left), "{left}");
}

#[test]
fn values_are_json() {
    let json = to_json(&object(&LINKS, "eth0").value());
    assert_eq!(json["ifname"], "eth0");
    assert_eq!(json["mtu"], 1400);
    assert_eq!(json["linkinfo"]["kind"], "veth");
    assert_eq!(json["address"], "02:00:00:00:00:07");
}

#[test]
fn classes_come_after_those_they_refer_to() {
    let mut seen = BTreeSet::new();
    for class in CLASSES {
        for after in class.after {
            assert!(seen.contains(after), "{} before {after}", class.name);
        }
        seen.insert(class.name);
        let header = class.header.iter().map(|field| field.name);
        let known: BTreeSet<_> =
            header.chain(class.attributes.iter().map(|attribute| attribute.name)).collect();
        for path in class.key.iter().filter(|_| !matches!(class.source, Source::Sysctl)) {
            assert!(known.contains(path.split('.').next().unwrap()), "{}: {path}", class.name);
        }
    }
}

/// A recorded message of any class with some bytes changed, or any bytes at all.
fn messages_of_any_kind() -> impl Strategy<Value = (&'static Class, Vec<u8>)> {
    let recorded: Vec<_> = all().map(|object| (object.class, object.bytes)).collect();
    let changed = (
        prop::sample::select(recorded),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    )
        .prop_map(|((class, mut bytes), changes)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            (class, bytes)
        });
    let random =
        (prop::sample::select(CLASSES.to_vec()), prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(class, body)| {
                (class, Builder::new(class.tells, 0, &[]).raw(&body).clone().finish())
            });
    prop_oneof![changed, random]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_panics_and_what_is_sent_is_well_formed((class, bytes) in messages_of_any_kind()) {
        let names = names();
        let value = decode(class, &bytes);
        let _ = (value.to_string(), to_json(&value), (class.label)(&value, &names));
        let _ = (check_section(class, &bytes, &names), unknown(class, &bytes));
        let _ = (age(class, &bytes, 77), objects(class, &bytes));
        let sent = replay_where(class, &bytes, class.tells, 0, |_| true);
        for message in messages(&sent) {
            prop_assert!(message.is_ok());
        }
        // Whatever came in, what is sent is free of what the tables do not allow.
        if !matches!(class.source, Source::Sysctl) && !sent.is_empty() {
            let left = check(class, &sent, &names);
            let faults: Vec<_> = left.iter().filter(|p| matches!(
                p.fault,
                Fault::Unknown | Fault::Left | Fault::Refused | Fault::Malformed
            )).collect();
            prop_assert!(faults.is_empty(), "{faults:?}");
        }
    }
}
