//! Tables that are too small: who is denied, and that nobody else notices (G8).
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_datapath::abi::{CAPACITIES, Capacity, MapName};
use bulkhead_encode::{Clock, Desired, Fitted, Half, Limits, Memory, Need, explain, fit};
use bulkhead_graph::{
    Action, Address, Direction, Entry, LocalWorkload, Mode, NodeGraph, PeerMatch, PeerSet,
    PeerSetId, PortMatch, PortRange, Protocol, RuleSet, SharedWorkload, Stage, Stance, Timestamp,
    WorkloadUid, Workloads,
};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(0);
const CLOCK: Clock = Clock {
    wall: NOW,
    monotonic_ns: 1_000_000_000,
    heard_ns: 1_000_000_000,
};
const CLOSED: Half = Half {
    enforced: false,
    intended: false,
};

/// One node, put together workload by workload.
#[derive(Default)]
struct Node {
    workloads: BTreeMap<WorkloadUid, SharedWorkload>,
    rule_sets: BTreeMap<bulkhead_graph::RuleSetId, Arc<RuleSet>>,
    peer_sets: BTreeMap<PeerSetId, Arc<PeerSet>>,
}

fn address(number: u32) -> Address {
    std::net::IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number)).into()
}

impl Node {
    /// A workload that admits `sets` sets of 10 peers each, on a port of its own for each.
    fn with(mut self, namespace: &str, name: &str, stage: Stage, sets: u32) -> Self {
        let first = u32::try_from(self.peer_sets.len()).unwrap();
        let mut entries: Vec<Entry> = (0..sets)
            .map(|number| {
                let mut id = [0; 16];
                id[..4].copy_from_slice(&(first + number).to_be_bytes());
                let members = (0..10).map(|member| address(1_000 + (first + number) * 10 + member));
                self.peer_sets
                    .insert(PeerSetId(id), Arc::new(members.collect()));
                let port = 1_000 + u16::try_from(number % 50).unwrap();
                Entry {
                    stage,
                    action: Action::Allow,
                    mode: Mode::Enforce,
                    peers: PeerMatch::Of {
                        workloads: Workloads::Sets(vec![PeerSetId(id)]),
                        networks: vec![],
                    },
                    ports: PortMatch::of(vec![PortRange {
                        protocol: Protocol::Tcp,
                        from: port,
                        to: port,
                    }]),
                    until: None,
                    lease: None,
                }
            })
            .collect();
        entries.push(Entry {
            stage,
            action: Action::Deny,
            mode: Mode::Enforce,
            peers: PeerMatch::Any,
            ports: PortMatch::Any,
            until: None,
            lease: None,
        });
        let ingress = RuleSet {
            direction: Direction::Ingress,
            entries,
        };
        let egress = RuleSet {
            direction: Direction::Egress,
            entries: vec![],
        };
        let workload = LocalWorkload {
            namespace: namespace.into(),
            name: name.into(),
            addresses: [address(u32::try_from(self.workloads.len()).unwrap())].into(),
            interface: None,
            egress: egress.id(),
            ingress: ingress.id(),
        };
        let uid = WorkloadUid(format!("{namespace}/{name}").into());
        self.workloads.insert(uid, workload.into());
        for rules in [egress, ingress] {
            self.rule_sets.insert(rules.id(), Arc::new(rules));
        }
        self
    }

    fn graph(self) -> Arc<NodeGraph> {
        let nobody = NodeGraph::default();
        let (known, services) = (nobody.known.clone(), nobody.services.clone());
        Arc::new(NodeGraph::new(
            self.workloads.into(),
            self.rule_sets.into(),
            self.peer_sets.into(),
            known,
            Arc::from([]),
            services,
        ))
    }
}

fn limits(decisions: usize, peers: usize) -> Limits {
    Limits(Need {
        workloads: 100,
        peers,
        networks: 100,
        decisions,
        port_blocks: 16,
        deadlines: 100,
        ..Limits::default().0
    })
}

fn names(fitted: &Fitted) -> Vec<String> {
    fitted
        .unfit
        .iter()
        .map(|unfit| format!("{}/{}", unfit.namespace, unfit.name))
        .collect()
}

fn shared() -> Node {
    let node = Node::default().with("zoo", "quarantined", Stage::Quarantine, 2);
    let node = node.with("yard", "guarded", Stage::Admin, 2);
    node.with("blue", "shop", Stage::Namespace, 3)
        .with("green", "till", Stage::Namespace, 3)
}

#[test]
fn whoever_asks_for_too_much_is_denied_alone() {
    let mut node = shared();
    for number in 0..5 {
        // A name that sorts first, and more than all others together.
        node = node.with("a-hostile", &format!("w{number}"), Stage::Namespace, 100);
    }
    let graph = node.graph();
    let fitted = fit(&graph, &limits(120, 10_000), NOW);
    assert_eq!(
        names(&fitted),
        [
            "a-hostile/w0",
            "a-hostile/w1",
            "a-hostile/w2",
            "a-hostile/w3",
            "a-hostile/w4"
        ]
    );
    assert!(fitted.need.fits(&limits(120, 10_000)));
    let message = fitted.unfit[0].needed.excess(&limits(120, 10_000));
    assert!(message.ends_with("decisions of 120"), "{message}");
    let memory = Memory::new(&fitted.desired, CLOCK).unwrap();
    for (uid, before) in &graph.workloads {
        let after = &fitted.desired.graph().workloads[uid];
        if &*before.namespace == "a-hostile" {
            for peer in (0..6_000).map(address) {
                let half = memory
                    .half(after.ingress, peer, Protocol::Tcp, 1_000)
                    .unwrap_or(CLOSED);
                assert_eq!(half, CLOSED, "{uid:?} {peer}");
            }
        } else {
            assert_eq!(after, before);
        }
    }
}

#[test]
fn fair_shares_end_at_the_namespace_that_wants_most() {
    let mut node = Node::default();
    for number in 0..4 {
        node = node.with("big", &format!("w{number}"), Stage::Namespace, 20);
        node = node.with("small", &format!("w{number}"), Stage::Namespace, 5);
    }
    // Room for all of small's 20 sets and two of big's workloads.
    let fitted = fit(&node.graph(), &limits(100_000, 4 * 50 + 2 * 200 + 8), NOW);
    assert_eq!(names(&fitted).len(), 2);
    assert!(
        names(&fitted).iter().all(|name| name.starts_with("big/")),
        "{:?}",
        names(&fitted)
    );
}

#[test]
fn quarantine_and_cluster_tiers_come_first() {
    let node = Node::default()
        .with("a", "tenant", Stage::Namespace, 1)
        .with("b", "guarded", Stage::Admin, 30)
        .with("c", "quarantined", Stage::Quarantine, 30);
    let graph = node.graph();
    assert_eq!(
        names(&fit(&graph, &limits(100_000, 300 + 3), NOW)),
        ["a/tenant", "b/guarded"]
    );
    assert_eq!(
        names(&fit(&graph, &limits(100_000, 600 + 3), NOW)),
        ["a/tenant"]
    );
    assert!(fit(&graph, &limits(100_000, 610 + 3), NOW).unfit.is_empty());
}

#[test]
fn the_brim_fits_and_one_more_does_not() {
    let graph = shared().graph();
    let need = fit(&graph, &Limits::default(), NOW).need;
    assert!(need.decisions > 5 && need.peers > 50);
    assert!(fit(&graph, &Limits(need), NOW).unfit.is_empty());
    let one_fewer = Limits(Need {
        decisions: need.decisions - 1,
        ..need
    });
    assert!(!fit(&graph, &one_fewer, NOW).unfit.is_empty());
}

#[test]
fn g8_more_workloads_than_places_cost_only_the_namespace_that_has_most() {
    let mut node = shared();
    for number in 0..20 {
        node = node.with("a-crowd", &format!("w{number}"), Stage::Namespace, 1);
    }
    let graph = node.graph();
    let places = |workloads| {
        let Limits(limits) = limits(100_000, 10_000);
        Limits(Need {
            workloads,
            ..limits
        })
    };
    assert!(fit(&graph, &places(24), NOW).unfit.is_empty());
    let fitted = fit(&graph, &places(10), NOW);
    let refused = names(&fitted);
    assert!(
        refused.len() >= 14 && refused.iter().all(|name| name.starts_with("a-crowd/")),
        "{refused:?}"
    );
    let message = fitted.unfit[0].needed.excess(&places(10));
    assert_eq!(message, "11 workloads of 10");
    // All ten places are taken: by whoever fits, and by some that are denied.
    assert_eq!(fitted.need.workloads, 10);
    assert_eq!(fitted.desired.graph().workloads.len(), 10);
    for (uid, before) in graph
        .workloads
        .iter()
        .filter(|(_, w)| &*w.namespace != "a-crowd")
    {
        assert_eq!(&fitted.desired.graph().workloads[uid], before);
    }
    let admitted = 24 - refused.len();
    let closed = fitted.desired.graph().workloads.values();
    let closed = closed.filter(|workload| !graph.rule_sets.contains_key(&workload.ingress));
    assert_eq!(closed.count(), 10 - admitted);
}

#[test]
fn one_revision_takes_half_of_each_table() {
    let capacity = Capacity {
        workloads: 12,
        decisions: 10,
        peers: 8,
        networks: 6,
        expiries: 9,
        ..CAPACITIES
    };
    let Limits(need) = Limits::of(&capacity);
    assert_eq!(
        (
            need.decisions,
            need.peers,
            need.networks,
            need.deadlines,
            need.workloads
        ),
        (5, 4, 3, 4, 6)
    );
    assert_eq!(
        CAPACITIES.of(MapName::Decisions) as usize,
        Limits::default().0.decisions * 2
    );
}

/// Whether every half that the fitted tables allow is allowed without limits, and admitted subjects are judged alike.
fn check_never_wider(graph: &Arc<NodeGraph>, fitted: &Fitted) -> Result<(), TestCaseError> {
    let memory = Memory::new(&fitted.desired, CLOCK).unwrap();
    let refused = |uid: &WorkloadUid| fitted.unfit.iter().any(|unfit| unfit.uid == *uid);
    for (uid, before) in &graph.workloads {
        let Some(after) = fitted.desired.graph().workloads.get(uid) else {
            // In no table: closed.
            prop_assert!(refused(uid), "{:?} was left out", uid);
            continue;
        };
        for (old, new) in [
            (before.egress, after.egress),
            (before.ingress, after.ingress),
        ] {
            for (peer, port) in world::everybody()
                .into_iter()
                .flat_map(|peer| [(peer, 80), (peer, 443)])
            {
                let half = memory
                    .half(new, peer, Protocol::Tcp, port)
                    .unwrap_or(CLOSED);
                let told = |stance| {
                    explain(
                        graph,
                        &graph.rule_sets[&old],
                        peer,
                        Protocol::Tcp,
                        port,
                        stance,
                        NOW,
                    )
                    .allow
                };
                let whole = Half {
                    enforced: told(Stance::Enforced),
                    intended: told(Stance::Intended),
                };
                prop_assert_eq!(half, if refused(uid) { CLOSED } else { whole });
            }
        }
    }
    Ok(())
}

/// A revision of one node: whose rules, who is in their sets, and when.
type Turn = (usize, usize, i64);

/// The rules of one graph over the sets of another, where that has them.
fn mixed(rules: &NodeGraph, sets: &NodeGraph) -> Arc<NodeGraph> {
    let members =
        |id: &PeerSetId, own: &Arc<PeerSet>| sets.peer_sets.get(id).unwrap_or(own).clone();
    let peer_sets = rules.peer_sets.iter();
    let mut graph = rules.clone();
    graph.peer_sets = peer_sets.map(|(id, own)| (*id, members(id, own))).collect();
    Arc::new(graph)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_limit_widens_anything(
        graph in world::parts(),
        other in world::parts(),
        (workloads, peers, networks, decisions) in (0_usize..6, 0_usize..10, 2_usize..10, 0_usize..20),
    ) {
        let limits = Limits(Need { workloads, peers, networks, decisions, port_blocks: 4, deadlines: 4, ..Limits::default().0 });
        let (graph, other) = (Arc::new(graph), Arc::new(other));
        let fitted = fit(&graph, &limits, NOW);
        check_never_wider(&graph, &fitted)?;
        let everybody = fitted.unfit.len() == graph.workloads.len();
        prop_assert!(fitted.need.fits(&limits) || everybody, "{} of {:?}", fitted.need, limits);
        // Where it comes from does not matter.
        let mut gone_on = fit(&other, &limits, NOW);
        gone_on.update(&graph, NOW);
        prop_assert_eq!(&gone_on.unfit, &fitted.unfit);
        prop_assert_eq!(gone_on.need, fitted.need);
        prop_assert_eq!(gone_on.desired.peers(), fitted.desired.peers());
        prop_assert_eq!(gone_on.desired.graph().digest(), Desired::build(fitted.desired.graph(), NOW).graph().digest());
    }

    #[test]
    fn g8_any_sequence_of_revisions_ends_where_starting_anew_does(
        worlds in prop::collection::vec(world::parts(), 3),
        turns in prop::collection::vec((0_usize..3, 0_usize..3, 0_i64..5), 1..8),
        (workloads, peers, networks, decisions) in (1_usize..6, 0_usize..10, 2_usize..10, 0_usize..20),
    ) {
        let limits = Limits(Need { workloads, peers, networks, decisions, deadlines: 4, ..Limits::default().0 });
        let at = |(rules, sets, second): Turn| {
            (mixed(&worlds[rules], &worlds[sets]), Timestamp(second * 1_000))
        };
        let (first, now) = at(turns[0]);
        let mut gone_on = fit(&first, &limits, now);
        for turn in &turns[1..] {
            let (graph, now) = at(*turn);
            gone_on.update(&graph, now);
            let anew = fit(&graph, &limits, now);
            prop_assert_eq!(&gone_on.unfit, &anew.unfit);
            prop_assert_eq!(gone_on.need, anew.need);
            prop_assert_eq!(gone_on.desired.graph().digest(), anew.desired.graph().digest());
            prop_assert_eq!(gone_on.desired.peers(), anew.desired.peers());
            prop_assert_eq!(gone_on.desired.regions(), anew.desired.regions());
            prop_assert_eq!(gone_on.desired.port_classes(), anew.desired.port_classes());
            let keys = |fitted: &Fitted| fitted.desired.rule_sets().values().map(|rules| rules.key).collect::<Vec<_>>();
            prop_assert_eq!(keys(&gone_on), keys(&anew));
            let classes = |fitted: &Fitted| fitted.desired.classes().map(|(key, _)| key).collect::<Vec<_>>();
            prop_assert_eq!(classes(&gone_on), classes(&anew));
        }
    }
}
