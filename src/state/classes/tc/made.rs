//! What the kernel wants to be told and does not tell: tables of sizes and rates, and bursts.
//!
//! Rates are kept as a multiplier and a shift, times in ticks of 64 ns (`psched_ratecfg_precompute` and
//! `PSCHED_SHIFT` of the kernel's packet scheduler): the numbers here are computed in the same steps.

use crate::netlink::attributes;
use crate::state::table::{Attr, Fate, Field, Shape};

/// `struct tc_ratespec` as told: the search parameters of rate tables are of no use any more.
pub const RATE: &[Field] = &[
    Field::new("cell_log", 0, Shape::U8, Fate::Strip),
    Field::new("linklayer", 1, LINKLAYER, Fate::Keep),
    Field::new("overhead", 2, Shape::U16, Fate::Keep),
    Field::new("cell_align", 4, Shape::I16, Fate::Strip),
    Field::new("mpu", 6, Shape::U16, Fate::Keep),
    Field::new("rate", 8, Shape::U32, Fate::Keep),
];
/// The same where a rate table is still asked for (police): of cells of `1 << CELL_LOG` bytes.
pub const RATE_OF_TABLE: &[Field] = &[
    Field::new("cell_log", 0, Shape::U8, Fate::Fill(CELL_LOG as u64)),
    Field::new("linklayer", 1, LINKLAYER, Fate::Keep),
    Field::new("overhead", 2, Shape::U16, Fate::Keep),
    Field::new("cell_align", 4, Shape::I16, Fate::Strip),
    Field::new("mpu", 6, Shape::U16, Fate::Keep),
    Field::new("rate", 8, Shape::U32, Fate::Keep),
];
const LINKLAYER: Shape =
    Shape::Fixed(1, &Shape::Enum(&[(0, "unaware"), (1, "ethernet"), (2, "atm")]));

/// 256 cells of 256 bytes cover the largest packet.
const CELL_LOG: u8 = 8;
/// `TC_RTAB_SIZE` in entries of four bytes.
const CELLS: u64 = 256;
/// Nanoseconds in a tick, as a shift.
const TICK: u32 = 6;
const ATM: u8 = 2;

/// `TCA_STAB_*`.
pub const STAB: &[Attr] = &[
    Attr::keep(1, "base", Shape::Struct(SIZESPEC)),
    Attr::new(2, "data", Shape::Bytes, Fate::Made(size_table)),
];
/// `struct tc_sizespec`.
const SIZESPEC: &[Field] = &[
    Field::new("cell_log", 0, Shape::U8, Fate::Keep),
    Field::new("size_log", 1, Shape::U8, Fate::Keep),
    Field::new("cell_align", 2, Shape::I16, Fate::Keep),
    Field::new("overhead", 4, Shape::I32, Fate::Keep),
    Field::new("linklayer", 8, Shape::U32, Fate::Keep),
    Field::new("mpu", 12, Shape::U32, Fate::Keep),
    Field::new("mtu", 16, Shape::U32, Fate::Keep),
    Field::new("tsize", 20, Shape::U32, Fate::Keep),
];

fn find(siblings: &[u8], id: u16) -> Option<&[u8]> {
    attributes(siblings).map_while(Result::ok).find(|found| found.id == id).map(|a| a.payload)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_ne_bytes(*four))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_ne_bytes(*two))
}

/// A rate as the kernel computes with it.
#[derive(Debug, Clone, Copy)]
struct Rate {
    overhead: u64,
    mpu: u64,
    multiplier: u64,
    shift: u32,
}

impl Rate {
    /// Reads a `struct tc_ratespec`; `wide` is the attribute for rates of more than 32 bits.
    fn read(spec: &[u8], wide: Option<&[u8]>) -> Option<Self> {
        let narrow = u64::from(u32_at(spec, 8)?);
        let wide = wide.and_then(|wide| wide.first_chunk()).map(|wide| u64::from_ne_bytes(*wide));
        let bytes_a_second = wide.unwrap_or(0).max(narrow);
        let atm = spec.get(1).is_none_or(|layer| layer & 0xf == ATM);
        if bytes_a_second == 0 || atm {
            return None;
        }
        let (mut factor, mut shift) = (1_000_000_000_u64, 0);
        loop {
            let multiplier = factor / bytes_a_second;
            if multiplier & 1 << 31 != 0 || factor & 1 << 63 != 0 {
                let overhead = u64::from(u16_at(spec, 2)?);
                let mpu = u64::from(u16_at(spec, 6)?);
                let multiplier = multiplier & u64::from(u32::MAX);
                return Some(Self { overhead, mpu, multiplier, shift });
            }
            factor <<= 1;
            shift += 1;
        }
    }

    /// Ticks that this many bytes take.
    fn ticks(&self, bytes: u64) -> u64 {
        let bytes = (bytes + self.overhead).max(self.mpu);
        let nanos = (u128::from(bytes) * u128::from(self.multiplier)) >> self.shift;
        u64::try_from(nanos >> TICK).unwrap_or(u64::MAX)
    }

    /// The most bytes that take just this many ticks, if any number does.
    fn bytes(&self, ticks: u32) -> Option<u32> {
        let (mut low, mut high) = (0, u32::MAX);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.ticks(u64::from(middle)) <= u64::from(ticks) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        (low > 0 && self.ticks(u64::from(low)) == u64::from(ticks)).then_some(low)
    }
}

/// Where in `struct tc_tbf_qopt` rate, peak rate, buffer and the buffer of the peak rate are.
const TBF: [usize; 4] = [0, 12, 28, 32];

/// `TCA_TBF_BURST`. The buffer is told in ticks, and from ticks the kernel would compute a largest
/// packet that may be a byte too small for one that fits now.
pub fn tbf_burst(siblings: &[u8]) -> Option<Vec<u8>> {
    tbf(siblings, TBF[0], 4, TBF[2])
}

/// `TCA_TBF_PBURST`, the same for the peak rate.
pub fn tbf_peak_burst(siblings: &[u8]) -> Option<Vec<u8>> {
    tbf(siblings, TBF[1], 5, TBF[3])
}

fn tbf(siblings: &[u8], spec: usize, wide: u16, buffer: usize) -> Option<Vec<u8>> {
    let parms = find(siblings, 1)?;
    let rate = Rate::read(parms.get(spec..)?, find(siblings, wide))?;
    Some(rate.bytes(u32_at(parms, buffer)?)?.to_ne_bytes().to_vec())
}

/// Where in `struct tc_police` the rates are.
const POLICE: [usize; 2] = [20, 32];

/// `TCA_POLICE_RATE`: without the table the kernel takes no rate.
pub fn police_rate(siblings: &[u8]) -> Option<Vec<u8>> {
    rate_table(find(siblings, 1)?.get(POLICE[0]..)?, find(siblings, 8))
}

/// `TCA_POLICE_PEAKRATE`.
pub fn police_peak_rate(siblings: &[u8]) -> Option<Vec<u8>> {
    rate_table(find(siblings, 1)?.get(POLICE[1]..)?, find(siblings, 9))
}

/// Ticks that packets of each cell take. Kernels only look whether cells of ATM show in it.
fn rate_table(spec: &[u8], wide: Option<&[u8]>) -> Option<Vec<u8>> {
    if u32_at(spec, 8)? == 0 {
        return None;
    }
    let ticks = |cell: u64| match Rate::read(spec, wide) {
        Some(rate) => u32::try_from(rate.ticks((cell + 1) << CELL_LOG)).unwrap_or(u32::MAX),
        None => 0,
    };
    Some((0..CELLS).flat_map(|cell| ticks(cell).to_ne_bytes()).collect())
}

/// `TCA_STAB_DATA`: what a packet of each cell takes on the wire.
fn size_table(siblings: &[u8]) -> Option<Vec<u8>> {
    /// An attribute can't hold more.
    const MOST: u32 = 30_000;
    let base = find(siblings, 1)?;
    let (cell_log, size_log) = (u32::from(*base.first()?), u32::from(*base.get(1)?));
    let (layer, mpu, cells) = (u32_at(base, 8)?, u64::from(u32_at(base, 12)?), u32_at(base, 20)?);
    if cells == 0 || cells > MOST || cell_log > 16 || size_log > 16 {
        return None;
    }
    let size = |cell: u64| {
        let bytes = ((cell + 1) << cell_log).max(mpu);
        // An ATM cell takes 53 bytes for 48.
        let bytes = if layer == u32::from(ATM) { bytes.div_ceil(48) * 53 } else { bytes };
        u16::try_from(bytes >> size_log).unwrap_or(u16::MAX)
    };
    Some((0..u64::from(cells)).flat_map(|cell| size(cell).to_ne_bytes()).collect())
}

/// `TCA_RED_STAB`, `TCA_CHOKE_STAB`: by how much the average of the queue decays while it is idle. The
/// kernel tells only the scale of the table, which leaves its steepness open by a factor of two: this
/// is the middle.
pub fn idle_table(siblings: &[u8]) -> Option<Vec<u8>> {
    const ENTRIES: u32 = 256;
    /// Of the scale, after how many units all is forgotten: between 256 and 512.
    const FORGOTTEN: u32 = 384;
    const MOST: u32 = 31;
    find(siblings, 1)?;
    let decay = |at: u32| match at {
        255 => MOST,
        at => (at * MOST / FORGOTTEN).min(MOST),
    };
    Some((0..ENTRIES).map(|at| decay(at) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes_a_second: u32) -> Rate {
        let mut spec = [0; 12];
        spec[1] = 1;
        spec[8..].copy_from_slice(&bytes_a_second.to_ne_bytes());
        Rate::read(&spec, None).unwrap()
    }

    /// `tc qdisc add … tbf rate 3mbit burst 1514`: full frames pass still.
    #[test]
    fn a_burst_comes_back_to_the_byte() {
        for (rate, burst) in [(rate(375_000), 1514_u32), (rate(125_000), 1600), (rate(9000), 7000)]
        {
            let ticks = u32::try_from(rate.ticks(u64::from(burst))).unwrap();
            assert_eq!(rate.bytes(ticks), Some(burst));
        }
    }

    /// Where several bursts take the same ticks, one of them is found that lets as much pass.
    #[test]
    fn a_fast_burst_loses_nothing() {
        let fast = rate(1_250_000_000);
        let ticks = u32::try_from(fast.ticks(100_000)).unwrap();
        let burst = fast.bytes(ticks).unwrap();
        assert!(burst >= 100_000, "{burst}");
        assert_eq!(fast.ticks(u64::from(burst)), u64::from(ticks));
    }

    #[test]
    fn sizes_on_the_wire() {
        let mut base = vec![0; 24];
        (base[0], base[8]) = (4, 2);
        base[20..].copy_from_slice(&512_u32.to_ne_bytes());
        let siblings = crate::netlink::Builder::attribute(1, &base);
        let table = size_table(&siblings).unwrap();
        assert_eq!(table.len(), 1024);
        // 16 bytes take one cell of ATM, 64 bytes two.
        assert_eq!(u16_at(&table, 0), Some(53));
        assert_eq!(u16_at(&table, 6), Some(106));
    }
}
