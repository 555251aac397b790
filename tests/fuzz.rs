//! The targets of `fuzz/` without a nightly compiler: the golden images, inputs that once failed, and a
//! bounded number of mutations of both. `make fuzz` looks longer and sees coverage.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netckpt::state;
use targets::{TARGETS, Target};

/// Mutated inputs per target.
const RUNS: usize = 20_000;
/// On a slow machine fewer are enough.
const LONGEST: Duration = Duration::from_secs(8);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Files of a folder and those below it; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .collect();
    found.sort();
    found
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let images = files(&folder("tests/golden"));
    let images = images.iter().filter(|path| path.extension().is_some_and(|end| end == "netckpt"));
    let mut seeds: Vec<_> =
        images.flat_map(|path| (target.seeds)(&std::fs::read(path).unwrap())).collect();
    assert!(!seeds.is_empty());
    // What a kernel told of each class, as the tables' own tests have it.
    seeds.extend(state::CLASSES.iter().filter_map(|class| {
        let path = folder("tests/recorded").join(format!("{}.bin", class.name));
        (target.section)(class.name, &std::fs::read(path).ok()?)
    }));
    let failed = files(&folder("fuzz/regressions").join(target.name));
    seeds.extend(failed.iter().map(|path| std::fs::read(path).unwrap()));
    seeds
}

fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| (target.run)(seed));
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    for _ in 0..RUNS {
        let input = chance.mutated(&seeds);
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            let path = std::env::temp_dir().join(format!("netckpt-fuzz-{name}"));
            std::fs::write(&path, &input).unwrap();
            panic!("{name} fails on {}: move it to fuzz/regressions/{name}/", path.display());
        }
        if start.elapsed() > LONGEST {
            break;
        }
    }
}

#[test]
fn image() {
    smoke("image");
}

#[test]
fn netlink() {
    smoke("netlink");
}

#[test]
fn plan() {
    smoke("plan");
}

#[test]
fn state() {
    smoke("state");
}

#[test]
fn every_target_is_known_to_cargo_fuzz() {
    let manifest = std::fs::read_to_string(folder("fuzz/Cargo.toml")).unwrap();
    for Target { name, .. } in &TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(folder("fuzz/fuzz_targets").join(format!("{name}.rs")).exists(), "{name}");
    }
}

#[test]
#[ignore = "run by fuzz/run.sh: writes the inputs that cargo fuzz starts from"]
fn write_the_corpus() {
    for target in &TARGETS {
        let corpus = folder("fuzz/corpus").join(target.name);
        std::fs::create_dir_all(&corpus).unwrap();
        for (at, seed) in seeds(target).iter().enumerate() {
            std::fs::write(corpus.join(format!("seed-{at}")), seed).unwrap();
        }
    }
}

/// A sequence of numbers that is the same in every run (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            self.mutate(&mut input, seeds);
        }
        input
    }

    /// Wrong bits, lengths and numbers at the edge, cuts, and pieces of other inputs.
    fn mutate(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        if input.is_empty() {
            return input.push(self.next() as u8);
        }
        let at = self.below(input.len());
        match self.below(7) {
            0 => input[at] ^= 1 << self.below(8),
            1 => input[at] = self.next() as u8,
            2 => {
                let edges = [0, 1, 3, 4, 15, 16, 17, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, u32::MAX];
                let number = edges[self.below(edges.len())].to_le_bytes();
                let wide = [1, 2, 4][self.below(3)].min(input.len() - at);
                input[at..at + wide].copy_from_slice(&number[..wide]);
            }
            3 => input.truncate(at),
            4 => {
                let end = at + self.below((input.len() - at).min(64)) + 1;
                input.drain(at..end);
            }
            5 => {
                let end = at + self.below((input.len() - at).min(256)) + 1;
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let other = &seeds[self.below(seeds.len())];
                if !other.is_empty() {
                    let from = self.below(other.len());
                    let end = (from + self.below(256) + 1).min(other.len());
                    input.splice(at..at, other[from..end].iter().copied());
                }
            }
        }
    }
}
