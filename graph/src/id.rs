//! Names by content: 128 bits of BLAKE3 over a canonical encoding.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Feeds canonical bytes into a content hash. Every variable-length item is preceded by its length.
///
/// Items are small and the hash is quickest over much at once, so bytes are gathered first: most contents never
/// leave the first piece.
pub struct Hasher {
    gathered: [u8; PIECE],
    len: usize,
    /// What did not fit.
    more: Vec<u8>,
    /// What was too much to keep.
    hashed: Option<Box<blake3::Hasher>>,
}

const PIECE: usize = 128;

/// From here on bytes are hashed as they come.
const GATHERED_AT_MOST: usize = 1 << 16;

impl Hasher {
    /// A hasher whose result cannot collide with that of another `domain`.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self {
            gathered: [0; PIECE],
            len: 0,
            more: Vec::new(),
            hashed: None,
        };
        hasher.bytes(domain.as_bytes());
        hasher
    }

    /// The same, with room for so many bytes.
    pub fn with_room(domain: &str, bytes: usize) -> Self {
        let mut hasher = Self::new(domain);
        if bytes > PIECE {
            hasher.more.reserve(bytes.min(GATHERED_AT_MOST + PIECE));
        }
        hasher
    }

    /// Adds a length-prefixed byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).fixed(bytes)
    }

    /// Adds bytes of a length that the reader of the encoding knows.
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.len + bytes.len();
        if self.more.is_empty() && self.hashed.is_none() && end <= PIECE {
            self.gathered[self.len..end].copy_from_slice(bytes);
            self.len = end;
        } else {
            self.add(bytes);
        }
        self
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.more.is_empty() && self.hashed.is_none() {
            self.more.reserve(8 * PIECE);
            self.more.extend_from_slice(&self.gathered[..self.len]);
        }
        self.more.extend_from_slice(bytes);
        if self.more.len() >= GATHERED_AT_MOST {
            self.hashed.get_or_insert_default().update(&self.more);
            self.more.clear();
        }
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.fixed(&number.to_le_bytes())
    }

    /// The first 128 bits of the hash.
    pub fn finish(&self) -> [u8; 16] {
        let hash = match &self.hashed {
            Some(hasher) => {
                let mut hasher = hasher.clone();
                hasher.update(&self.more);
                hasher.finalize()
            }
            None if self.more.is_empty() => blake3::hash(&self.gathered[..self.len]),
            None => blake3::hash(&self.more),
        };
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        id
    }
}

macro_rules! content_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

content_id! {
    /// Names a rule set by its entries.
    RuleSetId
}
content_id! {
    /// Names a peer set by the *selector* that defines it, not by its present members.
    PeerSetId
}
content_id! {
    /// Names a whole state by its content: a peer set's members, or a node graph (a *revision*).
    Digest
}

#[cfg(test)]
mod tests {
    use super::Hasher;

    /// What a content hash is by definition: one hash over everything that was added.
    #[test]
    fn however_the_bytes_are_gathered_the_hash_is_that_of_all_of_them() {
        for items in [0, 1, 3, 4, 50, 3_000, 20_000] {
            let mut hasher = Hasher::new("test/1");
            let mut all = 6_u64.to_le_bytes().to_vec();
            all.extend_from_slice(b"test/1");
            for item in 0..items {
                let bytes = vec![item as u8; item % 41];
                hasher.bytes(&bytes).fixed(&[7]).number(item as u64);
                all.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                all.extend_from_slice(&bytes);
                all.push(7);
                all.extend_from_slice(&(item as u64).to_le_bytes());
            }
            let hash = blake3::hash(&all);
            let expected = &hash.as_bytes()[..16];
            assert_eq!(hasher.finish(), expected, "{items} items");
            assert_eq!(hasher.finish(), expected, "asking does not change it");
        }
    }
}
