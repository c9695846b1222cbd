//! The worlds of the benchmarks, from one seeded generator: regular, large, and the same bytes for the same seed.
//!
//! Every policy isolates both directions and has at most one ingress rule with one peer and no ports; the *plus* rows
//! add the mirror egress rule, so that edges open. Every pod has one address in the range of its node.

mod company;
mod namespaces;
mod pairs;
mod plan;
mod random;
mod rules;
mod shared;
mod view;

use std::io::{self, Write};

use bulkhead_policy::model::{Event, Interned, Policy};

use plan::{Mirror, Plan};

pub use shared::{ONE_POLICY_NODE, one_policy};

/// One world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// 25,000 namespaces of 4 pods and 3 policies.
    A,
    /// `A` with egress.
    APlus,
    /// 100 namespaces of 1,000 pods and 101 policies.
    ALarge,
    /// One namespace, 10,000 pods, 10,000 policies that all select all.
    B,
    /// 5,000 pairs of pods that admit each other.
    BPairs,
    /// 1,000 namespaces, 100 pods and 10 policies each, that admit the own company's.
    C,
    /// `C` with egress.
    CPlus,
    /// One pod and 20,000 policies that select somebody else.
    D,
    /// 250,000 workloads of six labels, 200 of them on one node, and 10,000 policies over all of them.
    E,
}

impl Row {
    /// All, in order.
    pub const ALL: [Self; 9] = [
        Self::A,
        Self::APlus,
        Self::ALarge,
        Self::B,
        Self::BPairs,
        Self::C,
        Self::CPlus,
        Self::D,
        Self::E,
    ];

    /// As the table of measures calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::APlus => "A+",
            Self::ALarge => "A''",
            Self::B => "B",
            Self::BPairs => "B'",
            Self::C => "C",
            Self::CPlus => "C+",
            Self::D => "D",
            Self::E => "E",
        }
    }

    /// The row of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.name() == name)
    }

    /// The world: nodes, namespaces, pods, then policies. `permille` is its size in thousandths of the whole.
    pub fn events(self, seed: u64, permille: u32) -> Vec<Event> {
        let share = |whole: u32| (u64::from(whole) * u64::from(permille)).div_ceil(1000) as u32;
        let nodes = match self {
            Self::E => share(1251).max(8),
            Self::A
            | Self::APlus
            | Self::ALarge
            | Self::B
            | Self::BPairs
            | Self::C
            | Self::CPlus
            | Self::D => share(1000).max(8),
        };
        let plan = Plan::new(seed, nodes);
        match self {
            Self::A => namespaces::small(plan, share(25_000), Mirror::None),
            Self::APlus => namespaces::small(plan, share(25_000), Mirror::Egress),
            Self::ALarge => namespaces::large(plan, share(100)),
            Self::B => pairs::all_select_all(plan, share(10_000)),
            Self::BPairs => pairs::pairs(plan, share(5_000)),
            Self::C => company::companies(plan, share(1_000), Mirror::None),
            Self::CPlus => company::companies(plan, share(1_000), Mirror::Egress),
            Self::D => rules::elsewhere(plan, share(20_000)),
            Self::E => view::view(plan, nodes, share(250_000), share(10_000)),
        }
    }
}

/// The node of row E whose view is wanted.
pub fn node_of_view() -> Interned {
    plan::node_name(view::HERE)
}

/// The policy of row D that lets its one pod open connections to so many networks.
pub fn networks(count: u32) -> Policy {
    rules::networks(count)
}

/// Writes events as JSON, one a line, so that others can be fed the same.
///
/// # Errors
/// If the writer fails.
pub fn write_json(events: &[Event], mut to: impl Write) -> io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut to, event)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// If a line is no event.
pub fn read_json(text: &str) -> serde_json::Result<Vec<Event>> {
    text.lines().map(serde_json::from_str).collect()
}
