//! Medians, and the table that is printed.

use std::time::Duration;

/// The median of what `work` says it took, in so many runs.
pub fn median(runs: usize, mut work: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<_> = (0..runs.max(1)).map(|_| work()).collect();
    all.sort();
    all[all.len() / 2]
}

/// One row: what was measured, and the medians beside each other.
#[derive(Debug)]
pub struct Row {
    pub what: String,
    pub own: Duration,
    pub floor: Duration,
    pub scripts: Duration,
    pub criu: Option<Duration>,
}

pub fn print(rows: &[Row]) {
    println!(
        "\n{:<18} {:>11} {:>11} {:>11} {:>11}   {:>8} {:>9} {:>7}",
        "", "netckpt", "floor", "scripts", "CRIU", "/floor", "/scripts", "/CRIU"
    );
    for row in rows {
        let criu = row.criu.map_or_else(|| "-".to_owned(), millis);
        let of_criu = row.criu.map_or_else(|| "-".to_owned(), |criu| ratio(row.own, criu));
        println!(
            "{:<18} {:>11} {:>11} {:>11} {:>11}   {:>8} {:>9} {:>7}",
            row.what,
            millis(row.own),
            millis(row.floor),
            millis(row.scripts),
            criu,
            ratio(row.own, row.floor),
            ratio(row.own, row.scripts),
            of_criu,
        );
    }
}

pub fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

pub fn ratio(of: Duration, to: Duration) -> String {
    format!("{:.2}", of.as_secs_f64() / to.as_secs_f64().max(1e-9))
}
