//! A revision that is damaged, cut, mislabelled or old is refused by the agent, and what was in force stays in force.
//!
//! The controller here holds the right keys and lies; it runs in the place of the real one.

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bulkhead_controller::tls::Tls;
use bulkhead_graph::{Delta, Digest, NodeGraph, Prefix, SortedMap, Timestamp};
use bulkhead_tests::lab::{CONTROL_PLANE, Plan};
use bulkhead_wire::proto::distribution_server::{Distribution, DistributionServer};
use bulkhead_wire::proto::{AgentMessage, ControllerMessage};
use bulkhead_wire::{FromAgent, FromController, Frontier, Hello, Refusal, Revision};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::guarded::{Guarded, isolate};

const REFUSAL_LIMIT: Duration = Duration::from_secs(20);

/// What to send to an agent that says hello.
type Lie = fn(&Hello) -> Vec<FromController>;

/// Tells one lie to everybody and passes on what the agents say to it.
struct Liar {
    lie: Lie,
    heard: mpsc::Sender<FromAgent>,
}

type Outgoing = Pin<Box<dyn Stream<Item = Result<ControllerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Distribution for Liar {
    type SyncStream = Outgoing;

    async fn sync(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Outgoing>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let (lie, heard) = (self.lie, self.heard.clone());
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let message = FromAgent::try_from(message).unwrap();
                if let FromAgent::Hello(hello) = &message {
                    for lied in lie(hello) {
                        sender
                            .send(Ok(ControllerMessage::from(lied)))
                            .await
                            .unwrap();
                    }
                }
                // Whoever listened has heard enough.
                let _ended = heard.send(message).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// A whole and sound graph in which nobody may do anything: were it taken, what is allowed would be cut.
fn barren() -> NodeGraph {
    let ranges = Arc::from([Prefix::IPV4]);
    NodeGraph::new(
        SortedMap::new(),
        SortedMap::new(),
        SortedMap::new(),
        Arc::default(),
        ranges,
        Arc::default(),
    )
}

fn messages(frontier: &Frontier) -> Vec<FromController> {
    let revision = Revision {
        delta: Delta::snapshot(&barren()),
        frontier: frontier.clone(),
    };
    revision.messages().unwrap().collect()
}

fn held(hello: &Hello) -> Frontier {
    hello.realised.as_ref().unwrap().1.clone()
}

fn ahead(hello: &Hello) -> Frontier {
    let mut frontier = held(hello);
    frontier
        .versions
        .values_mut()
        .for_each(|version| *version += 1);
    frontier
}

fn damaged(hello: &Hello) -> Vec<FromController> {
    let mut lie = messages(&ahead(hello));
    if let Some(FromController::Part { content, .. }) = lie.last_mut() {
        let mut bytes = content.to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        *content = bytes.into();
    }
    lie
}

fn truncated(hello: &Hello) -> Vec<FromController> {
    let mut lie = messages(&ahead(hello));
    let mut cut = 0;
    if let Some(FromController::Part { content, .. }) = lie.last_mut() {
        cut = content.len() / 2;
        content.truncate(cut);
    }
    if let Some(FromController::Header(header)) = lie.first_mut() {
        header.length = cut as u64;
    }
    lie
}

fn mislabelled(hello: &Hello) -> Vec<FromController> {
    let mut lie = messages(&ahead(hello));
    if let Some(FromController::Header(header)) = lie.first_mut() {
        header.target = Digest([7; 16]);
    }
    lie
}

fn on_another_base(hello: &Hello) -> Vec<FromController> {
    let mut lie = messages(&ahead(hello));
    if let Some(FromController::Header(header)) = lie.first_mut() {
        header.base = Digest([7; 16]);
    }
    lie
}

fn old(hello: &Hello) -> Vec<FromController> {
    let mut frontier = held(hello);
    frontier
        .versions
        .values_mut()
        .for_each(|version| *version -= 1);
    messages(&frontier)
}

/// What an agent answers to a lie.
fn refusal(world: &Guarded, lie: Lie) -> Refusal {
    let at = SocketAddr::new(CONTROL_PLANE.into(), 9443);
    let listener = world
        .lab
        .fabric()
        .enter(|| Ok(TcpListener::bind(at)?))
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let tls = Tls::load(
        &world.product.keys(),
        Timestamp(i64::try_from(now).unwrap()),
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let refused = Arc::new(Mutex::new(None));
    runtime.block_on(async {
        let (heard, mut messages) = mpsc::channel(64);
        let (end, ended) = oneshot::channel::<()>();
        let incoming = tls.incoming(tokio::net::TcpListener::from_std(listener).unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(DistributionServer::new(Liar { lie, heard }))
            .serve_with_incoming_shutdown(incoming, async { drop(ended.await) });
        let server = tokio::spawn(server);
        let listened = tokio::time::timeout(REFUSAL_LIMIT, async {
            while let Some(message) = messages.recv().await {
                match message {
                    FromAgent::Refused(answer) => {
                        *refused.lock().unwrap() = Some(answer);
                        break;
                    }
                    FromAgent::Hello(_) | FromAgent::Ack(_) | FromAgent::Ask(_) => {}
                }
            }
        });
        listened.await.expect("an answer of the agent in time");
        drop(end);
        server.abort();
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    let answer = refused.lock().unwrap().take().expect("a refusal");
    println!("refused: {}", answer.reason);
    answer.refusal
}

#[test]
fn g5_damaged_truncated_mislabelled_and_old_snapshots_are_refused_with_the_old_graph_in_force() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432, 5433]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    world.product.kill_controller().unwrap();
    let lies: [(&str, Lie, Refusal); 5] = [
        ("damaged", damaged, Refusal::Damaged),
        ("truncated", truncated, Refusal::Damaged),
        ("mislabelled", mislabelled, Refusal::Damaged),
        ("on another base", on_another_base, Refusal::Base),
        ("old", old, Refusal::Older),
    ];
    for (name, lie, expected) in lies {
        assert_eq!(refusal(&world, lie), expected, "{name}");
        world
            .expect_reached("shop/web", "shop/db", 5432)
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        world
            .expect_silence("shop/web", "shop/db", 5433)
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
    // The true controller is believed again.
    world.product.start_controller().unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5433)]))
        .unwrap();
    world.expect_reached("shop/web", "shop/db", 5433).unwrap();
}
