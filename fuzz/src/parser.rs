//! The packet parser: it reads nothing beyond the frame or its limit, its answer depends on nothing but the frame, and what
//! it understood is what the frame says (I3, G14).

use std::net::IpAddr;

use bulkhead_datapath::abi::{Address, Mac, Reason};
use bulkhead_datapath::frame::{ACK, FIN, IpFrame, Payload, RST, SYN};
use bulkhead_datapath::parse::{
    Bytes, Content, FLAG_FIN, FLAG_OPENER, FLAG_RST, Fragment, Frame, HEADER_LIMIT, Packet, Query,
    Tuple, Window, parse,
};

/// A frame that watches where it is read.
struct Watched<'a>(&'a [u8]);

/// Bytes of a frame, no more than were asked for.
struct WatchedWindow<'a>(&'a [u8]);

impl Bytes for Watched<'_> {
    type Window<'a>
        = WatchedWindow<'a>
    where
        Self: 'a;

    fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn window<const N: usize>(&self, offset: u32) -> Option<WatchedWindow<'_>> {
        let start = usize::try_from(offset).expect("an offset is small");
        let end = start + N;
        (end <= self.0.len().min(HEADER_LIMIT as usize)).then(|| WatchedWindow(&self.0[start..end]))
    }
}

impl WatchedWindow<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.0.get(at..at + N);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or_else(|| panic!("byte {at} lies beyond a window of {}", self.0.len()))
    }
}

impl Window for WatchedWindow<'_> {
    fn byte(&self, at: usize) -> u8 {
        let [byte] = self.bytes(at);
        byte
    }

    fn wire16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.bytes(at))
    }

    fn wire32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(at))
    }
}

/// The fields that mean something, by what the packet is.
type Meaning = (
    (Content, Fragment, u8, u32),
    Option<(Tuple, u8)>,
    Option<(u32, u8)>,
    Option<Tuple>,
    Option<(Address, u64)>,
);

fn meaning(packet: &Packet) -> Meaning {
    let fixed = (packet.content, packet.fragment, packet.flags, packet.length);
    let is_arp = packet.content == Content::Arp;
    let fragmented = packet.fragment != Fragment::Whole;
    let about = matches!(
        packet.content,
        Content::Solicitation | Content::Advertisement
    );
    (
        fixed,
        (!is_arp).then_some((packet.tuple, packet.hop_limit)),
        fragmented.then_some((packet.identification, packet.fragment_protocol)),
        (packet.content == Content::Error).then_some(packet.inner),
        (is_arp || about).then_some(if is_arp {
            (packet.tuple.source, packet.link)
        } else {
            (packet.target, packet.link)
        }),
    )
}

/// Every field as an earlier packet may have left it.
fn dirty() -> Packet {
    let address = Address::from(IpAddr::from([0xee; 16]));
    let tuple = Tuple {
        source: address,
        destination: address,
        source_port: 0xeeee,
        destination_port: 0xeeee,
        protocol: 0xee,
        query: Query::Reply,
    };
    Packet {
        tuple,
        inner: tuple,
        target: address,
        source_mac: 0xeeee_eeee,
        link: 0xeeee_eeee,
        identification: 0xeeee_eeee,
        length: 0xeeee,
        content: Content::Error,
        fragment: Fragment::Later,
        fragment_protocol: 0xee,
        flags: 0xee,
        hop_limit: 0xee,
    }
}

fn read<B: Bytes>(bytes: &B, mut packet: Packet) -> Result<Packet, Reason> {
    parse(bytes, &mut packet).map(|()| packet)
}

/// Feeds a frame.
///
/// # Panics
/// If the parser is wrong about it.
pub fn run(frame: &[u8]) {
    let understood = read(&Watched(frame), Packet::default());
    let told = understood.as_ref().map(meaning);
    let again = [
        read(&Frame(frame), Packet::default()),
        read(&Frame(frame), dirty()),
        read(&Frame(&behind_the_limit(frame)), Packet::default()),
    ];
    for again in again {
        assert_eq!(again.as_ref().map(meaning), told, "{frame:02x?}");
    }
    if let Ok(packet) = understood {
        check(&packet, frame);
    } else if let Err(reason) = understood {
        assert!(!reason.passes(), "an error that passes: {reason:?}");
    }
}

/// The same frame with other bytes where the parser may not look.
fn behind_the_limit(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame
        .iter_mut()
        .skip(HEADER_LIMIT as usize)
        .for_each(|byte| *byte = !*byte);
    frame
}

fn check(packet: &Packet, frame: &[u8]) {
    if packet.content == Content::Arp {
        return;
    }
    let (source, destination) = (
        packet.tuple.source.to_ip(),
        packet.tuple.destination.to_ip(),
    );
    assert_eq!(
        source.is_ipv4(),
        destination.is_ipv4(),
        "one packet has one family: {frame:02x?}"
    );
    if packet.content == Content::Flow && packet.fragment == Fragment::Whole {
        rebuild(packet, source, destination);
    }
}

/// A plain frame that says what was understood is understood in the same way.
fn rebuild(packet: &Packet, source: IpAddr, destination: IpAddr) {
    let Some(payload) = payload(packet) else {
        return;
    };
    let mac = Mac { octets: [2; 6] };
    let mut frame = IpFrame::new(mac, source, destination, payload);
    frame.hop_limit = packet.hop_limit;
    let again = read(&Frame(&frame.build()), Packet::default());
    let tuple = |packet: Packet| (packet.tuple, packet.content, packet.flags, packet.hop_limit);
    assert_eq!(again.map(tuple), Ok(tuple(*packet)));
}

fn payload(packet: &Packet) -> Option<Payload> {
    let Tuple {
        source_port: source,
        destination_port: destination,
        protocol,
        query,
        ..
    } = packet.tuple;
    let has = |flag: u8| packet.flags & flag != 0;
    match (protocol, query) {
        (6, _) => {
            let fin = if has(FLAG_FIN) { FIN } else { 0 };
            let flags = match (has(FLAG_OPENER), has(FLAG_RST)) {
                (true, _) => SYN,
                (false, true) => RST | fin,
                (false, false) => ACK | fin,
            };
            Some(Payload::Tcp {
                source,
                destination,
                flags,
            })
        }
        (17, _) => Some(Payload::Udp {
            source,
            destination,
        }),
        (132, _) => Some(Payload::Sctp {
            source,
            destination,
            chunk: u8::from(has(FLAG_OPENER)),
        }),
        (1 | 58, Query::Request) => {
            let [kind, code] = destination.to_be_bytes();
            let [high, low] = source.to_be_bytes();
            Some(Payload::Icmp {
                kind,
                code,
                rest: [high, low, 0, 0],
                body: Vec::new(),
            })
        }
        // A reply names its request's type, which more than one reply may have.
        (1 | 58, Query::Reply | Query::None) => None,
        (protocol, _) if is_bare(protocol) => Some(Payload::Raw {
            protocol,
            bytes: vec![0; 8],
        }),
        _ => None,
    }
}

/// Whether nothing of the protocol is an extension header of IPv6 that would be walked.
fn is_bare(protocol: u8) -> bool {
    !matches!(protocol, 0 | 43 | 44 | 50 | 51 | 59 | 60 | 135 | 139 | 140)
}
