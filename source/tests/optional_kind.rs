//! An API server, as far as watches go, with and without the definition of a kind that a cluster need not have.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bulkhead_policy::model::{Event, Kind, Object};
use bulkhead_source::Freshness;
use bulkhead_source::Update;
use bulkhead_source::kubernetes::watch;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch as state};
use tokio::time::timeout;

/// How long anything may take before the test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the API server has of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Definition {
    /// Nothing.
    Absent,
    /// The definition and one policy.
    Served,
    /// The definition, but it does not serve the kind, as an API server that has just started.
    NotServedYet,
}

struct Server {
    definition: state::Receiver<Definition>,
    /// How often the kind was asked for in vain.
    refusals: Arc<AtomicU32>,
    /// How often it had been when the policy was told of last: whoever goes on from there is told of it once.
    told_after: AtomicU32,
}

impl Server {
    async fn serve(self, listener: TcpListener) {
        let server = Arc::new(self);
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(server.clone().answer(stream));
        }
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        let mut definition = self.definition.clone();
        let now = *definition.borrow_and_update();
        let path = request::path(&mut stream).await;
        let (status, body) = self.content(&path, now);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
        );
        // Whoever asked may be gone.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        if path.contains("watch=true") && status.starts_with("200") {
            let is_optional = path.contains("clusternetworkpolicies");
            while definition.changed().await.is_ok() && !is_optional {}
        }
    }

    fn content(&self, path: &str, now: Definition) -> (&'static str, String) {
        let found = |value: Value| ("200 OK", format!("{value}\n"));
        if path
            .contains("/customresourcedefinitions/clusternetworkpolicies.policy.networking.k8s.io")
        {
            return match now {
                Definition::Absent => ("404 Not Found", not_found().to_string()),
                Definition::Served | Definition::NotServedYet => found(definition()),
            };
        }
        if path.contains("clusternetworkpolicies") {
            return match now {
                Definition::Served => {
                    let refusals = self.refusals.load(Ordering::SeqCst);
                    let told_after = self.told_after.swap(refusals, Ordering::SeqCst);
                    let policy = if told_after == refusals {
                        String::new()
                    } else {
                        format!("{}\n", added())
                    };
                    ("200 OK", format!("{policy}{}\n", whole("20")))
                }
                Definition::Absent | Definition::NotServedYet => {
                    self.refusals.fetch_add(1, Ordering::SeqCst);
                    ("404 Not Found", "404 page not found\n".to_owned())
                }
            };
        }
        match path.starts_with("/api/v1/namespaces/kube-system") {
            true => found(
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "creationTimestamp": "2026-01-01T00:00:00Z"}}),
            ),
            false => found(whole("10")),
        }
    }
}

fn not_found() -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404})
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusternetworkpolicies.policy.networking.k8s.io"},
        "spec": {
            "group": "policy.networking.k8s.io", "scope": "Cluster",
            "names": {"kind": "ClusterNetworkPolicy", "plural": "clusternetworkpolicies"},
            "versions": [{"name": "v1alpha2", "served": true, "storage": true}],
        },
    })
}

fn added() -> Value {
    json!({"type": "ADDED", "object": {
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "p", "resourceVersion": "19"},
        "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}},
    }})
}

/// The mark after everything that was there.
fn whole(version: &str) -> Value {
    json!({"type": "BOOKMARK", "object": {
        "apiVersion": "v1", "kind": "Any",
        "metadata": {"resourceVersion": version, "annotations": {"k8s.io/initial-events-end": "true"}},
    }})
}

/// How many policies of the kind there are after each change of them, up to the number that is waited for.
async fn until(updates: &mut mpsc::Receiver<Update>, wanted: usize) -> Vec<usize> {
    let mut seen = Vec::new();
    while seen.last() != Some(&wanted) {
        let update = timeout(DEADLINE, updates.recv())
            .await
            .expect("an update in time")
            .expect("a living source");
        for event in update.events {
            match event {
                Event::Reset(Kind::ClusterNetworkPolicy, objects) => seen.push(objects.len()),
                Event::Apply(Object::Policy(_)) => seen.push(1),
                Event::Reset(..) | Event::Apply(_) | Event::Delete(_) => {}
            }
        }
    }
    seen
}

#[tokio::test]
async fn a_kind_that_is_not_defined_holds_up_nobody_and_is_noticed_when_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (define, definition) = state::channel(Definition::Absent);
    let refusals = Arc::new(AtomicU32::new(0));
    let server = Server {
        definition,
        refusals: refusals.clone(),
        told_after: AtomicU32::new(0),
    };
    tokio::spawn(server.serve(listener));
    let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
    let mut updates = watch(client, Freshness::default()).await.unwrap();
    assert_eq!(until(&mut updates, 0).await, [0]);

    define.send_replace(Definition::Served);
    assert_eq!(until(&mut updates, 1).await, [1]);

    // Defined and not served is a start of the API server, and takes no policy away.
    let before = refusals.load(Ordering::SeqCst);
    define.send_replace(Definition::NotServedYet);
    let refused = async {
        while refusals.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, refused)
        .await
        .expect("the kind is asked for");
    define.send_replace(Definition::Served);
    assert_eq!(until(&mut updates, 1).await, [1]);

    define.send_replace(Definition::Absent);
    assert_eq!(until(&mut updates, 0).await, [0]);
}
