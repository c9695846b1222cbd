//! What happens at the limits: only he who filled one pays for it.

use super::*;

#[test]
fn a_workload_that_opens_too_much_opens_no_more() {
    let mut world = World::new();
    world.tables.node.flows_by_workload = 3;
    for port in 0..3 {
        assert_eq!(
            world.outward(&tcp(ME, PEER, (4000 + port, 80), SYN)),
            Reason::Opened
        );
    }
    assert_eq!(
        world.outward(&tcp(ME, PEER, (5000, 80), SYN)),
        Reason::BudgetByWorkload
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4001, 80), ACK)),
        Reason::Established
    );
    assert_eq!(
        world.inward(&tcp(PEER, ME, (5000, 22), SYN)),
        Reason::Opened
    );
}

#[test]
fn a_flooded_server_still_answers() {
    let mut world = World::new();
    world.tables.node.flows_to_workload = 1;
    assert_eq!(
        world.inward(&tcp(PEER, ME, (5000, 22), SYN)),
        Reason::Opened
    );
    assert_eq!(
        world.inward(&tcp(PEER, ME, (5001, 22), SYN)),
        Reason::Unremembered
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (22, 5001), SYN | ACK)),
        Reason::Unremembered
    );
    assert_eq!(
        world.inward(&tcp(PEER, ME, (5001, 22), ACK)),
        Reason::Unremembered
    );
    assert_eq!(
        world.inward(&tcp(PEER, ME, (5001, 25), ACK)),
        Reason::NoDecision
    );
    world
        .tables
        .set_port_class(PortTable::Udp, Lane::Even, 22, SSH);
    assert_eq!(
        world.inward(&udp(PEER, ME, (5002, 22))),
        Reason::Unremembered
    );
    assert_eq!(
        world.outward(&udp(ME, PEER, (22, 5002))),
        Reason::Unremembered
    );
    // The exception revives nothing that policy does not allow.
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), ACK)),
        Reason::NoDecision
    );
}

/// A stream says who opens it: a flooded server answers, and opens nothing that egress denies, whatever its source port.
#[test]
fn a_flooded_server_opens_no_stream_that_egress_denies() {
    let mut world = World::new();
    world.tables.node.flows_to_workload = 0;
    for remote in [25, 443, 5000] {
        assert_eq!(
            world.outward(&tcp(ME, PEER, (22, remote), SYN)),
            Reason::NoDecision
        );
        let init = Payload::Sctp {
            source: 22,
            destination: remote,
            chunk: 1,
        };
        assert_eq!(
            world.outward(&packet(ME, PEER, init).build()),
            Reason::NoDecision
        );
    }
    world.allow(EGRESS, PEERS_CLASS, &[]);
    world.flip();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (22, 80), SYN)),
        Reason::EgressDenied
    );
}

#[test]
fn an_unremembered_local_source_comes_through_its_own_interface() {
    let mut world = World::new();
    world.tables.node.flows_to_workload = 0;
    let peer = world.tables.classes.get_mut(&PeerSlot(1)).unwrap();
    peer.set_local_workload(Some(WorkloadSlot(4)));
    world.tables.interfaces.insert(8, WorkloadSlot(4));
    for flags in [SYN, ACK] {
        let frame = tcp(PEER, ME, (5000, 22), flags);
        assert_eq!(world.inward(&frame), Reason::LocalSourceSpoofed);
        let arrival = Arrival {
            hook: Hook::ToWorkload,
            ifindex: INTERFACE,
            ingress_ifindex: 8,
            socket: Socket::None,
            tag: Tag::None,
        };
        assert_eq!(world.arrive(arrival, &frame), Reason::Unremembered);
    }
}

#[test]
fn the_same_fragment_again_costs_no_more() {
    use crate::tables::{Budget, Tables};
    let world = World::new();
    let ports = Payload::Udp {
        source: 4000,
        destination: 53,
    };
    let first = IpFrame {
        fragment: Some((0, true)),
        identification: 7,
        ..packet(ME, PEER, ports)
    };
    for _ in 0..5 {
        world.outward(&first.build());
        let used = world.tables.used(WorkloadSlot(3), Budget::Fragments);
        assert_eq!(used, Some(1));
    }
}

#[test]
fn the_host_has_a_budget_of_its_own() {
    let mut world = World::new();
    world.tables.node.flows_to_workload = 0;
    world.tables.node.flows_by_host = 1;
    assert_eq!(
        world.by_host(&tcp(NODE, ME, (4000, 8080), SYN)),
        Reason::HostOriginated
    );
    assert_eq!(
        world.outward(&tcp(ME, NODE, (8080, 4000), SYN | ACK)),
        Reason::Established
    );
    assert_eq!(
        world.by_host(&tcp(NODE, ME, (4001, 8080), SYN)),
        Reason::HostOriginated
    );
    assert_eq!(world.flows(), 1);
}

#[test]
fn a_full_flow_table_denies() {
    let mut world = World::new();
    world.tables.capacity.flows = 1;
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::Opened
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4001, 80), SYN)),
        Reason::FlowTableFull
    );
}

#[test]
fn events_are_rationed_and_losses_counted() {
    let mut world = World::new();
    world.tables.node.events_per_tick = 2;
    for port in 0..5 {
        world.outward(&tcp(ME, PEER, (4000 + port, 22), SYN));
    }
    assert_eq!(world.tables.written.take_events().len(), 2);
    assert_eq!(
        world.tables.written.losses()[&crate::abi::LossIndex::EventRateLimited],
        3
    );
    world.tables.now_ns += 1 << 30;
    world.outward(&tcp(ME, PEER, (4000, 22), SYN));
    assert_eq!(world.tables.written.take_events().len(), 1);
}

#[test]
fn fragments_are_rationed() {
    let mut world = World::new();
    world.tables.node.fragments = 1;
    let first = |identification| {
        let whole = packet(
            ME,
            PEER,
            Payload::Udp {
                source: 4000,
                destination: 53,
            },
        );
        IpFrame {
            fragment: Some((0, true)),
            identification,
            ..whole
        }
        .build()
    };
    assert_eq!(world.outward(&first(1)), Reason::Opened);
    assert_eq!(world.outward(&first(2)), Reason::FragmentBudget);
}
