//! G4 and G15 on the real maps: each write of an apply can be the last one, and each can fail.
//!
//! The verdicts after every single write are asked of the real programs. Each is that of the old or of the new revision, a
//! broken apply is never taken for a whole one, and whoever goes on from there ends where an undisturbed apply ends.

use std::fmt;
use std::sync::Arc;

use bulkhead_agent::kernel::{Kernel, KernelError, Options};
use bulkhead_agent::lanes::{self, CommitError, MapWrite, Planner};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_graph::NodeGraph;
use bulkhead_tests::worlds::search::EFFORT;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::node::{self, Probes, Verdicts};
use crate::place::{Place, alone};
use crate::world;

/// Pairs of revisions; each costs a new apply for every write of it. `BULKHEAD_EFFORT` multiplies them.
const PAIRS: usize = 1;

/// Of an apply that is looked at from all sides: the effort grows with the square.
const MOST_WRITES: usize = 120;

/// Of so many recoveries one is watched write by write.
const WATCHED: usize = 8;

#[derive(Debug)]
enum Fault {
    /// What the test asked for.
    Stopped,
    /// A verdict of neither revision, or of the old one after the new one was seen.
    Mixture(MapWrite),
    Kernel(KernelError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the test stops it here"),
            Self::Mixture(write) => write!(f, "after {write:?} the verdicts are of no revision"),
            Self::Kernel(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Fault {}

/// The real maps, of which a write fails, or after each of which the programs are asked.
struct Disturbed<'a> {
    kernel: &'a mut Kernel,
    probes: &'a Probes,
    /// The verdicts that may be seen, older first; none: nobody asks.
    allowed: &'a [Verdicts],
    /// The newest of them that was seen.
    seen: usize,
    writes: usize,
    /// The number of the write that fails.
    fails: Option<usize>,
}

impl<'a> Disturbed<'a> {
    fn watched(kernel: &'a mut Kernel, probes: &'a Probes, allowed: &'a [Verdicts]) -> Self {
        Self {
            kernel,
            probes,
            allowed,
            seen: 0,
            writes: 0,
            fails: None,
        }
    }

    fn failing(kernel: &'a mut Kernel, probes: &'a Probes, write: usize) -> Self {
        Self {
            fails: Some(write),
            ..Self::watched(kernel, probes, &[])
        }
    }
}

impl lanes::Kernel for Disturbed<'_> {
    type Error = Fault;

    fn write(&mut self, write: &MapWrite) -> Result<(), Fault> {
        if self.fails == Some(self.writes) {
            return Err(Fault::Stopped);
        }
        lanes::Kernel::write(self.kernel, write).map_err(Fault::Kernel)?;
        self.writes += 1;
        if !self.allowed.is_empty() {
            let verdicts = self.probes.verdicts(self.kernel);
            let now = self.allowed[self.seen..]
                .iter()
                .position(|one| *one == verdicts);
            self.seen += now.ok_or(Fault::Mixture(*write))?;
        }
        Ok(())
    }

    fn grace(&mut self) -> Result<(), Fault> {
        // No packet is under way but those that this thread runs.
        Ok(())
    }

    fn holds(&mut self, write: &MapWrite) -> Result<bool, Fault> {
        lanes::Kernel::holds(self.kernel, write).map_err(Fault::Kernel)
    }

    fn read(&mut self) -> Result<MemoryTables, Fault> {
        lanes::Kernel::read(self.kernel).map_err(Fault::Kernel)
    }
}

fn read(kernel: &mut Kernel) -> MemoryTables {
    lanes::Kernel::read(kernel).unwrap()
}

/// Leads a kernel to a graph from whatever it holds, as an agent that has just started.
fn go_to(kernel: &mut Kernel, graph: &Arc<NodeGraph>) -> usize {
    let mut planner = Planner::new(read(kernel));
    let plan = node::plan(&mut planner, graph, node::still());
    node::perform(kernel, &mut planner, plan).unwrap()
}

/// Two revisions that differ in what they allow, and their verdicts.
struct Pair {
    new: Arc<NodeGraph>,
    /// The tables of the old revision.
    start: MemoryTables,
    verdicts: [Verdicts; 2],
}

fn pair(runner: &mut TestRunner, kernel: &mut Kernel, probes: &Probes) -> Pair {
    loop {
        let mut graph = || Arc::new(world::parts().new_tree(runner).unwrap().current());
        let (old, new) = (graph(), graph());
        if old.workloads.len().min(new.workloads.len()) < 2 {
            continue;
        }
        kernel.fill(&MemoryTables::default()).unwrap();
        go_to(kernel, &old);
        let (start, before) = (read(kernel), probes.verdicts(kernel));
        let writes = go_to(kernel, &new);
        let after = probes.verdicts(kernel);
        let differ = before
            .iter()
            .zip(&after)
            .filter(|(old, new)| old != new)
            .count();
        if differ >= 5 && writes <= MOST_WRITES {
            let verdicts = [before, after];
            return Pair {
                new,
                start,
                verdicts,
            };
        }
    }
}

#[test]
fn g4_g15_each_write_of_an_apply_can_be_the_last_and_each_can_fail() {
    alone(|| {
        let _place = Place::new("atomic");
        node::wire(3);
        let mut kernel = crate::kernel(&Options {
            pins: None,
            capacity: node::CAPACITY,
        });
        let probes = Probes::of_the_world();
        let mut runner = TestRunner::deterministic();
        let effort = std::env::var(EFFORT).map_or(1, |effort| effort.parse().unwrap());
        for _ in 0..PAIRS * effort {
            let pair = pair(&mut runner, &mut kernel, &probes);
            let (writes, flip) = undisturbed(&mut kernel, &probes, &pair);
            for last in 0..writes {
                stopped(&mut kernel, &probes, &pair, last, flip);
            }
            println!(
                "{writes} writes, the flip is number {flip}: each was the last, and each failed"
            );
        }
    });
}

/// The whole way, watched. Returns the number of writes, and how many of them come before the flip.
fn undisturbed(kernel: &mut Kernel, probes: &Probes, pair: &Pair) -> (usize, usize) {
    kernel.fill(&pair.start).unwrap();
    let mut planner = Planner::new(read(kernel));
    let plan = node::plan(&mut planner, &pair.new, node::still());
    let flip = plan.prepare.len() + plan.stage.len();
    assert!(plan.flip.is_some());
    let mut watched = Disturbed::watched(kernel, probes, &pair.verdicts);
    let writes = node::perform(&mut watched, &mut planner, plan).unwrap();
    assert_eq!(watched.seen, 1, "the new revision is in force");
    (writes, flip)
}

/// The write after `last` does not come to be, and somebody goes on: the same agent, or one that has just started.
fn stopped(kernel: &mut Kernel, probes: &Probes, pair: &Pair, last: usize, flip: usize) {
    kernel.fill(&pair.start).unwrap();
    let mut planner = Planner::new(read(kernel));
    let plan = node::plan(&mut planner, &pair.new, node::still());
    let mut failing = Disturbed::failing(kernel, probes, last);
    match lanes::commit(&mut failing, &mut planner, plan) {
        Ok(committed) => {
            assert!(
                last > flip,
                "write {last} failed and the revision was acknowledged"
            );
            let outcome = lanes::settle(&mut failing, &mut planner, committed);
            assert!(outcome.is_err(), "write {last} failed and nobody says so");
        }
        Err(CommitError::Write {
            reason: Fault::Stopped,
            ..
        }) => {
            assert!(
                last <= flip,
                "write {last} failed after the acknowledgement was earned"
            );
        }
        Err(error) => panic!("write {last}: {error}"),
    }
    let expected = &pair.verdicts[usize::from(last > flip)];
    assert!(
        probes.verdicts(kernel) == *expected,
        "after {last} writes the verdicts are of another revision"
    );
    if last.is_multiple_of(2) {
        planner = Planner::new(read(kernel));
    }
    let plan = node::plan(&mut planner, &pair.new, node::still());
    let allowed: &[Verdicts] = if last.is_multiple_of(WATCHED) {
        &pair.verdicts
    } else {
        &[]
    };
    let mut watched = Disturbed::watched(kernel, probes, allowed);
    node::perform(&mut watched, &mut planner, plan)
        .unwrap_or_else(|error| panic!("going on after {last}: {error}"));
    assert!(
        probes.verdicts(kernel) == pair.verdicts[1],
        "going on after {last} writes ends elsewhere"
    );
    let mut again = Planner::new(read(kernel));
    let plan = node::plan(&mut again, &pair.new, node::still());
    assert!(
        plan.is_empty(),
        "after {last} writes and recovery something is left to do: {plan:?}"
    );
}
