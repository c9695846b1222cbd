//! Damage: what the replay does to inputs where no coverage-guided engine is at work.

use fastrand::Rng;

/// Numbers at which arithmetic turns.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0x20, 0x45, 0x60];

/// The input, damaged in a few places; `other` is another input, of which it may get a piece.
pub fn mutated(rng: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.usize(1..4) {
        damage(rng, &mut bytes, other);
    }
    bytes
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.usize(..=bytes.len());
    let to = at + rng.usize(..=(bytes.len() - at).min(16));
    match rng.u8(..8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..to)),
        2 => {
            let piece: Vec<u8> = bytes[at..to].to_vec();
            bytes.splice(at..at, piece);
        }
        3 if !other.is_empty() => {
            let from = rng.usize(..other.len());
            let piece = &other[from..(from + 24).min(other.len())];
            bytes.splice(at..to, piece.iter().copied());
        }
        4 => bytes.insert(at, EDGES[rng.usize(..EDGES.len())]),
        _ if at < bytes.len() => {
            bytes[at] = match rng.u8(..3) {
                0 => bytes[at] ^ 1 << rng.u8(..8),
                1 => EDGES[rng.usize(..EDGES.len())],
                _ => rng.u8(..),
            };
        }
        _ => {}
    }
}
