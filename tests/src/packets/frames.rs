//! Random frames for a world: conversations and their answers, fragments, errors, link control, lies and rubbish.

use super::World;
use super::tables::PORTS;
use bulkhead_datapath::abi::{Hook, Mac};
use bulkhead_datapath::frame::{
    ACK, FIN, IpFrame, Payload, RST, SYN, arp, ethernet, neighbour_body,
};
use fastrand::Rng;
use std::net::{IpAddr, Ipv6Addr};

const STRANGER: Mac = Mac {
    octets: [0x02, 0, 0, 0, 0xee, 0xee],
};
const REMEMBERED: usize = 64;

/// Frames one after the other; later ones answer, continue or quote earlier ones.
#[derive(Debug, Default)]
pub struct Frames {
    history: Vec<(Hook, IpFrame)>,
}

impl Frames {
    /// The next frame, and the hook that it comes to.
    pub fn next(&mut self, rng: &mut Rng, world: &World) -> (Hook, Vec<u8>) {
        let hook = if rng.bool() {
            Hook::FromWorkload
        } else {
            Hook::ToWorkload
        };
        match rng.u8(..20) {
            0 => (hook, link(rng, world)),
            1 => {
                let frame = self.frame(rng, world, hook).build();
                (hook, rubbish(rng, frame))
            }
            2 => (hook, self.error(rng, world, hook)),
            3..=8 if !self.history.is_empty() => self.related(rng, world),
            _ => {
                let frame = self.frame(rng, world, hook);
                self.remember(rng, hook, frame.clone());
                (hook, frame.build())
            }
        }
    }

    fn remember(&mut self, rng: &mut Rng, hook: Hook, frame: IpFrame) {
        if self.history.len() < REMEMBERED {
            self.history.push((hook, frame));
        } else {
            let place = rng.usize(..REMEMBERED);
            self.history[place] = (hook, frame);
        }
    }

    fn frame(&self, rng: &mut Rng, world: &World, hook: Hook) -> IpFrame {
        let own = world.own[rng.usize(..world.own.len())];
        let same_family: Vec<IpAddr> = world
            .others
            .iter()
            .chain(&world.own)
            .copied()
            .filter(|other| other.is_ipv4() == own.is_ipv4())
            .collect();
        let other = same_family[rng.usize(..same_family.len())];
        let lie = same_family[rng.usize(..same_family.len())];
        let own = if rng.u8(..15) == 0 { lie } else { own };
        let (source, destination) = match hook {
            Hook::FromWorkload => (own, other),
            Hook::ToWorkload => (other, own),
        };
        let mac = if matches!(hook, Hook::FromWorkload) && rng.u8(..25) != 0 {
            world.mac
        } else {
            STRANGER
        };
        let mut frame = IpFrame::new(mac, source, destination, payload(rng, source));
        frame.identification = rng.u32(..20);
        if rng.u8(..12) == 0 {
            frame.options = options(rng);
            frame.extensions = extensions(rng);
        }
        if rng.u8(..8) == 0 {
            fragment(rng, &mut frame);
        }
        frame
    }

    /// Answers, repeats or continues an earlier frame.
    fn related(&mut self, rng: &mut Rng, world: &World) -> (Hook, Vec<u8>) {
        let (hook, mut frame) = self.history[rng.usize(..self.history.len())].clone();
        let back = rng.bool();
        let hook = match (hook, back) {
            (Hook::FromWorkload, true) | (Hook::ToWorkload, false) => Hook::ToWorkload,
            (Hook::ToWorkload, true) | (Hook::FromWorkload, false) => Hook::FromWorkload,
        };
        frame.source_mac = if matches!(hook, Hook::FromWorkload) {
            world.mac
        } else {
            STRANGER
        };
        if back {
            std::mem::swap(&mut frame.source, &mut frame.destination);
        }
        frame.payload = answer(rng, frame.payload, back);
        (hook, frame.build())
    }

    /// An error about an earlier frame.
    fn error(&self, rng: &mut Rng, world: &World, hook: Hook) -> Vec<u8> {
        let quoted = if self.history.is_empty() {
            self.frame(rng, world, hook)
        } else {
            self.history[rng.usize(..self.history.len())].1.clone()
        };
        let v4 = quoted.source.is_ipv4();
        let kinds: &[u8] = if v4 {
            &[3, 4, 5, 11, 12]
        } else {
            &[1, 2, 3, 4, 137]
        };
        let kind = kinds[rng.usize(..kinds.len())];
        let mut body = quoted.packet();
        body.truncate(body.len().min(rng.usize(20..90)));
        let payload = Payload::Icmp {
            kind,
            code: rng.u8(..4),
            rest: [0; 4],
            body,
        };
        let mac = if matches!(hook, Hook::FromWorkload) {
            world.mac
        } else {
            STRANGER
        };
        let far = if rng.bool() {
            quoted.source
        } else {
            quoted.destination
        };
        IpFrame::new(
            mac,
            quoted.destination,
            if rng.u8(..4) == 0 { far } else { quoted.source },
            payload,
        )
        .build()
    }
}

fn port(rng: &mut Rng) -> u16 {
    PORTS[rng.usize(..PORTS.len())]
}

fn payload(rng: &mut Rng, source: IpAddr) -> Payload {
    let (from, to) = (port(rng), port(rng));
    match rng.u8(..13) {
        0..=4 => Payload::Tcp {
            source: from,
            destination: to,
            flags: tcp_flags(rng),
        },
        12 => query(rng, source.is_ipv4()),
        5..=7 => Payload::Udp {
            source: from,
            destination: to,
        },
        8 => Payload::echo_request(source, rng.u16(..4)),
        9 => Payload::echo_reply(source, rng.u16(..4)),
        10 => Payload::Sctp {
            source: from,
            destination: to,
            chunk: rng.u8(..3),
        },
        _ => {
            let kinds = [4, 41, 47, 50, 58, 1, 89, 97, 59];
            Payload::Raw {
                protocol: kinds[rng.usize(..kinds.len())],
                bytes: vec![rng.u8(..); rng.usize(8..40)],
            }
        }
    }
}

/// ICMP of every type and code that is neither an error nor link control, known or not.
fn query(rng: &mut Rng, v4: bool) -> Payload {
    let kinds: &[u8] = if v4 {
        &[0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 30, 42]
    } else {
        &[100, 128, 129, 138, 139, 144, 160, 200]
    };
    Payload::Icmp {
        kind: kinds[rng.usize(..kinds.len())],
        code: rng.u8(..3),
        rest: [0, rng.u8(..4), 0, 0],
        body: vec![0; rng.usize(..3) * 8],
    }
}

fn tcp_flags(rng: &mut Rng) -> u8 {
    match rng.u8(..10) {
        0..=4 => SYN,
        5 => SYN | ACK,
        6 => ACK,
        7 => FIN | ACK,
        8 => RST,
        _ => rng.u8(..64),
    }
}

fn answer(rng: &mut Rng, payload: Payload, back: bool) -> Payload {
    match payload {
        Payload::Tcp {
            source,
            destination,
            ..
        } if back => Payload::Tcp {
            source: destination,
            destination: source,
            flags: tcp_flags(rng),
        },
        Payload::Tcp {
            source,
            destination,
            ..
        } => Payload::Tcp {
            source,
            destination,
            flags: tcp_flags(rng),
        },
        Payload::Udp {
            source,
            destination,
        } if back => Payload::Udp {
            source: destination,
            destination: source,
        },
        Payload::Sctp {
            source,
            destination,
            ..
        } if back => Payload::Sctp {
            source: destination,
            destination: source,
            chunk: rng.u8(..3),
        },
        Payload::Icmp {
            kind,
            code,
            rest,
            body,
        } if back => {
            let kind = match kind {
                8 => 0,
                128 => 129,
                other => other,
            };
            Payload::Icmp {
                kind,
                code,
                rest,
                body,
            }
        }
        other @ (Payload::Udp { .. }
        | Payload::Sctp { .. }
        | Payload::Icmp { .. }
        | Payload::Raw { .. }) => other,
    }
}

fn options(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..6) {
        0 => vec![131, 3, 4],
        1 => vec![7, 1],
        2 => vec![7, 60],
        3 => vec![1; rng.usize(1..24)],
        4 => vec![0, 137, 3, 4],
        _ => vec![1, 7, 7, 4, 0, 0, 0, 0],
    }
}

fn extensions(rng: &mut Rng) -> Vec<(u8, Vec<u8>)> {
    let kinds = [0, 43, 51, 60, 60, 60, 135, 139, 140, 59, 253];
    let mut chain = Vec::new();
    for _ in 0..rng.usize(..8) {
        let body = vec![u8::from(rng.u8(..3) == 0); [6, 14, 22][rng.usize(..3)]];
        chain.push((kinds[rng.usize(..kinds.len())], body));
    }
    chain
}

fn fragment(rng: &mut Rng, frame: &mut IpFrame) {
    let more = rng.bool();
    let offset = match rng.u8(..4) {
        0 | 1 => 0,
        2 => rng.u16(1..4),
        _ => rng.u16(..0x2000),
    };
    frame.fragment = Some((offset, more));
    if offset != 0 && rng.bool() {
        let protocol = if matches!(frame.payload, Payload::Tcp { .. }) {
            6
        } else {
            17
        };
        frame.payload = Payload::Raw {
            protocol,
            bytes: vec![0; rng.usize(1..4) * 8],
        };
    } else if offset == 0 && more {
        // A first fragment whose length is a multiple of eight.
        frame.payload = Payload::Udp {
            source: port(rng),
            destination: port(rng),
        };
    }
}

/// ARP, neighbour and router discovery, listener reports: honest ones and lies.
fn link(rng: &mut Rng, world: &World) -> Vec<u8> {
    let mac = if rng.u8(..4) == 0 {
        STRANGER
    } else {
        world.mac
    };
    let inside = if rng.u8(..4) == 0 {
        STRANGER
    } else {
        world.mac
    };
    if rng.bool() {
        let addresses: Vec<[u8; 4]> = world
            .own
            .iter()
            .chain(&world.others)
            .filter_map(|address| match address {
                IpAddr::V4(address) => Some(address.octets()),
                IpAddr::V6(_) => None,
            })
            .chain([[0; 4]])
            .collect();
        let (sender, target) = (
            addresses[rng.usize(..addresses.len())],
            addresses[rng.usize(..addresses.len())],
        );
        return arp(mac, rng.u16(..4), (inside, sender), target);
    }
    let addresses: Vec<Ipv6Addr> = world
        .own
        .iter()
        .chain(&world.others)
        .filter_map(|address| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        })
        .chain([Ipv6Addr::UNSPECIFIED])
        .collect();
    let any = |rng: &mut Rng| addresses[rng.usize(..addresses.len())];
    let kind = [133, 134, 135, 136, 130, 131, 143][rng.usize(..7)];
    let option = if rng.bool() {
        Some((rng.u8(1..3), inside))
    } else {
        None
    };
    let body = match kind {
        133 => neighbour_body([0; 16], option).split_off(16),
        _ => neighbour_body(any(rng).octets(), option),
    };
    let payload = Payload::Icmp {
        kind,
        code: 0,
        rest: [0; 4],
        body,
    };
    let mut frame = IpFrame::new(mac, IpAddr::V6(any(rng)), IpAddr::V6(any(rng)), payload);
    frame.hop_limit = [255, 255, 255, 1, 64][rng.usize(..5)];
    frame.build()
}

/// Damages a frame, or makes one of nothing.
fn rubbish(rng: &mut Rng, mut frame: Vec<u8>) -> Vec<u8> {
    match rng.u8(..4) {
        0 if rng.bool() => frame.resize(frame.len() + rng.usize(1..60), rng.u8(..)),
        0 => frame.truncate(rng.usize(14..frame.len().max(15))),
        1 => {
            let kinds = [
                0x8100, 0x88a8, 0x88cc, 0x0800, 0x86dd, 0x0806, 0x9100, 0x8847,
            ];
            if rng.bool() {
                // One tag or two before what was whole.
                for _ in 0..rng.usize(1..3) {
                    let [high, low] = u16::to_be_bytes(kinds[rng.usize(..2)]);
                    frame.splice(12..12, [high, low, 0, rng.u8(..)]);
                }
                return frame;
            }
            frame = ethernet(
                STRANGER,
                STRANGER,
                kinds[rng.usize(..kinds.len())],
                &vec![rng.u8(..); rng.usize(..90)],
            );
        }
        _ => {
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..frame.len());
                frame[at] = rng.u8(..);
            }
        }
    }
    frame
}
