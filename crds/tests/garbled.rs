//! G11 over every field of every kind that restricts: whatever is garbled in it, from a file or from the API, nothing is
//! allowed that was not. Where the subject of a cluster-scoped object is lost nobody can be denied, and it has to be said.
//! Garbage is another type, something empty, and words of a newer client beside or instead of what is known.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::PathBuf;

use bulkhead_crds::convert::{InputKind, input_kind, plain_object, stand_in};
use bulkhead_crds::manifest;
use bulkhead_policy::eval::{Flow, World, eval};
use bulkhead_policy::model::{Address, Event, Kind, Object, Protocol, Timestamp};
use serde_json::{Value, json};

/// One of each kind, with something of everything in it.
const POLICIES: &[&str] = &[
    r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "db"}, "spec": {
        "podSelector": {"matchLabels": {"app": "postgres"}}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["redis"]}]}},
                              {"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.7/32"]}}],
                     "ports": [{"protocol": "TCP", "port": 5432, "endPort": 5433}]}],
        "egress": [{"to": [{"namespaceSelector": {"matchLabels": {"team": "platform"}}}]}]}}"#,
    r#"{"apiVersion": "bulkhead.dev/v1alpha1", "kind": "SegmentationPolicy", "metadata": {"name": "p", "namespace": "db"}, "spec": {
        "subjects": [{"pods": {"matchLabels": {"app": "postgres"}}}], "isolates": ["Egress"], "mode": "Enforce",
        "ingress": [{"name": "no", "action": "Deny", "from": [{"workloads": {"namespaces": {"matchLabels": {"team": "shop"}}, "pods": {}}}],
                     "ports": [{"port": {"protocol": "TCP", "number": 5432}}, {"named": {"protocol": "TCP", "name": "sql"}}]},
                    {"action": "Allow", "from": [{"network": {"cidr": "0.0.0.0/0"}}, {"nodes": {}}], "ports": [{"every": {}}]}],
        "egress": [{"action": "Allow", "to": [{"workloads": {"serviceAccounts": ["postgres"]}}, {"segment": "gone"}],
                    "ports": [{"range": {"protocol": "TCP", "from": 1, "to": 9}}, {"icmp": {"family": "IPv4", "type": 8, "code": 0}}]}]}}"#,
    r#"{"apiVersion": "bulkhead.dev/v1alpha1", "kind": "ClusterSegmentationPolicy", "metadata": {"name": "p"}, "spec": {
        "tier": "Baseline", "priority": 7, "subjects": [{"workloads": {"namespaces": {"matchLabels": {"team": "shop"}}}}],
        "ingress": [{"action": "Pass", "from": [{"workloads": {"namespaces": {"matchLabels": {"team": "platform"}}}}], "ports": [{"every": {}}]},
                    {"action": "Deny", "from": [{"workloads": {"namespaces": {}}}], "ports": [{"protocol": "TCP"}]},
                    {"action": "Allow", "from": [{"everyone": {}}], "ports": [{"ipProtocol": {"number": 47}}]}],
        "egress": [{"action": "Deny", "to": [{"network": {"cidr": "203.0.113.0/24"}}], "ports": [{"every": {}}]}]}}"#,
    r#"{"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": "p"}, "spec": {
        "tier": "Admin", "priority": 7,
        "subject": {"pods": {"namespaceSelector": {"matchLabels": {"team": "shop"}}, "podSelector": {}}},
        "ingress": [{"name": "first", "action": "Accept", "from": [{"namespaces": {"matchLabels": {"team": "platform"}}}],
                     "protocols": [{"tcp": {"destinationPort": {"number": 5432}}}, {"destinationNamedPort": "redis"}]},
                    {"action": "Pass", "from": [{"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "redis"}}}}]},
                    {"action": "Deny", "from": [{"namespaces": {}}], "protocols": [{"udp": {"destinationPort": {"range": {"start": 1, "end": 99}}}}, {"tcp": {"destinationPort": {"number": 6379}}}]}],
        "egress": [{"action": "Accept", "to": [{"networks": ["203.0.113.0/24"]}, {"nodes": {"matchLabels": {"role": "x"}}}]},
                   {"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}]}}"#,
    r#"{"apiVersion": "bulkhead.dev/v1alpha1", "kind": "Quarantine", "metadata": {"name": "p"}, "spec": {
        "reason": "r", "expiresAt": "2030-01-01T00:00:00Z", "subjects": [{"uid": "uid-frontend"}, {"owner": {"namespace": "web", "kind": "Deployment", "name": "cart"}}],
        "exceptions": {"ingress": [{"name": "in", "from": [{"network": {"cidr": "203.0.113.7/32"}}], "ports": [{"port": {"protocol": "TCP", "number": 5432}}]}],
                       "egress": [{"name": "out", "to": [{"workloads": {"namespaces": {"matchLabels": {"team": "platform"}}}}], "ports": [{"every": {}}]}]}}}"#,
    r#"{"apiVersion": "bulkhead.dev/v1alpha1", "kind": "Segment", "metadata": {"name": "s"}, "spec": {
        "members": [{"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "db"}}}], "networks": [{"cidr": "203.0.113.0/24", "except": ["203.0.113.9/32"]}], "domains": ["api.example.org"],
        "isolation": {"ingress": "Deny", "egress": "Deny", "within": "Allow", "strength": "Boundary"}, "mode": "Enforce", "owner": "o", "sensitivity": "High"}}"#,
];

/// When everything is judged; the quarantine has not ended.
const NOW: Timestamp = Timestamp(1_780_315_200_000);

fn cast() -> Vec<Object> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/stories/cast/shop.yaml");
    let read = manifest::read("cast", &fs::read(file).unwrap());
    assert!(read.problems.is_empty());
    let objects = read.objects.into_iter();
    objects.map(|located| located.object).collect()
}

fn flows() -> Vec<Flow> {
    const ENDS: &[&str] = &[
        "10.1.1.1",
        "10.1.1.3",
        "10.1.2.1",
        "10.1.2.2",
        "203.0.113.7",
        "192.168.0.1",
    ];
    const PORTS: &[(Protocol, u16)] = &[
        (Protocol::Tcp, 5432),
        (Protocol::Tcp, 6379),
        (Protocol::Udp, 53),
        (Protocol::Icmp, 8 << 8),
    ];
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    let pairs = ENDS.iter().flat_map(|a| ENDS.iter().map(move |b| (*a, *b)));
    let flow = |(source, destination): (&'static str, &'static str)| {
        PORTS.iter().map(move |(protocol, port)| Flow {
            source: address(source),
            destination: address(destination),
            protocol: *protocol,
            port: *port,
        })
    };
    pairs.filter(|(a, b)| a != b).flat_map(flow).collect()
}

/// Enforced and intended, for every flow.
fn verdicts(cast: &[Object], policy: Option<Object>) -> Vec<[bool; 2]> {
    let mut world = World::new([]);
    for object in cast.iter().cloned().chain(policy) {
        world.apply(Event::Apply(object));
    }
    let verdict = |flow| {
        let verdict = eval(&world, flow, NOW);
        [verdict.allowed(), verdict.intended()]
    };
    flows().iter().map(verdict).collect()
}

/// Every place in a value, as a JSON pointer.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(field, &format!("{at}/{key}"), into);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The object with something wrong in one place.
fn garbled(object: &Value, place: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for garbage in [json!(5), json!("?"), json!([]), json!({"novelty": {}})] {
        let mut garbled = object.clone();
        *garbled.pointer_mut(place).unwrap() = garbage;
        all.push(garbled);
    }
    let Some(Value::Object(fields)) = object.pointer(place) else {
        return all;
    };
    let mut with = |fields: serde_json::Map<String, Value>| {
        let mut garbled = object.clone();
        *garbled.pointer_mut(place).unwrap() = Value::Object(fields);
        all.push(garbled);
    };
    let novelty = |mut fields: serde_json::Map<String, Value>| {
        fields.insert("novelty".to_owned(), json!({}));
        fields
    };
    with(novelty(fields.clone()));
    for field in fields.keys() {
        let mut others = fields.clone();
        others.remove(field);
        with(novelty(others));
        let alone = fields.iter().filter(|(other, _)| *other == field);
        let alone = alone.map(|(field, value)| (field.clone(), value.clone()));
        with(novelty(alone.collect()));
    }
    all
}

/// What is in force of it and whether something was wrong, from a file and from the API.
fn readings(kind: Kind, value: &Value) -> [(Option<Object>, bool); 2] {
    let mut file = manifest::read("p.json", value.to_string().as_bytes());
    let stood_in = file.unreadable.pop().and_then(|it| it.stand_in);
    let good = file.objects.pop().map(|located| located.object);
    let from_file = good.or(stood_in.map(|it| it.object));
    let from_api = match plain_object(kind, value) {
        Ok(converted) => (Some(converted.object), !converted.faults.is_empty()),
        Err(_) => (stand_in(kind, value).map(|it| it.object), true),
    };
    [(from_file, !file.problems.is_empty()), from_api]
}

/// Nobody can be denied whose subject is lost; of a cluster-scoped object that is everybody.
fn loses_the_subject(kind: Kind, before: &Value, after: &Value) -> bool {
    let differs = |field| before["spec"].get(field) != after["spec"].get(field);
    let is_namespaced = matches!(kind, Kind::NetworkPolicy | Kind::SegmentationPolicy);
    !is_namespaced && ["subject", "subjects", "members"].into_iter().any(differs)
}

#[test]
fn g11_nothing_that_is_garbled_opens() {
    let cast = cast();
    let mut asked = 0;
    for text in POLICIES {
        let object: Value = serde_json::from_str(text).unwrap();
        let word = |field: &str| object[field].as_str().unwrap().to_owned();
        let InputKind::Read(kind) = input_kind(&word("apiVersion"), &word("kind")) else {
            panic!("{text}")
        };
        let [(good, wrong), _] = readings(kind, &object);
        assert!(!wrong, "{text}");
        let before = verdicts(&cast, good);
        assert!(
            before.contains(&[false, false]),
            "{} restricts nobody",
            kind.name()
        );
        let mut all = Vec::new();
        places(&object["spec"], "/spec", &mut all);
        for place in all {
            for garbled in garbled(&object, &place) {
                for (in_force, wrong) in readings(kind, &garbled) {
                    // Some garbage is as good as what it replaced, and means something else.
                    if !wrong || loses_the_subject(kind, &object, &garbled) {
                        continue;
                    }
                    asked += 1;
                    let after = verdicts(&cast, in_force);
                    for (flow, (old, new)) in flows().iter().zip(before.iter().zip(after)) {
                        let widens = (0..2).any(|stance| new[stance] && !old[stance]);
                        assert!(
                            !widens,
                            "{}: {place} of {garbled}: {flow:?} is allowed",
                            kind.name()
                        );
                    }
                }
            }
        }
    }
    assert!(asked > 1000, "{asked} readings");
}
