//! G6: a packet belongs to the workload whose interface it comes through. Frames that claim otherwise die at the first hook and are
//! counted by what they claimed; the lab's own tests show that each of them does its harm where nothing stops it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::Transport;
use bulkhead_tests::lab::frame::{self, End};
use bulkhead_tests::lab::{Family, Mac, NodeNumber, Plan};

use crate::guarded::Guarded;

const COUNTED_LIMIT: Duration = Duration::from_secs(10);
const FRAMES: u64 = 5;
const FOREIGN: Mac = Mac([2, 0xba, 0xd, 0, 0, 1]);
const FORGED: &[u8; 16] = b"forged frame 471";
const HONEST: &[u8; 16] = b"honest frame 112";

/// Packets that a node has dropped for a reason, both hooks together.
fn dropped(world: &Guarded, node: NodeNumber, reason: &str) -> u64 {
    let metrics = world.product.ask_agent(node, "/metrics").unwrap();
    let label = format!("reason=\"{reason}\"");
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("bulkhead_agent_packets{") && line.contains(&label));
    counted
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
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
    let kinds: Vec<(&str, &str, Vec<u8>)> = vec![
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
        let before = dropped(&world, own.node, reason);
        for _ in 0..FRAMES {
            attacker.inject("eth0", forged).unwrap();
        }
        let counted = || Ok((dropped(&world, own.node, reason) == before + FRAMES).then_some(()));
        Deadline::after(COUNTED_LIMIT)
            .until(kind, counted)
            .unwrap_or_else(|error| {
                panic!(
                    "{kind}: {error:#}; {reason} is {} after {before}",
                    dropped(&world, own.node, reason)
                )
            });
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
