//! Services: the sender's hook sees their address before the node translates it, the receiver's hook sees what came of it.
//!
//! The translation is nftables' in the sender's node, as a service proxy would write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bulkhead_tests::lab::endpoint::{Outcome, Transport};
use bulkhead_tests::lab::frame::{self, End};
use bulkhead_tests::lab::{Addresses, Family, Plan};
use serde_json::{Value, json};

use crate::guarded::{Guarded, SILENCE, egress, isolate};

const PORT: u16 = 80;

/// The cluster addresses of the Service of that number.
fn cluster(number: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(10, 96, 0, number),
        v6: Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, u16::from(number)),
    }
}

/// A Service on port 80 of its cluster addresses, and a slice for each family and each of the endpoints.
fn service(name: &str, number: u8, endpoints: &[(Addresses, u16)]) -> Vec<Value> {
    let ips = cluster(number).both();
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "clusterIP": ips[0], "clusterIPs": ips,
            "ports": [{"name": "main", "protocol": "TCP", "port": PORT, "targetPort": endpoints[0].1}],
        },
    })];
    for (at, (addresses, port)) in endpoints.iter().enumerate() {
        for address in addresses.both() {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let slice = format!("{name}-{at}-{family}").to_lowercase();
            objects.push(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "namespace": "shop", "name": slice,
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": family,
                "ports": [{"name": "main", "protocol": "TCP", "port": port}],
                "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            }));
        }
    }
    objects
}

/// Rules that lead a Service's port to one endpoint, over both families.
fn translation(number: u8, to: Addresses, port: u16) -> String {
    let from = cluster(number);
    format!(
        "add rule inet proxy services ip daddr {} tcp dport {PORT} dnat ip to {}:{port}; \
         add rule inet proxy services ip6 daddr {} tcp dport {PORT} dnat ip6 to [{}]:{port}; ",
        from.v4, to.v4, from.v6, to.v6
    )
}

const PROXY: &str = "add table inet proxy; \
     add chain inet proxy services { type nat hook prerouting priority dstnat; }; \
     add chain inet proxy sources { type nat hook postrouting priority srcnat; }; ";

fn list(objects: Vec<Value>) -> String {
    bulkhead_tests::lab::manifests::list(objects)
}

fn at(number: u8, family: Family) -> SocketAddr {
    SocketAddr::new(cluster(number).of(family), PORT)
}

#[test]
fn a_service_is_judged_at_the_sender_by_what_stands_behind_it() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .and_then(|plan| plan.workload("shop/cache", 2, &[6379]))
        .unwrap()
        .outside("bank", 20, &[443]);
    let world = Guarded::start(plan).unwrap();
    let sender = world.lab.plan().find("shop/web").unwrap().node;
    let of = |name: &str| world.lab.addresses(name).unwrap();
    let (db, cache, bank) = (of("shop/db"), of("shop/cache"), of("bank"));
    let rules = [
        PROXY.to_owned(),
        translation(10, db, 5432),
        translation(11, cache, 6379),
        // Whichever endpoint of the mixed one is chosen: here the allowed one.
        translation(12, db, 5432),
    ];
    world
        .lab
        .node(sender)
        .read("nft", &[&rules.concat()])
        .unwrap();
    let mut services = service("db", 10, &[(db, 5432)]);
    services.extend(service("cache", 11, &[(cache, 6379)]));
    services.extend(service("mixed", 12, &[(db, 5432), (bank, 443)]));
    world
        .product
        .settle(|| world.product.apply("services.json", &list(services)))
        .unwrap();
    for family in Family::BOTH {
        for (number, name) in [(10, "shop/db"), (11, "shop/cache"), (12, "shop/db")] {
            world
                .expect_answer("shop/web", at(number, family), name)
                .unwrap();
        }
    }

    // The rule names the endpoint and its own port, never the Service.
    let to_db = json!({"workloads": {"pods": {"matchLabels": {"app": "db"}}}, "port": 5432});
    world
        .enforce(
            "web.json",
            &egress("shop", "web", std::slice::from_ref(&to_db)),
        )
        .unwrap();
    for family in Family::BOTH {
        world
            .expect_answer("shop/web", at(10, family), "shop/db")
            .unwrap();
        let before = world.denied(sender).unwrap();
        world.expect_no_answer("shop/web", at(11, family)).unwrap();
        assert!(
            world.denied(sender).unwrap() > before,
            "the sender's node has dropped it"
        );
        // The bank is an endpoint that no node guards: whoever may not go there may not use the Service.
        world.expect_no_answer("shop/web", at(12, family)).unwrap();
    }
    let to_bank = [json!("203.0.113.20/32"), json!("2001:db8:113::14/128")]
        .map(|cidr| json!({"network": {"cidr": cidr}, "port": 443}));
    let [bank_v4, bank_v6] = to_bank;
    world
        .enforce(
            "web.json",
            &egress("shop", "web", &[to_db, bank_v4, bank_v6]),
        )
        .unwrap();
    for family in Family::BOTH {
        world
            .expect_answer("shop/web", at(12, family), "shop/db")
            .unwrap();
    }
    // The receiver sees what came of the translation, and has the last word.
    world
        .enforce("db.json", &isolate("shop", "db", &[("cache", 5432)]))
        .unwrap();
    for family in Family::BOTH {
        world.expect_no_answer("shop/web", at(10, family)).unwrap();
    }
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    for family in Family::BOTH {
        world
            .expect_answer("shop/web", at(10, family), "shop/db")
            .unwrap();
    }
}

#[test]
fn a_workload_reaches_itself_by_its_own_address_and_is_judged_as_the_node_through_a_service() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432]))
        .unwrap();
    let world = Guarded::start(plan).unwrap();
    let own = world.lab.plan().find("shop/web").unwrap().clone();
    let node = world.lab.node(own.node);
    // As service proxies do: without it the answer would not find its way back through the translation.
    let rules = [
        PROXY.to_owned(),
        translation(13, own.addresses, 8080),
        "add rule inet proxy sources oifname web iifname web ct status dnat masquerade".to_owned(),
    ];
    node.read("nft", &[&rules.concat()]).unwrap();
    let services = service("web", 13, &[(own.addresses, 8080)]);
    world
        .product
        .settle(|| world.product.apply("services.json", &list(services)))
        .unwrap();
    for family in Family::BOTH {
        world
            .expect_answer("shop/web", at(13, family), "shop/web")
            .unwrap();
    }

    // Only db may open web: what web sends to itself through the Service comes back as the node's.
    world
        .enforce("web.json", &isolate("shop", "web", &[("db", 8080)]))
        .unwrap();
    for family in Family::BOTH {
        let before = world.denied(own.node).unwrap();
        world.expect_no_answer("shop/web", at(13, family)).unwrap();
        assert!(world.denied(own.node).unwrap() > before);
        // By its own address it never leaves the workload.
        world
            .expect_answer(
                "shop/web",
                SocketAddr::new(own.addresses.of(family), 8080),
                "shop/web",
            )
            .unwrap();
    }
    // A frame to oneself that does leave, because somebody put it on the wire.
    let web = world.lab.endpoint("shop/web").unwrap();
    web.watch("eth0", &[b"to nobody but me"]).unwrap();
    let before = world.counted(own.node, "to_self").unwrap();
    for family in Family::BOTH {
        let end = |mac, port| End {
            mac,
            ip: own.addresses.of(family),
            port,
        };
        let frame = frame::udp(
            end(own.mac, 4000),
            end(own.gateway_mac, 8080),
            b"to nobody but me",
        );
        web.inject("eth0", &frame).unwrap();
    }
    world.wait_counted(own.node, "to_self", before, 4).unwrap();
    assert_eq!(web.watched().unwrap(), [2]);
    // Being known as the node is enough to be let in as the node.
    let nodes: Vec<Value> = world
        .lab
        .plan()
        .nodes()
        .iter()
        .flat_map(|node| {
            node.addresses()
                .both()
                .into_iter()
                .chain(node.gateway().both())
        })
        .map(|address: IpAddr| {
            let length = if address.is_ipv4() { 32 } else { 128 };
            json!({"network": {"cidr": format!("{address}/{length}")}})
        })
        .collect();
    let mut policy = isolate("shop", "web", &[("db", 8080)]);
    policy["spec"]["ingress"]
        .as_array_mut()
        .unwrap()
        .push(json!({
            "action": "Allow", "from": nodes,
            "ports": [{"port": {"protocol": "TCP", "number": 8080}}],
        }));
    world.enforce("web.json", &policy).unwrap();
    for family in Family::BOTH {
        world
            .expect_answer("shop/web", at(13, family), "shop/web")
            .unwrap();
    }
}

#[test]
fn a_service_without_endpoints_leads_nowhere_whatever_the_node_translates_it_to() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432]))
        .unwrap();
    let world = Guarded::start(plan).unwrap();
    let node = world.lab.plan().nodes()[0];
    let db = world.lab.addresses("shop/db").unwrap();
    // The proxy is behind: it still leads to an endpoint that is gone from the slices.
    let rules = [PROXY.to_owned(), translation(14, db, 5432)];
    world
        .lab
        .node(node)
        .read("nft", &[&rules.concat()])
        .unwrap();
    let mut gone = service("gone", 14, &[(db, 5432)]);
    gone.truncate(1);
    world
        .product
        .settle(|| world.product.apply("services.json", &list(gone)))
        .unwrap();
    let web = world.lab.endpoint("shop/web").unwrap();
    for family in Family::BOTH {
        let outcome = web.asks(Transport::Tcp, at(14, family), SILENCE).unwrap();
        assert_eq!(outcome, Outcome::Silence);
    }
}
