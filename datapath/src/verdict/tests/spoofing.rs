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
