//! Packets whose headers lie beyond the linear part of the kernel's buffer, and those that are yet to be segmented: what the programs
//! say is what they say about the same packet in one piece.
//!
//! They are made by a macvtap device, which takes a length of the linear part with each frame (`struct virtio_net_hdr`), and
//! honours it where the frame is larger than a page. On the far end of the workload's interface it is the workload, on the near
//! end whoever sends to it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use bulkhead_agent::kernel::{Kernel, Skb};
use bulkhead_datapath::abi::{CounterIndex, Hook, Mac, Reason};
use bulkhead_datapath::frame::Payload;
use bulkhead_datapath::frame::{ACK, IpFrame, SYN};

use crate::node;
use crate::place::{alone, ip};
use crate::shares::{CLOSED, FAR, Node, OPEN};

const LIMIT: Duration = Duration::from_secs(60);
const ETHERNET: u16 = 14;
/// More than a page.
const LONG: usize = 5_000;
const SHORT: usize = 40;
const LARGEST: &str = "9000";

/// The device's frames begin with this.
#[derive(Clone, Copy)]
struct Shape {
    linear: u16,
    segment: u16,
}

const NOTHING_BUT_ETHERNET: Shape = Shape {
    linear: ETHERNET,
    segment: 0,
};

impl Shape {
    fn header(self) -> Vec<u8> {
        let is_segmented = u8::from(self.segment > 0);
        let words = match is_segmented {
            // TCP's checksum is yet to be made: where it is counted from, and where it goes.
            1 => [self.linear, self.segment, 34, 16],
            _ => [self.linear, 0, 0, 0],
        };
        let mut header = vec![is_segmented, is_segmented];
        header.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        header
    }
}

/// Puts frames on an interface of this thread's network.
struct Tap(File);

impl Tap {
    fn over(interface: &str, index: u32) -> Self {
        let (name, index) = (format!("tap{index}"), index.to_string());
        ip(&[
            "link", "add", "link", interface, "name", &name, "index", &index, "type", "macvtap",
            "mode", "passthru",
        ]);
        ip(&["link", "set", &name, "addrgenmode", "none"]);
        ip(&["link", "set", &name, "up"]);
        let path = format!("/dev/{name}");
        let file = OpenOptions::new().write(true).open(&path);
        Self(file.unwrap_or_else(|error| {
            panic!("{path}: {error}: this test needs CONFIG_MACVTAP and a devtmpfs on /dev")
        }))
    }

    fn send(&mut self, shape: Shape, frame: &[u8]) {
        let bytes = [shape.header(), frame.to_vec()].concat();
        assert_eq!(self.0.write(&bytes).unwrap(), bytes.len());
    }
}

/// What a packet is; everything else follows from the hook.
struct Kind {
    name: &'static str,
    shape: Shape,
    /// Of the source port, and of so many bytes of data.
    frame: fn(IpFrame, u16, usize) -> IpFrame,
    v6: bool,
}

fn udp(source: u16, destination: u16, bytes: usize) -> Payload {
    let mut packet = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    packet.extend(u16::try_from(bytes + 8).unwrap().to_be_bytes());
    packet.resize(bytes + 8, 0);
    Payload::Raw {
        protocol: 17,
        bytes: packet,
    }
}

fn tcp(source: u16, destination: u16, flags: u8, bytes: usize) -> Payload {
    let mut packet = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    packet.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff]);
    packet.resize(bytes + 20, 0);
    Payload::Raw {
        protocol: 6,
        bytes: packet,
    }
}

fn with(frame: IpFrame, payload: Payload) -> IpFrame {
    IpFrame { payload, ..frame }
}

const KINDS: [Kind; 13] = [
    Kind {
        name: "allowed datagram",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| with(frame, udp(port, OPEN, bytes)),
        v6: false,
    },
    Kind {
        name: "denied datagram",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| with(frame, udp(port, CLOSED, bytes)),
        v6: false,
    },
    Kind {
        name: "opener",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| with(frame, tcp(port, OPEN, SYN, bytes)),
        v6: false,
    },
    Kind {
        name: "segment of no connection",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| with(frame, tcp(port, OPEN, ACK, bytes)),
        v6: false,
    },
    Kind {
        name: "segment of no connection, to be segmented",
        shape: Shape {
            linear: 54,
            segment: 1_000,
        },
        frame: |frame, port, bytes| with(frame, tcp(port, OPEN, ACK, bytes)),
        v6: false,
    },
    Kind {
        name: "a linear part that ends inside the address",
        shape: Shape {
            linear: 29,
            segment: 0,
        },
        frame: |frame, port, bytes| with(frame, udp(port, CLOSED, bytes)),
        v6: false,
    },
    Kind {
        name: "options",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| IpFrame {
            options: vec![1; 40],
            payload: udp(port, CLOSED, bytes),
            ..frame
        },
        v6: false,
    },
    Kind {
        name: "first fragment",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| IpFrame {
            fragment: Some((0, true)),
            payload: udp(port, CLOSED, bytes),
            ..frame
        },
        v6: false,
    },
    Kind {
        name: "later fragment of nothing",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| IpFrame {
            fragment: Some((8, false)),
            identification: u32::from(port),
            payload: udp(port, OPEN, bytes),
            ..frame
        },
        v6: false,
    },
    Kind {
        name: "flags that make no sense",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| with(frame, tcp(port, OPEN, SYN | 1, bytes)),
        v6: false,
    },
    Kind {
        name: "echo request",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| {
            let mut payload = Payload::echo_request(frame.source, port);
            if let Payload::Icmp { body, .. } = &mut payload {
                body.resize(bytes, 0);
            }
            with(frame, payload)
        },
        v6: false,
    },
    Kind {
        name: "IPv6 of nobody",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| with(frame, udp(port, OPEN, bytes)),
        v6: true,
    },
    Kind {
        name: "IPv6 with a chain of extensions",
        shape: NOTHING_BUT_ETHERNET,
        frame: |frame, port, bytes| IpFrame {
            extensions: vec![(0, vec![1, 4, 0, 0, 0, 0]), (60, vec![1, 4, 0, 0, 0, 0])],
            payload: udp(port, OPEN, bytes),
            ..frame
        },
        v6: true,
    },
];

fn frame_at(hook: Hook, kind: &Kind, port: u16, bytes: usize) -> Vec<u8> {
    let (own, far): (IpAddr, IpAddr) = if kind.v6 {
        let at = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        (at(1).into(), at(2).into())
    } else {
        (node::own(0).into(), FAR.into())
    };
    let (mac, from, to) = match hook {
        Hook::FromWorkload => (node::mac(0), own, far),
        Hook::ToWorkload => (Mac::default(), far, own),
    };
    let frame = IpFrame::new(mac, from, to, udp(port, OPEN, 0));
    (kind.frame)(frame, port, bytes).build()
}

fn counted(kernel: &Kernel, hook: Hook) -> Vec<(Reason, u64)> {
    let count = |reason: &Reason| {
        let values = kernel.maps.counters.get(CounterIndex::new(hook, *reason).0);
        let packets = values.unwrap().iter().map(|value| value.packets).sum();
        (*reason, packets)
    };
    Reason::ALL.iter().map(count).collect()
}

/// The one reason that has come since.
fn reason_since(kernel: &Kernel, hook: Hook, before: &[(Reason, u64)], name: &str) -> Reason {
    let deadline = Instant::now() + LIMIT;
    loop {
        let now = counted(kernel, hook);
        let more: Vec<Reason> = before
            .iter()
            .zip(&now)
            .filter(|((_, before), (_, now))| now > before)
            .map(|((reason, _), _)| *reason)
            .collect();
        if let [reason] = more[..] {
            return reason;
        }
        assert!(more.is_empty(), "{name}: {more:?} at once");
        assert!(Instant::now() < deadline, "{name}: it never arrived");
        std::thread::yield_now();
    }
}

#[test]
fn g14_what_is_not_in_one_piece_is_judged_as_if_it_were() {
    alone(|| {
        let node = Node::new("pieces", 1);
        // Numbers of their own: the kernel's names of such devices are those of the whole machine.
        let index = 1_000_000 + std::process::id() % 1_000_000 * 2;
        for link in ["near0", "far0"] {
            ip(&["link", "set", link, "addrgenmode", "none", "mtu", LARGEST]);
            ip(&["link", "set", link, "up"]);
        }
        let mut taps = [
            (Hook::FromWorkload, Tap::over("far0", index)),
            (Hook::ToWorkload, Tap::over("near0", index + 1)),
        ];
        let mut ports = 1_000..;
        let mut port = || ports.next().unwrap();
        let mut seen = Vec::new();
        for (hook, tap) in &mut taps {
            for kind in &KINDS {
                let skb = Skb {
                    ifindex: node::ifindex(0),
                    ingress_ifindex: match hook {
                        Hook::FromWorkload => node::ifindex(0),
                        Hook::ToWorkload => 0,
                    },
                };
                let whole = frame_at(*hook, kind, port(), SHORT);
                let expected = node.beside.run(*hook, &whole, skb).unwrap().reason;
                let before = counted(&node.beside, *hook);
                tap.send(kind.shape, &frame_at(*hook, kind, port(), LONG));
                let name = format!("{} {}", hook.name(), kind.name);
                let reason = reason_since(&node.beside, *hook, &before, &name);
                assert_eq!(reason, expected, "{name}");
                seen.push(reason);
            }
        }
        for reason in [
            Reason::Opened,
            Reason::EgressDenied,
            Reason::IngressDenied,
            Reason::NoFlow,
            Reason::SourceAddressSpoofed,
        ] {
            assert!(seen.contains(&reason), "{reason:?} is among {seen:?}");
        }
    });
}
