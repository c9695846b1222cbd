//! Connections older than the programs: taken over only where policy allows them whoever opened them.

use super::*;
use crate::abi::{Action, FlowLife};

/// A world in its window, where the peer may open SSH to me and I may open WEB to the peer.
fn window() -> World {
    let mut world = World::new();
    world.tables.node.adopt_until_ns = world.tables.now_ns + 1_000;
    world
}

/// A packet from the middle of my connection between these ports, as both hooks see it.
fn middle(world: &World, local: u16, remote: u16) -> [Reason; 2] {
    [
        world.outward(&tcp(ME, PEER, (local, remote), ACK)),
        world.inward(&tcp(PEER, ME, (remote, local), ACK)),
    ]
}

fn check_dropped(world: &World, ports: (u16, u16)) {
    for reason in middle(world, ports.0, ports.1) {
        assert_eq!(
            reason.action(),
            Action::Drop,
            "{ports:?}: {}",
            reason.name()
        );
    }
    assert_eq!(world.flows(), 0, "{ports:?}");
}

#[test]
fn allowed_both_ways_it_is_adopted_in_time() {
    let mut world = World::new();
    assert_eq!(middle(&world, 22, 80), [Reason::NoFlow; 2]);
    world.tables.node.adopt_until_ns = world.tables.now_ns + 1;
    assert_eq!(
        middle(&world, 22, 80),
        [Reason::Adopted, Reason::Established]
    );
    world.tables.now_ns += 1;
    assert_eq!(middle(&world, 22, 80), [Reason::Established; 2]);
    assert_eq!(
        world.outward(&tcp(PEER, ME, (22, 80), ACK)).action(),
        Action::Drop
    );
}

/// An intruder chooses its ports: no port makes a forbidden connection look like an allowed one of the other direction.
#[test]
fn g9_no_forbidden_connection_is_adopted_because_its_reverse_is_allowed() {
    for remote in [1, 21, 23, 25, 443, 8080, 40_000, 65_535] {
        // The peer may open my port 22; I may not open `remote`.
        check_dropped(&window(), (22, remote));
    }
    for local in [1, 21, 23, 79, 443, 40_000, 65_535] {
        // I may open the peer's port 80; the peer may not open `local`.
        check_dropped(&window(), (local, 80));
    }
}

#[test]
fn an_adopted_flow_ends_when_either_direction_is_revoked() {
    for (rule_set, reason) in [
        (EGRESS, Reason::EgressDenied),
        (INGRESS, Reason::IngressDenied),
    ] {
        let mut world = window();
        assert_eq!(
            middle(&world, 22, 80),
            [Reason::Adopted, Reason::Established]
        );
        world.flip();
        assert_eq!(
            middle(&world, 22, 80),
            [Reason::Rejudged, Reason::Established]
        );
        world.allow(rule_set, PEERS_CLASS, &[]);
        world.flip();
        assert_eq!(middle(&world, 22, 80), [reason; 2]);
    }
}

#[test]
fn an_adopted_flow_ends_with_the_earlier_deadline() {
    for (first, second) in [(700, 900), (900, 700)] {
        let mut world = window();
        let now_ns = world.tables.now_ns;
        for (rule_set, port, id, after) in [
            (EGRESS, WEB, ExpiryId(1), first),
            (INGRESS, SSH, ExpiryId(2), second),
        ] {
            world.tables.expiries.insert(id, now_ns + after);
            let value = DecisionValue {
                enforced: 1 << port.0,
                intended: 1 << port.0,
                expiry: id,
                ..DecisionValue::default()
            };
            world.decide(rule_set, PEERS_CLASS, value);
        }
        assert_eq!(
            middle(&world, 22, 80),
            [Reason::Adopted, Reason::Established]
        );
        world.tables.now_ns = now_ns + 699;
        assert_eq!(middle(&world, 22, 80), [Reason::Established; 2]);
        world.tables.now_ns = now_ns + 700;
        for reason in middle(&world, 22, 80) {
            assert_eq!(reason.action(), Action::Drop);
        }
    }
}

#[test]
fn only_tcp_is_adopted_and_what_is_adopted_says_so() {
    let world = window();
    let chunk = Payload::Sctp {
        source: 22,
        destination: 80,
        chunk: 0,
    };
    assert_eq!(
        world.outward(&packet(ME, PEER, chunk).build()),
        Reason::NoFlow
    );
    middle(&world, 22, 80);
    let flows = world.tables.written.flows();
    let life = flows.values().next().unwrap().life;
    assert_ne!(life.flags() & FlowLife::ADOPTED, 0);
    assert_eq!(life.state(), FlowState::Established);
}
