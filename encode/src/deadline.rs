//! When what a decision says ends by itself: at an instant, once the controller has not been heard for so long, or at the
//! earlier of both.

use bulkhead_graph::{Hasher, Lease, Moment, Timestamp};

/// An end. One without instant and without lease never comes; decisions have none such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Deadline {
    /// At this instant.
    pub until: Option<Timestamp>,
    /// Once the controller has not been heard for so long.
    pub lease: Option<Lease>,
}

impl Deadline {
    /// That of an entry, if it has one.
    pub(crate) fn of(until: Option<Timestamp>, lease: Option<Lease>) -> Option<Self> {
        (until.is_some() || lease.is_some()).then_some(Self { until, lease })
    }

    /// A number that hardly any other one has.
    pub(crate) fn name(&self) -> u64 {
        let mut h = Hasher::new("deadline/1");
        h.fixed(&self.bytes());
        let [a, b, c, d, ..] = h.finish();
        u64::from(u32::from_le_bytes([a, b, c, d]))
    }

    /// For hashing: which bytes stand for it.
    pub(crate) fn bytes(&self) -> [u8; 18] {
        let mut bytes = [0; 18];
        bytes[0] = u8::from(self.until.is_some());
        bytes[1..9].copy_from_slice(&self.until.unwrap_or_default().0.to_le_bytes());
        bytes[9] = u8::from(self.lease.is_some());
        let lease = self.lease.map_or(0, |Lease(ms)| ms);
        bytes[10..].copy_from_slice(&lease.to_le_bytes());
        bytes
    }
}

/// What is over at some moment: dates that have come, and leases up to a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Over {
    /// The last date that has come.
    pub(crate) date: Option<Timestamp>,
    /// The longest lease that has ended.
    pub(crate) lease: Option<Lease>,
}

impl Over {
    pub(crate) fn moment(self) -> Moment {
        Moment {
            now: self.date.unwrap_or(Timestamp(i64::MIN)),
            unheard_ms: self.lease.map_or(0, |Lease(ms)| ms),
        }
    }
}

/// The deadlines that decisions of a rule set with these dates and leases may have.
pub(crate) fn deadlines<'a>(
    dates: &'a [Timestamp],
    leases: &'a [Lease],
) -> impl Iterator<Item = Deadline> + 'a {
    let some = |lease: &Lease| Some(*lease);
    let dated = dates.iter().flat_map(move |date| {
        let leases = std::iter::once(None).chain(leases.iter().map(some));
        leases.map(|lease| Deadline {
            until: Some(*date),
            lease,
        })
    });
    let leased = leases.iter().map(|lease| Deadline {
        until: None,
        lease: Some(*lease),
    });
    dated.chain(leased)
}
