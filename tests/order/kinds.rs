//! Links of kinds that no kernel at hand makes: what is planned for them, in which order, and the bytes
//! that are sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use netckpt::image::Snapshot;
use netckpt::netlink::{Builder, Message, attributes, messages};
use netckpt::plan::{Action, Objects, Plan, Step, Terms, plan};

const NEWLINK: u16 = 16;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const NESTED: u16 = Builder::NESTED;

/// What a link is made of beside index and name.
#[derive(Default)]
struct Told<'a> {
    /// `ARPHRD_*`.
    hardware: u16,
    address: &'a [u8],
    link: u32,
    master: u32,
    kind: &'a str,
    data: Vec<u8>,
    port: (&'a str, Vec<u8>),
}

fn told(index: u32, name: &str, told: &Told<'_>) -> Vec<u8> {
    let mut header = [0; 16];
    header[2..4].copy_from_slice(&told.hardware.to_ne_bytes());
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut builder = Builder::new(NEWLINK, 0, &header);
    builder.put_text(3, name).put_u32(4, 1500).put_u32(31, 1).put_u32(32, 1);
    if !told.address.is_empty() {
        builder.put(1, told.address);
    }
    for (id, value) in [(IFLA_LINK, told.link), (IFLA_MASTER, told.master)] {
        if value != 0 {
            builder.put_u32(id, value);
        }
    }
    if !told.kind.is_empty() {
        let info = builder.begin(IFLA_LINKINFO);
        builder.put_text(1, told.kind);
        if !told.data.is_empty() {
            builder.put(2, &told.data);
        }
        if !told.port.0.is_empty() {
            builder.put_text(4, told.port.0).put(5, &told.port.1);
        }
        builder.end(info);
    }
    builder.finish()
}

fn lo() -> Vec<u8> {
    told(1, "lo", &Told { hardware: 772, ..Told::default() })
}

fn planned(links: &[Vec<u8>]) -> Plan {
    let snapshot = |links: Vec<u8>| {
        let sections = BTreeMap::from([("links".to_owned(), Bytes::from(links))]);
        Objects::read(&Snapshot { sections }, 0).unwrap()
    };
    let (from, to) = (snapshot(lo()), snapshot([lo(), links.concat()].concat()));
    plan(&from, &to, &Terms { queues: 1, ..Terms::default() }).unwrap()
}

fn message(step: &Step) -> Message<'_> {
    let Action::Send { message, .. } = &step.action else { panic!("{step}") };
    messages(message).next().unwrap().unwrap()
}

fn place(plan: &Plan, label: &str) -> usize {
    let labels: Vec<_> = plan.steps.iter().map(|step| step.label.as_str()).collect();
    labels.iter().position(|found| *found == label).unwrap_or_else(|| panic!("{label}: {labels:?}"))
}

fn attribute(step: &Step, id: u16) -> Option<&[u8]> {
    let found = message(step).attributes(16).map(Result::unwrap).find(|a| a.id == id);
    found.map(|found| found.payload)
}

fn part(nest: &[u8], id: u16) -> Option<&[u8]> {
    attributes(nest).map(Result::unwrap).find(|part| part.id == id).map(|part| part.payload)
}

/// The data of the kind in the message that makes the link.
fn data<'a>(plan: &'a Plan, label: &str) -> &'a [u8] {
    let info = attribute(&plan.steps[place(plan, label)], IFLA_LINKINFO).unwrap();
    part(info, 2).unwrap_or_default()
}

fn put(all: &[(u16, &[u8])]) -> Vec<u8> {
    all.iter().flat_map(|(id, payload)| Builder::attribute(*id, payload)).collect()
}

fn dummy(index: u32, name: &str) -> Vec<u8> {
    told(index, name, &Told { hardware: 1, kind: "dummy", ..Told::default() })
}

#[test]
fn a_vlan_is_made_upon_its_link() {
    let mapping = [&7_u32.to_ne_bytes()[..], &3_u32.to_ne_bytes()].concat();
    let vlan = put(&[
        (5, &0x8100_u16.to_be_bytes()),
        (1, &77_u16.to_ne_bytes()),
        (2, &[&5_u32.to_ne_bytes()[..], &0_u32.to_ne_bytes()].concat()),
        (3 | NESTED, &Builder::attribute(1, &mapping)),
    ]);
    let vlan = Told { hardware: 1, link: 9, kind: "vlan", data: vlan, ..Told::default() };
    // Told before the link that it stands on.
    let plan = planned(&[told(2, "v0", &vlan), dummy(9, "d0")]);
    assert!(place(&plan, "make d0 (dummy)") < place(&plan, "make v0 (vlan)"));
    let make = &plan.steps[place(&plan, "make v0 (vlan)")];
    assert_eq!(attribute(make, IFLA_LINK), Some(&9_u32.to_ne_bytes()[..]));
    let sent = data(&plan, "make v0 (vlan)");
    assert_eq!(part(sent, 1), Some(&77_u16.to_ne_bytes()[..]));
    assert_eq!(part(sent, 5), Some(&[0x81, 0x00][..]));
    // All flags are meant.
    assert_eq!(part(sent, 2), Some(&[&5_u32.to_ne_bytes()[..], &[0xff; 4]].concat()[..]));
    assert_eq!(part(sent, 3), Some(&Builder::attribute(1, &mapping)[..]));
}

#[test]
fn a_bond_is_told_what_is_for_its_mode_and_its_ports_last() {
    let bond = put(&[
        (1, &[1]),
        (2, &10_u32.to_ne_bytes()),
        (3, &100_u32.to_ne_bytes()),
        (7, &0_u32.to_ne_bytes()),
        (11, &10_u32.to_ne_bytes()),
        (20, &1_u32.to_ne_bytes()),
        (21, &[0]),
        (23, &[0; 4]),
        (27, &[1]),
        (30, &[2]),
    ]);
    let bond = Told { hardware: 1, kind: "bond", data: bond, ..Told::default() };
    let port = put(&[(1, &[0]), (5, &7_u16.to_ne_bytes()), (9, &0_i32.to_ne_bytes())]);
    let port =
        Told { hardware: 1, master: 3, kind: "dummy", port: ("bond", port), ..Told::default() };
    let plan = planned(&[told(3, "bond0", &bond), told(10, "d0", &port)]);
    let sent = data(&plan, "make bond0 (bond)");
    let ids: Vec<_> = attributes(sent).map(|attribute| attribute.unwrap().id).collect();
    assert_eq!(
        ids,
        [1, 3, 7, 30],
        "neither ports, nor what is for other modes, nor what is only told"
    );
    let joins = place(&plan, "master of d0");
    assert!(place(&plan, "make bond0 (bond)") < joins);
    let settings = &plan.steps[place(&plan, "port d0")];
    let of_port = part(attribute(settings, IFLA_LINKINFO).unwrap(), 5).unwrap();
    assert_eq!(of_port, put(&[(5, &7_u16.to_ne_bytes())]));
    let ports = place(&plan, "ports of bond0");
    assert!(joins < ports);
    let sent = part(attribute(&plan.steps[ports], IFLA_LINKINFO).unwrap(), 2).unwrap();
    let ids: Vec<_> = attributes(sent).map(|attribute| attribute.unwrap().id).collect();
    assert_eq!(ids, [2, 11]);
}

#[test]
fn a_vrf_takes_its_ports() {
    let vrf = put(&[(1, &77_u32.to_ne_bytes())]);
    let vrf = Told { hardware: 1, kind: "vrf", data: vrf, ..Told::default() };
    let port = Told {
        hardware: 1,
        master: 10,
        kind: "dummy",
        port: ("vrf", put(&[(1, &77_u32.to_ne_bytes())])),
        ..Told::default()
    };
    let plan = planned(&[told(3, "d0", &port), told(10, "v0", &vrf)]);
    assert_eq!(data(&plan, "make v0 (vrf)"), put(&[(1, &77_u32.to_ne_bytes())]));
    let join = &plan.steps[place(&plan, "master of d0")];
    assert_eq!(attribute(join, IFLA_MASTER), Some(&10_u32.to_ne_bytes()[..]));
    // The table of a port is its master's.
    assert!(plan.steps.iter().all(|step| step.label != "port d0"));
}

#[test]
fn an_ipvlan_is_made_upon_its_link() {
    let ipvlan = put(&[(1, &2_u16.to_ne_bytes()), (2, &1_u16.to_ne_bytes())]);
    let ipvlan = Told { hardware: 1, link: 9, kind: "ipvlan", data: ipvlan, ..Told::default() };
    let plan = planned(&[told(2, "i0", &ipvlan), dummy(9, "d0")]);
    assert!(place(&plan, "make d0 (dummy)") < place(&plan, "make i0 (ipvlan)"));
    let wanted = put(&[(1, &2_u16.to_ne_bytes()), (2, &1_u16.to_ne_bytes())]);
    assert_eq!(data(&plan, "make i0 (ipvlan)"), wanted);
}

/// Their address is the tunnel's local one, and the link below is told in the data only.
#[test]
fn tunnels_of_ip_are_told_by_their_data() {
    let local = [192, 0, 2, 1];
    let gre = put(&[
        (1, &9_u32.to_ne_bytes()),
        (2, &0x2000_u16.to_be_bytes()),
        (4, &7_u32.to_be_bytes()),
        (6, &local),
        (7, &[192, 0, 2, 2]),
        (8, &[64]),
        (10, &[1]),
    ]);
    for (kind, data_of, link_id) in [
        ("gre", gre.clone(), 1),
        ("ipip", put(&[(1, &9_u32.to_ne_bytes()), (2, &local), (4, &[64]), (9, &[4])]), 1),
        ("sit", put(&[(1, &9_u32.to_ne_bytes()), (2, &local), (8, &[0, 0]), (13, &[16, 0])]), 1),
    ] {
        let tunnel = Told {
            hardware: 778,
            address: &local,
            link: 9,
            kind,
            data: data_of.clone(),
            ..Told::default()
        };
        let plan = planned(&[told(2, "t0", &tunnel), dummy(9, "d0")]);
        let label = format!("make t0 ({kind})");
        assert!(place(&plan, "make d0 (dummy)") < place(&plan, &label), "{kind}");
        let make = &plan.steps[place(&plan, &label)];
        assert_eq!(attribute(make, 1), None, "{kind}");
        assert_eq!(attribute(make, IFLA_LINK), None, "{kind}");
        assert_eq!(data(&plan, &label), data_of, "{kind}");
        assert_eq!(part(data(&plan, &label), link_id), Some(&9_u32.to_ne_bytes()[..]));
    }
}

/// Machines differ in the modules that they have loaded.
#[test]
fn what_the_kernel_gives_with_a_module_is_neither_made_nor_removed() {
    let given = |index| {
        let zero = put(&[(2, &[0; 4]), (3, &[0; 4])]);
        told(index, "tunl0", &Told { hardware: 768, kind: "ipip", data: zero, ..Told::default() })
    };
    assert_eq!(planned(&[given(2)]).steps, []);
    let snapshot = |links: Vec<Vec<u8>>| {
        let sections = BTreeMap::from([("links".to_owned(), Bytes::from(links.concat()))]);
        Objects::read(&Snapshot { sections }, 0).unwrap()
    };
    let (is, shall) = (snapshot(vec![lo(), given(5)]), snapshot(vec![lo(), given(2)]));
    assert_eq!(plan(&is, &shall, &Terms::default()).unwrap(), Plan::default());
    let found = netckpt::plan::differences(&is, &shall);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|finding| !finding.matters()), "{found:?}");
}
