//! What does not pass, and why.

use super::*;

#[test]
fn policy_says_no() {
    let world = World::new();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 22), SYN)),
        Reason::EgressDenied
    );
    assert_eq!(
        world.inward(&tcp(PEER, ME, (4000, 80), SYN)),
        Reason::IngressDenied
    );
    assert_eq!(
        world.outward(&tcp(ME, WORLD, (4000, 80), SYN)),
        Reason::NoDecision
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 81), SYN)),
        Reason::NoDecision
    );
    assert_eq!(world.flows(), 0);
    let talks = world.tables.written.talks();
    assert_eq!(talks.len(), 4);
    assert!(
        talks
            .keys()
            .any(|talk| talk.server_port == 22 && talk.reason == Reason::EgressDenied as u8)
    );
}

#[test]
fn whatever_is_missing_denies() {
    let syn = tcp(ME, PEER, (4000, 80), SYN);
    let mut world = World::new();
    world.tables.interfaces.clear();
    assert_eq!(world.outward(&syn), Reason::NoInterface);
    let mut world = World::new();
    world.workload().ifindex = 8;
    assert_eq!(world.outward(&syn), Reason::NoWorkload);
    let mut world = World::new();
    world.workload().lanes = Lanes::default();
    assert_eq!(world.outward(&syn), Reason::NoRuleSet);
    let mut world = World::new();
    world.tables.peers.clear();
    world.tables.networks.clear();
    assert_eq!(world.outward(&syn), Reason::NoClass);
    let mut world = World::new();
    world.tables.decisions.clear();
    assert_eq!(world.outward(&syn), Reason::NoDecision);
    let mut world = World::new();
    world.tables.ports.clear();
    assert_eq!(world.outward(&syn), Reason::NoDecision);
}

#[test]
fn a_slot_that_belongs_to_another_address_is_a_miss() {
    let mut world = World::new();
    world.tables.classes.get_mut(&PeerSlot(1)).unwrap().address = ip("10.0.1.2").into();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::NoDecision
    );
    world
        .tables
        .network_classes
        .get_mut(&NetworkSlot(0))
        .unwrap()
        .prefix = ip("11.0.0.0").into();
    world
        .tables
        .network_classes
        .get_mut(&NetworkSlot(0))
        .unwrap()
        .prefix_length = 104;
    world.flip();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::NoClass
    );
}

#[test]
fn the_other_half_counts_where_it_is_known() {
    let mut world = World::new();
    let own_class = Class(30);
    world.workload().lanes = Lanes::both(WorkloadLane {
        egress: EGRESS,
        ingress: INGRESS,
        class: own_class,
    });
    let lane = PeerLane {
        class: PEERS_CLASS,
        egress: RuleSet(5),
        ingress: RuleSet(6),
    };
    world.tables.classes.get_mut(&PeerSlot(1)).unwrap().lanes = Lanes::both(lane);
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::NoDecision
    );
    world.allow(RuleSet(6), own_class, &[SSH]);
    world.flip();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::IngressDenied
    );
    world.allow(RuleSet(6), own_class, &[WEB]);
    world.flip();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::Opened
    );
    world.allow(RuleSet(5), own_class, &[WEB]);
    assert_eq!(
        world.inward(&tcp(PEER, ME, (4000, 22), SYN)),
        Reason::EgressDenied
    );
}

#[test]
fn no_flow_no_passage() {
    let world = World::new();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), ACK)),
        Reason::NoFlow
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN | ACK)),
        Reason::NoFlow
    );
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 4000), RST)),
        Reason::NoFlow
    );
}

#[test]
fn exotic_frames() {
    let world = World::new();
    let mut vlan = tcp(ME, PEER, (4000, 80), SYN);
    vlan[12..14].copy_from_slice(&[0x81, 0]);
    assert_eq!(world.outward(&vlan), Reason::Vlan);
    // On a real interface the kernel has already moved the tag out of the bytes.
    let arrival = Arrival {
        hook: Hook::FromWorkload,
        ifindex: INTERFACE,
        ingress_ifindex: INTERFACE,
        socket: Socket::None,
        tag: Tag::Some,
    };
    assert_eq!(
        world.arrive(arrival, &tcp(ME, PEER, (4000, 80), SYN)),
        Reason::Vlan
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (1, 80), SYN | FIN)),
        Reason::TcpFlags
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (1, 80), SYN | RST)),
        Reason::TcpFlags
    );
    assert_eq!(world.outward(&tcp(ME, PEER, (1, 80), 0)), Reason::TcpFlags);
    assert_eq!(
        world.outward(&tcp(ME, PEER, (1, 80), FIN)),
        Reason::TcpFlags
    );
    for (kind, me, peer) in [(5, ME, PEER), (137, ME6, PEER6)] {
        let redirect = packet(
            me,
            peer,
            Payload::Icmp {
                kind,
                code: 0,
                rest: [0; 4],
                body: vec![0; 40],
            },
        )
        .build();
        assert_eq!(world.outward(&redirect), Reason::Redirect);
    }
    assert_eq!(
        world.inward(&tcp(PEER, "10.0.0.2", (1, 22), SYN)),
        Reason::ForeignDestination
    );
}

#[test]
fn tunnels_to_nodes() {
    let mut world = World::new();
    world
        .tables
        .node_addresses
        .insert(ip("192.168.0.2").into(), NODE_ADDRESS_OTHER);
    for node in [NODE, "192.168.0.2"] {
        for port in [4789, 8472, 6081] {
            assert_eq!(world.outward(&udp(ME, node, (4000, port))), Reason::Tunnel);
        }
        let raw = packet(
            ME,
            node,
            Payload::Raw {
                protocol: 4,
                bytes: vec![0; 20],
            },
        );
        assert_eq!(world.outward(&raw.build()), Reason::Tunnel);
    }
    assert_eq!(
        world.outward(&udp(ME, WORLD, (4000, 4789))),
        Reason::NoDecision
    );
    // Groups and broadcast reach the nodes, too.
    for (me, group) in [(ME, "224.0.0.1"), (ME, "255.255.255.255"), (ME6, "ff02::1")] {
        assert_eq!(world.outward(&udp(me, group, (4000, 8472))), Reason::Tunnel);
        assert_eq!(
            world.outward(&udp(me, group, (4000, 53))),
            Reason::NoDecision
        );
    }
}

#[test]
fn audit_is_reported_and_not_enforced() {
    let mut world = World::new();
    let value = DecisionValue {
        enforced: 1 << WEB.0,
        intended: 1 << SSH.0,
        ..DecisionValue::default()
    };
    world.decide(EGRESS, PEERS_CLASS, value);
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::Opened
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 22), SYN)),
        Reason::EgressDenied
    );
    let kinds: Vec<u8> = world
        .tables
        .written
        .take_events()
        .iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds,
        [EventKind::WouldDeny as u8, EventKind::WouldAllow as u8]
    );
}

#[test]
fn icmp_of_the_other_family_is_a_protocol_like_any_other() {
    for (me, peer, protocol) in [(ME, PEER, 58), (ME6, PEER6, 1)] {
        let mut world = World::new();
        for lane in [Lane::Even, Lane::Odd] {
            // Type 0 of the family's own ICMP is allowed; protocol 58 and 1 are not.
            world.tables.set_port_class(PortTable::Icmp, lane, 0, WEB);
            world.tables.set_port_class(PortTable::Icmpv6, lane, 0, WEB);
        }
        let payload = Payload::Raw {
            protocol,
            bytes: vec![0; 16],
        };
        let frame = packet(me, peer, payload).build();
        assert_eq!(world.outward(&frame), Reason::NoDecision);
        for lane in [Lane::Even, Lane::Odd] {
            let number = u16::from(protocol);
            world
                .tables
                .set_port_class(PortTable::Other, lane, number, WEB);
        }
        world.flip();
        assert_eq!(world.outward(&frame), Reason::Opened);
    }
}
