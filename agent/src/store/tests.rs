//! A file that is whole comes back as it was; any other is refused by name.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Arc;

use bulkhead_graph::{
    Action, Address, Delta, Digest, Direction, Entry, LocalWorkload, Mode, Network, NodeGraph,
    PeerMatch, PeerSet, PeerSetId, PortMatch, PortRange, Prefix, Protocol, RuleSet, ServiceAddress,
    ServiceBackend, ServicePort, SortedMap, Stage, Timestamp, WorkloadUid, Workloads,
};

use super::{Context, Damage, Mark, Store, StoreError, Stored};

fn graph() -> NodeGraph {
    let entry = Entry {
        stage: Stage::Namespace,
        action: Action::Allow,
        mode: Mode::Audit,
        peers: PeerMatch::Of {
            workloads: Workloads::Sets(vec![PeerSetId([7; 16])]),
            networks: vec![Network::new(
                "10.0.0.0/8".parse().unwrap(),
                ["10.1.0.0/16".parse().unwrap()],
            )],
        },
        ports: PortMatch::of(vec![PortRange {
            protocol: Protocol::Tcp,
            from: 80,
            to: 90,
        }]),
        until: Some(Timestamp(1_700_000_000_000)),
        lease: None,
    };
    let rules = RuleSet {
        direction: Direction::Egress,
        entries: vec![entry],
    };
    let address = |n: u16| Address::from(std::net::IpAddr::from([10, 0, (n >> 8) as u8, n as u8]));
    let workload = LocalWorkload {
        namespace: "shop".into(),
        name: "cart".into(),
        addresses: [address(1)].into(),
        interface: Some("veth0".into()),
        egress: rules.id(),
        ingress: rules.id(),
    };
    let members: PeerSet = (0..600).map(address).collect();
    let backend = ServiceBackend {
        address: address(9),
        port: 8080,
    };
    let port = ServicePort {
        protocol: Protocol::Tcp,
        port: 80,
        backends: vec![backend],
    };
    let service = ServiceAddress {
        namespaces: vec!["shop".into()],
        external: false,
        closed: false,
        ports: vec![port],
    };
    NodeGraph::new(
        SortedMap::from([(WorkloadUid("u-1".into()), workload.into())]),
        SortedMap::from([(rules.id(), Arc::new(rules))]),
        SortedMap::from([(PeerSetId([7; 16]), Arc::new(members))]),
        Arc::new([address(3)].into_iter().collect()),
        Arc::from([Prefix::from("10.0.0.0/16".parse::<ipnet::IpNet>().unwrap())]),
        Arc::new(BTreeMap::from([(address(77), service)])),
    )
    .with_node_addresses(Arc::new([address(200)].into_iter().collect()))
}

fn context() -> Context {
    Context {
        boot_id: "boot".to_owned(),
        frontier: vec![1, 2, 3],
    }
}

#[test]
fn a_graph_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::in_directory(directory.path());
    assert!(store.load().unwrap().is_none());
    for graph in [graph(), NodeGraph::default()] {
        store.save(&graph, &context()).unwrap();
        let stored = store.load().unwrap().unwrap();
        assert_eq!(stored.graph.digest(), graph.digest());
        assert_eq!(stored.context, context());
    }
    store.save_mark(&mark(1)).unwrap();
    // Of an agent that was killed while it wrote.
    std::fs::write(directory.path().join("graph.new"), "half").unwrap();
    store.remove().unwrap();
    store.remove().unwrap();
    assert!(store.load().unwrap().is_none());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// After an update that names graphs otherwise, what was in force is still known: a node that restarts with it is closed or
/// frozen, and not open.
#[test]
fn a_graph_that_an_earlier_version_named_otherwise_comes_back_under_its_name_of_today() {
    let content = super::Content {
        context: context(),
        snapshot: Delta {
            base: Digest([7; 16]),
            target: Digest([8; 16]),
            ..Delta::snapshot(&graph())
        },
    };
    let stored = Stored::from_bytes(&super::encode(&content).unwrap()).unwrap();
    assert_eq!(stored.graph.digest(), graph().digest());
    let broken = super::Content {
        snapshot: Delta {
            rule_sets: BTreeMap::new(),
            ..content.snapshot
        },
        ..content
    };
    let damage = Stored::from_bytes(&super::encode(&broken).unwrap()).unwrap_err();
    assert!(matches!(damage, Damage::Graph(_)), "{damage:?}");
}

#[test]
fn a_damaged_file_is_no_graph() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::in_directory(directory.path());
    store.save(&graph(), &context()).unwrap();
    let whole = std::fs::read(store.path()).unwrap();
    let damage = |bytes: &[u8]| {
        std::fs::write(store.path(), bytes).unwrap();
        match store.load() {
            Err(StoreError::Damaged { what, .. }) => what,
            other => panic!("a damaged file is taken for {other:?}"),
        }
    };
    for cut in (0..whole.len()).step_by(97) {
        let what = damage(&whole[..cut]);
        assert!(
            matches!(what, Damage::Header | Damage::Length { .. }),
            "{what:?}"
        );
    }
    for at in (0..whole.len()).step_by(101) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        damage(&bytes);
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(matches!(damage(&longer), Damage::Length { .. }));
}

#[test]
fn a_disk_that_refuses_leaves_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::in_directory(directory.path());
    store.save(&graph(), &context()).unwrap();
    // Where the new file would be written something stands that cannot be replaced.
    std::fs::create_dir(store.path().with_extension("new")).unwrap();
    let error = store.save(&NodeGraph::default(), &context()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("enforcement goes on without the file"),
        "{error}"
    );
    assert_eq!(
        store.load().unwrap().unwrap().graph.digest(),
        graph().digest()
    );
    std::fs::remove_dir(store.path().with_extension("new")).unwrap();
    std::os::unix::fs::symlink("/dev/full", store.path().with_extension("new")).unwrap();
    let error = store.save(&NodeGraph::default(), &context()).unwrap_err();
    assert!(
        error.to_string().contains("No space left on device"),
        "{error}"
    );
    assert_eq!(
        store.load().unwrap().unwrap().graph.digest(),
        graph().digest()
    );
}

fn mark(number: u8) -> Mark {
    Mark {
        digest: Digest([number; 16]),
        frontier: vec![number; 100],
    }
}

#[test]
fn the_newest_mark_comes_back_and_a_torn_one_leaves_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::in_directory(directory.path());
    assert_eq!(store.load_mark().unwrap(), None);
    store.prepare().unwrap();
    assert_eq!(store.load_mark().unwrap(), None);
    for number in 1..=5 {
        store.save_mark(&mark(number)).unwrap();
        assert_eq!(store.load_mark().unwrap(), Some(mark(number)));
    }
    // The fifth went where the first and the third had been.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(directory.path().join("frontier"));
    file.unwrap().write_all_at(b"torn", 20).unwrap();
    assert_eq!(store.load_mark().unwrap(), Some(mark(4)));
    store.save_mark(&mark(6)).unwrap();
    assert_eq!(store.load_mark().unwrap(), Some(mark(6)));
    store.remove().unwrap();
    assert_eq!(store.load_mark().unwrap(), None);
}

#[test]
fn a_mark_too_long_for_its_place_is_refused_and_the_one_before_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::in_directory(directory.path());
    store.save_mark(&mark(1)).unwrap();
    let long = Mark {
        frontier: vec![7; 5_000],
        ..mark(2)
    };
    store.save_mark(&long).unwrap_err();
    assert_eq!(store.load_mark().unwrap(), Some(mark(1)));
}

#[test]
fn nobody_else_may_read_what_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::in_directory(directory.path());
    store.save(&graph(), &context()).unwrap();
    store.save_mark(&mark(1)).unwrap();
    for name in ["graph", "frontier"] {
        let mode = std::fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
