//! Row F′: a change arrives at a node's agent, until it is in force and read back from the kernel's tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bulkhead_agent::clock;
use bulkhead_agent::enforce::{Note, State};
use bulkhead_agent::kernel::{Grace, Kernel, Options};
use bulkhead_graph::{Address, Delta, NodeGraph, PeerSet};
use bulkhead_wire::Frontier;

use super::measure::{quantile, timed, us};
use super::node::{self, Node};
use super::report::{Figure, Unit};

const CHANGES: usize = 400;

/// What one change took, and of that the wait for packets under way with the read-back.
struct Took {
    all: Duration,
    confirm: Duration,
}

/// Measures changes of one peer set's members, as when a pod comes or goes somewhere.
///
/// # Errors
/// Where the kernel refuses.
pub fn run(seed: u64) -> Result<Vec<Figure>> {
    let node = Node::make(seed)?;
    let options = Options {
        pins: Some(node.pins()),
        ..Options::default()
    };
    let mut state = State::open(Kernel::open(&options)?, node::links()?)?;
    let committed = state.commit(node.graph.clone(), &note(&node.graph), clock::now())?;
    state.settle(committed)?;
    let other = with_one_more(&node.graph);
    let (there, back) = (
        Delta::between(&node.graph, &other),
        Delta::between(&other, &node.graph),
    );
    let mut took = Vec::new();
    for delta in [&there, &back].into_iter().cycle().take(CHANGES) {
        took.push(change(&mut state, delta)?);
    }
    let grace = Grace::find()?;
    let mut waits: Vec<Duration> = Vec::new();
    for _ in 0..CHANGES / 4 {
        let (waited, time) = timed(|| grace.wait());
        waited?;
        waits.push(time);
    }
    Ok(figures(&took, &mut waits))
}

fn note(graph: &NodeGraph) -> Note {
    Note {
        digest: Some(graph.digest()),
        frontier: Frontier::default(),
    }
}

fn change(state: &mut State, delta: &Delta) -> Result<Took> {
    let arrived = Instant::now();
    let graph = Arc::new(delta.apply(state.graph())?);
    let note = note(&graph);
    let done = state.commit(graph, &note, clock::now())?;
    let took = Took {
        all: arrived.elapsed(),
        confirm: done.flipped_at.elapsed(),
    };
    state.settle(done)?;
    Ok(took)
}

fn figures(took: &[Took], waits: &mut [Duration]) -> Vec<Figure> {
    let sorted = |of: &dyn Fn(&Took) -> Duration| {
        let mut times: Vec<Duration> = took.iter().map(of).collect();
        times.sort_unstable();
        times
    };
    let all = sorted(&|took| took.all);
    let applied = sorted(&|took| took.all.saturating_sub(took.confirm));
    waits.sort_unstable();
    let line = |what: &str, times: &[Duration], share: f64, target: f64| {
        Figure::new("F'", what, us(quantile(times, share)), Unit::Us, target)
    };
    vec![
        line("a peer comes or goes → read back: p50", &all, 0.5, 2_000.0),
        line(
            "a peer comes or goes → read back: p99",
            &all,
            0.99,
            20_000.0,
        ),
        line("of which until the flip: p50", &applied, 0.5, 0.0),
        line("of which until the flip: p99", &applied, 0.99, 0.0),
        line(
            "a grace period by itself on this machine: p50",
            waits,
            0.5,
            0.0,
        ),
        line(
            "a grace period by itself on this machine: p99",
            waits,
            0.99,
            0.0,
        ),
    ]
}

/// The graph with a stranger in one peer set.
fn with_one_more(graph: &NodeGraph) -> NodeGraph {
    let stranger: Address = std::net::IpAddr::from([10, 250, 0, 1]).into();
    let mut peer_sets = graph.peer_sets.clone();
    if let Some(set) = peer_sets.values_mut().next() {
        let members: PeerSet = set.iter().chain([stranger]).collect();
        *set = Arc::new(members);
    }
    NodeGraph::new(
        graph.workloads.clone(),
        graph.rule_sets.clone(),
        peer_sets,
        graph.known.clone(),
        graph.cluster_ranges.clone(),
        graph.services.clone(),
    )
}
