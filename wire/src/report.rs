//! What an agent says: who it is, what it holds, what it did not take.

use bulkhead_graph::Digest;

use crate::field::{self, Malformed};
use crate::{Frontier, limits, proto};

/// Sizes of the kernel tables, or how much of them is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Local workloads.
    pub workloads: u32,
    /// Addresses known by identity.
    pub peers: u32,
    /// Prefixes.
    pub networks: u32,
    /// Decisions; a limit is that of one revision.
    pub decisions: u32,
    /// Deadlines.
    pub expiries: u32,
}

/// The first message on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Must be the name in the agent's certificate.
    pub node: String,
    /// Version of the layout of the kernel tables.
    pub abi: u32,
    /// How it names graphs, see [`bulkhead_graph::FORMAT`].
    pub format: u32,
    /// The agent's own version.
    pub version: String,
    /// Sizes of its tables.
    pub limits: Limits,
    /// The revision that the kernel holds, and what it was compiled from.
    pub realised: Option<(Digest, Frontier)>,
}

/// A workload whose rules did not fit: it is cut off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// Its uid.
    pub uid: String,
    /// `namespace/name`.
    pub name: String,
    /// What it would need of which limit.
    pub reason: String,
}

/// A workload that no hook guards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unprotected {
    /// Its uid.
    pub uid: String,
    /// `namespace/name`.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// What was read back from the kernel (I11). Sent again whenever anything in it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The revision in force.
    pub digest: Digest,
    /// The newest inputs known to compile to it.
    pub frontier: Frontier,
    /// How much of each limit it uses.
    pub used: Limits,
    /// Microseconds from the revision's arrival to the flip.
    pub applied_us: u64,
    /// Microseconds from the flip to the read-back.
    pub confirmed_us: u64,
    /// Words written into kernel tables.
    pub writes: u64,
    /// Sorted.
    pub denied: Vec<Denied>,
    /// Sorted.
    pub unprotected: Vec<Unprotected>,
    /// Workloads behind both hooks.
    pub protected: u32,
}

/// Why a revision was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The agent does not hold the graph that the delta starts from.
    Base,
    /// Damaged or cut on the way, or not whole.
    Damaged,
    /// Compiled from older inputs than what the agent holds.
    Older,
    /// The kernel did not take it, or something else was there on reading back.
    Kernel,
}

impl Refusal {
    /// A stable name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Damaged => "damaged",
            Self::Older => "older",
            Self::Kernel => "kernel",
        }
    }
}

/// A revision that was not taken; what was in force still is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The revision.
    pub digest: Digest,
    /// Why not.
    pub refusal: Refusal,
    /// The same for people.
    pub reason: String,
}

impl Limits {
    fn to_proto(self) -> proto::Limits {
        proto::Limits {
            workloads: self.workloads,
            peers: self.peers,
            networks: self.networks,
            decisions: self.decisions,
            expiries: self.expiries,
        }
    }

    fn from_proto(message: proto::Limits) -> Self {
        Self {
            workloads: message.workloads,
            peers: message.peers,
            networks: message.networks,
            decisions: message.decisions,
            expiries: message.expiries,
        }
    }
}

impl Hello {
    pub(crate) fn to_proto(&self) -> proto::Hello {
        proto::Hello {
            node: field::cut(&self.node),
            abi: self.abi,
            format: self.format,
            version: field::cut(&self.version),
            limits: Some(self.limits.to_proto()),
            realised: self.realised.as_ref().map(|(digest, _)| digest.0.to_vec()),
            frontier: self
                .realised
                .as_ref()
                .map(|(_, frontier)| frontier.to_proto()),
        }
    }

    pub(crate) fn from_proto(message: proto::Hello) -> Result<Self, Malformed> {
        let realised = match (message.realised, message.frontier) {
            (None, None) => None,
            (Some(digest), Some(frontier)) => Some((
                field::digest(&digest, "realised")?,
                Frontier::from_proto(frontier).map_err(|error| error.within("frontier"))?,
            )),
            (Some(_), None) => {
                return Err(Malformed::new("frontier", "is missing beside `realised`"));
            }
            (None, Some(_)) => {
                return Err(Malformed::new("realised", "is missing beside `frontier`"));
            }
        };
        if message.node.is_empty() {
            return Err(Malformed::new("node", "is empty"));
        }
        Ok(Self {
            node: field::text(message.node, "node")?.to_string(),
            abi: message.abi,
            // Older agents do not say it, and the first format is theirs.
            format: message.format.max(1),
            version: field::text(message.version, "version")?.to_string(),
            limits: Limits::from_proto(field::required(message.limits, "limits")?),
            realised,
        })
    }
}

impl Ack {
    pub(crate) fn to_proto(&self) -> proto::Ack {
        let listed = limits::LISTED_WORKLOADS;
        proto::Ack {
            digest: self.digest.0.to_vec(),
            frontier: Some(self.frontier.to_proto()),
            used: Some(self.used.to_proto()),
            applied_us: self.applied_us,
            confirmed_us: self.confirmed_us,
            writes: self.writes,
            denied: self
                .denied
                .iter()
                .take(listed)
                .map(|d| proto::Denied {
                    uid: field::cut(&d.uid),
                    name: field::cut(&d.name),
                    reason: field::cut(&d.reason),
                })
                .collect(),
            unprotected: self
                .unprotected
                .iter()
                .take(listed)
                .map(|u| proto::Unprotected {
                    uid: field::cut(&u.uid),
                    name: field::cut(&u.name),
                    reason: field::cut(&u.reason),
                })
                .collect(),
            protected: self.protected,
        }
    }

    pub(crate) fn from_proto(message: proto::Ack) -> Result<Self, Malformed> {
        let frontier = field::required(message.frontier, "frontier")?;
        let text = |value, field: &str| field::text(value, field).map(|text| text.to_string());
        Ok(Self {
            digest: field::digest(&message.digest, "digest")?,
            frontier: Frontier::from_proto(frontier).map_err(|error| error.within("frontier"))?,
            used: Limits::from_proto(field::required(message.used, "used")?),
            applied_us: message.applied_us,
            confirmed_us: message.confirmed_us,
            writes: message.writes,
            denied: field::each(message.denied, "denied", |d| {
                let (uid, name) = (text(d.uid, "uid")?, text(d.name, "name")?);
                Ok(Denied {
                    uid,
                    name,
                    reason: text(d.reason, "reason")?,
                })
            })?,
            unprotected: field::each(message.unprotected, "unprotected", |u| {
                let (uid, name) = (text(u.uid, "uid")?, text(u.name, "name")?);
                Ok(Unprotected {
                    uid,
                    name,
                    reason: text(u.reason, "reason")?,
                })
            })?,
            protected: message.protected,
        })
    }
}

impl Refused {
    pub(crate) fn to_proto(&self) -> proto::Refused {
        let refusal = match self.refusal {
            Refusal::Base => proto::Refusal::Base,
            Refusal::Damaged => proto::Refusal::Damaged,
            Refusal::Older => proto::Refusal::Older,
            Refusal::Kernel => proto::Refusal::Kernel,
        };
        proto::Refused {
            digest: self.digest.0.to_vec(),
            refusal: refusal.into(),
            reason: field::cut(&self.reason),
        }
    }

    pub(crate) fn from_proto(message: proto::Refused) -> Result<Self, Malformed> {
        let unknown = || {
            Malformed::new(
                "refusal",
                format!("{} is no known refusal", message.refusal),
            )
        };
        let refusal = match proto::Refusal::try_from(message.refusal) {
            Ok(proto::Refusal::Base) => Refusal::Base,
            Ok(proto::Refusal::Damaged) => Refusal::Damaged,
            Ok(proto::Refusal::Older) => Refusal::Older,
            Ok(proto::Refusal::Kernel) => Refusal::Kernel,
            Ok(proto::Refusal::Unspecified) | Err(_) => return Err(unknown()),
        };
        Ok(Self {
            digest: field::digest(&message.digest, "digest")?,
            refusal,
            reason: field::text(message.reason, "reason")?.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_say_how_it_names_graphs_names_them_as_at_first() {
        let limits = Some(proto::Limits::default());
        let said = |format| proto::Hello {
            node: "n1".to_owned(),
            limits,
            format,
            ..proto::Hello::default()
        };
        let read = |format| Hello::from_proto(said(format)).map(|hello| hello.format);
        assert_eq!(read(0), Ok(1));
        assert_eq!(read(2), Ok(2));
    }
}
