//! What becomes of that which can't be carried is the user's choice: a capture reports it and a
//! restore fails over it, unless told otherwise.

mod netns;

use std::path::Path;

use netckpt::capture::{self, capture};
use netckpt::image::{Image, Origin, Unsupported};
use netckpt::netlink::Builder;
use netckpt::restore::{self, Options, Undone};
use netns::{Ns, Pair};

const NETCKPT: &str = env!("CARGO_BIN_EXE_netckpt");
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;

/// Index of the link that this kernel does not have.
const STRANGE: u32 = 77;

fn links(ns: &Ns) -> Vec<String> {
    let links = ns.json(&["ip", "-j", "link"]);
    let name = |link: &serde_json::Value| link["ifname"].as_str().unwrap().to_owned();
    links.as_array().unwrap().iter().map(name).collect()
}

/// Runs the program on the node; it ends with 0 or 2.
fn netckpt(node: &Ns, arguments: &[&str]) -> Result<String, String> {
    let output = node.command(&[&[NETCKPT], arguments].concat()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        Some(2) => Err(text(&output.stderr)),
        other => panic!("{other:?}: {}", text(&output.stderr)),
    }
}

/// A veth into a namespace that is neither the pod's nor the node's can't be carried.
#[test]
fn the_command_line_chooses() {
    let (source, third) = (Pair::wired("choice"), Ns::new("choice-third"));
    source.pod.ip(&format!("link add leak type veth peer name inner netns {}", third.name()));
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("image");
    let place = place.to_str().unwrap();
    let from = source.pod.path().to_str().unwrap();
    let capture = ["capture", "--netns", from, "-o", place];

    let error = netckpt(&source.node, &[&capture[..], &["--on-unsupported=fail"]].concat());
    let error = error.unwrap_err();
    assert!(error.contains("not carried: links leak"), "{error}");
    assert!(error.contains("--on-unsupported=report goes on without"), "{error}");
    assert!(!Path::new(place).exists(), "an image that was not wanted is not stored");
    let told = netckpt(&source.node, &capture).unwrap();
    assert!(told.contains("not carried: links leak"), "{told}");

    let target = Pair::bare("choice-target");
    let restore = ["restore", place, "--netns", target.pod.path().to_str().unwrap()];
    let error = netckpt(&target.node, &restore).unwrap_err();
    assert!(error.contains("not carried: links leak"), "{error}");
    assert!(error.contains("--on-unsupported=report goes on without"), "{error}");
    assert_eq!(links(&target.pod), ["lo"], "nothing was changed");
    netckpt(&target.node, &[&restore[..], &["--on-unsupported=report"]].concat()).unwrap();
    assert!(links(&target.pod).contains(&"eth0".to_owned()));
}

/// The image of a wired pod with one more link, of a kind that this kernel lacks, and an address on it.
fn with_a_strange_link(pair: &Pair) -> Image {
    let options = capture::Options::default();
    let captured = capture(&pair.pod.open(), &options).expect("a capture");
    let mut image = captured.into_image(Origin::default());
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&STRANGE.to_ne_bytes());
    let mut link = Builder::new(RTM_NEWLINK, 0, &header);
    link.put_text(3, "strange0").put_u32(4, 1500);
    let info = link.begin(18);
    link.put_text(1, "dummy").end(info);
    let mut header = [2, 24, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&STRANGE.to_ne_bytes());
    let mut address = Builder::new(RTM_NEWADDR, 0, &header);
    address.put(1, &[10, 99, 0, 1]).put(2, &[10, 99, 0, 1]).put_u32(8, 0x80);
    for (class, message) in [("links", link.finish()), ("addresses", address.finish())] {
        let section = image.snapshot.sections.get_mut(class).unwrap();
        *section = [&section[..], &message].concat().into();
    }
    image
}

#[test]
fn what_this_kernel_lacks_is_left_out_by_choice() {
    let source = Pair::wired("lacking");
    if source.pod.try_run(&["ip", "link", "add", "strange0", "type", "dummy"]).is_ok() {
        println!("skipped: this kernel has links of the kind dummy");
        return;
    }
    let image = with_a_strange_link(&source);
    let target = Pair::bare("lacking-target");
    let restore = |on_unsupported| {
        let options = Options { on_unsupported, ..Options::default() };
        let (pod, node) = (target.pod.open(), target.node.open());
        restore::restore(&pod, Some(&node), &image, &options)
    };

    let error = restore(Unsupported::Fail).unwrap_err();
    assert!(error.is_of_support() && error.to_string().contains("strange0"), "{error}");
    if let restore::Error::Differs { undone, .. } = &error {
        assert_eq!(*undone, Undone::Wholly, "{error}");
    }
    assert_eq!(links(&target.pod), ["lo"]);

    // The kind has a table, and the kernel refuses it; or it has none yet.
    let report = restore(Unsupported::Report).unwrap_or_else(|error| panic!("{error}"));
    let left = report.left.iter().map(|(section, what)| format!("{section}: {what}"));
    let differ = report.differences.iter().filter(|finding| finding.matters());
    let named: Vec<_> = left.chain(differ.map(ToString::to_string)).collect();
    assert!(named.iter().any(|one| one.starts_with("links: strange0")), "{named:?}");
    assert!(named.iter().any(|one| one.starts_with("addresses: 10.99.0.1/24")), "{named:?}");
    assert_eq!(named.len(), 2, "{named:?}");
    assert_eq!(links(&target.pod), ["lo", "eth0"]);
    let addresses = target.pod.run(&["ip", "addr", "show", "dev", "eth0"]);
    assert!(addresses.contains("10.61.0.2/24") && addresses.contains("fd61::2/64"), "{addresses}");
}
