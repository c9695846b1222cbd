//! What went wrong in other engines, each as a story in manifests that oracle, rule sets and tables tell alike. The list,
//! with those that other rungs tell, is `docs/failures-of-others.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use bulkhead_crds::manifest;
use bulkhead_policy::engine::Engine;
use bulkhead_policy::eval::{Flow, eval};
use bulkhead_policy::model::{
    Address, Event, Object, PeerLimits, Phase, Protocol, ServiceLimits, Workload,
};
use bulkhead_tests::worlds::SmallWorld;
use bulkhead_tests::worlds::search::Tally;
use bulkhead_tests::worlds::vocabulary::NOW;

use crate::compiled::compare;
use bulkhead_tests::tuples::graphs;

/// The cast of the stories, and these objects.
fn cluster(manifests: &str) -> SmallWorld {
    let cast = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stories/cast/shop.yaml");
    let mut objects = Vec::new();
    for text in [fs::read_to_string(cast).unwrap().as_str(), manifests] {
        let manifest = manifest::read("story", text.as_bytes());
        assert!(manifest.problems.is_empty(), "{}", manifest.problems[0]);
        objects.extend(manifest.objects.into_iter().map(|located| located.object));
    }
    SmallWorld {
        cluster_ranges: vec!["10.1.0.0/16".parse().unwrap()],
        service_limits: ServiceLimits::default(),
        peer_limits: PeerLimits::default(),
        objects,
    }
}

fn addresses(case: &SmallWorld, name: &str) -> Vec<Address> {
    if let Ok(ip) = name.parse::<std::net::IpAddr>() {
        return vec![ip.into()];
    }
    let world = case.world();
    let mut named = world
        .workloads()
        .filter(|workload| format!("{}/{}", workload.namespace, workload.name) == name);
    let workload = named.next().unwrap_or_else(|| panic!("nobody is {name}"));
    workload
        .addresses
        .iter()
        .copied()
        .map(Address::from)
        .collect()
}

/// `web/frontend -> db/postgres:5432`, TCP, in every family that both have.
fn flows(case: &SmallWorld, line: &str) -> Vec<Flow> {
    let (source, rest) = line.split_once(" -> ").unwrap();
    let (destination, port) = rest.rsplit_once(':').unwrap();
    let destinations = addresses(case, destination);
    let pairs = addresses(case, source).into_iter().flat_map(|source| {
        let same = move |it: &&Address| it.is_ipv4() == source.is_ipv4();
        let of_family: Vec<Address> = destinations.iter().filter(same).copied().collect();
        of_family.into_iter().map(move |it| (source, it))
    });
    let flows: Vec<Flow> = pairs
        .map(|(source, destination)| Flow {
            source,
            destination,
            protocol: Protocol::Tcp,
            port: port.parse().unwrap(),
        })
        .collect();
    assert!(!flows.is_empty(), "{line}: no family in common");
    flows
}

#[track_caller]
fn check(manifests: &str, allowed: &[&str], denied: &[&str]) {
    let case = cluster(manifests);
    let world = case.world();
    let mut all = Vec::new();
    for (lines, expected) in [(allowed, true), (denied, false)] {
        for line in lines {
            for flow in flows(&case, line) {
                let verdict = eval(&world, &flow, NOW);
                assert_eq!(
                    verdict.allowed(),
                    expected,
                    "{line}: egress {}, ingress {}",
                    verdict.enforced.egress.rule,
                    verdict.enforced.ingress.rule
                );
                all.push(flow);
            }
        }
    }
    let count = all.len() as u64;
    let tally = Tally::default();
    compare(&case, all.into_iter(), &tally).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(tally.tuples(), count, "every flow has a half on some node");
}

/// CVE-2024-47825: a Deny for a range was ignored where an Allow named a narrower one.
#[test]
fn a_broad_deny_counts_beside_a_narrower_allow() {
    let tenant = |action: &str, cidr: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: SegmentationPolicy\n\
             metadata: {{name: {}, namespace: web}}\n\
             spec: {{subjects: [{{pods: {{}}}}], egress: [{{action: {action}, to: [{{network: {{cidr: {cidr}}}}}], ports: [{{every: {{}}}}]}}]}}\n---\n",
            action.to_lowercase()
        )
    };
    let both = tenant("Deny", "203.0.113.0/24") + &tenant("Allow", "203.0.113.7/32");
    check(
        &both,
        &["web/frontend -> 198.51.100.7:443"],
        &[
            "web/frontend -> 203.0.113.7:443",
            "web/frontend -> 203.0.113.8:443",
        ],
    );
    let admin = |first: &str, second: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: ClusterSegmentationPolicy\nmetadata: {{name: admin}}\n\
             spec:\n  tier: Admin\n  priority: 1\n  subjects: [{{workloads: {{namespaces: {{}}}}}}]\n  egress:\n  - {first}\n  - {second}\n"
        )
    };
    let deny = "{action: Deny, to: [{network: {cidr: 203.0.113.0/24}}], ports: [{every: {}}]}";
    let allow = "{action: Allow, to: [{network: {cidr: 203.0.113.7/32}}], ports: [{every: {}}]}";
    check(
        &admin(deny, allow),
        &[],
        &[
            "web/frontend -> 203.0.113.7:443",
            "web/frontend -> 203.0.113.8:443",
        ],
    );
    check(
        &admin(allow, deny),
        &["web/frontend -> 203.0.113.7:443"],
        &["web/frontend -> 203.0.113.8:443"],
    );
}

/// CVE-2025-64715: a group without members was read as everybody.
#[test]
fn an_empty_group_is_nobody() {
    let nobody = "{namespaces: {matchLabels: {team: nobody}}}";
    check(
        &format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: Segment\nmetadata: {{name: nobody}}\nspec: {{members: [{nobody}]}}\n---\n\
             apiVersion: bulkhead.dev/v1alpha1\nkind: SegmentationPolicy\nmetadata: {{name: a, namespace: db}}\n\
             spec:\n  subjects: [{{pods: {{}}}}]\n  isolates: [Ingress]\n  ingress:\n\
             \x20 - {{action: Allow, from: [{{segment: nobody}}, {{workloads: {nobody}}}], ports: [{{every: {{}}}}]}}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: b, namespace: web}}\n\
             spec: {{podSelector: {{}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{app: nobody}}}}}}]}}]}}\n"
        ),
        &["web/frontend -> ops/bastion:80"],
        &[
            "web/frontend -> db/postgres:5432",
            "203.0.113.7 -> db/postgres:5432",
            "db/redis -> db/postgres:5432",
            "ops/bastion -> web/frontend:8080",
            "web/cart -> web/frontend:8080",
        ],
    );
}

/// CVE-2026-25804: packed priorities overflowed, so that a weak rule became a strong one.
#[test]
fn thousands_of_rules_keep_their_order() {
    let mut manifests = String::new();
    let mut policy = |name: &str, priority: u32, rules: &[String]| {
        let _ = write!(
            manifests,
            "apiVersion: bulkhead.dev/v1alpha1\nkind: ClusterSegmentationPolicy\nmetadata: {{name: {name}}}\n\
             spec:\n  tier: Admin\n  priority: {priority}\n  subjects: [{{workloads: {{namespaces: {{}}}}}}]\n  egress:\n  - {}\n---\n",
            rules.join("\n  - ")
        );
    };
    let on = |action: &str, port: u32| {
        format!(
            "{{action: {action}, to: [{{everyone: {{}}}}], ports: [{{port: {{protocol: TCP, number: {port}}}}}]}}"
        )
    };
    // 64 rules are the most that a policy has: 40 policies of equal priority hold 2560 numbers, each said twice.
    for number in 0..40 {
        let rules = |action: &str| -> Vec<String> {
            (0..64)
                .map(|rule| on(action, 1 + number * 64 + rule))
                .collect()
        };
        let action = ["Allow", "Deny"][number as usize % 2];
        policy(&format!("equal-{number:02}"), 1000, &rules(action));
        let other = ["Deny", "Allow"][number as usize % 2];
        policy(&format!("late-{number:02}"), 1000, &rules(other));
    }
    policy("first", 0, &[on("Deny", 1), on("Allow", 65)]);
    policy(
        "second",
        999,
        &[on("Allow", 1), on("Deny", 65), on("Deny", 3)],
    );
    check(
        &manifests,
        &[
            // By the first policy, although an `equal` one denies.
            "web/frontend -> db/postgres:65",
            "web/frontend -> db/postgres:2",
            "web/frontend -> db/postgres:64",
            "web/frontend -> db/postgres:2433",
            // Nobody speaks of it.
            "web/frontend -> db/postgres:2561",
        ],
        &[
            "web/frontend -> db/postgres:1",
            "web/frontend -> db/postgres:3",
            "web/frontend -> db/postgres:66",
            "web/frontend -> db/postgres:128",
            "web/frontend -> db/postgres:2560",
        ],
    );
}

/// GHSA-pfhr-pccp-hwmh, CVE-2023-39347, CVE-2023-41333: labels that a tenant writes were taken for those of a namespace.
#[test]
fn crafted_labels_do_not_leave_their_namespace() {
    let policies = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: from-ops, namespace: db}\n\
        spec: {podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ops, team: platform}}}]}]}\n---\n\
        apiVersion: v1\nkind: Namespace\nmetadata: {name: evil, labels: {kubernetes.io/metadata.name: ops, team: platform}}\n---\n\
        apiVersion: v1\nkind: Pod\nmetadata:\n  name: pod\n  namespace: evil\n  labels:\n    kubernetes.io/metadata.name: ops\n    team: platform\n    \
        io.kubernetes.pod.namespace: ops\n    app: bastion\n\
        spec: {nodeName: n1, containers: [{name: c}]}\nstatus: {phase: Running, podIPs: [{ip: 10.1.1.66}]}\n---\n\
        apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: open-all, namespace: evil, labels: {kubernetes.io/metadata.name: db}}\n\
        spec: {podSelector: {matchExpressions: [{key: app, operator: Exists}]}, ingress: [{}], egress: [{}]}\n";
    check(
        policies,
        &["ops/bastion -> db/postgres:5432"],
        &[
            "evil/pod -> db/postgres:5432",
            "web/frontend -> db/postgres:5432",
        ],
    );
    let elsewhere = "apiVersion: bulkhead.dev/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: x, namespace: evil}\n\
        spec: {subjects: [{pods: {}, namespaces: {matchLabels: {kubernetes.io/metadata.name: db}}}], ingress: [{action: Allow, from: [{everyone: {}}], ports: [{every: {}}]}]}\n";
    let manifest = manifest::read("escape.yaml", elsewhere.as_bytes());
    assert!(manifest.objects.is_empty());
    assert_eq!(
        manifest.problems[0].field.as_deref(),
        Some("spec.subjects[0].namespaces")
    );
}

/// CVE-2023-27594: what was closed for IPv4 was open for IPv6.
#[test]
fn ipv6_is_under_the_same_policy() {
    let closed = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed, namespace: db}\n\
        spec: {podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}}]}]}\n";
    check(
        closed,
        &["10.1.1.1 -> 10.1.2.1:5432", "fd00:1::1 -> fd00:2::1:5432"],
        &[
            "10.1.1.3 -> 10.1.2.1:5432",
            "fd00:1::3 -> fd00:2::1:5432",
            "2001:db8::7 -> fd00:2::1:5432",
            "fd00:2::1 -> 2001:db8::7:443",
            "fd00:2::1 -> fd00:1::1:443",
        ],
    );
}

fn pod(name: &str, app: &str, phase: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: web, uid: uid-{name}, labels: {{app: {app}}}}}\n\
         spec: {{nodeName: n1, containers: [{{name: c}}]}}\nstatus: {{phase: {phase}, podIPs: [{{ip: 10.1.1.77}}]}}\n---\n"
    )
}

const TRUSTED: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: trusted, namespace: db}\n\
    spec: {podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: trusted}}}]}]}\n---\n";

/// A completed pod kept its address, and with it what it had been allowed.
#[test]
fn a_completed_pods_address_inherits_nothing() {
    for over in ["Succeeded", "Failed"] {
        // Nobody has taken it yet; somebody has.
        check(
            &(TRUSTED.to_owned() + &pod("job", "trusted", over)),
            &[],
            &["10.1.1.77 -> db/postgres:5432"],
        );
        check(
            &(TRUSTED.to_owned() + &pod("job", "trusted", over) + &pod("new", "other", "Running")),
            &[],
            &["10.1.1.77 -> db/postgres:5432"],
        );
    }
    check(
        &(TRUSTED.to_owned() + &pod("job", "trusted", "Running")),
        &["10.1.1.77 -> db/postgres:5432"],
        &[],
    );
}

/// An address was reused before the old owner's deletion arrived: the late delete took the new owner's rules away, or the
/// new owner got the old one's.
#[test]
fn a_late_delete_does_not_touch_the_new_owner() {
    let case = cluster(&(TRUSTED.to_owned() + &pod("old", "trusted", "Running")));
    let newer = cluster(&(TRUSTED.to_owned() + &pod("new", "other", "Running")));
    let find = |case: &SmallWorld, name: &str| {
        let mut objects = case.objects.iter();
        let is_it =
            |object: &&Object| matches!(object, Object::Workload(_, it) if &*it.name == name);
        objects.find(is_it).unwrap().clone()
    };
    let (old, new) = (find(&case, "old"), find(&newer, "new"));
    let Object::Workload(kind, gone) = old.clone() else {
        panic!("a pod")
    };
    let completed = Object::Workload(
        kind,
        Box::new(Workload {
            phase: Phase::Completed,
            ..*gone
        }),
    );
    let straight: Vec<_> = graphs(&mut newer.engine(NOW))
        .into_values()
        .map(|graph| graph.digest())
        .collect();
    for before in [old.clone(), completed] {
        let mut engine = Engine::new(case.config());
        engine.advance(NOW);
        for event in case.events() {
            engine.apply(event);
        }
        engine.apply(Event::Apply(before));
        engine.apply(Event::Apply(new.clone()));
        // While both claim it, neither has what only one of them was given.
        let both = graphs(&mut engine);
        let address = Address::from("10.1.1.77".parse::<std::net::IpAddr>().unwrap());
        let owners: Vec<String> = both
            .values()
            .flat_map(|graph| graph.workloads.values())
            .filter(|workload| workload.addresses.contains(&address))
            .map(|workload| workload.name.to_string())
            .collect();
        assert!(!owners.contains(&"old".to_owned()), "{owners:?}");
        engine.apply(Event::Delete(old.reference()));
        let after: Vec<_> = graphs(&mut engine)
            .into_values()
            .map(|graph| graph.digest())
            .collect();
        assert_eq!(after, straight);
    }
}
