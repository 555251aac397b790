//! Images of other kernels and of later versions: with attributes that are not known here, and without
//! some that are.

mod everything;
mod netns;

use netckpt::image::Image;
use netckpt::netlink::{Builder, messages};
use netckpt::restore::{self, Error, Options, Report};
use netckpt::state::table::Source;
use netckpt::state::{self, CLASSES};
use netns::{Ns, Pair};

/// An attribute that no kernel has.
const UNHEARD_OF: u16 = 0x3ff;

/// The image with each message of these classes made anew from its header and attributes.
fn with(image: &Image, classes: &[&str], change: impl Fn(&mut Vec<(u16, Vec<u8>)>)) -> Image {
    let mut image = image.clone();
    for name in classes {
        let class = state::class(name).unwrap();
        let header: usize = class.header.iter().map(|field| field.at + 1).max().unwrap_or(0);
        let header = header.next_multiple_of(4);
        let section = image.snapshot.sections.get_mut(*name).unwrap();
        let mut bytes = Vec::new();
        for message in messages(section).map(Result::unwrap) {
            let attributes = message.attributes(header).map(Result::unwrap);
            let mut attributes: Vec<_> =
                attributes.map(|one| (one.id | one.flags, one.payload.to_vec())).collect();
            change(&mut attributes);
            let mut made = Builder::new(message.kind, 0, &message.body[..header]);
            for (id, payload) in &attributes {
                made.put(*id, payload);
            }
            bytes.extend(made.finish());
        }
        *section = bytes.into();
    }
    image
}

fn restored(label: &str, image: &Image) -> (Pair, Result<Report, Error>) {
    let target = Pair::bare(label);
    let (pod, node) = (target.pod.open(), target.node.open());
    let report = restore::restore(&pod, Some(&node), image, &Options::default());
    (target, report)
}

fn links(ns: &Ns) -> usize {
    ns.json(&["ip", "-j", "link"]).as_array().unwrap().len()
}

/// Sizes of packets that are put together came with 5.19 and 6.3, protocols of addresses with 5.18.
#[test]
fn an_image_of_an_older_kernel_is_restored() {
    const GRO_MAX_SIZE: u16 = 58;
    const GSO_IPV4_MAX_SIZE: u16 = 63;
    const GRO_IPV4_MAX_SIZE: u16 = 64;
    const IFA_PROTO: u16 = 11;
    let source = everything::pod("older");
    let image = everything::image(&source);
    let since = [GRO_MAX_SIZE, GSO_IPV4_MAX_SIZE, GRO_IPV4_MAX_SIZE];
    let old = with(&image, &["links"], |all| all.retain(|(id, _)| !since.contains(id)));
    let mut old = with(&old, &["addresses"], |all| all.retain(|(id, _)| *id != IFA_PROTO));
    old.manifest.kernel = "5.10.0".to_owned();
    let (target, report) = restored("older-target", &old);
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert!(report.differences.iter().all(|one| !one.matters()), "{:#?}", report.differences);
    let told: Vec<_> = report.differences.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|one| one.contains("gro_max_size is 65536 instead of absent")),
        "{told:#?}"
    );
    assert_eq!(links(&target.pod), links(&source.pod));
    let found = restore::verify(&target.pod.open(), &old).unwrap();
    assert!(found.iter().all(|one| !one.matters()), "{found:#?}");
}

/// What a later version may add is left out and told, where an object is the same without it.
#[test]
fn attributes_that_nobody_has_heard_of_are_left_out() {
    let source = everything::pod("later");
    let image = everything::image(&source);
    let messages = |strict: bool| -> Vec<&str> {
        let is = |class: &&&state::table::Class| {
            class.strict == strict
                && !matches!(class.source, Source::Sysctl)
                && !image.snapshot.sections[class.name].is_empty()
        };
        CLASSES.iter().filter(is).map(|class| class.name).collect()
    };
    let add = |all: &mut Vec<(u16, Vec<u8>)>| all.push((UNHEARD_OF, vec![7; 4]));
    let later = with(&image, &messages(false), add);
    let (target, report) = restored("later-target", &later);
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert!(report.left.iter().any(|(section, what)| {
        section == "links" && what.contains("#1023: an attribute that this version does not know")
    }));
    assert_eq!(links(&target.pod), links(&source.pod));

    // Of others it is not known what they would mean without.
    for class in messages(true) {
        let (target, report) = restored("strict-target", &with(&image, &[class], add));
        let error = report.unwrap_err();
        assert!(error.is_of_support() && error.to_string().contains(class), "{error}");
        assert_eq!(links(&target.pod), 1, "nothing was changed");
    }
}
