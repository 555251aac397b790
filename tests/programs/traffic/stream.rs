//! Bytes that both sides know: of each direction, at each place of the stream.

/// First byte of a connection: what is talked about.
pub const COUNT: u8 = b'c';
pub const UP: u8 = b'u';
pub const DOWN: u8 = b'd';
pub const BOTH: u8 = b'b';
pub const HALF: u8 = b'h';
pub const MUTE: u8 = b'm';

/// From the client to the server, and back.
#[derive(Clone, Copy)]
pub enum Direction {
    Up = 1,
    Down = 2,
}

/// The eight bytes from place `8 * block` on (splitmix64).
fn block(direction: Direction, block: u64) -> [u8; 8] {
    let mut mixed = block.wrapping_add((direction as u64) << 56);
    mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_le_bytes()
}

/// Fills a buffer with what the stream has from `place` on.
pub fn fill(direction: Direction, place: u64, buffer: &mut [u8]) {
    let mut known = (u64::MAX, [0; 8]);
    for (at, byte) in (place..).zip(buffer.iter_mut()) {
        if known.0 != at / 8 {
            known = (at / 8, block(direction, at / 8));
        }
        *byte = known.1[(at % 8) as usize];
    }
}

/// The first place from `place` on where the bytes are not the stream's.
pub fn differs(direction: Direction, place: u64, bytes: &[u8]) -> Option<u64> {
    let mut expected = vec![0; bytes.len()];
    fill(direction, place, &mut expected);
    let at = bytes.iter().zip(&expected).position(|(one, other)| one != other)?;
    Some(place + at as u64)
}
