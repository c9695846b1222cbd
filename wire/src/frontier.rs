//! The state of the inputs that a revision was compiled from. An agent never goes back behind it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use bulkhead_graph::Timestamp;
use prost::Message as _;

use crate::field::{self, Malformed};
use crate::proto;

/// A version for each kind of input, and the last time boundary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    /// When the history of the inputs began. A later one supersedes all of an earlier one.
    pub incarnation: Timestamp,
    /// Versions, compared within a kind and never across kinds.
    pub versions: BTreeMap<String, u64>,
    /// The last instant at which time itself changed the policy.
    pub instant: Timestamp,
}

impl Frontier {
    /// Whether nothing in `earlier` is ahead of this: what was compiled here may replace what was compiled there.
    pub fn reaches(&self, earlier: &Self) -> bool {
        if self.incarnation != earlier.incarnation {
            return self.incarnation > earlier.incarnation;
        }
        self.instant >= earlier.instant
            && earlier
                .versions
                .iter()
                .all(|(kind, version)| self.versions.get(kind).is_some_and(|own| own >= version))
    }

    /// The least that reaches both: behind it neither side would follow.
    pub fn joined(&self, other: &Self) -> Self {
        match self.incarnation.cmp(&other.incarnation) {
            Ordering::Less => other.clone(),
            Ordering::Greater => self.clone(),
            Ordering::Equal => {
                let mut joined = self.clone();
                for (kind, version) in &other.versions {
                    let own = joined.versions.entry(kind.clone()).or_default();
                    *own = (*own).max(*version);
                }
                joined.instant = joined.instant.max(other.instant);
                joined
            }
        }
    }

    /// As bytes, for an agent's disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    /// From such bytes.
    ///
    /// # Errors
    /// If they are not a frontier.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = proto::Frontier::decode(bytes);
        Self::from_proto(message.map_err(|error| Malformed::new("Frontier", error.to_string()))?)
    }

    pub(crate) fn to_proto(&self) -> proto::Frontier {
        proto::Frontier {
            incarnation_ms: self.incarnation.0,
            versions: self
                .versions
                .iter()
                .map(|(kind, version)| (kind.clone(), *version))
                .collect(),
            instant_ms: self.instant.0,
        }
    }

    pub(crate) fn from_proto(message: proto::Frontier) -> Result<Self, Malformed> {
        let mut versions = BTreeMap::new();
        for (kind, version) in message.versions {
            versions.insert(field::text(kind, "versions")?.to_string(), version);
        }
        Ok(Self {
            incarnation: Timestamp(message.incarnation_ms),
            versions,
            instant: Timestamp(message.instant_ms),
        })
    }
}

impl fmt::Display for Frontier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{")?;
        for (kind, version) in &self.versions {
            write!(f, "{kind} {version}, ")?;
        }
        write!(
            f,
            "instant {}, incarnation {}}}",
            self.instant.0, self.incarnation.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(incarnation: i64, versions: &[(&str, u64)], instant: i64) -> Frontier {
        Frontier {
            incarnation: Timestamp(incarnation),
            versions: versions
                .iter()
                .map(|(kind, version)| ((*kind).to_owned(), *version))
                .collect(),
            instant: Timestamp(instant),
        }
    }

    #[test]
    fn order_is_by_component_within_an_incarnation() {
        let base = frontier(1, &[("a", 5), ("b", 5)], 10);
        assert!(base.reaches(&base) && base.reaches(&Frontier::default()));
        assert!(frontier(1, &[("a", 6), ("b", 5)], 10).reaches(&base));
        assert!(!frontier(1, &[("a", 6), ("b", 4)], 10).reaches(&base));
        assert!(
            !frontier(1, &[("a", 9)], 10).reaches(&base),
            "a kind that is missing is behind"
        );
        assert!(!frontier(1, &[("a", 9), ("b", 9)], 9).reaches(&base));
        assert!(
            frontier(2, &[("a", 1)], 0).reaches(&base),
            "a new incarnation supersedes"
        );
        assert!(!frontier(0, &[("a", 9), ("b", 9)], 99).reaches(&base));
    }

    #[test]
    fn joined_is_the_least_that_reaches_both() {
        let one = frontier(1, &[("a", 5), ("b", 3)], 10);
        let other = frontier(1, &[("a", 4), ("b", 4), ("c", 1)], 9);
        let joined = frontier(1, &[("a", 5), ("b", 4), ("c", 1)], 10);
        assert_eq!(one.joined(&other), joined);
        assert_eq!(other.joined(&one), joined);
        let later = frontier(2, &[("a", 1)], 0);
        assert_eq!(one.joined(&later), later);
        assert_eq!(later.joined(&one), later);
    }
}
