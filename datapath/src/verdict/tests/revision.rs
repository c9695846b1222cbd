//! Changes of revision, deadlines, and flows that live through them.

use super::*;
use crate::tables::{Budget, Tables};

fn open_web(world: &World) {
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::Opened
    );
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 4000), SYN | ACK)),
        Reason::Established
    );
}

#[test]
fn a_grant_elsewhere_disturbs_no_flow() {
    let mut world = World::new();
    open_web(&world);
    world.flip();
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 4000), ACK)),
        Reason::Rejudged
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), ACK)),
        Reason::Established
    );
}

#[test]
fn a_revocation_cuts_the_flow_from_either_side() {
    for inward in [true, false] {
        let mut world = World::new();
        open_web(&world);
        world.allow(EGRESS, PEERS_CLASS, &[DNS]);
        world.flip();
        let reason = if inward {
            world.inward(&tcp(PEER, ME, (80, 4000), ACK))
        } else {
            world.outward(&tcp(ME, PEER, (4000, 80), ACK))
        };
        assert_eq!(reason, Reason::EgressDenied);
        assert_eq!(
            world.outward(&tcp(ME, PEER, (4000, 80), ACK)),
            Reason::EgressDenied
        );
        assert_eq!(
            world.inward(&tcp(PEER, ME, (80, 4000), ACK)),
            Reason::EgressDenied
        );
        let events = world.tables.written.take_events();
        let closed = events
            .iter()
            .filter(|event| event.kind == EventKind::Closed as u8);
        assert_eq!(closed.count(), 1, "it ends once");
    }
}

#[test]
fn an_allowed_reverse_direction_revives_nothing() {
    let mut world = World::new();
    // I may open 80 from my port 22; the peer may open my port 22.
    assert_eq!(world.outward(&tcp(ME, PEER, (22, 80), SYN)), Reason::Opened);
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 22), SYN | ACK)),
        Reason::Established
    );
    world.allow(EGRESS, PEERS_CLASS, &[]);
    world.flip();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (22, 80), ACK)),
        Reason::EgressDenied
    );
    for _ in 0..2 {
        assert_eq!(
            world.outward(&tcp(ME, PEER, (22, 80), ACK)),
            Reason::EgressDenied
        );
        assert_eq!(
            world.inward(&tcp(PEER, ME, (80, 22), ACK)),
            Reason::EgressDenied
        );
    }
    // What the peer opens by itself is another flow, and takes the place.
    assert_eq!(world.inward(&tcp(PEER, ME, (80, 22), SYN)), Reason::Opened);
    assert_eq!(
        world.outward(&tcp(ME, PEER, (22, 80), SYN | ACK)),
        Reason::Established
    );
    assert_eq!(world.flows(), 1);
    let used = |budget| world.tables.used(WorkloadSlot(3), budget);
    assert_eq!(used(Budget::ByWorkload), Some(0));
    assert_eq!(used(Budget::ToWorkload), Some(1));
}

#[test]
fn g9_a_revoked_flow_is_not_revived_while_the_budget_is_used_up() {
    let mut world = World::new();
    assert_eq!(world.outward(&tcp(ME, PEER, (22, 80), SYN)), Reason::Opened);
    world.allow(EGRESS, PEERS_CLASS, &[]);
    world.flip();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (22, 80), ACK)),
        Reason::EgressDenied
    );
    // Now packets from the middle of streams are judged as answers of a flooded server.
    world.tables.node.flows_to_workload = 0;
    for _ in 0..2 {
        assert_eq!(
            world.outward(&tcp(ME, PEER, (22, 80), ACK)),
            Reason::EgressDenied
        );
        assert_eq!(
            world.inward(&tcp(PEER, ME, (80, 22), ACK)),
            Reason::EgressDenied
        );
    }
    assert_eq!(
        world.outward(&tcp(ME, PEER, (22, 81), ACK)),
        Reason::Unremembered
    );
}

#[test]
fn a_flow_that_is_allowed_again_goes_on() {
    let mut world = World::new();
    open_web(&world);
    world.allow(EGRESS, PEERS_CLASS, &[]);
    world.flip();
    let ack = tcp(ME, PEER, (4000, 80), ACK);
    assert_eq!(world.outward(&ack), Reason::EgressDenied);
    let state = |world: &World| {
        world
            .tables
            .written
            .flows()
            .values()
            .next()
            .unwrap()
            .life
            .state()
    };
    assert_eq!(state(&world), FlowState::Denied);
    world.allow(EGRESS, PEERS_CLASS, &[WEB]);
    world.flip();
    assert_eq!(world.outward(&ack), Reason::Rejudged);
    assert_eq!(state(&world), FlowState::Established);
}

#[test]
fn judging_again_learns_that_the_peer_is_local() {
    let mut world = World::new();
    world.tables.interfaces.insert(8, WorkloadSlot(4));
    assert_eq!(
        world.inward(&tcp(PEER, ME, (5000, 22), SYN)),
        Reason::Opened
    );
    world
        .tables
        .classes
        .get_mut(&PeerSlot(1))
        .unwrap()
        .set_local_workload(Some(WorkloadSlot(4)));
    world.flip();
    let ack = tcp(PEER, ME, (5000, 22), ACK);
    let from = |world: &World, ingress_ifindex| {
        let arrival = Arrival {
            hook: Hook::ToWorkload,
            ifindex: INTERFACE,
            ingress_ifindex,
            socket: Socket::None,
            tag: Tag::None,
        };
        world.arrive(arrival, &ack)
    };
    assert_eq!(from(&world, UPLINK), Reason::LocalSourceSpoofed);
    assert_eq!(from(&world, 8), Reason::Rejudged);
    assert_eq!(from(&world, UPLINK), Reason::LocalSourceSpoofed);
    assert_eq!(from(&world, 8), Reason::Established);
}

#[test]
fn judging_again_learns_what_is_only_audited() {
    let mut world = World::new();
    open_web(&world);
    let value = DecisionValue {
        enforced: 1 << WEB.0,
        ..DecisionValue::default()
    };
    world.decide(EGRESS, PEERS_CLASS, value);
    world.flip();
    world.outward(&tcp(ME, PEER, (4000, 80), ACK));
    let flows = world.tables.written.flows();
    let life = flows.values().next().unwrap().life;
    assert_ne!(life.flags() & crate::abi::FlowLife::AUDITED, 0);
}

#[test]
fn a_revoked_flow_is_not_adopted_as_one_of_the_other_direction() {
    let mut world = World::new();
    world.tables.node.adopt_until_ns = world.tables.now_ns + 1;
    // I may open 80 from my port 22; the peer may open my port 22.
    assert_eq!(world.outward(&tcp(ME, PEER, (22, 80), SYN)), Reason::Opened);
    world.allow(EGRESS, PEERS_CLASS, &[]);
    world.flip();
    for _ in 0..2 {
        assert_eq!(
            world.outward(&tcp(ME, PEER, (22, 80), ACK)),
            Reason::EgressDenied
        );
        assert_eq!(
            world.inward(&tcp(PEER, ME, (80, 22), ACK)),
            Reason::EgressDenied
        );
    }
}

#[test]
fn opening_against_a_flow_is_judged_by_itself() {
    let mut world = World::new();
    assert_eq!(world.outward(&tcp(ME, PEER, (22, 80), SYN)), Reason::Opened);
    assert_eq!(world.inward(&tcp(PEER, ME, (80, 22), SYN)), Reason::Opened);
    assert_eq!(world.flows(), 1);
    world.allow(INGRESS, PEERS_CLASS, &[]);
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 22), SYN)),
        Reason::IngressDenied
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (22, 80), ACK)),
        Reason::Established
    );
}

#[test]
fn a_packet_of_the_old_revision_does_not_undo_the_new_one() {
    let mut world = World::new();
    world.tables.node.generation = Generation(6);
    open_web(&world);
    world.allow(EGRESS, PEERS_CLASS, &[]);
    world.tables.node.generation = Generation(5);
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), ACK)),
        Reason::Established
    );
}

#[test]
fn grants_end_on_time_and_nothing_else_does() {
    let mut world = World::new();
    let value = DecisionValue {
        enforced: 1 << WEB.0 | 1 << DNS.0,
        intended: 1 << WEB.0 | 1 << DNS.0,
        enforced_after: 1 << DNS.0,
        intended_after: 1 << DNS.0,
        expiry: ExpiryId(5),
        reserved: 0,
    };
    world.decide(EGRESS, PEERS_CLASS, value);
    let deadline = world.tables.now_ns + 1_000;
    world.tables.expiries.insert(ExpiryId(5), deadline);
    open_web(&world);
    assert_eq!(world.outward(&udp(ME, PEER, (4000, 53))), Reason::Opened);
    world.tables.now_ns = deadline;
    assert_eq!(world.outward(&udp(ME, PEER, (4000, 53))), Reason::Rejudged);
    assert_eq!(
        world.outward(&udp(ME, PEER, (4000, 53))),
        Reason::Established
    );
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 4000), ACK)),
        Reason::EgressDenied
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4001, 80), SYN)),
        Reason::EgressDenied
    );
}

#[test]
fn a_revoked_flow_to_the_node_is_not_revived_by_the_host() {
    let mut world = World::new();
    let node = PeerLane {
        class: PEERS_CLASS,
        ..PeerLane::default()
    };
    let value = PeerValue {
        address: ip(NODE).into(),
        lanes: Lanes::both(node),
        ..PeerValue::default()
    };
    world.tables.set_peer(PeerSlot(9), value);
    assert_eq!(world.outward(&udp(ME, NODE, (4000, 53))), Reason::Opened);
    assert_eq!(
        world.by_host(&udp(NODE, ME, (53, 4000))),
        Reason::HostOriginated
    );
    world.allow(EGRESS, PEERS_CLASS, &[]);
    world.flip();
    assert_eq!(
        world.outward(&udp(ME, NODE, (4000, 53))),
        Reason::EgressDenied
    );
    assert_eq!(
        world.by_host(&udp(NODE, ME, (53, 4000))),
        Reason::HostOriginated
    );
    assert_eq!(
        world.outward(&udp(ME, NODE, (4000, 53))),
        Reason::EgressDenied
    );
}

#[test]
fn a_successor_inherits_no_flow() {
    let mut world = World::new();
    open_web(&world);
    world.workload().incarnation += 1;
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), ACK)),
        Reason::NoFlow
    );
}
