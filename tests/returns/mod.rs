//! State that goes to another node and comes away again: made by a script in a pod, captured, rebuilt
//! in a bare namespace, asked for with the same commands; and then taken away by the image of the pod
//! as it was before.

#![allow(dead_code, reason = "each test takes what it needs")]

use netckpt::capture::{self, Options};
use netckpt::image::{Image, Origin};
use netckpt::plan::Finding;
use netckpt::restore;

use crate::netns::Pair;

/// Words by which a tool or a kernel says that it has no such thing.
const LACKING: &[&str] =
    &["not supported", "Unknown device type", "not found", "Protocol not available"];

/// The image of a pod that came back, and where it is now.
pub struct Returned {
    pub image: Image,
    pub target: Pair,
}

pub fn image(pair: &Pair) -> Image {
    let options = Options::default();
    let captured = capture::network(&pair.pod.open(), Some(&pair.node.open()), &options);
    captured.expect("a capture").into_image(Origin::default())
}

/// Runs the script in a wired pod, moves the pod, and asks. `None`, and a word about it, where the
/// kernel has no means for the script.
#[track_caller]
pub fn comes_back(label: &str, script: &str, questions: &[&str]) -> Option<Returned> {
    let source = Pair::wired(label);
    source.pod.settle();
    let before = image(&source);
    let at_first = told(&source, questions);
    if let Err(error) = source.pod.try_run(&["sh", "-euc", script]) {
        assert!(LACKING.iter().any(|words| error.contains(words)), "{error}");
        println!("skipped: {label}, which this kernel has not: {error}");
        return None;
    }
    let expected = told(&source, questions);
    assert_ne!(expected, at_first, "the script changes what the questions ask for");
    let image = image(&source);
    let lost: Vec<_> = image.manifest.not_carried.iter().filter(|lost| lost.matters).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    let target = Pair::bare(label);
    restored(&target, &image);
    assert_same(&expected, &told(&target, questions));
    let twice = restored(&target, &image);
    assert_eq!(twice, 0, "there is nothing left to do");
    restored(&target, &before);
    assert_same(&at_first, &told(&target, questions));
    restored(&target, &image);
    assert_same(&expected, &told(&target, questions));
    Some(Returned { image, target })
}

/// Restores and verifies; answers the number of steps.
#[track_caller]
pub fn restored(target: &Pair, image: &Image) -> usize {
    let (pod, node) = (target.pod.open(), target.node.open());
    let report = restore::restore(&pod, Some(&node), image, &Default::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let found = matters(target, image);
    assert!(found.is_empty(), "{found:#?}");
    report.steps
}

/// What verify says that matters.
pub fn matters(target: &Pair, image: &Image) -> Vec<String> {
    let found = restore::verify(&target.pod.open(), image).expect("a look");
    found.iter().filter(|finding| finding.matters()).map(Finding::to_string).collect()
}

impl Returned {
    /// After each change verify says so, by these words; a restore mends it.
    #[track_caller]
    pub fn notices(&self, changes: &[(&str, &str)]) {
        for (change, words) in changes {
            self.target.pod.sh(change);
            let found = matters(&self.target, &self.image);
            assert!(found.iter().any(|line| line.contains(words)), "{change}: {found:#?}");
            restored(&self.target, &self.image);
        }
    }
}

fn told(pair: &Pair, questions: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for question in questions {
        lines.push(format!("$ {question}"));
        lines.extend(pair.pod.sh(question).lines().map(str::to_owned));
    }
    lines
}

#[track_caller]
fn assert_same(expected: &[String], found: &[String]) {
    let only = |these: &[String], those: &[String], sign: char| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).map(|l| format!("{sign} {l}")).collect()
    };
    let lines = [only(expected, found, '-'), only(found, expected, '+')].concat();
    assert!(expected == found, "{}\nof {expected:#?}", lines.join("\n"));
}
