//! What is fuzzed: functions of bytes that panic where a promise is broken. Each module has `run` and
//! `seeds`, which makes inputs to start from out of an image.
//!
//! `tests/fuzz.rs` includes this file, so that the same functions run without a nightly compiler.

pub mod image;
pub mod netlink;
pub mod plan;
pub mod state;

/// A target.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Inputs to start from, made of the bytes of an image.
    pub seeds: fn(&[u8]) -> Vec<Vec<u8>>,
    /// Inputs to start from, made of a class's name and a section of it.
    pub section: fn(&str, &[u8]) -> Option<Vec<u8>>,
}

/// Every target; each has a file in `fuzz_targets` and an entry in `Cargo.toml`.
pub const TARGETS: [Target; 4] = [
    Target { name: "image", run: image::run, seeds: image::seeds, section: |_, _| None },
    Target {
        name: "netlink",
        run: netlink::run,
        seeds: netlink::seeds,
        section: |_, section| Some(section.to_vec()),
    },
    Target { name: "plan", run: plan::run, seeds: plan::seeds, section: plan::section_seed },
    Target {
        name: "state",
        run: state::run,
        seeds: state::seeds,
        section: |class, section| Some(state::seed(class, section)),
    },
];
