//! G6: a packet belongs to the workload whose interface it comes through. Frames that claim otherwise die at the first hook and are
//! counted by what they claimed; the lab's own tests show that each of them does its harm where nothing stops it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bulkhead_datapath::abi;
use bulkhead_datapath::frame::{IpFrame, Payload, RST, neighbour_body};
use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::Transport;
use bulkhead_tests::lab::frame::{self, End};
use bulkhead_tests::lab::{Family, Mac, Plan};

use crate::guarded::Guarded;

const COUNTED_LIMIT: Duration = Duration::from_secs(10);
const FRAMES: u64 = 5;
const FOREIGN: Mac = Mac([2, 0xba, 0xd, 0, 0, 1]);
const FORGED: &[u8; 16] = b"forged frame 471";
const HONEST: &[u8; 16] = b"honest frame 112";

fn octets(mac: Mac) -> abi::Mac {
    abi::Mac { octets: mac.0 }
}

/// The same frame in another VLAN.
fn tagged(frame: &[u8]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &[0x81, 0x00, 0, 5], rest].concat()
}

#[test]
fn g6_spoofed_frames_of_each_kind_die_at_the_first_hook() {
    let plan = Plan::new(2)
        .workload("shop/attacker", 1, &[80])
        .and_then(|plan| plan.workload("shop/victim", 1, &[80]))
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .unwrap();
    let world = Guarded::start(plan).unwrap();
    let (attacker, db) = (
        world.lab.endpoint("shop/attacker").unwrap(),
        world.lab.endpoint("shop/db").unwrap(),
    );
    let own = world.lab.plan().find("shop/attacker").unwrap().clone();
    let victim = world.lab.addresses("shop/victim").unwrap();
    let target = world.lab.addresses("shop/db").unwrap();
    db.watch("eth0", &[FORGED, HONEST]).unwrap();
    let datagram = |family, mac, ip, payload: &[u8]| {
        let from = End {
            mac,
            ip,
            port: 4000,
        };
        let to = End {
            mac: own.gateway_mac,
            ip: target.of(family),
            port: 5432,
        };
        frame::udp(from, to, payload)
    };
    let udp = |family, mac, ip| datagram(family, mac, ip, FORGED);
    let link_local = frame::link_local(own.mac);
    let gateway = own.node.gateway();
    let to_gateway = (own.gateway_mac, gateway.v6);
    let nowhere = Ipv4Addr::new(192, 0, 2, 1);
    // An end of its victim's connection, to reset it; and frames that claim nothing but are not a workload's to send.
    let as_victim = |family: Family| End {
        mac: own.mac,
        ip: victim.of(family),
        port: 5432,
    };
    let to_db = |family: Family| End {
        mac: own.gateway_mac,
        ip: target.of(family),
        port: 5432,
    };
    let icmp = |family: Family, kind, code, body: Vec<u8>| {
        let payload = Payload::Icmp {
            kind,
            code,
            rest: [0; 4],
            body,
        };
        let (from, to) = match family {
            Family::V4 => (own.addresses.v4.into(), target.v4.into()),
            Family::V6 => (link_local.into(), gateway.v6.into()),
        };
        let mut frame = IpFrame::new(octets(own.mac), from, to, payload);
        frame.destination_mac = octets(own.gateway_mac);
        frame.hop_limit = 255;
        frame.build()
    };
    let mut query = icmp(Family::V6, 130, 0, vec![0; 16]);
    // Listener queries are for one link only.
    query[21] = 1;
    let kinds: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "reset in a neighbour's name over IPv4",
            "source_address_spoofed",
            frame::tcp(as_victim(Family::V4), to_db(Family::V4), RST),
        ),
        (
            "reset in a neighbour's name over IPv6",
            "source_address_spoofed",
            frame::tcp(as_victim(Family::V6), to_db(Family::V6), RST),
        ),
        (
            "IPv4 of nobody at all",
            "source_address_spoofed",
            udp(Family::V4, own.mac, Ipv4Addr::UNSPECIFIED.into()),
        ),
        (
            "IPv6 of the node",
            "source_address_spoofed",
            udp(Family::V6, own.mac, own.node.addresses().v6.into()),
        ),
        (
            "neighbour solicitation with a foreign MAC",
            "neighbour_spoofed",
            icmp(
                Family::V6,
                135,
                0,
                neighbour_body(gateway.v6.octets(), Some((1, octets(FOREIGN)))),
            ),
        ),
        (
            "redirect over IPv4",
            "redirect",
            icmp(
                Family::V4,
                5,
                1,
                IpFrame::new(
                    octets(own.mac),
                    target.v4.into(),
                    own.addresses.v4.into(),
                    Payload::Udp {
                        source: 5432,
                        destination: 4000,
                    },
                )
                .packet(),
            ),
        ),
        (
            "redirect over IPv6",
            "redirect",
            icmp(
                Family::V6,
                137,
                0,
                [link_local.octets(), target.v6.octets()].concat(),
            ),
        ),
        ("listener query", "router_advertisement", query),
        (
            "IPv4 of a neighbour",
            "source_address_spoofed",
            udp(Family::V4, own.mac, victim.v4.into()),
        ),
        (
            "IPv6 of a neighbour",
            "source_address_spoofed",
            udp(Family::V6, own.mac, victim.v6.into()),
        ),
        (
            "IPv4 of nobody",
            "source_address_spoofed",
            udp(Family::V4, own.mac, nowhere.into()),
        ),
        (
            "IPv4 of the node",
            "source_address_spoofed",
            udp(Family::V4, own.mac, own.node.addresses().v4.into()),
        ),
        (
            "own IPv4, foreign MAC",
            "source_mac_spoofed",
            udp(Family::V4, FOREIGN, own.addresses.v4.into()),
        ),
        (
            "own IPv6, foreign MAC",
            "source_mac_spoofed",
            udp(Family::V6, FOREIGN, own.addresses.v6.into()),
        ),
        (
            "ARP for a neighbour",
            "arp_spoofed",
            frame::gratuitous_arp(own.mac, own.mac, victim.v4, victim.v4),
        ),
        (
            "ARP with a foreign MAC",
            "arp_spoofed",
            frame::gratuitous_arp(own.mac, FOREIGN, own.addresses.v4, own.addresses.v4),
        ),
        (
            "neighbour advertisement for a neighbour",
            "neighbour_spoofed",
            frame::neighbour_advertisement(
                own.mac,
                own.addresses.v6,
                own.mac,
                victim.v6,
                to_gateway,
            ),
        ),
        (
            "neighbour advertisement with a foreign MAC",
            "neighbour_spoofed",
            frame::neighbour_advertisement(
                own.mac,
                own.addresses.v6,
                FOREIGN,
                own.addresses.v6,
                to_gateway,
            ),
        ),
        // The kernel takes the outer tag out of the bytes before the hook, and keeps it beside them.
        (
            "VLAN tag",
            "vlan",
            tagged(&udp(Family::V4, own.mac, own.addresses.v4.into())),
        ),
        (
            "two VLAN tags",
            "vlan",
            tagged(&tagged(&udp(Family::V6, own.mac, own.addresses.v6.into()))),
        ),
        (
            "router advertisement",
            "router_advertisement",
            frame::router_advertisement(own.mac, link_local, "fd00:bad::".parse().unwrap()),
        ),
    ];
    for (kind, reason, forged) in &kinds {
        let before = world.counted(own.node, reason).unwrap();
        for _ in 0..FRAMES {
            attacker.inject("eth0", forged).unwrap();
        }
        world
            .wait_counted(own.node, reason, before, FRAMES)
            .unwrap_or_else(|error| panic!("{kind}: {error:#}"));
    }
    // What is honest still passes, and came after everything forged.
    let honest = datagram(Family::V4, own.mac, own.addresses.v4.into(), HONEST);
    attacker.inject("eth0", &honest).unwrap();
    Deadline::after(COUNTED_LIMIT)
        .until("the honest frame", || {
            Ok((db.watched()?[1] > 0).then_some(()))
        })
        .unwrap();
    assert_eq!(db.watched().unwrap()[0], 0, "nothing forged has arrived");
    let node = world.lab.node(own.node);
    assert!(
        !node
            .read("ip", &["neigh"])
            .unwrap()
            .contains(&FOREIGN.to_string()),
        "the neighbour table is clean"
    );
    assert!(
        !node
            .read("ip", &["-6", "route"])
            .unwrap()
            .contains("fd00:bad::"),
        "no route of the rogue router"
    );
    let port = SocketAddr::new(target.v6.into(), 5432);
    assert!(
        attacker
            .asks(Transport::Tcp, port, COUNTED_LIMIT)
            .unwrap()
            .is_reached()
    );
}

#[test]
fn tunnels_from_a_workload_to_its_node_die_whatever_policy_says() {
    let plan = Plan::new(2)
        .workload("shop/attacker", 1, &[80])
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .unwrap();
    // No policy at all: everything is allowed.
    let world = Guarded::start(plan).unwrap();
    let own = world.lab.plan().find("shop/attacker").unwrap().clone();
    let attacker = world.lab.endpoint("shop/attacker").unwrap();
    let target = world.lab.addresses("shop/db").unwrap();
    // A packet that no workload may send, for the node to take out and forward.
    let inside = |family: Family| {
        let lie = Payload::Udp {
            source: 4000,
            destination: 5432,
        };
        let as_node: IpAddr = own.node.addresses().of(family);
        IpFrame::new(octets(own.mac), as_node, target.of(family), lie)
    };
    for family in Family::BOTH {
        let mut shells: Vec<Payload> = vec![
            Payload::Raw {
                protocol: if family == Family::V4 { 4 } else { 41 },
                bytes: inside(family).packet(),
            },
            // GRE without options; EtherIP; MPLS.
            Payload::Raw {
                protocol: 47,
                bytes: [vec![0, 0, 0x08, 0x00], inside(Family::V4).packet()].concat(),
            },
            Payload::Raw {
                protocol: 97,
                bytes: [vec![0x30, 0], inside(family).build()].concat(),
            },
            Payload::Raw {
                protocol: 137,
                bytes: [vec![0, 0, 0x11, 64], inside(family).packet()].concat(),
            },
        ];
        // VXLAN by both its ports, Geneve, GRE in UDP.
        shells.extend([4789, 8472, 6081, 4754].map(|destination| Payload::Udp {
            source: 4000,
            destination,
        }));
        for to in [own.node.addresses(), own.node.gateway()] {
            for shell in &shells {
                let before = world.counted(own.node, "tunnel").unwrap();
                let from = own.addresses.of(family);
                let mut frame = IpFrame::new(octets(own.mac), from, to.of(family), shell.clone());
                frame.destination_mac = octets(own.gateway_mac);
                attacker.inject("eth0", &frame.build()).unwrap();
                world
                    .wait_counted(own.node, "tunnel", before, 1)
                    .unwrap_or_else(|error| panic!("{shell:?} over {family}: {error:#}"));
            }
        }
    }
    // Other datagrams to the node are judged like any.
    let node = SocketAddr::new(own.node.addresses().v4.into(), 0);
    assert!(
        attacker
            .asks(Transport::Ping, node, COUNTED_LIMIT)
            .unwrap()
            .is_reached()
    );
}
