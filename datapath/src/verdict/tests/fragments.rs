//! Fragments of both families: in order and out of it, tiny, overlapping, with their first missing or denied.

use super::*;

/// A fragment of a datagram between two ends; `position` counts units of eight bytes.
fn piece(ends: (&str, &str), ports: (u16, u16), position: u16, more: bool) -> Vec<u8> {
    let payload = if position == 0 {
        Payload::Udp {
            source: ports.0,
            destination: ports.1,
        }
    } else {
        Payload::Raw {
            protocol: 17,
            bytes: vec![7; 16],
        }
    };
    IpFrame {
        fragment: Some((position, more)),
        identification: 77,
        ..packet(ends.0, ends.1, payload)
    }
    .build()
}

const FAMILIES: [(&str, &str); 2] = [(ME, PEER), (ME6, PEER6)];

#[test]
fn later_ones_follow_their_first_in_any_order_and_not_before_it() {
    for ends in FAMILIES {
        let world = World::new();
        let ports = (4000, 53);
        for position in [2, 4] {
            let early = piece(ends, ports, position, position == 2);
            assert_eq!(world.outward(&early), Reason::FragmentUnknown);
        }
        assert_eq!(world.outward(&piece(ends, ports, 0, true)), Reason::Opened);
        for position in [6, 2, 4, 2] {
            let later = piece(ends, ports, position, position != 6);
            assert_eq!(world.outward(&later), Reason::Established, "{position}");
        }
    }
}

#[test]
fn a_first_that_is_denied_takes_the_others_with_it() {
    for ends in FAMILIES {
        let world = World::new();
        let first = piece(ends, (4000, 54), 0, true);
        assert_eq!(world.outward(&first), Reason::NoDecision);
        assert_eq!(
            world.outward(&piece(ends, (4000, 54), 2, false)),
            Reason::FragmentUnknown
        );
    }
}

#[test]
fn later_ones_are_judged_anew_after_a_change() {
    for ends in FAMILIES {
        let mut world = World::new();
        let ports = (4000, 53);
        assert_eq!(world.outward(&piece(ends, ports, 0, true)), Reason::Opened);
        world.allow(EGRESS, PEERS_CLASS, &[]);
        world.flip();
        assert_eq!(
            world.outward(&piece(ends, ports, 2, true)),
            Reason::EgressDenied
        );
    }
}

#[test]
fn each_hook_and_datagram_has_its_own() {
    for (me, peer) in FAMILIES {
        let world = World::new();
        assert_eq!(
            world.outward(&piece((me, peer), (4000, 53), 0, true)),
            Reason::Opened
        );
        // The same identification, from the other side.
        assert_eq!(
            world.inward(&piece((peer, me), (53, 4000), 2, false)),
            Reason::FragmentUnknown
        );
        let other = IpFrame {
            fragment: Some((2, false)),
            identification: 78,
            ..packet(
                me,
                peer,
                Payload::Raw {
                    protocol: 17,
                    bytes: vec![7; 16],
                },
            )
        };
        assert_eq!(world.outward(&other.build()), Reason::FragmentUnknown);
    }
}

#[test]
fn tiny_and_overlapping_ones_are_dropped() {
    for (me, peer) in FAMILIES {
        let world = World::new();
        let cut = |protocol, length, position, more| {
            let payload = Payload::Raw {
                protocol,
                bytes: vec![0; length],
            };
            let frame = IpFrame {
                fragment: Some((position, more)),
                ..packet(me, peer, payload)
            };
            world.outward(&frame.build())
        };
        // The header does not fit into the first (RFC 1858).
        for (protocol, length, reason) in [
            (6, 8, Reason::Truncated),
            (6, 16, Reason::TcpHeader),
            (17, 0, Reason::FragmentInvalid),
            (132, 8, Reason::Truncated),
        ] {
            assert_eq!(
                cut(protocol, length, 0, true),
                reason,
                "{protocol} {length}"
            );
        }
        // A later one over the flags of a TCP header, beyond the end of the largest datagram, of odd length.
        assert_eq!(cut(6, 16, 1, true), Reason::FragmentInvalid);
        assert_eq!(cut(6, 16, 2, true), Reason::FragmentInvalid);
        assert_eq!(cut(17, 16, 0x1fff, false), Reason::FragmentInvalid);
        assert_eq!(cut(17, 15, 4, true), Reason::FragmentInvalid);
        assert_eq!(cut(17, 0, 4, false), Reason::FragmentInvalid);
    }
}
