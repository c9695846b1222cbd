//! What passes, and what is remembered of it.

use super::*;

#[test]
fn tcp_both_ways_in_both_families() {
    for (me, peer) in [(ME, PEER), (ME6, PEER6)] {
        let world = World::new();
        assert_eq!(
            world.outward(&tcp(me, peer, (4000, 80), SYN)),
            Reason::Opened
        );
        assert_eq!(
            world.inward(&tcp(peer, me, (80, 4000), SYN | ACK)),
            Reason::Established
        );
        assert_eq!(
            world.outward(&tcp(me, peer, (4000, 80), ACK)),
            Reason::Established
        );
        assert_eq!(
            world.inward(&tcp(peer, me, (5000, 22), SYN)),
            Reason::Opened
        );
        assert_eq!(
            world.outward(&tcp(me, peer, (22, 5000), SYN | ACK)),
            Reason::Established
        );
        assert_eq!(world.flows(), 2);
        let states: Vec<_> = world
            .tables
            .written
            .flows()
            .values()
            .map(|flow| flow.life.state())
            .collect();
        assert_eq!(states, [FlowState::Established; 2]);
    }
}

#[test]
fn an_opener_may_carry_other_flags() {
    let world = World::new();
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN | 8 | 32)),
        Reason::Opened
    );
}

#[test]
fn udp_and_sctp() {
    let world = World::new();
    assert_eq!(world.outward(&udp(ME, PEER, (4000, 53))), Reason::Opened);
    assert_eq!(
        world.inward(&udp(PEER, ME, (53, 4000))),
        Reason::Established
    );
    let sctp = |chunk| {
        packet(
            ME,
            PEER,
            Payload::Sctp {
                source: 1,
                destination: 80,
                chunk,
            },
        )
        .build()
    };
    assert_eq!(world.outward(&sctp(0)), Reason::NoFlow);
    assert_eq!(world.outward(&sctp(1)), Reason::Opened);
    assert_eq!(world.outward(&sctp(0)), Reason::Established);
}

#[test]
fn ping_is_answered_but_not_turned_round() {
    for (me, peer) in [(ME, PEER), (ME6, PEER6)] {
        let world = World::new();
        let request = packet(me, peer, Payload::echo_request(ip(me), 5)).build();
        let reply = packet(peer, me, Payload::echo_reply(ip(me), 5)).build();
        let turned = packet(peer, me, Payload::echo_request(ip(me), 5)).build();
        assert_eq!(world.inward(&reply), Reason::NoFlow);
        assert_eq!(world.outward(&request), Reason::Opened);
        assert_eq!(world.inward(&reply), Reason::Established);
        assert_eq!(world.inward(&turned), Reason::IngressDenied);
    }
}

#[test]
fn errors_about_known_flows() {
    for (me, peer, kind) in [(ME, PEER, 3), (ME6, PEER6, 1)] {
        let world = World::new();
        let sent = packet(
            me,
            peer,
            Payload::Udp {
                source: 4000,
                destination: 53,
            },
        );
        let router = if me == ME { "172.16.0.1" } else { "fd00:2::1" };
        let about = |inner: &IpFrame| Payload::Icmp {
            kind,
            code: 3,
            rest: [0; 4],
            body: inner.packet(),
        };
        let error = packet(router, me, about(&sent)).build();
        assert_eq!(world.inward(&error), Reason::UnrelatedError);
        assert_eq!(world.outward(&sent.build()), Reason::Opened);
        assert_eq!(world.inward(&error), Reason::Related);
        let received = packet(
            peer,
            me,
            Payload::Udp {
                source: 53,
                destination: 4000,
            },
        );
        assert_eq!(
            world.outward(&packet(me, peer, about(&received)).build()),
            Reason::Related
        );
        // The quotation does not choose who gets the error.
        assert_eq!(
            world.outward(&packet(me, router, about(&received)).build()),
            Reason::UnrelatedError
        );
        let forged = packet(
            peer,
            me,
            Payload::Udp {
                source: 54,
                destination: 4000,
            },
        );
        assert_eq!(
            world.outward(&packet(me, peer, about(&forged)).build()),
            Reason::UnrelatedError
        );
    }
}

#[test]
fn the_host_reaches_its_workloads() {
    let mut world = World::new();
    world.workload().flags = WORKLOAD_PENDING;
    let probe = tcp(NODE, ME, (4000, 8080), SYN);
    assert_eq!(
        world.outward(&tcp(ME, NODE, (8080, 4000), SYN | ACK)),
        Reason::Pending
    );
    assert_eq!(world.by_host(&probe), Reason::HostOriginated);
    assert_eq!(
        world.outward(&tcp(ME, NODE, (8080, 4000), SYN | ACK)),
        Reason::Established
    );
    world.flip();
    assert_eq!(
        world.outward(&tcp(ME, NODE, (8080, 4000), ACK)),
        Reason::Established
    );
    // All three signs are needed.
    assert_eq!(
        world.inward(&tcp(NODE, ME, (4001, 8080), SYN)),
        Reason::Pending
    );
    assert_eq!(
        world.by_host(&tcp(PEER, ME, (4001, 8080), SYN)),
        Reason::Pending
    );
    let arrival = Arrival {
        hook: Hook::ToWorkload,
        ifindex: INTERFACE,
        ingress_ifindex: 0,
        socket: Socket::None,
        tag: Tag::None,
    };
    assert_eq!(
        world.arrive(arrival, &tcp(NODE, ME, (4001, 8080), SYN)),
        Reason::Pending
    );
}

#[test]
fn a_host_reply_opens_nothing() {
    let world = World::new();
    assert_eq!(
        world.by_host(&tcp(NODE, ME, (22, 4000), ACK)),
        Reason::HostOriginated
    );
    assert_eq!(
        world.outward(&tcp(ME, NODE, (4000, 22), ACK)),
        Reason::NoFlow
    );
}

#[test]
fn oneself_and_link_control() {
    let world = World::new();
    for flags in [SYN, ACK] {
        let packet = tcp(ME, ME, (4000, 1), flags);
        assert_eq!(world.outward(&packet), Reason::ToSelf);
    }
    assert_eq!(
        world.outward(&arp(MAC, 1, (MAC, [10, 0, 0, 1]), [10, 0, 0, 254])),
        Reason::Arp
    );
    assert_eq!(
        world.outward(&arp(MAC, 1, (MAC, [0; 4]), [10, 0, 0, 1])),
        Reason::Arp
    );
    assert_eq!(
        world.inward(&arp(GATEWAY, 2, (GATEWAY, [10, 0, 0, 254]), [10, 0, 0, 1])),
        Reason::Arp
    );
    let me: Ipv6Addr = ME6.parse().unwrap();
    let solicit = |source: &str, target: [u8; 16], option| {
        let payload = Payload::Icmp {
            kind: 135,
            code: 0,
            rest: [0; 4],
            body: neighbour_body(target, option),
        };
        IpFrame {
            source_mac: MAC,
            hop_limit: 255,
            ..packet(source, "ff02::1:ff00:1", payload)
        }
        .build()
    };
    assert_eq!(
        world.outward(&solicit(ME6, [7; 16], Some((1, MAC)))),
        Reason::Neighbour
    );
    assert_eq!(
        world.outward(&solicit("fe80::ff:fe00:a", [7; 16], Some((1, MAC)))),
        Reason::Neighbour
    );
    assert_eq!(
        world.outward(&solicit("::", me.octets(), None)),
        Reason::Neighbour
    );
    assert_eq!(world.flows(), 0);
}

#[test]
fn fragments_follow_their_first() {
    for (me, peer) in [(ME, PEER), (ME6, PEER6)] {
        let world = World::new();
        let whole = packet(
            me,
            peer,
            Payload::Udp {
                source: 4000,
                destination: 53,
            },
        );
        let first = IpFrame {
            fragment: Some((0, true)),
            identification: 77,
            ..whole.clone()
        }
        .build();
        let later = IpFrame {
            fragment: Some((2, false)),
            identification: 77,
            payload: Payload::Raw {
                protocol: 17,
                bytes: vec![1; 10],
            },
            ..whole
        }
        .build();
        assert_eq!(world.outward(&later), Reason::FragmentUnknown);
        assert_eq!(world.outward(&first), Reason::Opened);
        assert_eq!(world.outward(&later), Reason::Established);
    }
}

#[test]
fn a_connection_runs_to_its_end_and_starts_again() {
    let world = World::new();
    for flags in [SYN, ACK, FIN | ACK] {
        world.outward(&tcp(ME, PEER, (4000, 80), flags));
    }
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 4000), FIN | ACK)),
        Reason::Established
    );
    assert_eq!(
        world.tables.written.take_events().last().unwrap().kind,
        EventKind::Closed as u8
    );
    assert_eq!(
        world.outward(&tcp(ME, PEER, (4000, 80), SYN)),
        Reason::Established
    );
    let flows = world.tables.written.flows();
    assert_eq!(flows.values().next().unwrap().life.state(), FlowState::New);
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 4000), RST)),
        Reason::Established
    );
}
