//! Leases are renewed in place: one store for each, which no revision announces (pure).
//!
//! A flow keeps the earlier of its two halves' deadlines from when it was judged. So a lease must not move beyond a date that
//! lay behind it: the flow would outlive the date. Where that would happen, leases get fresh numbers and all flows are judged
//! again, as after a restart.

use bulkhead_encode::Clock;

use super::MapWrite;
use super::planner::{Planner, Standing};

/// How to bring leases to what was heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Renewal {
    /// By these stores, in any order.
    Stores(Vec<MapWrite>),
    /// By a plan that compares everything: a lease and a date change places, or nobody knows what the numbers mean.
    Anew,
}

impl Planner {
    /// The way from what was heard `before` to what is heard `after`. Nothing is noted: the stores still have to be performed.
    pub fn renewal(&self, before: Clock, after: Clock) -> Renewal {
        // The numbers are those of a plan that broke off: what is in force has others, which would be left to end.
        if self.standing != Standing::Settled {
            return Renewal::Anew;
        }
        let deadlines = || self.numbers.expiries.keys();
        let moves = || deadlines().filter_map(|deadline| deadline.lease);
        let dates = || deadlines().filter_map(|deadline| deadline.until);
        let change_places = moves().any(|lease| {
            let way = before.end_of(lease)..after.end_of(lease);
            dates().any(|date| way.contains(&after.monotonic_of(date)))
        });
        if change_places {
            return Renewal::Anew;
        }
        let leased = self
            .numbers
            .expiries
            .iter()
            .filter(|(deadline, _)| deadline.lease.is_some());
        let stores = leased.filter_map(|(deadline, id)| {
            let (id, at_ns) = (*id, after.ends(deadline));
            let held = self.tables.expiries.get(&id);
            (held != Some(&at_ns)).then_some(MapWrite::Expiry { id, at_ns })
        });
        Renewal::Stores(stores.collect())
    }

    /// The next plan compares everything.
    pub fn doubt(&mut self) {
        self.standing = Standing::Unknown;
    }
}
