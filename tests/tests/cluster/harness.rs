//! The harness itself: what the stories rely on holds without any of our enforcement, so that a story's "denied" is ours.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use bulkhead_tests::cluster::pod::{TestPod, list, service};
use bulkhead_tests::cluster::{
    Cluster, Component, Deadline, Netns, NodeIndex, Options, PodName, Reach, Target,
};

use crate::machine;

const LIMIT: Duration = Duration::from_secs(60);

/// Interfaces, addresses and routes of the machine's own network namespace.
fn own_network() -> String {
    ["link", "address", "route"]
        .map(|what| {
            String::from_utf8(
                Command::new("ip")
                    .args(["-o", what])
                    .output()
                    .unwrap()
                    .stdout,
            )
            .unwrap()
        })
        .concat()
}

fn until_reach(cluster: &Cluster, from: &PodName, target: &Target, wanted: Reach) -> Result<()> {
    Deadline::after(LIMIT).until(
        &format!("{wanted:?} from {} to {target:?}", from.name),
        || {
            let seen = cluster.probe(from, target)?;
            ensure!(seen == wanted, "seen: {seen:?}");
            Ok(Some(()))
        },
    )
}

#[test]
fn pods_of_three_nodes_reach_each_other_and_services() {
    let _machine = machine();
    let network_before = own_network();
    let cluster = Cluster::up(&Options::new("harness").unwrap()).unwrap();
    let client = cluster.client();
    let [n1, n2, n3] = [1, 2, 3].map(|i| NodeIndex::new(i).unwrap());
    client.make_namespace("shop", &[("team", "shop")]).unwrap();
    let web = TestPod::new("shop", "web")
        .label("app", "web")
        .on(n1)
        .serving(8080)
        .serving(9090);
    let near = TestPod::new("shop", "near").on(n1);
    let far = TestPod::new("shop", "far").on(n2);
    let third = TestPod::new("shop", "third").on(n3).serving(8080);
    client
        .make_pods(
            &[web.clone(), near.clone(), far.clone(), third.clone()],
            LIMIT,
        )
        .unwrap();

    for (pod, node) in [(&web, n1), (&near, n1), (&far, n2), (&third, n3)] {
        let address = client.pod_address(&pod.name).unwrap();
        assert!(
            node.pods().contains(&address),
            "{}: {address} is outside of its node's range",
            pod.name.name
        );
        let object = client.get(&[&format!("node/{}", node.name())]).unwrap();
        assert_eq!(object["spec"]["podCIDR"], node.pods().to_string());
    }

    let web_address = client.pod_address(&web.name).unwrap();
    let at = |port| SocketAddrV4::new(web_address, port);
    let targets = [
        Target::tcp(at(8080)),
        Target::udp(at(8080)),
        Target::tcp(at(9090)),
        Target::tcp(at(7)),
    ];
    let wanted = [Reach::Open, Reach::Open, Reach::Open, Reach::Refused];
    for from in [&near, &far, &third] {
        assert_eq!(
            client.probe_all(&from.name, &targets).unwrap(),
            wanted,
            "from {}",
            from.name.name
        );
    }

    client
        .apply(&list([service("shop", "web", ("app", "web"), 8080)]))
        .unwrap();
    let service = client.service_address("shop", "web", 8080).unwrap();
    let api = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 443);
    for target in [Target::tcp(service), Target::udp(service), Target::tcp(api)] {
        // kube-proxy learns of a new Service when it does.
        until_reach(&cluster, &far.name, &target, Reach::Open).unwrap();
    }

    drops_are_seen_as_silence(&cluster, &far.name, &near.name, at(8080)).unwrap();
    drop(cluster);
    assert_eq!(own_network(), network_before);
}

/// A firewall in one node is seen from that side only, which also shows that the nodes' rules are their own.
fn drops_are_seen_as_silence(
    cluster: &Cluster,
    far: &PodName,
    near: &PodName,
    web: SocketAddrV4,
) -> Result<()> {
    let rules = format!(
        "table ip firewall {{\n chain forward {{\n type filter hook forward priority 0;\n ip daddr {} tcp dport {} drop\n }}\n}}\n",
        web.ip(),
        web.port()
    );
    cluster
        .node(2)?
        .run("sh", &["-c", &format!("echo '{rules}' | nft -f -")])?;
    ensure!(
        cluster.probe(far, &Target::tcp(web))? == Reach::Silent,
        "n2 drops, but {} gets through",
        far.name
    );
    ensure!(
        cluster.probe(near, &Target::tcp(web))? == Reach::Open,
        "n1 does not drop, but {} is cut off",
        near.name
    );
    Ok(())
}

#[test]
fn a_killed_api_server_comes_back_and_pods_carry_on() {
    let _machine = machine();
    let mut cluster = Cluster::up(&Options::new("restart").unwrap().with_nodes(1)).unwrap();
    let client = cluster.client().clone();
    let web = TestPod::new("default", "web").serving(80);
    client.make_pods(std::slice::from_ref(&web), LIMIT).unwrap();
    let started = |object: &serde_json::Value| object["status"]["startTime"].clone();
    let before = client.get(&["pod/web"]).unwrap();

    cluster.control_plane().kill(Component::ApiServer).unwrap();
    assert!(
        client.run(&["get", "pods"]).is_err(),
        "the API server answers although it was killed"
    );
    let address = before["status"]["podIP"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        cluster
            .probe_from_outside(&Target::tcp(SocketAddrV4::new(address, 80)))
            .unwrap(),
        Reach::Open
    );

    cluster.control_plane().start(Component::ApiServer).unwrap();
    cluster
        .control_plane()
        .wait_ready(&client, Deadline::after(LIMIT))
        .unwrap();
    let after = client.get(&["pod/web"]).unwrap();
    assert_eq!(started(&after), started(&before));
    cluster.check_running().unwrap();
}

#[test]
fn a_node_whose_plug_was_pulled_starts_its_pods_again() {
    let _machine = machine();
    let mut cluster = Cluster::up(&Options::new("power").unwrap().with_nodes(1)).unwrap();
    let client = cluster.client().clone();
    let web = TestPod::new("default", "web").serving(80);
    client.make_pods(std::slice::from_ref(&web), LIMIT).unwrap();
    let target = || {
        Target::tcp(SocketAddrV4::new(
            client.pod_address(&web.name).unwrap(),
            80,
        ))
    };
    assert_eq!(cluster.probe_from_outside(&target()).unwrap(), Reach::Open);

    cluster.node_mut(1).unwrap().pull_plug().unwrap();
    assert!(
        cluster.node(1).unwrap().run("true", &[]).is_err(),
        "a node without power runs programs"
    );
    cluster.node_mut(1).unwrap().power_on().unwrap();
    Deadline::after(2 * LIMIT)
        .until("the restart of the pod", || {
            let status = client.get(&["pod/web"])?["status"]["containerStatuses"][0].clone();
            ensure!(
                status["restartCount"] == 1 && status["ready"] == true,
                "seen: {status}"
            );
            Ok(Some(()))
        })
        .unwrap();
    assert_eq!(cluster.probe_from_outside(&target()).unwrap(), Reach::Open);
}

#[test]
fn what_a_crashed_run_left_is_replaced_and_then_gone() {
    let _machine = machine();
    let options = Options::new("crashed").unwrap().with_nodes(1);
    let cluster = Cluster::up(&options).unwrap();
    cluster
        .client()
        .make_pods(&[TestPod::new("default", "old")], LIMIT)
        .unwrap();
    cluster.leave();

    let cluster = Cluster::up(&options).unwrap();
    let pods = cluster
        .kubectl(&["get", "pods", "--all-namespaces", "-o", "name"])
        .unwrap();
    assert_eq!(pods, "", "pods of the earlier run are still there");
    let folder = cluster.folder();
    drop(cluster);

    let node = NodeIndex::new(1).unwrap();
    assert!(
        !Netns::of_control_plane(&options.name).exists()
            && !Netns::of_node(&options.name, node).exists()
    );
    let mut left: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["log"], "only logs may stay");
}
