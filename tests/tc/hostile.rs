//! Images that no kernel gave: nothing of them is sent.

use bytes::Bytes;
use netckpt::image::Image;
use netckpt::netlink::Builder;
use netckpt::restore;

use super::netns::Pair;
use super::{image_of, quiet, restored, told};

/// An image of a pod with one more message in a section, and what it tells of the pod.
fn with(section: &str, message: Vec<u8>) -> (Pair, Image) {
    let pair = quiet();
    let mut image = image_of(&pair);
    let old = image.snapshot.sections.get(section).cloned().unwrap_or_default();
    let new = [&old[..], &message[..]].concat();
    image.snapshot.sections.insert(section.to_owned(), Bytes::from(new));
    (pair, image)
}

fn message(kind: u16, numbers: [u32; 5], fill: impl FnOnce(&mut Builder)) -> Vec<u8> {
    let mut builder = Builder::new(kind, 0, &numbers.map(u32::to_ne_bytes).concat());
    fill(&mut builder);
    builder.finish()
}

/// The image is refused for this reason, and nothing was sent.
fn refused(section: &str, message: Vec<u8>, why: &str) {
    let (pair, image) = with(section, message);
    let before = told(&pair.pod);
    match restored(&pair, &image) {
        Err(restore::Error::Image(problems)) => {
            let told: Vec<_> = problems.iter().map(|(_, problem)| problem.to_string()).collect();
            assert!(told.iter().any(|problem| problem.contains(why)), "{why}: {told:?}");
        }
        other => panic!("{why}: {other:?}"),
    }
    assert_eq!(told(&pair.pod), before);
}

const QDISC: u16 = 36;
const FILTER: u16 = 44;
const ACTION: u16 = 48;
const ROOT: u32 = u32::MAX;
const INGRESS: u32 = 0xffff_fff2;

#[test]
fn kinds_that_would_load_a_module() {
    let kind = |name: &'static str| {
        move |builder: &mut Builder| {
            builder.put_text(1, name);
        }
    };
    let why = "of kind \"evil\" are not known";
    refused("qdiscs", message(QDISC, [0, 1, 0x1_0000, ROOT, 0], kind("evil")), why);
    refused("tc-filters", message(FILTER, [0, 1, 1, INGRESS, 0x1_0300], kind("evil")), why);
    refused("tc-chains", message(100, [0, 1, 0, INGRESS, 0], kind("evil")), why);
    let action = message(FILTER, [0, 1, 1, INGRESS, 0x1_0300], |builder| {
        builder.put_text(1, "bpf");
        let options = builder.begin(2);
        let list = builder.begin(1);
        let one = builder.begin(1);
        builder.put_text(1, "evil");
        builder.end(one).end(list).end(options);
    });
    refused("tc-filters", action, why);
}

#[test]
fn links_outside_the_image() {
    let on = message(QDISC, [0, 4711, 0x1_0000, ROOT, 0], |builder| {
        builder.put_text(1, "htb");
    });
    refused("qdiscs", on, "refers to link 4711");
    let mut action = Builder::new(ACTION, 0, &[0; 4]);
    let list = action.begin(1);
    let one = action.begin(1);
    action.put_text(1, "mirred");
    let options = action.begin(2);
    // Number 1, stolen, of its own, to link 4711.
    action.put(2, &[1, 0, 4, 1, 0, 1, 4711].map(u32::to_ne_bytes).concat());
    action.end(options).end(one).end(list);
    refused("tc-actions", action.finish(), "refers to link 4711");
}

#[test]
fn programs_of_another_kernel() {
    let program = message(FILTER, [0, 1, 1, INGRESS, 0x1_0300], |builder| {
        builder.put_text(1, "bpf");
        let options = builder.begin(2);
        builder.put_u32(11, 5).put_text(7, "cil_from_netdev").put(10, &[1, 2, 3, 4, 5, 6, 7, 8]);
        builder.end(options);
    });
    refused("tc-filters", program, "the eBPF program cil_from_netdev (tag 0102030405060708)");
}

#[test]
fn matches_that_would_load_a_module() {
    let matches = |kind: u16, data: &'static [u8]| {
        message(FILTER, [0, 1, 1, INGRESS, 0x1_0300], |builder| {
            builder.put_text(1, "basic");
            let options = builder.begin(2);
            let tree = builder.begin(2);
            builder.put(1, &[1, 0, 0, 0]);
            let list = builder.begin(2);
            builder.put(1, &[&[0, 0, kind as u8, 0, 0, 0, 0, 0], data].concat());
            builder.end(list).end(tree).end(options);
        })
    };
    refused("tc-filters", matches(77, &[]), "a kind that is not known");
    refused("tc-filters", matches(5, b"evil\0\0\0\0\0\0\0\0\0\0\0\0"), "a search of text");
    refused("tc-filters", matches(8, &[1, 0, 1, 0]), "a match of a set by its number");
}
