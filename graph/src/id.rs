//! Names by content: 128 bits of BLAKE3 over a canonical encoding.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Feeds canonical bytes into a content hash. Every variable-length item is preceded by its length.
#[derive(Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hasher whose result cannot collide with that of another `domain`.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self::default();
        hasher.bytes(domain.as_bytes());
        hasher
    }

    /// Adds a length-prefixed byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
        self
    }

    /// Adds bytes of a length that the reader of the encoding knows.
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// The first 128 bits of the hash.
    pub fn finish(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
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
