//! What a client sees of a move, beside what CRIU alone takes, in one run on one machine.
//! `docs/speed.md` tells how to read it.
//!
//!     cargo bench --bench gap -- [MOVES]      moves for each median, 21 if not told

#[path = "../../tests/netns/mod.rs"]
mod netns;
#[path = "../../tests/programs/mod.rs"]
mod programs;

#[path = "../../tests/criu/lab.rs"]
#[allow(dead_code, reason = "tests take more of it")]
mod lab;

use std::time::Duration;

use lab::{ADDRESS4, Lab, PORT, Steps, Way};

/// Entries of others in the nodes' connection tracking.
const CROWD: u32 = 100_000;

fn main() {
    let told = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let moves: usize = told.unwrap_or(21);
    println!("Medians (worst) of {moves} moves, in milliseconds.");
    for crowd in [0, CROWD] {
        println!("\nThe nodes track {crowd} flows of others.\n");
        println!("{:<34}{:>16}{:>16}", "", "CRIU alone", "staged");
        let [alone, staged] = [Way::Alone, Way::Staged].map(|way| moved(way, moves, crowd));
        let line = |what: &str, of: fn(&Move) -> f64| {
            println!("{what:<34}{:>16}{:>16}", shown(&alone, of), shown(&staged, of));
        };
        line("client's longest gap", |one| one.gap);
        line("CRIU's dump", |one| millis(one.steps.dump));
        line("CRIU's restore", |one| millis(one.steps.restore));
        line("dump and restore", |one| millis(one.steps.dump + one.steps.restore));
        line("path switched (ip, not netckpt)", |one| millis(one.steps.switch));
        line("netckpt: hold, read back", |one| millis(one.steps.hold));
        line("netckpt: capture what changed", |one| millis(one.steps.update));
        line("netckpt: apply and verify", |one| millis(one.steps.network));
        line("netckpt: lock and release", |one| millis(one.steps.release));
        line("netckpt in all", |one| millis(one.work()));
        line("  of it not beside the dump", |one| millis(one.alone()));
        let gap = |all: &[Move]| middle(all, |one| one.gap);
        let criu = middle(&alone, |one| millis(one.steps.dump + one.steps.restore));
        println!(
            "\nThe staged gap is {:+.1} ms beside CRIU alone's gap, {:+.1} ms beside its dump and restore.",
            gap(&staged) - gap(&alone),
            gap(&staged) - criu
        );
    }
}

/// One move, and what the client saw of it.
struct Move {
    steps: Steps,
    gap: f64,
}

impl Move {
    /// What netckpt does while the pod stands still.
    fn work(&self) -> Duration {
        let Steps { hold, update, network, release, .. } = self.steps;
        hold + update + network + release
    }

    /// What of it CRIU waits for.
    fn alone(&self) -> Duration {
        self.steps.hold + self.steps.waited + self.steps.release
    }
}

/// The server pushes a number each two milliseconds, so that the gap is not rounded up to the client's
/// retransmission timer.
fn moved(way: Way, moves: usize, crowd: u32) -> Vec<Move> {
    let mut lab = Lab::new(TYPICAL);
    lab.crowd(crowd);
    let one = |_| {
        let client = lab.client(&["half", &format!("{ADDRESS4}:{PORT}")]);
        std::thread::sleep(Duration::from_millis(300));
        let steps = lab.go(way);
        std::thread::sleep(Duration::from_millis(1000));
        Move { steps, gap: client.content()["longestGapMs"].as_f64().unwrap_or(f64::NAN) }
    };
    (0..moves.max(1)).map(one).collect()
}

/// A typical pod has one route and twenty rules more.
const TYPICAL: &str = "ip route add 198.51.100.0/24 via 10.72.1.1
nft add table inet typical
nft add chain inet typical input '{ type filter hook input priority 0; }'
for port in $(seq 20); do nft add rule inet typical input tcp dport $port counter drop; done";

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn sorted(all: &[Move], of: fn(&Move) -> f64) -> Vec<f64> {
    let mut all: Vec<_> = all.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn middle(all: &[Move], of: fn(&Move) -> f64) -> f64 {
    let all = sorted(all, of);
    all[all.len() / 2]
}

fn shown(all: &[Move], of: fn(&Move) -> f64) -> String {
    let worst = sorted(all, of).last().copied().unwrap_or(f64::NAN);
    format!("{:.2} ({worst:.1})", middle(all, of))
}
