//! Frames that pretend to be somebody else's.

use super::*;

#[test]
fn mac_and_address() {
    let world = World::new();
    let frame = IpFrame {
        source_mac: GATEWAY,
        ..packet(
            ME,
            PEER,
            Payload::Udp {
                source: 1,
                destination: 53,
            },
        )
    };
    assert_eq!(world.outward(&frame.build()), Reason::SourceMacSpoofed);
    for (source, destination) in [
        ("10.0.0.2", PEER),
        ("fd00::2", PEER6),
        ("::", PEER6),
        ("0.0.0.0", PEER),
    ] {
        let frame = IpFrame {
            source_mac: MAC,
            ..packet(
                source,
                destination,
                Payload::Udp {
                    source: 1,
                    destination: 53,
                },
            )
        };
        assert_eq!(
            world.outward(&frame.build()),
            Reason::SourceAddressSpoofed,
            "{source}"
        );
    }
}

#[test]
fn a_router_may_hold_other_addresses() {
    let mut world = World::new();
    world.workload().flags = WORKLOAD_MAY_ROUTE;
    let frame = IpFrame {
        source_mac: MAC,
        ..packet(
            "10.9.9.9",
            PEER,
            Payload::Udp {
                source: 1,
                destination: 53,
            },
        )
    };
    assert_eq!(world.outward(&frame.build()), Reason::Opened);
    assert_eq!(
        world.inward(&udp(PEER, "10.9.9.9", (53, 1))),
        Reason::Established
    );
}

#[test]
fn arp_and_neighbour_discovery() {
    let world = World::new();
    assert_eq!(
        world.outward(&arp(MAC, 2, (MAC, [10, 0, 0, 2]), [10, 0, 0, 254])),
        Reason::ArpSpoofed
    );
    assert_eq!(
        world.outward(&arp(MAC, 2, (GATEWAY, [10, 0, 0, 1]), [10, 0, 0, 254])),
        Reason::ArpSpoofed
    );
    assert_eq!(
        world.outward(&arp(MAC, 1, (MAC, [0; 4]), [10, 0, 0, 2])),
        Reason::ArpSpoofed
    );
    let me: Ipv6Addr = ME6.parse().unwrap();
    let advertise = |target: [u8; 16], option| {
        let payload = Payload::Icmp {
            kind: 136,
            code: 0,
            rest: [0; 4],
            body: neighbour_body(target, option),
        };
        IpFrame {
            hop_limit: 255,
            ..packet(ME6, "ff02::1", payload)
        }
        .build()
    };
    assert_eq!(
        world.outward(&advertise(me.octets(), Some((2, MAC)))),
        Reason::Neighbour
    );
    assert_eq!(
        world.outward(&advertise(me.octets(), Some((2, GATEWAY)))),
        Reason::NeighbourSpoofed
    );
    assert_eq!(
        world.outward(&advertise([7; 16], Some((2, MAC)))),
        Reason::NeighbourSpoofed
    );
    let forwarded = Payload::Icmp {
        kind: 136,
        code: 0,
        rest: [0; 4],
        body: neighbour_body(me.octets(), None),
    };
    assert_eq!(
        world.outward(&packet(ME6, "ff02::1", forwarded).build()),
        Reason::NeighbourHeader
    );
    let router = Payload::Icmp {
        kind: 134,
        code: 0,
        rest: [0; 4],
        body: vec![0; 8],
    };
    let router = IpFrame {
        hop_limit: 255,
        ..packet(ME6, "ff02::1", router)
    }
    .build();
    assert_eq!(world.outward(&router), Reason::RouterAdvertisement);
    assert_eq!(world.inward(&router), Reason::RouterAdvertisement);
}

#[test]
fn a_local_address_comes_through_its_own_interface() {
    let mut world = World::new();
    world
        .tables
        .classes
        .get_mut(&PeerSlot(1))
        .unwrap()
        .set_local_workload(Some(WorkloadSlot(4)));
    world.tables.interfaces.insert(8, WorkloadSlot(4));
    let from = |ifindex| Arrival {
        hook: Hook::ToWorkload,
        ifindex: INTERFACE,
        ingress_ifindex: ifindex,
        socket: Socket::None,
        tag: Tag::None,
    };
    let syn = tcp(PEER, ME, (4000, 22), SYN);
    assert_eq!(world.arrive(from(UPLINK), &syn), Reason::LocalSourceSpoofed);
    assert_eq!(
        world.arrive(from(INTERFACE), &syn),
        Reason::LocalSourceSpoofed
    );
    assert_eq!(world.arrive(from(8), &syn), Reason::Opened);
    let ack = tcp(PEER, ME, (4000, 22), ACK);
    assert_eq!(world.arrive(from(UPLINK), &ack), Reason::LocalSourceSpoofed);
    assert_eq!(world.arrive(from(8), &ack), Reason::Established);
    world.tables.interfaces.insert(UPLINK, WorkloadSlot::BRIDGE);
    assert_eq!(world.arrive(from(UPLINK), &ack), Reason::Established);
    assert_eq!(
        world.arrive(from(3), &tcp(ME, ME, (1, 2), SYN)),
        Reason::LocalSourceSpoofed
    );
}

#[test]
fn an_error_comes_from_where_its_source_may_be() {
    let mut world = World::new();
    let peer = world.tables.classes.get_mut(&PeerSlot(1)).unwrap();
    peer.set_local_workload(Some(WorkloadSlot(4)));
    world.tables.interfaces.insert(8, WorkloadSlot(4));
    let sent = packet(
        ME,
        PEER,
        Payload::Udp {
            source: 4000,
            destination: 53,
        },
    );
    assert_eq!(world.outward(&sent.build()), Reason::Opened);
    let error = |source: &str| {
        let payload = Payload::Icmp {
            kind: 3,
            code: 4,
            rest: [0; 4],
            body: sent.packet(),
        };
        packet(source, ME, payload).build()
    };
    assert_eq!(world.inward(&error("172.16.0.1")), Reason::Related);
    for source in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        assert_eq!(
            world.inward(&error(source)),
            Reason::SourceAddressInvalid,
            "{source}"
        );
    }
    assert_eq!(world.inward(&error(PEER)), Reason::LocalSourceSpoofed);
    let arrival = Arrival {
        hook: Hook::ToWorkload,
        ifindex: INTERFACE,
        ingress_ifindex: 8,
        socket: Socket::None,
        tag: Tag::None,
    };
    assert_eq!(world.arrive(arrival, &error(PEER)), Reason::Related);
}

/// A client behind the node's address may hit the ports of an earlier probe: it is judged, and the probe's flow is not its.
#[test]
fn nobody_rides_on_a_flow_of_the_host() {
    let mut world = World::new();
    let ports = (4000, 22);
    assert_eq!(
        world.by_host(&tcp(NODE, ME, ports, SYN)),
        Reason::HostOriginated
    );
    for flags in [SYN, ACK] {
        let reason = world.inward(&tcp(NODE, ME, ports, flags));
        assert_eq!(reason.action(), crate::abi::Action::Drop);
    }
    assert_eq!(
        world.outward(&tcp(ME, NODE, (22, 4000), SYN | ACK)),
        Reason::Established
    );
    // Where policy lets the node in, it passes for what it is, and changes nothing of the host's flow.
    let lanes = Lanes::both(PeerLane {
        class: PEERS_CLASS,
        ..PeerLane::default()
    });
    let value = PeerValue {
        address: ip(NODE).into(),
        lanes,
        ..PeerValue::default()
    };
    world.tables.set_peer(PeerSlot(9), value);
    world.flip();
    let before = world.tables.written.flows();
    assert_eq!(
        world.inward(&tcp(NODE, ME, ports, SYN)),
        Reason::Unremembered
    );
    assert_eq!(world.tables.written.flows(), before);
    // When the host's is over, its place is free.
    assert_eq!(
        world.by_host(&tcp(NODE, ME, ports, RST)),
        Reason::HostOriginated
    );
    assert_eq!(world.inward(&tcp(NODE, ME, ports, SYN)), Reason::Opened);
}

#[test]
fn link_control_carries_nothing_else() {
    let world = World::new();
    let mut long = arp(MAC, 1, (MAC, [10, 0, 0, 1]), [10, 0, 0, 254]);
    long.resize(60, 0);
    assert_eq!(world.outward(&long), Reason::Arp);
    long.resize(61, 0);
    assert_eq!(world.outward(&long), Reason::ArpHeader);
    let me: Ipv6Addr = ME6.parse().unwrap();
    let advertise = |option, extra: usize| {
        let mut body = neighbour_body(me.octets(), option);
        body.extend(vec![0; extra]);
        let payload = Payload::Icmp {
            kind: 136,
            code: 0,
            rest: [0; 4],
            body,
        };
        IpFrame {
            hop_limit: 255,
            ..packet(ME6, "ff02::1", payload)
        }
        .build()
    };
    assert_eq!(
        world.outward(&advertise(Some((14, MAC)), 0)),
        Reason::Neighbour
    );
    assert_eq!(
        world.outward(&advertise(Some((200, MAC)), 0)),
        Reason::NeighbourHeader
    );
    let mut trailing = advertise(None, 0);
    trailing.push(7);
    assert_eq!(world.outward(&trailing), Reason::NeighbourHeader);
    let report = |destination: &str| {
        let payload = Payload::Icmp {
            kind: 143,
            code: 0,
            rest: [0; 4],
            body: vec![0; 20],
        };
        IpFrame {
            hop_limit: 1,
            ..packet(ME6, destination, payload)
        }
        .build()
    };
    assert_eq!(
        world.outward(&report("ff02::16")),
        Reason::MulticastListener
    );
    assert_eq!(world.outward(&report(PEER6)), Reason::SourceAddressSpoofed);
    assert_eq!(world.inward(&report(ME6)), Reason::NeighbourHeader);
}
