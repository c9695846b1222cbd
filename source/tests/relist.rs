//! An API server, as far as watches go, that has forgotten what came after the version from which a watch wants to go on.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod request;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulkhead_policy::model::{Event, Kind};
use bulkhead_source::Freshness;
use bulkhead_source::kubernetes::watch;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long anything may take before the test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

/// How the API server says that a version is too old to go on from.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// By an event in the stream.
    Event,
    /// By the status of its answer.
    Status,
}

/// What it does when it has answered.
enum Then {
    HangUp,
    Stay,
}

/// Has policies `a` and `b` at first. `a` changes, and what comes next is forgotten: `a` went and `c` came. `d` comes later.
struct Server {
    refusal: Refusal,
    /// From which versions policies were asked for; from none, which is all there is.
    asked: Mutex<Vec<String>>,
}

impl Server {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().answer(stream));
        }
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        let path = request::path(&mut stream).await;
        let (status, body, then) = self.content(&path);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
        );
        // Whoever asked may be gone.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        match then {
            Then::HangUp => {}
            Then::Stay => std::future::pending::<()>().await,
        }
    }

    fn content(&self, path: &str) -> (&'static str, String, Then) {
        let found = |events: &[Value], then| ("200 OK", lines(events), then);
        if !path.contains("watch=true") {
            return found(&[oldest_namespace()], Then::HangUp);
        }
        if !path.contains("/networkpolicies") {
            return found(&[whole("10")], Then::Stay);
        }
        let (_, from) = path.rsplit_once("resourceVersion=").unwrap();
        let mut asked = self.asked.lock().unwrap();
        asked.push(from.to_owned());
        let added = |name, version| event("ADDED", policy(name, version));
        match (from, asked.len()) {
            ("", 1) => found(&[added("a", "8"), added("b", "9"), whole("10")], Then::Stay),
            ("", _) => found(
                &[added("b", "9"), added("c", "29"), whole("30")],
                Then::Stay,
            ),
            ("10", _) => found(&[event("MODIFIED", policy("a", "11"))], Then::HangUp),
            ("11", _) => match self.refusal {
                Refusal::Event => found(&[event("ERROR", too_old())], Then::Stay),
                Refusal::Status => ("410 Gone", too_old().to_string(), Then::HangUp),
            },
            ("30", _) => found(&[added("d", "31")], Then::Stay),
            _ => found(&[], Then::Stay),
        }
    }
}

fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

fn oldest_namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "creationTimestamp": "2026-01-01T00:00:00Z"}})
}

fn policy(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "n", "resourceVersion": version},
        "spec": {"podSelector": {}},
    })
}

/// The mark after everything that was there.
fn whole(version: &str) -> Value {
    let metadata =
        json!({"resourceVersion": version, "annotations": {"k8s.io/initial-events-end": "true"}});
    event(
        "BOOKMARK",
        json!({"apiVersion": "v1", "kind": "Any", "metadata": metadata}),
    )
}

fn too_old() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 11 (30)", "reason": "Expired", "code": 410,
    })
}

/// What an event does, as people would write it. Other kinds than policies were empty at first, and nothing else is told of them.
fn tell(event: &Event) -> Option<String> {
    match event {
        Event::Reset(Kind::NetworkPolicy, objects) => {
            let names = objects.iter().map(|object| object.reference().to_string());
            Some(format!("reset {}", names.collect::<Vec<_>>().join(", ")))
        }
        Event::Reset(..) => None,
        Event::Apply(object) => Some(format!("apply {}", object.reference())),
        Event::Delete(reference) => Some(format!("delete {reference}")),
    }
}

/// What is told from the first list to the first change after the second one, and from which versions it was asked for.
async fn story(refusal: Refusal) -> (Vec<String>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::new(Server {
        refusal,
        asked: Mutex::default(),
    });
    tokio::spawn(server.clone().serve(listener));
    let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
    let mut updates = watch(client, Freshness::default()).await.unwrap();
    let mut told: Vec<String> = Vec::new();
    let listening = async {
        while told
            .last()
            .is_none_or(|last| last != "apply NetworkPolicy n/d")
        {
            let update = updates.recv().await.expect("a living source");
            told.extend(update.events.iter().filter_map(tell));
        }
    };
    let heard = timeout(DEADLINE, listening).await;
    let asked = server.asked.lock().unwrap().clone();
    assert!(heard.is_ok(), "told {told:?}, asked from {asked:?}");
    (told, asked)
}

/// The one that is gone leaves with the replacement, and so nobody saw the set without the one that stays, or empty.
const TOLD: [&str; 4] = [
    "reset NetworkPolicy n/a, NetworkPolicy n/b",
    "apply NetworkPolicy n/a",
    "reset NetworkPolicy n/b, NetworkPolicy n/c",
    "apply NetworkPolicy n/d",
];

/// Nothing is asked for twice: after the refusal comes all there is, and after that what is newer.
const ASKED: [&str; 5] = ["", "10", "11", "", "30"];

#[tokio::test]
async fn a_watch_that_is_told_410_in_its_stream_reads_anew_as_one_replacement_and_goes_on() {
    let (told, asked) = story(Refusal::Event).await;
    assert_eq!(told, TOLD);
    assert_eq!(asked, ASKED);
}

#[tokio::test]
async fn a_watch_that_is_answered_with_410_reads_anew_as_one_replacement_and_goes_on() {
    let (told, asked) = story(Refusal::Status).await;
    assert_eq!(told, TOLD);
    assert_eq!(asked, ASKED);
}
