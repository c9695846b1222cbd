//! Cutting a revision into parts and putting it together again. A gap, an overlap or a surplus is an error, and then
//! nothing of the revision is used.

use bulkhead_graph::{Delta, Digest};
use bytes::Bytes;
use thiserror::Error;

use crate::{FromController, Frontier, Malformed, decode_delta, encode_delta, limits};

/// What comes before the parts of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The revision it starts from; that of the empty graph for a snapshot.
    pub base: Digest,
    /// The revision it makes.
    pub target: Digest,
    /// What it was compiled from.
    pub frontier: Frontier,
    /// Bytes of all parts.
    pub length: u64,
}

/// A revision on its way: a delta and the inputs it was compiled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// What to change.
    pub delta: Delta,
    /// What it was compiled from.
    pub frontier: Frontier,
}

impl Revision {
    /// The messages that carry it, in order.
    ///
    /// # Errors
    /// If it is larger than [`limits::DELTA_BYTES`].
    pub fn messages(
        &self,
    ) -> Result<impl Iterator<Item = FromController> + Send + use<>, Malformed> {
        let content = Bytes::from(encode_delta(&self.delta));
        let length = content.len() as u64;
        if length > limits::DELTA_BYTES {
            let problem = format!("{length} bytes, more than {}", limits::DELTA_BYTES);
            return Err(Malformed::new("Delta", problem));
        }
        let (base, target) = (self.delta.base, self.delta.target);
        let header = Header {
            base,
            target,
            frontier: self.frontier.clone(),
            length,
        };
        let parts = (0..content.len())
            .step_by(limits::PART_BYTES)
            .map(move |from| {
                let to = content.len().min(from + limits::PART_BYTES);
                FromController::Part {
                    offset: from as u64,
                    content: content.slice(from..to),
                }
            });
        Ok(std::iter::once(FromController::Header(header)).chain(parts))
    }
}

/// Why the parts do not make a revision.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum AssemblyError {
    /// Out of order.
    #[error("a part at byte {offset} arrived where byte {expected} was due")]
    Gap {
        /// Where the part says it belongs.
        offset: u64,
        /// Where it would have to.
        expected: u64,
    },
    /// More than announced.
    #[error("the revision was announced with {announced} bytes and has {actual}")]
    Surplus {
        /// By the header.
        announced: u64,
        /// With this part.
        actual: u64,
    },
    /// The bytes are no delta.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A revision of which parts are missing still.
#[derive(Debug)]
pub struct Assembly {
    header: Header,
    content: Vec<u8>,
}

impl Assembly {
    /// Waits for the parts of `header`.
    pub fn new(header: Header) -> Self {
        Self {
            header,
            content: Vec::new(),
        }
    }

    /// What was announced.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether all bytes are there. (An empty delta has no parts at all.)
    pub fn is_complete(&self) -> bool {
        self.content.len() as u64 == self.header.length
    }

    /// Adds the next part.
    ///
    /// # Errors
    /// If it is not the next, or too long.
    pub fn add(&mut self, offset: u64, content: &[u8]) -> Result<(), AssemblyError> {
        let expected = self.content.len() as u64;
        if offset != expected {
            return Err(AssemblyError::Gap { offset, expected });
        }
        let actual = expected + content.len() as u64;
        if actual > self.header.length {
            return Err(AssemblyError::Surplus {
                announced: self.header.length,
                actual,
            });
        }
        self.content.extend_from_slice(content);
        Ok(())
    }

    /// The whole revision.
    ///
    /// # Errors
    /// If the bytes are not a delta. That its content is right, only [`Delta::apply`] can tell.
    pub fn finish(self) -> Result<Revision, AssemblyError> {
        let delta = decode_delta(self.header.base, self.header.target, &self.content)?;
        Ok(Revision {
            delta,
            frontier: self.header.frontier,
        })
    }
}
