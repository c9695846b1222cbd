//! Both hooks, frame after frame, on a node with one workload: what was not understood does not pass (G14), nothing leaves in
//! another's name (G6), and no table outgrows its size (I7).
//!
//! The input is a list of frames, each after a byte for the hook and its length in two bytes.

use std::sync::Arc;

use bulkhead_datapath::abi::{Hook, Mac, WorkloadSlot};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_datapath::parse::{Content, Frame, Packet, parse};
use bulkhead_datapath::verdict::{Arrival, Scratch, Socket, Tag, run as judge};
use bulkhead_encode::{Clock, Desired, Memory};
use bulkhead_graph::{
    Action, Direction, Entry, LocalWorkload, Mode, NodeGraph, PeerMatch, PortMatch, PortRange,
    Protocol, RuleSet, SortedMap, Stage, Timestamp, WorkloadUid,
};

/// Addresses of the workload.
pub(crate) const OWN: [&str; 2] = ["10.0.0.1", "fd00::1"];

/// The ports that it may use and offer.
const OPEN: (u16, u16) = (80, 443);
const FLOWS: u32 = 8;
const FRAGMENTS: u32 = 4;
const UPLINK: u32 = 99;

/// A frame after its hook.
pub(crate) fn packed(frames: &[(Hook, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (hook, frame) in frames {
        let length = u16::try_from(frame.len()).expect("a frame is short");
        bytes.push(u8::from(*hook == Hook::ToWorkload));
        bytes.extend(length.to_be_bytes());
        bytes.extend(frame);
    }
    bytes
}

fn unpacked(mut bytes: &[u8]) -> Vec<(Hook, &[u8])> {
    let mut frames = Vec::new();
    while let Some(([hook, high, low], rest)) = bytes.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (frame, rest) = rest.split_at(length);
        let hook = if hook & 1 == 1 {
            Hook::ToWorkload
        } else {
            Hook::FromWorkload
        };
        frames.push((hook, frame));
        bytes = rest;
    }
    frames
}

fn rules(direction: Direction) -> RuleSet {
    let entry = |action, ports| Entry {
        stage: Stage::Namespace,
        action,
        mode: Mode::Enforce,
        peers: PeerMatch::Any,
        ports,
        until: None,
        lease: None,
    };
    let open = Protocol::ALL.map(|protocol| PortRange {
        protocol,
        from: OPEN.0,
        to: OPEN.1,
    });
    RuleSet {
        direction,
        entries: vec![
            entry(Action::Allow, PortMatch::of(open.to_vec())),
            entry(Action::Deny, PortMatch::Any),
        ],
    }
}

fn tables() -> MemoryTables {
    let [egress, ingress] = [Direction::Egress, Direction::Ingress].map(rules);
    let addresses = OWN.map(|text| {
        let ip: std::net::IpAddr = text.parse().expect("an address");
        ip.into()
    });
    let workload = LocalWorkload {
        namespace: "shop".into(),
        name: "web".into(),
        addresses: addresses.into(),
        interface: None,
        egress: egress.id(),
        ingress: ingress.id(),
    };
    let graph = NodeGraph::new(
        SortedMap::from([(WorkloadUid("web".into()), workload.into())]),
        [egress, ingress]
            .map(|rules| (rules.id(), Arc::new(rules)))
            .into(),
        SortedMap::new(),
        Arc::default(),
        [].into(),
        Arc::default(),
    );
    let clock = Clock {
        wall: Timestamp(0),
        monotonic_ns: 1 << 40,
        heard_ns: 1 << 40,
    };
    let mut memory = Memory::new(&Desired::build(&Arc::new(graph), Timestamp(0)), clock)
        .expect("few port classes");
    memory.tables.capacity.flows = FLOWS;
    memory.tables.capacity.fragments = FRAGMENTS;
    memory.tables
}

/// The workload's Ethernet address.
pub(crate) fn mac() -> Mac {
    Memory::mac(WorkloadSlot(0))
}

/// Feeds frames.
///
/// # Panics
/// If one passes that must not, or a table is fuller than full.
pub fn run(bytes: &[u8]) {
    thread_local! {
        static TABLES: MemoryTables = tables();
    }
    TABLES.with(|tables| {
        tables.written.forget();
        let mut scratch = Scratch::default();
        for (hook, frame) in unpacked(bytes) {
            judge_one(tables, &mut scratch, hook, frame);
        }
        tables.written.take_events();
    });
}

fn judge_one(tables: &MemoryTables, scratch: &mut Scratch, hook: Hook, frame: &[u8]) {
    let ifindex = Memory::ifindex(WorkloadSlot(0));
    let arrival = Arrival {
        hook,
        ifindex,
        ingress_ifindex: match hook {
            Hook::FromWorkload => ifindex,
            Hook::ToWorkload => UPLINK,
        },
        socket: Socket::None,
        tag: Tag::None,
    };
    let reason = judge(tables, &Frame(frame), &arrival, scratch);
    let mut packet = Packet::default();
    match parse(&Frame(frame), &mut packet) {
        Err(why) => assert!(!reason.passes(), "{why:?} became {reason:?}: {frame:02x?}"),
        Ok(()) if reason.passes() => check(hook, &packet, frame),
        Ok(()) => {}
    }
    assert!(tables.written.flows().len() <= FLOWS as usize);
    assert!(tables.written.fragments().len() <= FRAGMENTS as usize);
}

/// What passes from the workload comes from the workload, and what passes to it is for it.
fn check(hook: Hook, packet: &Packet, frame: &[u8]) {
    let is_flow = matches!(packet.content, Content::Flow | Content::Error);
    let end = match hook {
        Hook::FromWorkload => packet.tuple.source,
        Hook::ToWorkload => packet.tuple.destination,
    };
    if hook == Hook::FromWorkload {
        assert_eq!(packet.source_mac, mac().word(), "{frame:02x?}");
    }
    if !is_flow || end.is_multicast() {
        return;
    }
    let link_local = bulkhead_datapath::abi::Address::link_local(mac());
    let own = OWN.iter().any(|own| Ok(end.to_ip()) == own.parse());
    assert!(own || end == link_local, "{hook:?} {frame:02x?}");
}
