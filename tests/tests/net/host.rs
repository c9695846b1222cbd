//! Only what the node's own host originates passes unjudged: not what it forwards, translates, puts together again or refuses.

use std::net::SocketAddr;
use std::time::Duration;

use bulkhead_datapath::abi;
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::frame::{self, End};
use bulkhead_tests::lab::{Family, Mac, Plan};
use serde_json::json;

use crate::guarded::{Guarded, isolate};

const CUSTOMER: u8 = 10;
const WEB: u16 = 8080;
const NODE_PORT: u16 = 30_080;
const ARRIVAL_LIMIT: Duration = Duration::from_secs(5);
const MARK: &[u8; 16] = b"in two fragments";

/// web is isolated and lets nobody in; it and its attacker sit behind the node, a customer outside.
fn world() -> Guarded {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[WEB])
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .unwrap()
        .outside("customer", CUSTOMER, &[443]);
    // Nothing here is older than the programs: a lone reset must not be taken for what is left of a connection.
    let world = Guarded::with_agent_flags(plan, &["--adopt-seconds", "0"]).unwrap();
    world
        .enforce("web.json", &isolate("shop", "web", &[]))
        .unwrap();
    world
}

/// Rules of nftables in the first node.
fn first_node_does(world: &Guarded, rules: &str) {
    let node = world.lab.plan().nodes()[0];
    world.lab.node(node).read("nft", &[rules]).unwrap();
}

/// The fabric's Ethernet address on the side of the outside machines.
fn gateway_of_outside(world: &Guarded) -> Mac {
    mac_of(&world.lab.fabric(), "outside")
}

fn mac_of(netns: &bulkhead_tests::lab::Netns, interface: &str) -> Mac {
    let link = netns
        .read("ip", &["-br", "link", "show", interface])
        .unwrap();
    let text = link.split_whitespace().nth(2).unwrap();
    let octets: Vec<u8> = text
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect();
    Mac(octets.try_into().unwrap())
}

#[test]
fn the_nodes_own_host_reaches_its_workloads_and_nobody_elses() {
    let world = world();
    let nodes = world.lab.plan().nodes().to_vec();
    let web = world.lab.addresses("shop/web").unwrap();
    for family in Family::BOTH {
        let to = SocketAddr::new(web.of(family), WEB);
        let before = world.counted(nodes[0], "host_originated").unwrap();
        world
            .expect_answer(&nodes[0].name(), to, "shop/web")
            .unwrap();
        assert!(world.counted(nodes[0], "host_originated").unwrap() > before);
        // Host-network pods of another node are that node.
        world.expect_no_answer(&nodes[1].name(), to).unwrap();
        world.expect_no_answer("customer", to).unwrap();
        world.expect_no_answer("shop/db", to).unwrap();
    }
}

#[test]
fn what_the_node_masquerades_or_translates_is_not_its_own() {
    let world = world();
    let nodes = world.lab.plan().nodes().to_vec();
    let web = world.lab.addresses("shop/web").unwrap();
    first_node_does(
        &world,
        &format!(
            "add table inet proxy; \
             add chain inet proxy in {{ type nat hook prerouting priority dstnat; }}; \
             add chain inet proxy out {{ type nat hook postrouting priority srcnat; }}; \
             add rule inet proxy in tcp dport {NODE_PORT} meta nfproto ipv4 dnat ip to {}:{WEB}; \
             add rule inet proxy in tcp dport {NODE_PORT} meta nfproto ipv6 dnat ip6 to [{}]:{WEB}",
            web.v4, web.v6
        ),
    );
    let customer = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "customers"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [
                    {"ipBlock": {"cidr": format!("203.0.113.{CUSTOMER}/32")}},
                    {"ipBlock": {"cidr": format!("2001:db8:113::{CUSTOMER:x}/128")}},
                ],
                "ports": [{"protocol": "TCP", "port": WEB}],
            }],
        },
    });
    let through_node_port = |family: Family| {
        let node = nodes[0].addresses().of(family);
        SocketAddr::new(node, NODE_PORT)
    };
    for family in Family::BOTH {
        world
            .expect_no_answer("customer", through_node_port(family))
            .unwrap();
    }
    // Who keeps his address is judged by it.
    world.enforce("customers.json", &customer).unwrap();
    for family in Family::BOTH {
        world
            .expect_answer("customer", through_node_port(family), "shop/web")
            .unwrap();
        world
            .expect_no_answer("shop/db", through_node_port(family))
            .unwrap();
    }
    // Whom the node gives its own address comes as the node, and the node is nobody who may.
    first_node_does(
        &world,
        "add rule inet proxy out oifname web ct status dnat masquerade",
    );
    for family in Family::BOTH {
        let (own, denied) = (
            world.counted(nodes[0], "host_originated").unwrap(),
            world.denied(nodes[0]).unwrap(),
        );
        world
            .expect_no_answer("customer", through_node_port(family))
            .unwrap();
        assert_eq!(
            world.counted(nodes[0], "host_originated").unwrap(),
            own,
            "what is masqueraded was taken for the host's own"
        );
        assert!(world.denied(nodes[0]).unwrap() > denied);
    }
    // The host itself still gets in. Last, for the end of its connection is its own, too.
    for family in Family::BOTH {
        world
            .expect_answer(
                &nodes[0].name(),
                SocketAddr::new(web.of(family), WEB),
                "shop/web",
            )
            .unwrap();
    }
}

/// Two fragments of one datagram: what an attacker sends so that the node puts them together and takes them apart again. Then
/// the packet has no interface that it came through.
fn fragments(from: End, to: End) -> [Vec<u8>; 2] {
    let mut payload = MARK.to_vec();
    payload.resize(40, b'.');
    let whole = frame::udp(from, to, &payload);
    // UDP's header and the mark in the first, the rest in the second.
    let first_length = 24;
    let parts = |header: usize| {
        let datagram = &whole[14 + header..];
        let raw = |bytes: &[u8], offset: u16, more: bool| {
            let mac = |mac: Mac| abi::Mac { octets: mac.0 };
            let payload = Payload::Raw {
                protocol: 17,
                bytes: bytes.to_vec(),
            };
            let mut frame = IpFrame::new(mac(from.mac), from.ip, to.ip, payload);
            frame.destination_mac = mac(to.mac);
            frame.identification = 4711;
            frame.fragment = Some((offset, more));
            frame.build()
        };
        let (first, second) = datagram.split_at(first_length);
        [
            raw(first, 0, true),
            raw(second, u16::try_from(first_length / 8).unwrap(), false),
        ]
    };
    parts(if from.ip.is_ipv4() { 20 } else { 40 })
}

#[test]
fn what_the_node_puts_together_and_fragments_again_is_not_its_own() {
    let world = world();
    let node = world.lab.plan().nodes()[0];
    let web = world.lab.addresses("shop/web").unwrap();
    let customer = world.lab.addresses("customer").unwrap();
    // Connection tracking puts fragments together; masquerading gives them the node's own address.
    first_node_does(
        &world,
        "add table inet proxy; \
         add chain inet proxy out { type nat hook postrouting priority srcnat; }; \
         add rule inet proxy out oifname web masquerade",
    );
    let gateway = gateway_of_outside(&world);
    let own = mac_of(&world.lab.outsider("customer").unwrap(), "eth0");
    let attacker = world.lab.endpoint("customer").unwrap();
    let victim = world.lab.endpoint("shop/web").unwrap();
    victim.watch("eth0", &[MARK]).unwrap();
    let attack = |family: Family, port| {
        let end = |mac, ip, port| End { mac, ip, port };
        let frames = fragments(
            end(own, customer.of(family), port),
            end(gateway, web.of(family), WEB),
        );
        for frame in frames {
            attacker.inject("eth0", &frame).unwrap();
        }
    };
    for family in Family::BOTH {
        let (originated, denied) = (
            world.counted(node, "host_originated").unwrap(),
            world.denied(node).unwrap(),
        );
        attack(family, 4000);
        world
            .wait_denied(node, denied, 1)
            .unwrap_or_else(|error| panic!("{family}: {error:#}"));
        assert_eq!(
            world.counted(node, "host_originated").unwrap(),
            originated,
            "{family}: fragments made anew were taken for the host's own"
        );
    }
    assert_eq!(victim.watched().unwrap(), [0]);
    // That they do get as far as that shows as soon as web is open.
    world
        .product
        .settle(|| world.product.withdraw("web.json"))
        .unwrap();
    for family in Family::BOTH {
        let before = victim.watched().unwrap()[0];
        attack(family, 4001);
        // At least once: who does not want the answer sends it back, quoted.
        Deadline::after(ARRIVAL_LIMIT)
            .until("the mark", || {
                Ok((victim.watched()?[0] > before).then_some(()))
            })
            .unwrap_or_else(|error| panic!("{family}: {error:#}"));
    }
}

#[test]
fn a_reset_that_nobody_asked_for_is_not_the_hosts_own() {
    let world = world();
    let node = world.lab.plan().nodes()[0];
    let web = world.lab.plan().find("shop/web").unwrap().clone();
    let gateway = gateway_of_outside(&world);
    let own = mac_of(&world.lab.outsider("customer").unwrap(), "eth0");
    let attacker = world.lab.endpoint("customer").unwrap();
    // The node's packet filter refuses with resets; whoever forges web's address aims them at web. (Its ICMP errors go
    // through a socket of the host: they are the host's own, and pass.)
    first_node_does(
        &world,
        "add table inet f; \
         add chain inet f input { type filter hook input priority 0; }; \
         add rule inet f input tcp dport 9 reject with tcp reset",
    );
    for family in Family::BOTH {
        let (from, to) = (
            End {
                mac: own,
                ip: web.addresses.of(family),
                port: 4000,
            },
            End {
                mac: gateway,
                ip: node.addresses().of(family),
                port: 9,
            },
        );
        let (originated, dropped) = (
            world.counted(node, "host_originated").unwrap(),
            world.counted(node, "no_flow").unwrap(),
        );
        attacker.inject("eth0", &frame::tcp(from, to, SYN)).unwrap();
        world
            .wait_counted(node, "no_flow", dropped, 1)
            .unwrap_or_else(|error| panic!("{family}: {error:#}"));
        assert_eq!(world.counted(node, "host_originated").unwrap(), originated);
    }
}

#[test]
fn a_local_address_that_did_not_come_through_its_hook_is_a_lie() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[WEB])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432]))
        .unwrap()
        .outside("customer", CUSTOMER, &[]);
    let world = Guarded::start(plan).unwrap();
    // web may open db, and nobody has ever heard of anything else.
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    let node = world.lab.plan().nodes()[0];
    let (web, db) = (
        world.lab.addresses("shop/web").unwrap(),
        world.lab.addresses("shop/db").unwrap(),
    );
    let attacker = world.lab.endpoint("customer").unwrap();
    let own = mac_of(&world.lab.outsider("customer").unwrap(), "eth0");
    let gateway = gateway_of_outside(&world);
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
    world
        .lab
        .endpoint("shop/db")
        .unwrap()
        .watch("eth0", &[MARK])
        .unwrap();
    for family in Family::BOTH {
        // As web to db, and as db to itself.
        for claimed in [web.of(family), db.of(family)] {
            let before = world.counted(node, "local_source_spoofed").unwrap();
            let from = End {
                mac: own,
                ip: claimed,
                port: 4000,
            };
            let to = End {
                mac: gateway,
                ip: db.of(family),
                port: 5432,
            };
            attacker
                .inject("eth0", &frame::udp(from, to, MARK))
                .unwrap();
            world
                .wait_counted(node, "local_source_spoofed", before, 1)
                .unwrap_or_else(|error| panic!("{claimed}: {error:#}"));
        }
    }
    assert_eq!(
        world.lab.endpoint("shop/db").unwrap().watched().unwrap(),
        [0]
    );
}
