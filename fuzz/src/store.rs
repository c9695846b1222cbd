//! The agent's file: whatever lies on the disk, it is read whole or not at all, and what was read is written as it was.
//!
//! Inputs that begin with a 1 are a body to which the right header is made, or the checksum would hide everything behind it.

use bulkhead_agent::store::{Damage, Stored};

const MAGIC: &[u8] = b"bulkhead graph 2";
const SEALED: u8 = 1;

/// Body of a file, as an input.
pub(crate) fn body_of(file: &[u8]) -> Vec<u8> {
    let mut input = vec![SEALED];
    input.extend(&file[MAGIC.len() + 8 + 32..]);
    input
}

/// A file with this body, whatever it is.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend((body.len() as u64).to_le_bytes());
    file.extend(blake3::hash(body).as_bytes());
    file.extend(body);
    file
}

/// Feeds a file.
///
/// # Panics
/// If it is read as something that it does not say.
pub fn run(bytes: &[u8]) {
    let read = match bytes.split_first() {
        Some((&SEALED, body)) => Stored::from_bytes(&sealed(body)),
        _ => Stored::from_bytes(bytes),
    };
    match read {
        Err(damage) => assert!(!damage.to_string().is_empty()),
        Ok(stored) => check(&stored),
    }
}

fn check(stored: &Stored) {
    stored
        .graph
        .check_references()
        .expect("a graph that was read is whole");
    let written = stored.to_bytes().expect("a graph has a serial form");
    let again = Stored::from_bytes(&written).expect("what was written is read");
    assert_eq!(again.graph.digest(), stored.graph.digest());
    assert_eq!(again.context, stored.context);
    // One flipped bit, wherever it lies, is seen.
    let mut damaged = written;
    let at = usize::from(stored.graph.digest().0[0]) * damaged.len() / 256;
    damaged[at] ^= 1;
    let seen = Stored::from_bytes(&damaged).expect_err("a flipped bit is damage");
    assert!(matches!(
        seen,
        Damage::Header | Damage::Length { .. } | Damage::Checksum
    ));
    crate::wire::compile(&stored.graph);
}
