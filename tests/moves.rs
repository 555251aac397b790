//! A pod with everything at once moves from node to node, back and forth, and nothing drifts: neither
//! what the tools say of it, nor our own comparison with the first image.

mod everything;
mod netns;

use std::thread;
use std::time::Duration;

use everything::{differing, told};
use netckpt::image::Image;
use netckpt::restore::{self, Options};
use netns::Pair;

const MOVES: usize = 10;

/// Makes the image's network on a bare node.
#[track_caller]
fn moved(label: &str, image: &Image) -> Pair {
    let target = Pair::bare(label);
    let (pod, node) = (target.pod.open(), target.node.open());
    let report = restore::restore(&pod, Some(&node), image, &Options::default());
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    let left: Vec<_> = report.differences.iter().filter(|one| one.matters()).collect();
    assert!(left.is_empty() && report.left.is_empty(), "{left:?} {:?}", report.left);
    target
}

/// What the tools say, once carrier and the kernel's own routes have settled.
fn settled(pair: &Pair, expected: &[String]) -> Vec<String> {
    let mut found = told(&pair.pod);
    for _ in 0..30 {
        if found == expected {
            break;
        }
        thread::sleep(Duration::from_millis(100));
        found = told(&pair.pod);
    }
    found
}

#[test]
fn ten_moves_change_nothing() {
    let source = everything::pod("moves-0");
    let first = everything::image(&source);
    assert_eq!(first.manifest.not_carried.iter().filter(|lost| lost.matters).count(), 0);
    let expected = told(&source.pod);
    let (mut pair, mut image) = (source, first.clone());
    for number in 1..=MOVES {
        let next = moved(&format!("moves-{number}"), &image);
        let found = settled(&next, &expected);
        let differing = differing(&expected, &found);
        assert!(differing.is_empty(), "move {number}:\n{}", differing.join("\n"));
        let swapped = expected.iter().zip(&found).find(|(shall, is)| shall != is);
        assert!(swapped.is_none(), "move {number}: the order differs: {swapped:#?}");
        image = everything::image(&next);
        let drift = restore::compare(&image, &first).unwrap();
        let drift: Vec<_> =
            drift.iter().filter(|one| one.matters()).map(ToString::to_string).collect();
        assert!(drift.is_empty(), "move {number}: {drift:#?}");
        // The one that was left ends here.
        pair = next;
    }
    drop(pair);
}

/// A golden image of everything that this version carries, for `tests/golden`: one that is committed is
/// never made again.
#[test]
#[ignore = "writes an image to the path in NETCKPT_GOLDEN"]
fn write_a_golden_image() {
    let path = std::env::var("NETCKPT_GOLDEN").expect("NETCKPT_GOLDEN=PATH");
    let image = everything::image(&everything::pod("golden"));
    std::fs::write(path, image.to_bytes().unwrap()).unwrap();
}
