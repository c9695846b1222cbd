//! How much of each table a graph needs, and how much there is.

use std::fmt;

use bulkhead_datapath::abi::{CAPACITIES, Capacity};

use bulkhead_graph::{NodeGraph, Timestamp};

use crate::judge::ClassIndex;
use crate::steps::steps;
use crate::{Desired, Judge};

/// Blocks of 64 port classes that 16-bit numbers can name.
const PORT_BLOCKS: usize = 1 << 10;

/// Work that rules may make for one revision; see `steps`. On one processor of these days a second at most.
const STEPS: usize = 1 << 24;

/// Entries of each table, and the work to find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Need {
    /// WORKLOADS.
    pub workloads: usize,
    /// PEERS and CLASSES.
    pub peers: usize,
    /// NETWORKS and NETWORK_CLASSES.
    pub networks: usize,
    /// DECISIONS.
    pub decisions: usize,
    /// Blocks of 64 port classes.
    pub port_blocks: usize,
    /// EXPIRIES.
    pub deadlines: usize,
    /// Rules over rules: nested networks and port ranges, dated rules, rules for everybody beside rules for single peers.
    pub steps: usize,
}

/// What one revision may take of each table. The old and the new one lie in the tables together for a grace period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limits(pub Need);

impl Limits {
    /// Half of what the tables hold.
    pub const fn of(capacity: &Capacity) -> Self {
        Self(Need {
            workloads: capacity.workloads as usize / 2,
            peers: capacity.peers as usize / 2,
            networks: capacity.networks as usize / 2,
            decisions: capacity.decisions as usize / 2,
            port_blocks: PORT_BLOCKS / 2,
            // Number 0 means "no deadline".
            deadlines: (capacity.expiries as usize - 1) / 2,
            steps: STEPS,
        })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(&CAPACITIES)
    }
}

impl Need {
    fn parts(&self) -> [(&'static str, usize); 7] {
        [
            ("workloads", self.workloads),
            ("peers", self.peers),
            ("networks", self.networks),
            ("decisions", self.decisions),
            ("port blocks", self.port_blocks),
            ("deadlines", self.deadlines),
            ("steps of rules over rules", self.steps),
        ]
    }

    /// Of the rules alone; the rest is not known yet.
    pub(crate) fn of_rules(graph: &NodeGraph, now: Timestamp) -> Self {
        let rule_sets = graph.rule_sets.values().map(AsRef::as_ref);
        Self {
            steps: steps(rule_sets, &graph.cluster_ranges, now),
            ..Self::default()
        }
    }

    /// Whether it is within the limits.
    pub fn fits(&self, limits: &Limits) -> bool {
        self.parts()
            .iter()
            .zip(limits.0.parts())
            .all(|((_, need), (_, limit))| *need <= limit)
    }

    /// The largest share that this takes of any table, in millionths.
    pub(crate) fn share(&self, limits: &Limits) -> u64 {
        let share = |need: usize, limit: usize| {
            (need as u64).saturating_mul(1_000_000) / (limit as u64).max(1)
        };
        let shares = self
            .parts()
            .into_iter()
            .zip(limits.0.parts())
            .map(|((_, n), (_, l))| share(n, l));
        shares.max().unwrap_or(0)
    }

    /// `need of limit` for each table that is too small, for people.
    pub fn excess(&self, limits: &Limits) -> String {
        let parts = self.parts().into_iter().zip(limits.0.parts());
        let over = parts.filter(|((_, need), (_, limit))| need > limit);
        over.map(|((name, need), (_, limit))| format!("{need} {name} of {limit}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// What all tables of a graph need, except that DECISIONS are counted only as long as the rest fits.
    pub(crate) fn of(desired: &Desired, limits: &Limits) -> Self {
        let mut need = Self {
            workloads: desired.graph().workloads.len(),
            peers: desired.peers.len(),
            networks: desired.regions.list.len(),
            decisions: 0,
            // What it would take if numbers did not end.
            port_blocks: desired.port_classes().len().div_ceil(64),
            deadlines: desired.deadlines().len(),
            ..Self::of_rules(desired.graph(), desired.now())
        };
        if let Some(layout) = desired.compact_layout() {
            need.port_blocks = layout.blocks().len();
            if need.fits(limits) {
                need.decisions = Judge::new(desired, &layout).count(&ClassIndex::of(desired));
            }
        }
        need
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self
            .parts()
            .iter()
            .map(|(name, n)| format!("{n} {name}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}
