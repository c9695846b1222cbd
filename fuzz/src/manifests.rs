//! Manifests: no text breaks anything; what is rejected is named by object and field; what is accepted is read the same
//! twice, and oracle and compiler take it and agree that they have a world.

use bulkhead_crds::convert::plain_object;
use bulkhead_crds::manifest::{Manifest, Severity, read};
use bulkhead_encode::Desired;
use bulkhead_policy::engine::{Engine, EngineConfig, Size};
use bulkhead_policy::eval::{Flow, World, eval};
use bulkhead_policy::model::{Address, Event, Kind, Object, Protocol, Timestamp};

/// When everything is judged.
const NOW: Timestamp = Timestamp(1_780_000_000_000);

/// Kinds that an API server sends.
const KINDS: [Kind; 12] = [
    Kind::ClusterNetworkPolicy,
    Kind::ClusterSegmentationPolicy,
    Kind::NetworkPolicy,
    Kind::SegmentationPolicy,
    Kind::Quarantine,
    Kind::Segment,
    Kind::Namespace,
    Kind::Pod,
    Kind::Workload,
    Kind::Node,
    Kind::Service,
    Kind::EndpointSlice,
];

/// Feeds a file.
///
/// # Panics
/// If it is taken for something that it does not say, or breaks what stands behind it.
pub fn run(bytes: &[u8]) {
    let manifest = read("fuzz.yaml", bytes);
    assert_eq!(manifest, read("fuzz.yaml", bytes), "read twice");
    problems_are_named(&manifest);
    let objects: Vec<Object> = manifest
        .objects
        .into_iter()
        .map(|located| located.object)
        .collect();
    play(&objects);
    if let Ok(value) = serde_json::from_slice(bytes) {
        from_api_server(&value);
    }
}

fn problems_are_named(manifest: &Manifest) {
    let is_whole = manifest.problems.is_empty();
    assert!(
        is_whole || manifest.problems.iter().all(|it| !it.message.is_empty()),
        "a problem without a message"
    );
    assert!(
        !is_whole || (manifest.unreadable.is_empty() && !manifest.unnamed),
        "something was left out in silence"
    );
    for problem in &manifest.problems {
        // What says nothing of a field speaks of a document that nobody could tell the kind of, of an object that stands
        // there twice, or of a kind that is not read.
        if problem.field.is_some() {
            let object = problem.object.as_deref().unwrap_or_default();
            assert!(!object.is_empty(), "{problem}");
            assert_ne!(problem.field.as_deref(), Some(""), "{problem}");
        }
        if problem.severity == Severity::Error {
            assert!(
                problem.line.is_none_or(|line| line > 0),
                "a line that is none: {problem}"
            );
        }
    }
}

/// One object of each kind, if the value is one.
fn from_api_server(value: &serde_json::Value) {
    for kind in KINDS {
        match plain_object(kind, value) {
            Ok(converted) => {
                for fault in &converted.faults {
                    assert!(
                        !fault.field.is_empty() && !fault.message.is_empty(),
                        "{fault:?}"
                    );
                }
                play(&[converted.object]);
            }
            Err(rejection) => {
                let parts = [&rejection.object, &rejection.field, &rejection.message];
                assert!(parts.iter().all(|part| !part.is_empty()), "{rejection:?}");
            }
        }
    }
}

/// The objects as a cluster.
fn play(objects: &[Object]) {
    let (mut world, mut engine) = (World::default(), Engine::new(EngineConfig::default()));
    engine.advance(NOW);
    for object in objects {
        let text = serde_json::to_string(object).expect("an object has a serial form");
        let again: Object = serde_json::from_str(&text).expect("and is read from it");
        assert_eq!(*object, again);
        world.apply(Event::Apply(object.clone()));
        engine.apply(Event::Apply(object.clone()));
    }
    for node in engine.nodes() {
        let Some(graph) = engine.node_graph(&node) else {
            continue;
        };
        graph.check_references().expect("a compiled graph is whole");
        Desired::build(&graph, NOW);
    }
    let addresses: Vec<Address> = world
        .workloads()
        .flat_map(|workload| workload.addresses.iter().copied().map(Address::from))
        .take(6)
        .collect();
    for source in &addresses {
        for destination in &addresses {
            let flow = Flow {
                source: *source,
                destination: *destination,
                protocol: Protocol::Tcp,
                port: 80,
            };
            eval(&world, &flow, NOW);
        }
    }
    for object in objects {
        engine.apply(Event::Delete(object.reference()));
    }
    engine.take_dirty();
    let left = Size {
        // Given back once they are many.
        strings: 0,
        ..engine.size()
    };
    assert_eq!(left, Size::default(), "something of it stays");
}
