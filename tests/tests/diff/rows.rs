//! The worlds of the benchmarks, small: the same bytes for the same seed, as many objects as told, and edges that open
//! where the oracle says so.

use bulkhead_encode::explain;
use bulkhead_graph::{Direction, Stance};
use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::eval::World;
use bulkhead_policy::model::{Address, Event, Kind, Object, Protocol};
use bulkhead_tests::worlds::rows::{Row, read_json, write_json};
use bulkhead_tests::worlds::vocabulary::NOW;

use crate::compiled::rule_set;
use bulkhead_tests::tuples::{Question, graphs};

fn count(events: &[Event], kind: Kind) -> usize {
    let of_kind =
        |event: &&Event| matches!(event, Event::Apply(object) if object.reference().kind == kind);
    events.iter().filter(of_kind).count()
}

fn policies_of(row: Row) -> Kind {
    if row == Row::E {
        Kind::ClusterSegmentationPolicy
    } else {
        Kind::NetworkPolicy
    }
}

#[test]
fn rows_have_the_size_they_are_told() {
    // Thousandths of the whole: 25 namespaces of 4 pods and 3 policies, and so on.
    for (row, permille, namespaces, pods, policies) in [
        (Row::A, 1, 25, 100, 75),
        (Row::APlus, 1, 25, 100, 75),
        (Row::ALarge, 10, 1, 1000, 101),
        (Row::B, 1, 1, 10, 10),
        (Row::BPairs, 1, 1, 10, 10),
        (Row::C, 2, 2, 200, 20),
        (Row::CPlus, 2, 2, 200, 20),
        (Row::D, 1, 1, 1, 20),
        (Row::E, 1, 100, 450, 10),
    ] {
        let events = row.events(1, permille);
        let counted =
            [Kind::Namespace, Kind::Pod, policies_of(row)].map(|kind| count(&events, kind));
        assert_eq!(counted, [namespaces, pods, policies], "{}", row.name());
    }
}

#[test]
fn a_seed_gives_the_same_world_and_json_keeps_it() {
    for row in Row::ALL {
        let events = row.events(7, 2);
        assert_eq!(events, row.events(7, 2), "{}", row.name());
        assert_ne!(events, row.events(8, 2), "{}", row.name());
        let mut text = Vec::new();
        write_json(&events, &mut text).unwrap();
        assert_eq!(
            read_json(std::str::from_utf8(&text).unwrap()).unwrap(),
            events
        );
        assert_eq!(Row::named(row.name()), Some(row));
    }
}

/// Compares samples of halves with the oracle and returns how many edges were open of how many.
fn compare(row: Row, permille: u32) -> (usize, usize) {
    let events = row.events(3, permille);
    let (mut world, mut engine) = (World::default(), Engine::new(EngineConfig::default()));
    let mut addresses = Vec::new();
    for event in events {
        if let Event::Apply(Object::Workload(_, workload)) = &event {
            addresses.extend(workload.addresses.iter().map(|ip| Address::from(*ip)));
        }
        world.apply(event.clone());
        engine.apply(event);
    }
    let graphs = graphs(&mut engine);
    let (mut open, mut all) = (0, 0);
    for (number, own) in addresses.iter().enumerate() {
        let home = graphs.values().find_map(|graph| {
            graph
                .workloads
                .values()
                .find(|w| w.addresses.contains(own))
                .map(|workload| (graph, workload))
        });
        let (graph, workload) = home.unwrap();
        // Neighbours are likely friends; the others lie scattered.
        for peer in addresses
            .iter()
            .skip(number + 1)
            .take(3)
            .chain(addresses.iter().skip(number % 7).step_by(61))
        {
            if peer == own {
                continue;
            }
            let mut both = true;
            for direction in [Direction::Egress, Direction::Ingress] {
                let (protocol, port) = (Protocol::Tcp, 80);
                let asked = Question {
                    own: *own,
                    peer: *peer,
                    direction,
                    protocol,
                    port,
                };
                let (expected, _) = asked.oracle(&world, NOW).unwrap();
                let rules = &graph.rule_sets[&rule_set(workload, direction)];
                let actual =
                    explain(graph, rules, *peer, protocol, port, Stance::Enforced, NOW).allow;
                assert_eq!(
                    actual,
                    expected.allowed,
                    "{} {asked:?}: {}",
                    row.name(),
                    expected.rule
                );
                both &= actual;
            }
            all += 1;
            open += usize::from(both);
        }
    }
    (open, all)
}

#[test]
fn samples_of_rows_agree_with_the_oracle() {
    for row in [Row::A, Row::B, Row::BPairs, Row::C] {
        let (open, _) = compare(row, 3);
        assert_eq!(
            open,
            0,
            "{}: every selected pod's egress is closed",
            row.name()
        );
    }
    let (open, all) = compare(Row::E, 1);
    assert_eq!(open, all, "E: policies that only allow close nothing");
    for row in [Row::APlus, Row::CPlus] {
        let (open, all) = compare(row, 3);
        assert!(
            open > 0 && open < all,
            "{}: {open} of {all} edges are open",
            row.name()
        );
        println!("{}: {open} of {all} sampled edges are open", row.name());
    }
}
