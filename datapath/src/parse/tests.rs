//! Frames of every kind, cut and mutated: the parser understands or refuses, and never panics.

use super::*;
use crate::abi::Mac;
use crate::frame::{IpFrame, Payload, SYN, arp, ethernet};
use std::net::IpAddr;

const MAC: Mac = Mac {
    octets: [0x02, 0, 0, 0, 0, 1],
};

fn read(frame: &[u8]) -> Result<Packet, Reason> {
    let mut packet = Packet::default();
    parse(&Frame(frame), &mut packet).map(|()| packet)
}

fn tcp_frame(source: &str, destination: &str) -> IpFrame {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    IpFrame::new(
        MAC,
        ip(source),
        ip(destination),
        Payload::Tcp {
            source: 1000,
            destination: 80,
            flags: SYN,
        },
    )
}

fn v4() -> IpFrame {
    tcp_frame("10.0.0.1", "10.0.0.2")
}

fn v6() -> IpFrame {
    tcp_frame("fd00::1", "fd00::2")
}

#[test]
fn options_do_not_shift_the_ports() {
    for options in [
        vec![],
        vec![1, 1, 1, 0],
        vec![7, 7, 4, 0, 0, 0, 0],
        vec![1; 40].into_iter().take(11).collect(),
    ] {
        let packet = read(&IpFrame { options, ..v4() }.build()).unwrap();
        assert_eq!(
            (packet.tuple.source_port, packet.tuple.destination_port),
            (1000, 80)
        );
    }
    let broken = IpFrame {
        options: vec![7, 1, 0, 0],
        ..v4()
    };
    assert_eq!(read(&broken.build()), Err(Reason::Ipv4Header));
    let overlong = IpFrame {
        options: vec![7, 9, 0, 0],
        ..v4()
    };
    assert_eq!(read(&overlong.build()), Err(Reason::Ipv4Header));
    for kind in [131, 137] {
        assert_eq!(
            read(
                &IpFrame {
                    options: vec![kind, 3, 4, 0],
                    ..v4()
                }
                .build()
            ),
            Err(Reason::SourceRoute)
        );
    }
}

#[test]
fn extension_headers_are_walked_to_their_end() {
    let six =
        vec![(0, vec![1, 4, 0, 0, 0, 0]); 1]
            .into_iter()
            .chain(vec![(60, vec![1, 4, 0, 0, 0, 0]); 5]);
    let packet = read(
        &IpFrame {
            extensions: six.clone().collect(),
            ..v6()
        }
        .build(),
    )
    .unwrap();
    assert_eq!(
        (packet.tuple.protocol, packet.tuple.destination_port),
        (6, 80)
    );
    let seven = six.chain([(60, vec![0; 6])]).collect();
    assert_eq!(
        read(
            &IpFrame {
                extensions: seven,
                ..v6()
            }
            .build()
        ),
        Err(Reason::ExtensionHeaders)
    );
    let authenticated = IpFrame {
        extensions: vec![(51, vec![0; 14])],
        ..v6()
    };
    assert_eq!(
        read(&authenticated.build()).unwrap().tuple.destination_port,
        80
    );
    for (kind, body, reason) in [
        (43, vec![0, 1, 0, 0, 0, 0], Reason::SourceRoute),
        (135, vec![0; 6], Reason::ExtensionHeaders),
        (140, vec![0; 6], Reason::ExtensionHeaders),
    ] {
        assert_eq!(
            read(
                &IpFrame {
                    extensions: vec![(kind, body)],
                    ..v6()
                }
                .build()
            ),
            Err(reason)
        );
    }
    let late_hop = IpFrame {
        extensions: vec![(60, vec![0; 6]), (0, vec![0; 6])],
        ..v6()
    };
    assert_eq!(read(&late_hop.build()), Err(Reason::ExtensionHeaders));
}

/// Chains of every order of four kinds, up to eight long: understood up to six, and never with other ports than the last header's.
#[test]
fn extension_chains_of_any_order_and_number() {
    let kinds = [0_u8, 43, 51, 60];
    let mut understood = 0;
    for length in 0..=8_u32 {
        for number in 0..4_u32.pow(length.min(5)) {
            let chain: Vec<(u8, Vec<u8>)> = (0..length)
                .map(|at| {
                    let kind = kinds[(number >> (2 * (at % 5)) & 3) as usize];
                    (kind, vec![0; if kind == 51 { 14 } else { 6 }])
                })
                .collect();
            let hop_by_hop_late = chain.iter().skip(1).any(|(kind, _)| *kind == 0);
            let read = read(
                &IpFrame {
                    extensions: chain,
                    ..v6()
                }
                .build(),
            );
            if length > 6 || hop_by_hop_late {
                assert_eq!(read, Err(Reason::ExtensionHeaders), "{length} {number}");
            } else {
                let tuple = read.unwrap().tuple;
                let found = (tuple.protocol, tuple.source_port, tuple.destination_port);
                assert_eq!(found, (6, 1000, 80), "{length} {number}");
                understood += 1;
            }
        }
    }
    assert!(understood > 400, "{understood}");
}

#[test]
fn extension_headers_say_how_long_they_are() {
    for kind in [0, 43, 60, 51] {
        let mut frame = IpFrame {
            extensions: vec![(kind, vec![0; 14])],
            ..v6()
        }
        .build();
        frame[14 + 40 + 1] = 200;
        assert_eq!(read(&frame), Err(Reason::Ipv6Header), "{kind}");
    }
}

#[test]
fn fragments_know_their_place() {
    for whole in [v4(), v6()] {
        let cut = |offset, more, length| {
            let payload = Payload::Raw {
                protocol: 6,
                bytes: vec![0; length],
            };
            read(
                &IpFrame {
                    fragment: Some((offset, more)),
                    payload,
                    ..whole.clone()
                }
                .build(),
            )
        };
        let first = IpFrame {
            fragment: Some((0, true)),
            ..whole.clone()
        };
        assert_eq!(
            read(&first.build()),
            Err(Reason::FragmentInvalid),
            "20 bytes are no multiple of 8"
        );
        assert_eq!(cut(3, false, 5).unwrap().fragment, Fragment::Later);
        assert_eq!(cut(1, false, 8), Err(Reason::FragmentInvalid));
        assert_eq!(cut(2, false, 8), Err(Reason::FragmentInvalid));
        assert_eq!(cut(0x1fff, false, 9), Err(Reason::FragmentInvalid));
        assert_eq!(cut(0, true, 8), Err(Reason::Truncated));
    }
    let atomic = IpFrame {
        fragment: Some((0, false)),
        ..v6()
    };
    assert_eq!(read(&atomic.build()).unwrap().fragment, Fragment::Whole);
}

#[test]
fn lengths_have_to_agree() {
    let mut frame = v4().build();
    frame[14 + 3] = 200;
    assert_eq!(read(&frame), Err(Reason::Truncated));
    frame[14 + 3] = 19;
    assert_eq!(read(&frame), Err(Reason::Ipv4Header));
    let mut frame = v4().build();
    frame[14 + 20 + 12] = 0xf0;
    assert_eq!(read(&frame), Err(Reason::TcpHeader));
    let mut padded = v4().build();
    padded.resize(60, 0);
    assert!(read(&padded).is_ok());
    let mut jumbo = v6().build();
    jumbo[14 + 4..14 + 6].copy_from_slice(&[0, 0]);
    assert_eq!(read(&jumbo), Err(Reason::Ipv6Header));
    assert_eq!(
        read(&ethernet(MAC, MAC, 0x88cc, &[0; 50])),
        Err(Reason::EtherType)
    );
    let mut request = arp(MAC, 1, (MAC, [10, 0, 0, 1]), [10, 0, 0, 2]);
    request[14 + 7] = 3;
    assert_eq!(read(&request), Err(Reason::ArpHeader));
}

#[test]
fn mapped_addresses_do_not_travel() {
    for (source, destination) in [
        ("::ffff:10.0.0.1", "fd00::2"),
        ("fd00::1", "::ffff:10.0.0.2"),
    ] {
        let ip = |text: &str| IpAddr::V6(text.parse().unwrap());
        let frame = IpFrame {
            source: ip(source),
            destination: ip(destination),
            ..v6()
        };
        assert_eq!(
            read(&frame.build()),
            Err(Reason::Ipv6Header),
            "{source} to {destination}"
        );
    }
}

#[test]
fn a_family_does_not_speak_the_other_ones_icmp() {
    let frame = |base: IpFrame, protocol| IpFrame {
        payload: Payload::Raw {
            protocol,
            bytes: vec![134; 8],
        },
        ..base
    };
    assert_eq!(
        read(&frame(v4(), 58).build()).unwrap().content,
        Content::Flow
    );
    assert_eq!(
        read(&frame(v6(), 1).build()).unwrap().content,
        Content::Flow
    );
}

/// Every prefix of a valid frame, and frames with bytes changed by a fixed sequence.
#[test]
fn cut_and_mutated_frames_never_panic() {
    let quoted = Payload::Icmp {
        kind: 3,
        code: 1,
        rest: [0; 4],
        body: v4().packet(),
    };
    let quoted6 = Payload::Icmp {
        kind: 2,
        code: 0,
        rest: [0; 4],
        body: v6().packet(),
    };
    let corpus = [
        v4().build(),
        v6().build(),
        IpFrame {
            options: vec![7, 7, 4, 0, 0, 0, 0],
            ..v4()
        }
        .build(),
        IpFrame {
            extensions: vec![(0, vec![0; 6]), (60, vec![0; 14])],
            ..v6()
        }
        .build(),
        IpFrame {
            payload: quoted,
            ..v4()
        }
        .build(),
        IpFrame {
            payload: quoted6,
            ..v6()
        }
        .build(),
        arp(MAC, 1, (MAC, [10, 0, 0, 1]), [10, 0, 0, 2]),
    ];
    let mut state = 0x9e37_79b9_u32;
    for frame in &corpus {
        assert!(read(frame).is_ok());
        let declared = match frame[12..14] {
            [8, 0] => 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]])),
            [0x86, _] => 54 + usize::from(u16::from_be_bytes([frame[18], frame[19]])),
            _ => frame.len(),
        };
        for end in 0..declared {
            assert_eq!(read(&frame[..end]), Err(Reason::Truncated), "cut at {end}");
        }
        for _ in 0..2_000 {
            let mut mutated = frame.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % mutated.len();
                mutated[at] = state as u8;
            }
            let _ = read(&mutated);
        }
    }
}
