//! The wire format: messages and attributes stay inside the bytes they are read from, and come to an end.

use netckpt::image::{Image, Limits};
use netckpt::netlink::{align, attributes, messages};

/// Nests deeper than any of the kernel's.
const DEPTH: usize = 12;

pub fn run(data: &[u8]) {
    let mut read = 0;
    for message in messages(data) {
        let Ok(message) = message else { continue };
        assert!(message.bytes.len() >= 16 && message.bytes.ends_with(message.body));
        read += align(message.bytes.len());
        for header in [0, 1, 4, 12, 16, usize::MAX >> 1] {
            message.attributes(header).flatten().for_each(drop);
        }
        nested(message.body, DEPTH);
    }
    assert!(read <= align(data.len()));
}

fn nested(bytes: &[u8], depth: usize) {
    let mut read = 0;
    for attribute in attributes(bytes).flatten() {
        read += align(4 + attribute.payload.len());
        if depth > 0 {
            nested(attribute.payload, depth - 1);
        }
    }
    assert!(read <= align(bytes.len()));
}

pub fn seeds(image: &[u8]) -> Vec<Vec<u8>> {
    let image = Image::from_bytes(image, &Limits::DEFAULT).expect("an image");
    image.snapshot.sections.values().map(|section| section.to_vec()).collect()
}
