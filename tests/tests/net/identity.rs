//! G6: who somebody is follows from the interface and the intent, never from an address that somebody else had before, and one that
//! nobody is known to have is nobody.

use std::time::Duration;

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::Transport;
use bulkhead_tests::lab::frame::{self, End};
use bulkhead_tests::lab::{Addresses, Family, Lab, Plan, WorkloadPlan, manifests};
use serde_json::{Value, json};

use crate::guarded::{Guarded, Stream, isolate};

const LIMIT: Duration = Duration::from_secs(10);
const MARK: &[u8; 16] = b"from the heir !!";

/// A policy for everybody everywhere, strongest of all.
fn admin(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["tier"] = "Admin".into();
    spec["priority"] = 1.into();
    json!({
        "apiVersion": "bulkhead.dev/v1alpha1", "kind": "ClusterSegmentationPolicy",
        "metadata": {"name": name}, "spec": spec,
    })
}

#[test]
fn an_address_of_the_cluster_that_nobody_is_known_to_have_is_judged_by_what_holds_for_everybody() {
    let plan = Plan::new(2)
        .workload("shop/ghost", 1, &[80])
        .and_then(|plan| plan.workload("shop/web", 1, &[80]))
        .and_then(|plan| plan.workload("shop/db", 2, &[80]))
        .unwrap();
    let known: Vec<Value> = manifests::objects(&plan)
        .into_iter()
        .filter(|object| object["metadata"]["name"] != "ghost")
        .collect();
    let world = Guarded::take_over(Lab::start(plan).unwrap(), &[], known).unwrap();
    // Nothing isolates: unknown or not, nobody is kept out.
    world.expect_reached("shop/ghost", "shop/db", 80).unwrap();
    world.expect_reached("shop/db", "shop/ghost", 80).unwrap();

    let from = |peers: &Value| {
        let mut policy = isolate("shop", "db", &[("web", 80)]);
        policy["spec"]["ingress"][0]["from"] = peers.clone();
        policy
    };
    let known_only = json!([{"workloads": {"pods": {}}}]);
    let networks = json!([
        {"network": {"cidr": "10.71.1.0/24"}},
        {"network": {"cidr": "fd71:0:0:1::/64"}},
    ]);
    let outside = json!([
        {"network": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}},
        {"network": {"cidr": "::/0", "except": ["fd00::/8"]}},
    ]);
    let everyone = json!([{"everyone": {}}]);
    // Somebody unknown might be of another namespace.
    world.enforce("db.json", &from(&known_only)).unwrap();
    world.expect_silence("shop/ghost", "shop/db", 80).unwrap();
    world.expect_reached("shop/web", "shop/db", 80).unwrap();
    world.enforce("db.json", &from(&outside)).unwrap();
    world.expect_silence("shop/ghost", "shop/db", 80).unwrap();
    for peers in [networks, everyone] {
        world.enforce("db.json", &from(&peers)).unwrap();
        world
            .expect_reached("shop/ghost", "shop/db", 80)
            .unwrap_or_else(|error| panic!("{peers}: {error:#}"));
    }
    // A Deny counts unless it cannot match; whoever is known to be somebody else is not hit.
    let deny = admin(
        "no-evil",
        &json!({
            "subjects": [{"workloads": {"namespaces": {}}}],
            "ingress": [{
                "action": "Deny",
                "from": [{"workloads": {"namespaces": {}, "pods": {"matchLabels": {"app": "evil"}}}}],
                "ports": [{"every": {}}],
            }],
        }),
    );
    world.enforce("deny.json", &deny).unwrap();
    world.expect_silence("shop/ghost", "shop/db", 80).unwrap();
    world.expect_reached("shop/web", "shop/db", 80).unwrap();
    // The same on the way there: the sender's node judges its own half only.
    world
        .product
        .settle(|| world.product.withdraw("deny.json"))
        .unwrap();
    let to = json!({"workloads": {"pods": {"matchLabels": {"app": "ghost"}}}, "port": 80});
    world
        .enforce("egress.json", &crate::guarded::egress("shop", "db", &[to]))
        .unwrap();
    world.expect_silence("shop/db", "shop/ghost", 80).unwrap();
    let to = ["10.71.1.0/24", "fd71:0:0:1::/64"]
        .map(|cidr| json!({"network": {"cidr": cidr}, "port": 80}));
    world
        .enforce("egress.json", &crate::guarded::egress("shop", "db", &to))
        .unwrap();
    world.expect_reached("shop/db", "shop/ghost", 80).unwrap();
}

/// How far a pod has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Terminating,
    Completed,
}

/// A workload of the plan as a pod.
fn pod(workload: &WorkloadPlan, life: Life) -> Value {
    let WorkloadPlan {
        namespace,
        name,
        node,
        addresses,
        ..
    } = workload;
    let ips = addresses.both().map(|ip| json!({"ip": ip}));
    let phase = match life {
        Life::Running | Life::Terminating => "Running",
        Life::Completed => "Succeeded",
    };
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        // A change of labels that no selector asks for lets the lab see that the change has come through.
        "metadata": {
            "namespace": namespace, "name": name,
            "labels": {"app": name, "life": format!("{life:?}")},
        },
        "spec": {"nodeName": node.name(), "containers": [{"name": "main"}]},
        "status": {"phase": phase, "podIP": addresses.v4, "podIPs": ips},
    });
    if life == Life::Terminating {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    }
    pod
}

#[test]
fn a_terminating_pod_keeps_its_identity_until_it_is_gone_and_a_completed_one_has_none() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[80])
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .unwrap();
    let web = plan.find("shop/web").unwrap().clone();
    // Both are pods: beside pods, a declared workload owns nothing in their ranges.
    let db = pod(plan.find("shop/db").unwrap(), Life::Running);
    let objects: Vec<Value> = manifests::objects(&plan)
        .into_iter()
        .filter(|object| object["kind"] != "Workload")
        .chain([db])
        .collect();
    let world_of =
        |pod: Option<Value>| manifests::list(objects.iter().cloned().chain(pod).collect());
    let running = pod(&web, Life::Running);
    let all: Vec<Value> = objects.iter().cloned().chain([running]).collect();
    let world = Guarded::take_over(Lab::start(plan).unwrap(), &[], all).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    let stream = Stream {
        source: "shop/web",
        destination: "shop/db",
        transport: Transport::Tcp,
        family: Family::V6,
        from_port: 0,
        port: 5432,
        records_per_second: 200,
    };
    let id = world.open(&stream).unwrap();
    let becomes = |pod: Option<Value>| {
        world
            .product
            .settle(|| world.product.apply("world.json", &world_of(pod)))
            .unwrap();
    };
    // It may still say what it has to say while it ends.
    becomes(Some(pod(&web, Life::Terminating)));
    world.wait_echoes("shop/web", id, 50).unwrap();
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
    // Completed, it owns nothing, whatever its interface still does.
    becomes(Some(pod(&web, Life::Completed)));
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();
    let echoed = || {
        let client = world.lab.endpoint("shop/web").unwrap();
        client.stream(id).unwrap().echoed
    };
    let before = echoed();
    becomes(None);
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();
    assert_eq!(echoed(), before, "the old connection goes on");
}

/// Moves both addresses of one workload to another, in their namespaces and in all routes, as a network plugin would.
fn move_addresses(lab: &Lab, from: &str, to: &str) {
    let (old, new) = (
        lab.plan().find(from).unwrap().clone(),
        lab.plan().find(to).unwrap().clone(),
    );
    let Addresses { v4, v6 } = old.addresses;
    let node = new.node.addresses();
    lab.workload(from)
        .unwrap()
        .ip(&format!(
            "addr del {v4}/32 dev eth0\naddr del {v6}/128 dev eth0\n"
        ))
        .unwrap();
    lab.workload(to)
        .unwrap()
        .ip(&format!(
            "addr add {v4}/32 dev eth0\naddr add {v6}/128 dev eth0 nodad\n"
        ))
        .unwrap();
    for router in lab.plan().nodes() {
        let lines = if *router == new.node {
            format!(
                "route replace {v4}/32 dev {0}\nroute replace {v6}/128 dev {0}\n",
                new.interface
            )
        } else {
            let mut lines = format!(
                "route replace {v4}/32 via {}\nroute replace {v6}/128 via {}\n",
                node.v4, node.v6
            );
            if *router == old.node {
                // The old owner's own routes were for the link.
                lines = format!(
                    "route del {v4}/32 dev {0}\nroute del {v6}/128 dev {0}\n{lines}",
                    old.interface
                );
            }
            lines
        };
        lab.node(*router).ip(&lines).unwrap();
    }
    lab.fabric()
        .ip(&format!(
            "route replace {v4}/32 via {}\nroute replace {v6}/128 via {}\n",
            node.v4, node.v6
        ))
        .unwrap();
}

#[test]
fn g6_a_reused_address_never_inherits_and_a_late_delete_takes_nothing_from_the_new_owner() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[80])
        .and_then(|plan| plan.workload("shop/heir", 2, &[80]))
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .and_then(|plan| plan.workload("shop/far", 1, &[5432]))
        .unwrap();
    let of = |name: &str| plan.find(name).unwrap().clone();
    let (web, heir, db) = (of("shop/web"), of("shop/heir"), of("shop/db"));
    let both = web.addresses;
    let mut objects = manifests::objects(&plan);
    objects.extend([
        isolate("shop", "db", &[("web", 5432)]),
        isolate("shop", "far", &[("web", 5432)]),
    ]);
    let world = Guarded::take_over(Lab::start(plan).unwrap(), &[], objects.clone()).unwrap();
    let flow = |source, destination, transport, from_port| Stream {
        source,
        destination,
        transport,
        family: Family::V4,
        from_port,
        port: 5432,
        records_per_second: 200,
    };
    // Flows of the old owner, on its own node and to the other one, with ports that the heir will use again.
    for destination in ["shop/db", "shop/far"] {
        for (transport, port) in [(Transport::Udp, 4001), (Transport::Tcp, 4002)] {
            let id = world
                .open(&flow("shop/web", destination, transport, port))
                .unwrap();
            world.lab.endpoint("shop/web").unwrap().close(id).unwrap();
        }
    }
    let arrived = |name: &str| {
        let endpoint = world.lab.endpoint(name).unwrap();
        [Transport::Udp, Transport::Tcp].map(|transport| {
            endpoint
                .intake(transport, 5432, web.addresses.v4.into())
                .unwrap()
                .bytes
        })
    };
    let before = (arrived("shop/db"), arrived("shop/far"));

    // The address moves to a workload of the other node. Nobody has told the product yet.
    move_addresses(&world.lab, "shop/web", "shop/heir");
    let knock = || {
        let client = world.lab.endpoint("shop/heir").unwrap();
        for (name, mac) in [
            ("shop/db", heir.gateway_mac),
            ("shop/far", heir.gateway_mac),
        ] {
            for family in Family::BOTH {
                for port in [4001, 4003] {
                    let from = End {
                        mac: heir.mac,
                        ip: both.of(family),
                        port,
                    };
                    let to = End {
                        mac,
                        ip: world.lab.addresses(name).unwrap().of(family),
                        port: 5432,
                    };
                    client.inject("eth0", &frame::udp(from, to, MARK)).unwrap();
                }
            }
        }
    };
    let own = heir.node;
    let spoofed = world.counted(own, "source_address_spoofed").unwrap();
    knock();
    world
        .wait_counted(own, "source_address_spoofed", spoofed, 8)
        .unwrap();

    // Now the new owner is known, and the old one is not gone yet: the delete is late. Two running claims; the range is the old
    // one's node's, so it keeps the address, and the heir is none.
    let claims = |object: &mut Value, name: &str, addresses: &[String]| {
        if object["metadata"]["name"] == name {
            object["spec"]["addresses"] = addresses.into();
        }
    };
    let everything: Vec<String> = heir
        .addresses
        .both()
        .into_iter()
        .chain(web.addresses.both())
        .map(|address| address.to_string())
        .collect();
    let mut contested = objects.clone();
    for object in &mut contested {
        claims(object, "heir", &everything);
    }
    let becomes = |objects: &[Value]| {
        world
            .product
            .settle(|| {
                world
                    .product
                    .apply("world.json", &manifests::list(objects.to_vec()))
            })
            .unwrap();
    };
    becomes(&contested);
    let spoofed = world.counted(own, "source_address_spoofed").unwrap();
    knock();
    world
        .wait_counted(own, "source_address_spoofed", spoofed, 8)
        .unwrap();

    // The delete arrives at last. The heir has the address now, and nothing that went with it.
    let alone: Vec<Value> = contested
        .into_iter()
        .filter(|object| object["kind"] != "Workload" || object["metadata"]["name"] != "web")
        .collect();
    becomes(&alone);
    // On the old owner's node its flows were a local workload's: the heir's packets are strangers to them.
    let denied = || {
        let at = |node| {
            world.denied(node).unwrap() + world.counted(node, "local_source_spoofed").unwrap()
        };
        at(own) + at(web.node)
    };
    let before_knocking = denied();
    knock();
    Deadline::after(LIMIT)
        .until("eight refusals", || {
            Ok((denied() >= before_knocking + 8).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}: {}", denied() - before_knocking));
    assert_eq!((arrived("shop/db"), arrived("shop/far")), before);

    // What the heir itself may, it may from its new address as well: the late delete took nothing from it.
    let mut granted = alone;
    for object in &mut granted {
        if object["kind"] == "SegmentationPolicy" && object["metadata"]["name"] == "db" {
            *object = isolate("shop", "db", &[("heir", 5432)]);
        }
    }
    becomes(&granted);
    world
        .lab
        .endpoint("shop/db")
        .unwrap()
        .watch("eth0", &[MARK])
        .unwrap();
    let from = End {
        mac: heir.mac,
        ip: both.v4.into(),
        port: 4001,
    };
    let to = End {
        mac: heir.gateway_mac,
        ip: db.addresses.v4.into(),
        port: 5432,
    };
    let client = world.lab.endpoint("shop/heir").unwrap();
    client.inject("eth0", &frame::udp(from, to, MARK)).unwrap();
    Deadline::after(LIMIT)
        .until("the heir's own datagram", || {
            // At least once: who does not want the answer sends it back, quoted.
            Ok((world.lab.endpoint("shop/db").unwrap().watched()?[0] > 0).then_some(()))
        })
        .unwrap();
}
