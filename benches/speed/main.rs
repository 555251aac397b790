//! How long a capture and a restore take, beside the bare system calls, scripts of the ecosystem's
//! tools, and CRIU, all in one run on one machine. `docs/speed.md` tells how to read it.
//!
//!     cargo bench --bench speed -- [RUNS]      runs for each median, 31 if not told
//!     cargo bench --bench speed -- RUNS WHAT   one thing only, for a profiler (`capture, typical`)

#[path = "../../tests/netns/mod.rs"]
mod netns;

mod criu;
mod floor;
mod pods;
mod scripts;
mod table;

use std::time::{Duration, Instant};

use netckpt::capture::{self, Options};
use netckpt::image::{Image, Origin};
use netckpt::netlink::{Protocol, Socket};
use netckpt::netns::Namespace;
use netckpt::restore::{self, Timings};
use netns::{Ns, Pair};
use pods::{BIG, SMALL, Size, TYPICAL};
use table::{Row, median, millis, print};

/// Runs of what takes a script or CRIU tens of milliseconds and more.
const FEW: usize = 7;
/// Growth of time, where objects double, that still counts as linear.
const LINEAR: f64 = 2.6;

fn main() {
    let mut told = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let runs: usize = told.next().and_then(|runs| runs.parse().ok()).unwrap_or(31);
    if let Some(what) = told.next() {
        return alone(&what, runs);
    }
    let mut rows = Vec::new();
    let mut parts = Vec::new();
    let mut bare = Vec::new();
    for size in [SMALL, TYPICAL, BIG] {
        let runs = if size.objects() > 1_000 { runs.div_ceil(4) } else { runs };
        let (captured, restored, part, dumps) = measure(size, runs);
        rows.extend([captured, restored]);
        parts.push((size.name, part));
        bare.push(format!("{} {}", size.name, millis(dumps)));
    }
    print(&rows);
    println!("\nThe floor of a capture without its files of sysctls: {}", bare.join(", "));
    println!("\nWhere the time of a restore goes (medians of the parts):");
    for (name, timings) in parts {
        println!(
            "{name:<10} check {}, read {}, plan {}, apply {}, verify {}",
            millis(timings.check),
            millis(timings.read),
            millis(timings.plan),
            millis(timings.apply),
            millis(timings.verify)
        );
    }
    let linear = growth(runs.div_ceil(8));
    assert!(linear, "the time grows faster than the number of objects");
}

/// Nothing but one capture or restore, again and again.
fn alone(what: &str, runs: usize) {
    for size in [SMALL, TYPICAL, BIG] {
        let source: Pair = size.make();
        let (pod, node) = (source.pod.open(), source.node.open());
        let image = captured(&pod, &node);
        let middle = match what.split_once(", ") {
            Some(("capture", name)) if name == size.name => {
                median(runs, || time(|| drop(captured(&pod, &node))))
            }
            Some(("restore", name)) if name == size.name => {
                median(runs, || restored(&image, &mut Vec::new()))
            }
            _ => continue,
        };
        println!("{what}: {}", millis(middle));
    }
}

/// The rows of a pod's capture and restore, the parts of the latter, and the floor of the dumps alone.
fn measure(size: Size, runs: usize) -> (Row, Row, Timings, Duration) {
    let source = size.make();
    let (pod, node) = (source.pod.open(), source.node.open());
    let image = captured(&pod, &node);
    let few = runs.min(FEW);
    let files = files(&image);
    let criu = criu::program().and_then(|criu| {
        let mut dumps = Vec::new();
        // The source is dumped with its node's end, so that each run has one of its own.
        for _ in 0..few {
            dumps.push(criu::measure(&criu, &size.make())?);
        }
        let of = |part: fn(&(Duration, Duration)) -> Duration| {
            let mut all = dumps.iter().map(part);
            median(few, || all.next().unwrap_or_default())
        };
        Some((of(|both| both.0), of(|both| both.1)))
    });
    // Less than nothing is noise of the two runs whose difference it is.
    let criu = criu.filter(|(dump, restore)| !dump.is_zero() && !restore.is_zero());
    let capture = Row {
        what: format!("capture, {}", size.name),
        own: median(runs, || time(|| drop(captured(&pod, &node)))),
        floor: median(runs, || time(|| assert!(floor::capture(&pod, &files) > 0))),
        scripts: median(few, || time(|| scripts::capture(&source))),
        criu: criu.map(|(dump, _)| dump),
    };
    let dumps = median(runs, || time(|| assert!(floor::capture(&pod, &[]) > 0)));
    let mut timings = Vec::new();
    let saved = scripts::Saved::of(size, &source);
    let restore = Row {
        what: format!("restore, {}", size.name),
        own: median(runs, || restored(&image, &mut timings)),
        floor: median(runs, || on_the_floor(&image)),
        scripts: median(few, || by_scripts(&saved, size)),
        criu: criu.map(|(_, restore)| restore),
    };
    (capture, restore, middle(&timings), dumps)
}

fn captured(pod: &Namespace, node: &Namespace) -> Image {
    let captured = capture::network(pod, Some(node), &Options::default());
    captured.unwrap_or_else(|error| panic!("{error}")).into_image(Origin::default())
}

fn files(image: &Image) -> Vec<String> {
    let section = &image.snapshot.sections["sysctls"];
    let paths = section.split(|byte| *byte == 0).step_by(2).filter(|path| !path.is_empty());
    paths.map(|path| format!("/proc/sys/net/{}", String::from_utf8_lossy(path))).collect()
}

/// From nothing: the namespace is made as well.
fn restored(image: &Image, timings: &mut Vec<Timings>) -> Duration {
    let node = Ns::new("speed-node");
    let host = node.open();
    let start = Instant::now();
    let target = Namespace::create().expect("a namespace");
    let report = restore::restore(&target, Some(&host), image, &restore::Options::default());
    let took = start.elapsed();
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    timings.push(report.timings);
    took
}

fn on_the_floor(image: &Image) -> Duration {
    let node = Ns::new("speed-node");
    let host = node.open();
    let plan = restore::plan(&Namespace::create().expect("a namespace"), Some(&host), image);
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    let socket = host.run(|| Socket::open(Protocol::Route)).expect("inside");
    let mut socket = socket.expect("a socket");
    time(|| drop(floor::restore(&plan, &mut socket)))
}

fn by_scripts(saved: &scripts::Saved, size: Size) -> Duration {
    let node = Ns::new("speed-node");
    let name = format!("nckpt-speed-script-{}", std::process::id());
    let start = Instant::now();
    saved.restore(size, &node, &name);
    let took = start.elapsed();
    let removed = std::process::Command::new("ip").args(["netns", "del", &name]).status();
    assert!(removed.expect("ip runs").success());
    took
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The median of each part.
fn middle(all: &[Timings]) -> Timings {
    let of = |part: fn(&Timings) -> Duration| {
        let mut all = all.iter().map(part);
        let count = all.len();
        median(count, || all.next().unwrap_or_default())
    };
    Timings {
        check: of(|timings| timings.check),
        read: of(|timings| timings.read),
        plan: of(|timings| timings.plan),
        apply: of(|timings| timings.apply),
        verify: of(|timings| timings.verify),
        total: of(|timings| timings.total),
    }
}

/// The big pod by quarters: where objects double, time shall not do much more.
fn growth(runs: usize) -> bool {
    println!("\nGrowth with the number of objects:");
    let mut before: Option<[Duration; 2]> = None;
    let mut linear = true;
    for part in [BIG.part("quarter", 25), BIG.part("half", 50), BIG] {
        let source: Pair = part.make();
        let (pod, node) = (source.pod.open(), source.node.open());
        let image = captured(&pod, &node);
        let capture = median(runs, || time(|| drop(captured(&pod, &node))));
        let restore = median(runs, || restored(&image, &mut Vec::new()));
        let grown = before.map(|[of_capture, of_restore]| {
            let times = |now: Duration, then: Duration| now.as_secs_f64() / then.as_secs_f64();
            [times(capture, of_capture), times(restore, of_restore)]
        });
        let objects = f64::from(part.objects());
        let each = |time: Duration| time.as_secs_f64() * 1e6 / objects;
        let shown = grown.map_or_else(String::new, |[capture, restore]| {
            linear &= capture < LINEAR && restore < LINEAR;
            format!("  ({capture:.2} and {restore:.2} times the half)")
        });
        println!(
            "{:>6} objects: capture {:>10} ({:.2} µs each), restore {:>10} ({:.2} µs each){shown}",
            part.objects(),
            millis(capture),
            each(capture),
            millis(restore),
            each(restore)
        );
        before = Some([capture, restore]);
    }
    linear
}
