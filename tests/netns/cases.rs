//! Cases of state that are to come back, and images that are to be refused.

use bytes::Bytes;
use netckpt::image::Image;

/// Runs each case, a name and what `case` is told. One that answers false is of what this kernel or its
/// tools lack, and is named; every other must come back.
#[track_caller]
pub fn all_come_back<T: Copy>(cases: &[(&str, T)], case: impl Fn(T) -> Result<bool, String>) {
    let mut failures = Vec::new();
    let (mut passed, mut lacking) = (0, Vec::new());
    for (name, what) in cases {
        match case(*what) {
            Ok(true) => passed += 1,
            Ok(false) => lacking.push(*name),
            Err(error) => failures.push(format!("== {name}\n{error}")),
        }
    }
    println!("{passed} of {} cases came back", cases.len());
    if !lacking.is_empty() {
        println!("skipped, not in this kernel or its tools: {}", lacking.join(", "));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The image with bytes of a section replaced by as many others.
#[track_caller]
pub fn forged(image: &Image, section: &str, from: &[u8], to: &[u8]) -> Image {
    assert_eq!(from.len(), to.len());
    let mut image = image.clone();
    let bytes = image.snapshot.sections.get_mut(section).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    let mut forged = bytes.to_vec();
    forged[at..at + to.len()].copy_from_slice(to);
    *bytes = Bytes::from(forged);
    image
}
