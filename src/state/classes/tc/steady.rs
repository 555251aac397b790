//! Times that a discipline keeps in units of its own: what it tells is rounded down, and told to it
//! again would be rounded down once more. Each restore would take a microsecond off.

use crate::state::table::{Fate, Map};

const NANOS: u64 = 1000;
/// `CODEL_SHIFT` of the codel family, `PSCHED_SHIFT` of the pie family: units are 2^shift nanoseconds.
const CODEL_SHIFT: u32 = 10;
const PSCHED_SHIFT: u32 = 6;

/// Microseconds as codel, fq_codel keep them.
pub const CODEL: Fate = Fate::Map(Map { sent: codel, compared: |us| us });
/// Microseconds as pie, fq_pie keep them.
pub const PIE: Fate = Fate::Map(Map { sent: pie, compared: |us| us });

fn codel(us: u64) -> u64 {
    kept_as(us, CODEL_SHIFT)
}

fn pie(us: u64) -> u64 {
    kept_as(us, PSCHED_SHIFT)
}

/// The least number of microseconds that is told as `us` after it was kept.
fn kept_as(us: u64, shift: u32) -> u64 {
    let told = |us: u64| (((us * NANOS) >> shift) << shift) / NANOS;
    // Attributes are of 32 bits.
    let us = us.min(u64::from(u32::MAX));
    (us..us + 3).find(|more| told(*more) == us).unwrap_or(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told after any number of restores is what was told first.
    #[test]
    fn what_is_told_stays() {
        for shift in [CODEL_SHIFT, PSCHED_SHIFT] {
            for set in 0..100_000 {
                let told = (((set * NANOS) >> shift) << shift) / NANOS;
                let sent = kept_as(told, shift);
                assert_eq!((((sent * NANOS) >> shift) << shift) / NANOS, told, "{set} {shift}");
            }
        }
        // The default of codel: 5 ms, told as 4999 us.
        assert_eq!(codel(4999), 5000);
        assert_eq!(pie(15_000), 15_000);
    }
}
