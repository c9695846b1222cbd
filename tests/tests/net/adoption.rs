//! The first start on a node: connections older than the programs go on if policy allows them, and are cut if it does not, whatever
//! ports their owner has chosen.

use std::time::Duration;

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::{StreamId, StreamPlan, Transport, now};
use bulkhead_tests::lab::{Family, Lab, Plan, manifests};
use serde_json::{Value, json};
use std::net::SocketAddr;

use crate::guarded::{Guarded, Stream, isolate};
use crate::revocation::assert_no_byte_after;

const LIMIT: Duration = Duration::from_secs(10);

/// A stream in a lab that nobody guards yet.
fn open(lab: &Lab, stream: &Stream<'_>) -> StreamId {
    let client = lab.endpoint(stream.source).unwrap();
    let to = lab.addresses(stream.destination).unwrap().of(stream.family);
    let plan = StreamPlan {
        transport: stream.transport,
        to: SocketAddr::new(to, stream.port),
        from_port: stream.from_port,
        records_per_second: stream.records_per_second,
    };
    let id = client.open(plan).unwrap();
    Deadline::after(LIMIT)
        .until("records coming back", || {
            Ok((client.stream(id)?.echoed > 20).then_some(()))
        })
        .unwrap();
    id
}

/// The namespace may do everything towards `app`, on every port.
fn open_to_all(app: &str) -> Value {
    json!({
        "apiVersion": "bulkhead.dev/v1alpha1", "kind": "SegmentationPolicy",
        "metadata": {"namespace": "shop", "name": app},
        "spec": {
            "subjects": [{"pods": {"matchLabels": {"app": app}}}],
            "isolates": ["Ingress"],
            "ingress": [{
                "action": "Allow",
                "from": [{"workloads": {"pods": {}}}],
                "ports": [{"every": {}}],
            }],
        },
    })
}

#[test]
fn g9_a_forbidden_connection_older_than_the_agent_is_cut_at_its_first_start() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[22, 5432]))
        .unwrap();
    let lab = Lab::start(plan).unwrap();
    let stream = |family, from_port, port| Stream {
        source: "shop/web",
        destination: "shop/db",
        transport: Transport::Tcp,
        family,
        from_port,
        port,
        records_per_second: 200,
    };
    // The intruder chooses its port, so that its end looks like the server: below, at, and above well-known ones.
    let forbidden: Vec<_> = [
        (Family::V4, 443),
        (Family::V4, 7),
        (Family::V6, 7),
        (Family::V6, 40_000),
    ]
    .map(|(family, from_port)| stream(family, from_port, 22))
    .into();
    for stream in &forbidden {
        open(&lab, stream);
    }
    let allowed: Vec<_> = Family::BOTH
        .map(|family| stream(family, 0, 5432))
        .into_iter()
        .map(|stream| (stream, open(&lab, &stream)))
        .collect();
    // db may open everything towards web; web may open 5432 of db and nothing else.
    let mut objects = manifests::objects(lab.plan());
    objects.extend([isolate("shop", "db", &[("web", 5432)]), open_to_all("web")]);
    let world = Guarded::take_over(lab, &[], objects).unwrap();
    let acknowledged = now();
    let db = world.lab.endpoint("shop/db").unwrap();
    let from = world.lab.addresses("shop/web").unwrap();
    for family in Family::BOTH {
        assert_no_byte_after(acknowledged, &|| {
            db.intake(Transport::Tcp, 22, from.of(family)).unwrap()
        });
    }
    // Nobody's work was interrupted by the installation.
    for (stream, id) in &allowed {
        world.wait_echoes(stream.source, *id, 50).unwrap();
        let sent = world
            .lab
            .endpoint(stream.source)
            .unwrap()
            .stream(*id)
            .unwrap();
        assert_eq!(sent.error, None, "{stream:?}");
    }
}
