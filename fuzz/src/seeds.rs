//! Well-formed inputs for each target, made rather than kept.

use std::net::IpAddr;

use bulkhead_agent::store::{Context, Stored};
use bulkhead_crds::manifest;
use bulkhead_datapath::abi::Hook;
use bulkhead_datapath::frame::{ACK, FIN, IpFrame, Payload, SYN, arp, neighbour_body};
use bulkhead_graph::{Delta, FORMAT, NodeGraph, Timestamp};
use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::model::Event;
use bulkhead_wire::{
    Ack, Answer, Denied, FromAgent, FromController, Frontier, Hello, Limits, Refusal, Refused,
    Revision, Unprotected, encode_delta, proto,
};
use prost::Message;

use crate::hooks::{self, OWN, mac};
use crate::store;
use crate::wire::{Kind, packed};

/// One cluster with one object of every kind.
const CLUSTER: &str = include_str!("../corpus/manifests/cluster.yaml");

const PEERS: [&str; 2] = ["10.0.0.2", "fd00::2"];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn payloads(v4: bool) -> Vec<Payload> {
    let (source, destination) = (40_000, 80);
    let tcp = |flags| Payload::Tcp {
        source,
        destination,
        flags,
    };
    let family = ip(OWN[usize::from(!v4)]);
    let mut payloads = vec![tcp(SYN), tcp(SYN | ACK), tcp(ACK), tcp(FIN | ACK)];
    payloads.push(Payload::Udp {
        source,
        destination,
    });
    payloads.push(Payload::Sctp {
        source,
        destination,
        chunk: 1,
    });
    payloads.push(Payload::echo_request(family, 7));
    payloads.push(Payload::echo_reply(family, 7));
    payloads.push(Payload::Raw {
        protocol: 47,
        bytes: vec![0; 8],
    });
    payloads
}

fn plain(payload: Payload, v4: bool) -> IpFrame {
    let at = usize::from(!v4);
    IpFrame::new(mac(), ip(OWN[at]), ip(PEERS[at]), payload)
}

/// Frames of every kind that the parser tells apart.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for v4 in [true, false] {
        for payload in payloads(v4) {
            frames.push(plain(payload, v4).build());
        }
        frames.extend(fragments(v4));
        frames.push(error(v4));
    }
    let options = vec![7, 7, 4, 0, 0, 0, 0];
    frames.push(
        IpFrame {
            options,
            ..plain(payloads(true).swap_remove(0), true)
        }
        .build(),
    );
    let extensions = vec![
        (0, vec![1, 4, 0, 0, 0, 0]),
        (60, vec![0; 6]),
        (43, vec![0; 6]),
        (51, vec![0; 14]),
    ];
    frames.push(
        IpFrame {
            extensions,
            ..plain(payloads(false).swap_remove(0), false)
        }
        .build(),
    );
    frames.push(arp(mac(), 1, (mac(), [10, 0, 0, 1]), [10, 0, 0, 2]));
    frames.extend([133, 134, 135, 136, 143, 137].map(neighbour));
    frames
}

fn fragments(v4: bool) -> Vec<Vec<u8>> {
    let udp = Payload::Udp {
        source: 40_000,
        destination: 80,
    };
    let first = IpFrame {
        fragment: Some((0, true)),
        ..plain(udp, v4)
    };
    let rest = Payload::Raw {
        protocol: 17,
        bytes: vec![0; 16],
    };
    let later = IpFrame {
        fragment: Some((2, false)),
        ..plain(rest, v4)
    };
    vec![first.build(), later.build()]
}

/// An ICMP error about an earlier packet.
fn error(v4: bool) -> Vec<u8> {
    let quoted = plain(payloads(v4).swap_remove(0), v4);
    let payload = Payload::Icmp {
        kind: if v4 { 3 } else { 1 },
        code: 1,
        rest: [0; 4],
        body: quoted.packet(),
    };
    IpFrame::new(mac(), quoted.destination, quoted.source, payload).build()
}

fn neighbour(kind: u8) -> Vec<u8> {
    let own = match ip(OWN[1]) {
        IpAddr::V6(own) => own.octets(),
        IpAddr::V4(own) => own.to_ipv6_mapped().octets(),
    };
    let payload = Payload::Icmp {
        kind,
        code: 0,
        rest: [0; 4],
        body: neighbour_body(own, Some((1, mac()))),
    };
    let mut frame = plain(payload, false);
    frame.hop_limit = 255;
    frame.build()
}

/// Frames after each other: a connection opened and closed, a fragmented datagram, an error about a flow.
pub(crate) fn conversations() -> Vec<Vec<u8>> {
    let mut conversations = Vec::new();
    for v4 in [true, false] {
        let out = |flags| {
            let payload = Payload::Tcp {
                source: 40_000,
                destination: 80,
                flags,
            };
            (Hook::FromWorkload, plain(payload, v4).build())
        };
        let back = |flags| {
            let payload = Payload::Tcp {
                source: 80,
                destination: 40_000,
                flags,
            };
            let frame = plain(payload, v4);
            let (source, destination) = (frame.destination, frame.source);
            let frame = IpFrame {
                source,
                destination,
                ..frame
            };
            (Hook::ToWorkload, frame.build())
        };
        conversations.push(vec![
            out(SYN),
            back(SYN | ACK),
            out(ACK),
            (Hook::ToWorkload, error(v4)),
            out(FIN | ACK),
            back(FIN | ACK),
        ]);
        let datagram = fragments(v4).into_iter();
        conversations.push(datagram.map(|frame| (Hook::FromWorkload, frame)).collect());
    }
    let each = frames()
        .into_iter()
        .map(|frame| vec![(Hook::FromWorkload, frame)]);
    conversations.extend(each);
    conversations
        .iter()
        .map(|frames| hooks::packed(frames))
        .collect()
}

/// The cluster as one file, and each of its documents.
pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let documents = CLUSTER
        .split("---\n")
        .filter(|text| !text.trim().is_empty());
    documents.map(|text| text.as_bytes().to_vec()).collect()
}

/// The graphs of the cluster's nodes.
fn graphs() -> Vec<NodeGraph> {
    let manifest = manifest::read("cluster.yaml", CLUSTER.as_bytes());
    assert!(manifest.problems.is_empty(), "{:#?}", manifest.problems);
    let mut engine = Engine::new(EngineConfig::default());
    for located in manifest.objects {
        engine.apply(Event::Apply(located.object));
    }
    let nodes = engine.nodes();
    let graphs = nodes.iter().filter_map(|node| engine.node_graph(node));
    graphs.map(|graph| (*graph).clone()).collect()
}

/// Messages of every kind, and deltas.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let frontier = Frontier {
        incarnation: Timestamp(1),
        versions: [("pods".to_owned(), 7)].into(),
        instant: Timestamp(2),
    };
    let graphs = graphs();
    let mut inputs = vec![packed(Kind::Frontier, &frontier.to_bytes())];
    let nothing = NodeGraph::default();
    for (number, graph) in graphs.iter().enumerate() {
        let from = number.checked_sub(1).map_or(&nothing, |at| &graphs[at]);
        let delta = Delta::between(&nothing, graph);
        inputs.push(packed(Kind::Delta, &encode_delta(&delta)));
        let delta = Delta::between(from, graph);
        inputs.push(packed(Kind::Delta, &encode_delta(&delta)));
        let revision = Revision {
            delta,
            frontier: frontier.clone(),
        };
        let messages = revision.messages().expect("a small delta");
        inputs.extend(messages.map(controller));
    }
    inputs.push(controller(FromController::Confirm {
        digest: nothing.digest(),
        frontier: frontier.clone(),
        answer: None,
    }));
    inputs.push(controller(FromController::Confirm {
        digest: nothing.digest(),
        frontier: frontier.clone(),
        answer: Some(Answer {
            at: 7_000_000_000,
            age_ms: 1_500,
        }),
    }));
    inputs.extend(agents(&nothing, &frontier).iter().map(|message| {
        let bytes = proto::AgentMessage::from(message).encode_to_vec();
        packed(Kind::Agent, &bytes)
    }));
    inputs
}

fn controller(message: FromController) -> Vec<u8> {
    let bytes = proto::ControllerMessage::from(message).encode_to_vec();
    packed(Kind::Controller, &bytes)
}

fn agents(graph: &NodeGraph, frontier: &Frontier) -> [FromAgent; 4] {
    let text = |text: &str| text.to_owned();
    let used = Limits {
        workloads: 1,
        peers: 2,
        networks: 3,
        decisions: 4,
        expiries: 5,
    };
    let digest = graph.digest();
    let hello = Hello {
        node: text("n1"),
        abi: 1,
        format: FORMAT,
        version: text("0.1.0"),
        limits: used,
        realised: Some((digest, frontier.clone())),
    };
    let ack = Ack {
        digest,
        frontier: frontier.clone(),
        used,
        applied_us: 10,
        confirmed_us: 20,
        writes: 30,
        denied: vec![Denied {
            uid: text("u"),
            name: text("shop/web"),
            reason: text("decisions"),
        }],
        unprotected: vec![Unprotected {
            uid: text("v"),
            name: text("shop/db"),
            reason: text("no interface"),
        }],
        protected: 1,
    };
    let refused = Refused {
        digest,
        refusal: Refusal::Older,
        reason: text("older"),
    };
    [
        FromAgent::Hello(hello),
        FromAgent::Ack(ack),
        FromAgent::Refused(refused),
        FromAgent::Ask(7_000_000_000),
    ]
}

/// Files as agents write them, and their bodies alone.
pub(crate) fn files() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for graph in graphs() {
        let context = Context {
            boot_id: "boot".to_owned(),
            frontier: vec![1, 2, 3],
        };
        let stored = Stored { graph, context };
        let file = stored.to_bytes().expect("a graph has a serial form");
        files.push(store::body_of(&file));
        files.push(file);
    }
    files
}
