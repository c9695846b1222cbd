//! Tables that are just large enough: the arithmetic of `encode::fit` promises that whatever it lets through finds room beside what
//! is there, also after an apply that broke off. Nothing ever freezes (G8).

use bulkhead_datapath::abi::{CAPACITIES, Capacity};
use bulkhead_encode::{Fitted, Limits, Need, fit};
use proptest::sample::Index;

use super::*;

/// Twice the limits and no entry more.
fn capacity(limits: &Limits) -> Capacity {
    let twice = |number: usize| u32::try_from(number * 2).unwrap();
    Capacity {
        peers: twice(limits.0.peers),
        networks: twice(limits.0.networks),
        decisions: twice(limits.0.decisions),
        expiries: twice(limits.0.deadlines) + 1,
        ..CAPACITIES
    }
}

/// What happens on the way to a graph.
#[derive(Debug, Clone)]
struct Accident {
    /// The write that does not come to be.
    at: Index,
    /// Whether the agent dies of it.
    dies: bool,
}

fn accident() -> impl Strategy<Value = Option<Accident>> {
    prop::option::of((any::<Index>(), any::<bool>()).prop_map(|(at, dies)| Accident { at, dies }))
}

/// As the agent does: where there is no room, what nothing leads to goes first.
fn lead(
    kernel: &mut MemoryKernel,
    planner: &mut Planner,
    fitted: &Fitted,
) -> Result<usize, String> {
    let attached = attached(fitted.desired.graph());
    let plan = |planner: &mut Planner| {
        planner.plan(&fitted.desired, &attached, &Changes::Everything, CLOCK)
    };
    let plan = match plan(planner) {
        Ok(plan) => plan,
        Err(_) => {
            let before = verdicts(&kernel.tables);
            clear_away(kernel, planner).map_err(told)?;
            if verdicts(&kernel.tables) != before {
                return Err("clearing away changes verdicts".to_owned());
            }
            plan(planner).map_err(|error| error.to_string())?
        }
    };
    perform(kernel, planner, plan).map_err(told)
}

fn told(error: CommitError<Refusal>) -> String {
    error.to_string()
}

fn check(graphs: Vec<(NodeGraph, Option<Accident>)>, limits: Limits) -> Result<(), String> {
    let tables = MemoryTables {
        capacity: capacity(&limits),
        ..MemoryTables::default()
    };
    let mut planner = Planner::new(tables.clone());
    let mut kernel = MemoryKernel {
        tables,
        ..MemoryKernel::default()
    };
    for (graph, accident) in graphs {
        let fitted = fit(&Arc::new(graph), &limits, Timestamp(0));
        if let Some(Accident { at, dies }) = accident {
            let mut undisturbed = (kernel.clone(), Planner::new(kernel.tables.clone()));
            let whole = lead(&mut undisturbed.0, &mut undisturbed.1, &fitted)?;
            kernel.patience = Some(at.index(whole + 1));
            // It may be more patient than there are writes.
            let _ = lead(&mut kernel, &mut planner, &fitted);
            kernel.patience = None;
            if dies {
                planner = Planner::new(kernel.read().unwrap());
            }
            // What was to be is not what comes.
            continue;
        }
        lead(&mut kernel, &mut planner, &fitted)?;
        let right = expected(fitted.desired.graph());
        if verdicts(&kernel.tables) != right {
            return Err("the verdicts are not those of the graph that fits".to_owned());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Local workloads have their addresses in PEERS whatever becomes of them: three at most in these worlds.
    #[test]
    fn g8_what_fits_finds_room_beside_what_is_there(
        graphs in prop::collection::vec((world::parts(), accident()), 2..7),
        (peers, networks, decisions, deadlines) in (3_usize..12, 2_usize..10, 1_usize..30, 1_usize..4),
    ) {
        let limits = Limits(Need { peers, networks, decisions, port_blocks: 512, deadlines, ..Limits::default().0 });
        check(graphs, limits).map_err(TestCaseError::fail)?;
    }
}
