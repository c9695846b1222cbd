//! Row I: what the kernel holds for the policy of 110 pods, against a map of decisions for each pod.
//!
//! The kernel's own accounting tells what an entry of DECISIONS takes. Two comparisons: of what the policy uses (a map for
//! each pod would hold the same decisions 110 times), and of all tables of policy as they are created, used or not, against
//! 110 maps with the same room.

use anyhow::{Context, Result, ensure};
use bulkhead_agent::clock;
use bulkhead_agent::kernel::{Kernel, MapStatistics, Options};
use bulkhead_agent::lanes::{Attached, Interface, Kernel as _, Planner, commit, settle};
use bulkhead_datapath::abi::{Mac, MapName};
use bulkhead_encode::{Changes, Limits, fit};
use bulkhead_policy::engine::{Engine, EngineConfig};

use super::report::{Figure, Unit};
use crate::worlds::rows::{ONE_POLICY_NODE, one_policy};

const PODS: u32 = 110;

/// The tables that hold policy. The others hold what packets leave behind.
const POLICY: [MapName; 10] = [
    MapName::Interfaces,
    MapName::Direct,
    MapName::Workloads,
    MapName::Peers,
    MapName::Classes,
    MapName::Networks,
    MapName::NetworkClasses,
    MapName::Ports,
    MapName::Decisions,
    MapName::Expiries,
];

/// Measures row I.
///
/// # Errors
/// Where the programs cannot be loaded or the tables written.
pub fn run() -> Result<Vec<Figure>> {
    let mut kernel = Kernel::open(&Options::default())?;
    let decisions = enforce(&mut kernel)?;
    let statistics = kernel.map_statistics()?;
    let of = |map: MapName| {
        let found = statistics.iter().find(|one| one.map == map);
        found.with_context(|| format!("the programs do not use {}", map.name()))
    };
    let table: &MapStatistics = of(MapName::Decisions)?;
    let entry = table.bytes as f64 / f64::from(table.capacity);
    let (pods, used) = (f64::from(PODS), decisions as f64 * entry);
    let mut reserved = 0.0;
    for map in POLICY {
        reserved += of(map)?.bytes as f64;
    }
    let apart = exact_map(u32::try_from(decisions)?)?;
    let what = format!(
        "{PODS} pods, one policy: {decisions} decisions, {:.0} kB",
        used / 1e3
    );
    Ok(vec![
        Figure::new(
            "I",
            format!("{what}, of {PODS} maps of just these"),
            100.0 * used / (pods * apart),
            Unit::Percent,
            2.0,
        ),
        Figure::new(
            "I",
            format!("all tables of policy as created, of {PODS} maps with this room"),
            100.0 * reserved / (pods * table.bytes as f64),
            Unit::Percent,
            2.0,
        ),
        Figure::new(
            "I",
            "all tables of policy as created",
            reserved / 1e6,
            Unit::Mb,
            0.0,
        ),
    ])
}

/// Bytes of a map that has room for just so many decisions.
fn exact_map(decisions: u32) -> Result<f64> {
    let mut options = Options::default();
    options.capacity.decisions = decisions;
    let statistics = Kernel::open(&options)?.map_statistics()?;
    let map = statistics.iter().find(|one| one.map == MapName::Decisions);
    Ok(map.context("DECISIONS")?.bytes as f64)
}

/// Leads the kernel to the world; returns how many decisions that takes.
fn enforce(kernel: &mut Kernel) -> Result<usize> {
    let mut engine = Engine::new(EngineConfig::default());
    one_policy(PODS)
        .into_iter()
        .for_each(|event| engine.apply(event));
    engine.take_dirty();
    let graph = engine
        .node_graph(ONE_POLICY_NODE)
        .context("the node has no graph")?;
    let now = clock::now();
    let fitted = fit(&graph, &Limits::of(&kernel.maps.capacity), now.wall);
    ensure!(fitted.unfit.is_empty(), "it does not fit");
    let interface = |ifindex| Interface {
        ifindex,
        mac: Mac::default(),
        flags: 0,
    };
    let attached: Attached = graph
        .workloads
        .keys()
        .cloned()
        .zip((1_000..).map(interface))
        .collect();
    let mut planner = Planner::new(kernel.read()?);
    let plan = planner.plan(&fitted.desired, &attached, &Changes::Everything, now)?;
    let committed = commit(kernel, &mut planner, plan)?;
    settle(kernel, &mut planner, committed)?;
    Ok(kernel.read()?.decisions.len())
}
