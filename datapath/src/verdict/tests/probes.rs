//! What scanners send, and what else arrives out of place: each kind by name.

use super::*;
use crate::abi::Action;

const URG: u8 = 32;
const PSH: u8 = 8;
const ECE: u8 = 64;
const CWR: u8 = 128;

fn out(world: &World, flags: u8) -> Reason {
    world.outward(&tcp(ME, PEER, (4000, 80), flags))
}

#[test]
fn openers_with_odd_flags_are_openers() {
    for odd in [0, PSH, URG, PSH | URG, ECE | CWR, PSH | URG | ECE | CWR] {
        let world = World::new();
        assert_eq!(out(&world, SYN | odd), Reason::Opened, "{odd}");
        let denied = tcp(ME, PEER, (4000, 22), SYN | odd);
        assert_eq!(world.outward(&denied), Reason::EgressDenied, "{odd}");
    }
}

#[test]
fn null_fin_and_christmas_tree_probes_are_nonsense() {
    let world = World::new();
    for flags in [0, FIN, PSH, URG, FIN | PSH | URG, ECE | CWR] {
        assert_eq!(out(&world, flags), Reason::TcpFlags, "{flags}");
    }
    for flags in [SYN | FIN, SYN | RST, SYN | FIN | ACK, SYN | RST | ACK] {
        assert_eq!(out(&world, flags), Reason::TcpFlags, "{flags}");
    }
    // An open flow makes no sense of them either.
    assert_eq!(out(&world, SYN), Reason::Opened);
    assert_eq!(out(&world, FIN), Reason::TcpFlags);
    assert_eq!(out(&world, SYN | FIN), Reason::TcpFlags);
}

#[test]
fn syn_ack_ack_fin_and_rst_without_an_entry_open_nothing() {
    for flags in [SYN | ACK, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK] {
        let world = World::new();
        assert_eq!(out(&world, flags), Reason::NoFlow, "{flags}");
        let back = tcp(PEER, ME, (80, 4000), flags);
        assert_eq!(world.inward(&back), Reason::NoFlow, "{flags}");
        assert_eq!(world.flows(), 0);
    }
}

#[test]
fn packets_from_the_middle_after_their_entry_is_gone_are_dropped() {
    let world = World::new();
    assert_eq!(out(&world, SYN), Reason::Opened);
    assert_eq!(out(&world, ACK), Reason::Established);
    world.tables.written.forget();
    assert_eq!(out(&world, ACK), Reason::NoFlow);
    assert_eq!(
        world.inward(&tcp(PEER, ME, (80, 4000), ACK)),
        Reason::NoFlow
    );
    assert_eq!(out(&world, SYN), Reason::Opened);
}

#[test]
fn ports_in_time_wait_are_used_again_by_either_end() {
    let mut world = World::new();
    // Both may open to each other between these ports.
    let ends = [
        (ME, PEER, (22, 80), Hook::FromWorkload),
        (PEER, ME, (80, 22), Hook::ToWorkload),
    ];
    let send = |world: &World, end: usize, flags| {
        let (source, destination, ports, hook) = ends[end];
        let frame = tcp(source, destination, ports, flags);
        match hook {
            Hook::FromWorkload => world.outward(&frame),
            Hook::ToWorkload => world.inward(&frame),
        }
    };
    for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        world.tables.written.forget();
        assert_eq!(send(&world, first, SYN), Reason::Opened);
        for end in [1 - first, first] {
            send(&world, end, FIN | ACK);
        }
        let again = send(&world, second, SYN);
        assert_eq!(again.action(), Action::Pass, "{first} then {second}");
        assert_eq!(send(&world, 1 - second, SYN | ACK), Reason::Established);
        assert_eq!(world.flows(), 1);
    }
    // Policy is asked for the new one, whoever had the ports before.
    world.tables.written.forget();
    send(&world, 0, SYN);
    send(&world, 0, RST);
    world.allow(INGRESS, PEERS_CLASS, &[]);
    assert_eq!(send(&world, 1, SYN), Reason::IngressDenied);
}

#[test]
fn other_protocols_are_judged_by_their_number() {
    let mut world = World::new();
    for lane in [Lane::Even, Lane::Odd] {
        world.tables.set_port_class(PortTable::Other, lane, 47, WEB);
        world.tables.set_port_class(PortTable::Other, lane, 50, SSH);
    }
    let raw = |me: &str, peer: &str, protocol| {
        let payload = Payload::Raw {
            protocol,
            bytes: vec![0; 24],
        };
        packet(me, peer, payload).build()
    };
    for (me, peer) in [(ME, PEER), (ME6, PEER6)] {
        assert_eq!(world.outward(&raw(me, peer, 47)), Reason::Opened);
        assert_eq!(world.inward(&raw(peer, me, 47)), Reason::Established);
        assert_eq!(world.outward(&raw(me, peer, 50)), Reason::EgressDenied);
        assert_eq!(world.inward(&raw(peer, me, 50)), Reason::Opened);
        for unknown in [2, 89, 112, 253] {
            assert_eq!(world.outward(&raw(me, peer, unknown)), Reason::NoDecision);
        }
    }
}

#[test]
fn groups_broadcast_metadata_and_link_local_are_destinations_like_any_other() {
    let mut world = World::new();
    let places = [
        (ME, "224.0.0.251"),
        (ME, "255.255.255.255"),
        (ME, "169.254.169.254"),
        (ME, "169.254.1.1"),
        (ME6, "ff02::fb"),
        (ME6, "fe80::1"),
        (ME6, "fd00:ec2::254"),
    ];
    for (me, place) in places {
        let frame = udp(me, place, (4000, 53));
        assert_eq!(world.outward(&frame), Reason::NoDecision, "{place}");
    }
    world.allow(EGRESS, WORLD_CLASS, &[DNS]);
    world.flip();
    for (me, place) in places {
        let frame = udp(me, place, (4000, 53));
        assert_eq!(world.outward(&frame), Reason::Opened, "{place}");
    }
    // Nobody sends from a group, and what comes to one is judged by its sender.
    assert_eq!(
        world.inward(&udp("224.0.0.251", ME, (53, 4000))),
        Reason::SourceAddressInvalid
    );
    for lane in [Lane::Even, Lane::Odd] {
        world.tables.set_port_class(PortTable::Udp, lane, 5353, SSH);
    }
    assert_eq!(
        world.inward(&udp(PEER, "224.0.0.251", (5353, 5353))),
        Reason::Opened
    );
    assert_eq!(
        world.inward(&udp(WORLD, "224.0.0.251", (5353, 5353))),
        Reason::NoDecision
    );
}

#[test]
fn tags_of_every_kind_are_dropped() {
    let world = World::new();
    let inner = tcp(ME, PEER, (4000, 80), SYN);
    for outer in [[0x81, 0x00], [0x88, 0xa8]] {
        for second in [None, Some([0x81, 0x00])] {
            let mut frame = inner[..12].to_vec();
            frame.extend(outer);
            frame.extend([0, 5]);
            if let Some(second) = second {
                frame.extend(second);
                frame.extend([0, 6]);
            }
            frame.extend(&inner[12..]);
            assert_eq!(world.outward(&frame), Reason::Vlan);
            assert_eq!(world.inward(&frame), Reason::Vlan);
        }
    }
    // Older stacking and what is no IP at all.
    for ethertype in [[0x91, 0x00], [0x88, 0x47], [0x88, 0x64], [0x00, 0x2e]] {
        let mut frame = inner.clone();
        frame[12..14].copy_from_slice(&ethertype);
        assert_eq!(world.outward(&frame), Reason::EtherType);
    }
}
