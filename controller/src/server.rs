//! The agents' side: one stream, one task for each connection, a deadline on every step.
//!
//! A node gets the graph of the name in its certificate and no other. A slow or stuck agent holds nothing that another
//! one waits for; large revisions are admitted a few at a time.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bulkhead_graph::{FORMAT, Timestamp};
use bulkhead_source::BootTime;
use bulkhead_wire::proto::distribution_server::Distribution;
use bulkhead_wire::proto::{AgentMessage, ControllerMessage};
use bulkhead_wire::{
    Ack, Answer, FromAgent, FromController, Hello, Refusal, Refused, Revision, certificate, limits,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Streaming};
use tracing::{Instrument as _, debug, info, info_span, warn};

use crate::board::{Board, Subscription};
use crate::clock;
use crate::metrics::Metrics;
use crate::oversize;
use crate::publish::{Pace, Publisher, Step};
use crate::status::{self, Status};

/// Revisions of more things than this (some hundred kilobytes) are admitted [`LARGE_AT_ONCE`] at a time.
const LARGE: usize = 1 << 14;
const LARGE_AT_ONCE: usize = 4;

/// What all connections share.
pub struct Shared {
    /// The newest graphs.
    pub board: Board,
    /// What agents report.
    pub status: Mutex<Status>,
    /// Counters.
    pub metrics: Metrics,
    pace: Pace,
    connections: AtomicU64,
    /// The newest connection of each node; an older one ends.
    newest: Mutex<BTreeMap<String, u64>>,
    large: Semaphore,
    /// Of all times that are told apart from it: they go on while the machine sleeps, as what is known ages.
    start: BootTime,
}

impl Shared {
    /// Nothing known yet.
    pub fn new(pace: Pace) -> Self {
        Self {
            board: Board::default(),
            status: Mutex::default(),
            metrics: Metrics::default(),
            pace,
            connections: AtomicU64::new(1),
            newest: Mutex::default(),
            large: Semaphore::new(LARGE_AT_ONCE),
            start: BootTime::now(),
        }
    }

    /// The status, to read or change; never held across an await.
    pub fn status(&self) -> std::sync::MutexGuard<'_, Status> {
        // Every change leaves the bookkeeping whole, so a panic elsewhere does not spoil it.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_newest(&self, node: &str, connection: u64) -> bool {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(node) == Some(&connection)
    }

    fn enter(&self, node: &str) -> u64 {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.insert(node.to_owned(), connection);
        connection
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The gRPC service.
#[derive(Clone)]
pub struct Server(pub Arc<Shared>);

type Outgoing = Pin<Box<dyn Stream<Item = Result<ControllerMessage, tonic::Status>> + Send>>;

#[tonic::async_trait]
impl Distribution for Server {
    type SyncStream = Outgoing;

    async fn sync(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Outgoing>, tonic::Status> {
        let node = certified_node(&request)?;
        // A few messages in flight: a slow reader stops the sender, and then its deadline does.
        let (sender, receiver) = mpsc::channel(4);
        let shared = self.0.clone();
        let span = info_span!("agent", node);
        tokio::spawn(
            async move {
                let outcome = serve(&shared, &node, request.into_inner(), &sender).await;
                if let Err(status) = outcome {
                    info!(reason = status.message(), "stream ended");
                    // The agent may be gone already, then nobody has to know.
                    let _ = sender.send(Err(status)).await;
                }
            }
            .instrument(span),
        );
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn certified_node(request: &Request<Streaming<AgentMessage>>) -> Result<String, tonic::Status> {
    let refuse =
        |problem: String| tonic::Status::unauthenticated(format!("client certificate: {problem}"));
    let certificates = request.peer_certs().unwrap_or_default();
    let certificate = certificates
        .first()
        .ok_or_else(|| refuse("there is none".to_owned()))?;
    certificate::node_of(certificate).map_err(|error| refuse(error.to_string()))
}

async fn serve(
    shared: &Arc<Shared>,
    node: &str,
    mut incoming: Streaming<AgentMessage>,
    sender: &mpsc::Sender<Result<ControllerMessage, tonic::Status>>,
) -> Result<(), tonic::Status> {
    let first = timeout(limits::MESSAGE, receive(&mut incoming))
        .await
        .map_err(|_| tonic::Status::deadline_exceeded("no Hello in time"))??;
    let hello = match first {
        Some(FromAgent::Hello(hello)) if hello.node == node => hello,
        Some(FromAgent::Hello(hello)) => {
            warn!(claimed = hello.node, "an agent claims to be another node");
            let problem = format!("the certificate is for node {node}, not for {}", hello.node);
            return Err(tonic::Status::permission_denied(problem));
        }
        Some(FromAgent::Ack(_) | FromAgent::Refused(_) | FromAgent::Ask(_)) => {
            return Err(tonic::Status::invalid_argument(
                "the first message has to be Hello",
            ));
        }
        None => return Ok(()),
    };
    if hello.format != FORMAT {
        let problem = status::incompatible(&hello.version, hello.format);
        if shared.status().sent_away(&hello, clock::now()) {
            warn!(reason = problem, "an agent was sent away");
        }
        return Err(tonic::Status::failed_precondition(problem));
    }
    let connection = shared.enter(node);
    info!(version = hello.version, abi = hello.abi, "agent connected");
    shared.status().hello(&hello, connection, clock::now());
    let mut session = Session::new(shared.clone(), hello, connection, sender.clone());
    let outcome = session.run(&mut incoming).await;
    shared.status().gone(node, connection, clock::now());
    outcome
}

async fn receive(
    incoming: &mut Streaming<AgentMessage>,
) -> Result<Option<FromAgent>, tonic::Status> {
    match incoming.message().await? {
        None => Ok(None),
        Some(message) => {
            let message = FromAgent::try_from(message);
            message
                .map(Some)
                .map_err(|error| tonic::Status::invalid_argument(error.to_string()))
        }
    }
}

/// Whether the board has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Again,
    No,
}

struct Session {
    shared: Arc<Shared>,
    node: String,
    connection: u64,
    publisher: Publisher,
    newest: Subscription,
    sender: mpsc::Sender<Result<ControllerMessage, tonic::Status>>,
}

impl Session {
    fn new(
        shared: Arc<Shared>,
        hello: Hello,
        connection: u64,
        sender: mpsc::Sender<Result<ControllerMessage, tonic::Status>>,
    ) -> Self {
        let publisher = Publisher::new(shared.pace, hello.realised);
        let newest = shared.board.subscribe(&hello.node);
        Self {
            shared,
            node: hello.node,
            connection,
            publisher,
            newest,
            sender,
        }
    }

    async fn run(&mut self, incoming: &mut Streaming<AgentMessage>) -> Result<(), tonic::Status> {
        let mut look = true;
        loop {
            if !self.shared.is_newest(&self.node, self.connection) {
                return Err(tonic::Status::aborted("the node has a newer connection"));
            }
            if look {
                // First, so that it is never newer than the graph.
                let known_at = self.shared.board.known_at();
                if let Some((graph, frontier)) = self.newest.newest() {
                    self.publisher.offer(graph, frontier, self.shared.elapsed());
                    let start = self.shared.start;
                    self.publisher.known(known_at.map(|at| at.since(start)));
                }
            }
            let wake = match self.publisher.step(self.shared.elapsed()) {
                Step::Send(revision) => {
                    self.send(&revision).await?;
                    continue;
                }
                Step::Confirm {
                    digest,
                    frontier,
                    answer,
                } => {
                    if let Some(answer) = answer {
                        self.answered(answer);
                    }
                    self.put(FromController::Confirm {
                        digest,
                        frontier,
                        answer,
                    })
                    .await?;
                    continue;
                }
                Step::Overdue => {
                    return Err(tonic::Status::deadline_exceeded(
                        "the agent did not answer a revision in time",
                    ));
                }
                Step::Wait(until) => until.map(|until| until.saturating_sub(self.shared.elapsed())),
            };
            // An hour stands for ever; waking up for nothing costs nothing.
            let wake = Instant::now() + wake.unwrap_or(Duration::from_secs(3600));
            look = tokio::select! {
                message = receive(incoming) => match message? {
                    None => return Ok(()),
                    // Whoever asks is told of what there is now.
                    Some(message) => self.heard(message)? == Look::Again,
                },
                changed = self.newest.changed() => {
                    if !changed { return Err(tonic::Status::unavailable("the controller is shutting down")); }
                    true
                }
                () = tokio::time::sleep_until(wake) => false,
            };
        }
    }

    async fn put(&self, message: FromController) -> Result<(), tonic::Status> {
        let sending = self.sender.send(Ok(message.into()));
        match timeout(limits::MESSAGE, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(tonic::Status::cancelled("the agent is gone")),
            Err(_) => Err(tonic::Status::deadline_exceeded("the agent does not read")),
        }
    }

    /// One at a time for a node, for an older stream ends before its next part; a few large ones at a time for all, and
    /// none is encoded before it is its turn.
    async fn send(&mut self, revision: &Revision) -> Result<(), tonic::Status> {
        let (base, target) = (revision.delta.base, revision.delta.target);
        // Before it waits for its turn and is encoded: that would cost others theirs.
        let least = oversize::least_bytes(&revision.delta);
        if least > limits::DELTA_BYTES {
            let problem = format!("{least} bytes and more, of {}", limits::DELTA_BYTES);
            self.unsendable(revision, &problem);
            return Ok(());
        }
        let shared = self.shared.clone();
        let _turn = if revision.delta.size() > LARGE {
            let turn = timeout(limits::ACK, shared.large.acquire()).await;
            Some(turn.ok().and_then(Result::ok).ok_or_else(|| {
                tonic::Status::resource_exhausted("too many large revisions under way")
            })?)
        } else {
            None
        };
        let messages = match revision.messages() {
            Ok(messages) => messages,
            Err(error) => {
                self.unsendable(revision, &error.to_string());
                return Ok(());
            }
        };
        let deadline = Instant::now() + limits::REVISION;
        let mut bytes = 0;
        for message in messages {
            if let FromController::Header(header) = &message {
                bytes = header.length;
            }
            if !self.shared.is_newest(&self.node, self.connection) {
                return Err(tonic::Status::aborted("the node has a newer connection"));
            }
            timeout_at(deadline, self.put(message))
                .await
                .map_err(|_| tonic::Status::deadline_exceeded("the agent reads too slowly"))??;
        }
        self.publisher.sent(self.shared.elapsed());
        self.shared.metrics.sent(bytes);
        debug!(revision = %target, %base, bytes, "revision sent");
        Ok(())
    }

    /// The stream goes on: the node is told what is right of what it has, and a smaller revision is sent at once.
    fn unsendable(&mut self, revision: &Revision, problem: &str) {
        let digest = revision.delta.target;
        let reason = oversize::reason(&revision.delta, problem);
        warn!(revision = %digest, reason, "a revision cannot be sent");
        // As if the agent had not taken it: it is tried again after a pause.
        let refusal = Refusal::Kernel;
        self.publisher
            .refused(digest, refusal, self.shared.elapsed());
        let refused = Refused {
            digest,
            refusal,
            reason,
        };
        self.shared.status().refused(&self.node, refused);
    }

    fn heard(&mut self, message: FromAgent) -> Result<Look, tonic::Status> {
        // What was under way on a connection that the node has replaced says nothing of what it has now.
        if !self.shared.is_newest(&self.node, self.connection) {
            return Err(tonic::Status::aborted("the node has a newer connection"));
        }
        match message {
            FromAgent::Hello(_) => Err(tonic::Status::invalid_argument("a second Hello")),
            FromAgent::Ack(ack) => {
                self.acked(ack, clock::now());
                Ok(Look::No)
            }
            FromAgent::Refused(refused) => {
                self.refused(refused);
                Ok(Look::No)
            }
            FromAgent::Ask(at) => {
                self.publisher.asked(at);
                Ok(Look::Again)
            }
        }
    }

    /// From when on the node's leases count is the age of the inputs before now.
    fn answered(&self, answer: Answer) {
        let age_ms = i64::try_from(answer.age_ms).unwrap_or(i64::MAX);
        let heard_at = Timestamp(clock::now().0.saturating_sub(age_ms));
        self.shared.status().heard(&self.node, heard_at);
    }

    fn acked(&mut self, ack: Ack, now: Timestamp) {
        if let Some(realised) = self.publisher.acked(ack.digest, self.shared.elapsed()) {
            self.shared.metrics.realised(realised.since_change);
            info!(
                revision = %realised.digest,
                since_change_us = micros(realised.since_change),
                since_sent_us = micros(realised.since_sent),
                applied_us = ack.applied_us,
                confirmed_us = ack.confirmed_us,
                writes = ack.writes,
                "realised"
            );
        }
        for denied in &ack.denied {
            debug!(
                object = denied.name,
                reason = denied.reason,
                "does not fit and is cut off"
            );
        }
        self.shared.status().acked(&self.node, ack, now);
    }

    fn refused(&mut self, refused: Refused) {
        warn!(
            revision = %refused.digest,
            refusal = refused.refusal.name(),
            reason = refused.reason,
            "the agent refuses a revision; what it had stays in force"
        );
        self.shared.metrics.refused(refused.refusal);
        self.publisher
            .refused(refused.digest, refused.refusal, self.shared.elapsed());
        self.shared.status().refused(&self.node, refused);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
