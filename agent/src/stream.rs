//! The agent's end of the stream. It is connected, or tries to be; what is enforced does not depend on it.
//!
//! A connection is made with the newest keys. When there are newer ones another connection is made beside it, and takes its
//! place once the controller has accepted it: keys that it does not accept end nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_graph::Digest;
use bulkhead_keys::InUse;
use bulkhead_wire::proto::distribution_client::DistributionClient;
use bulkhead_wire::proto::{AgentMessage, ControllerMessage};
use bulkhead_wire::{
    Ack, Answer, Assembly, AssemblyError, FromAgent, FromController, Frontier, Hello, Refusal,
    Refused, Revision, limits,
};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use tracing::{info, warn};

use crate::clock;
use crate::reason::{whole, with_causes};

/// The shortest and the longest wait before another attempt. Jitter keeps a thousand agents from coming at once.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(15);

/// What comes out of the stream.
#[derive(Debug)]
pub enum Received {
    /// Something to enforce.
    Revision(Box<Revision>),
    /// What is enforced is right for newer inputs too.
    Confirm {
        /// The revision.
        digest: Digest,
        /// The inputs.
        frontier: Frontier,
        /// To the newest question.
        answer: Option<Answer>,
    },
}

/// What goes into it.
#[derive(Debug)]
pub struct Outgoing {
    /// What is realised; sent at the beginning of a connection and whenever it changes.
    pub acks: watch::Receiver<Option<Ack>>,
    /// Revisions that were not taken.
    pub refusals: mpsc::Receiver<Refused>,
}

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum Ended {
    /// It did not come about, or broke.
    #[error("{}", whole(.0))]
    Transport(tonic::transport::Error),
    /// The controller refused or ended it.
    #[error("{}", told(.0))]
    Status(tonic::Status),
    /// The controller said something that cannot be.
    #[error(transparent)]
    Malformed(#[from] bulkhead_wire::Malformed),
    /// A part came that nobody announced.
    #[error("a part without a header")]
    Unannounced,
    /// Nothing came for too long in the middle of a revision.
    #[error("the rest of a revision did not come in time")]
    Stalled,
    /// The controller ended the stream in order.
    #[error("the controller has ended the stream")]
    Closed,
    /// The agent shuts down.
    #[error("the agent is shutting down")]
    Shutdown,
}

fn told(status: &tonic::Status) -> String {
    with_causes(format!("{}: {}", status.code(), status.message()), status)
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Self {
        Self::Status(status)
    }
}

/// What the connection is made with.
#[derive(Debug, Clone)]
pub struct Stream {
    /// `host:port`.
    pub controller: String,
    /// How it is made, with the proofs of both sides.
    pub keys: watch::Receiver<Arc<InUse<Endpoint>>>,
    /// All of Hello but what is realised.
    pub hello: Hello,
}

/// Whether there is a connection, for health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// There is.
    Up,
    /// There is none, because of this.
    Down(String),
}

impl Stream {
    /// Keeps a connection until `received` is closed.
    pub async fn run(
        mut self,
        mut outgoing: Outgoing,
        received: mpsc::Sender<Received>,
        state: watch::Sender<Connection>,
    ) {
        let mut wait = RETRY;
        let mut told = None;
        loop {
            let began = tokio::time::Instant::now();
            let ended = match self.connect(&mut outgoing, &received, &state).await {
                Ok(()) => Ended::Closed,
                Err(ended) => ended,
            };
            if received.is_closed() {
                return;
            }
            // A connection that lasted was a good one: the next attempt may come soon.
            if began.elapsed() > RETRY_MOST {
                wait = RETRY;
                told = None;
            }
            let reason = ended.to_string();
            state.send_replace(Connection::Down(reason.clone()));
            if told.as_ref() != Some(&reason) {
                warn!(
                    controller = self.controller,
                    reason, "not connected; what is in force stays in force"
                );
            }
            told = Some(reason);
            tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait = (wait * 2).min(RETRY_MOST);
        }
    }

    async fn connect(
        &mut self,
        outgoing: &mut Outgoing,
        received: &mpsc::Sender<Received>,
        state: &watch::Sender<Connection>,
    ) -> Result<(), Ended> {
        let acks = outgoing.acks.clone();
        let refusals = &mut outgoing.refusals;
        let keys = &mut self.keys;
        let mut open = open(keys, &self.hello, acks.clone()).await?;
        info!(controller = self.controller, "connected");
        state.send_replace(Connection::Up);
        loop {
            // Refusals of an earlier connection mean nothing on this one.
            while refusals.try_recv().is_ok() {}
            let newer = {
                let mut served = pin!(open.serve(refusals, received));
                tokio::select! {
                    ended = &mut served => return ended,
                    changed = keys.changed() => changed.map_err(|_| Ended::Shutdown)?,
                }
                let mut newer = pin!(reopen(keys, &self.hello, &acks));
                tokio::select! {
                    newer = &mut newer => newer,
                    // The controller ends the older one as soon as there is the newer.
                    ended = &mut served => match timeout(limits::HANDSHAKE, newer).await {
                        Ok(newer) => newer,
                        Err(_) => return ended,
                    },
                }
            };
            open = newer;
            info!(controller = self.controller, "connected with the new keys");
        }
    }
}

/// A connection that the controller has accepted.
struct Open {
    sender: mpsc::Sender<AgentMessage>,
    incoming: Streaming<ControllerMessage>,
    /// What has been realised since its Hello.
    acks: watch::Receiver<Option<Ack>>,
}

async fn open(
    keys: &mut watch::Receiver<Arc<InUse<Endpoint>>>,
    hello: &Hello,
    mut acks: watch::Receiver<Option<Ack>>,
) -> Result<Open, Ended> {
    let endpoint = keys.borrow_and_update().made.clone();
    let channel = endpoint.connect().await.map_err(Ended::Transport)?;
    let mut client =
        DistributionClient::new(channel).max_decoding_message_size(limits::MESSAGE_BYTES);
    let (sender, messages) = mpsc::channel(4);
    let realised = acks.borrow_and_update().clone();
    let hello = Hello {
        realised: realised
            .as_ref()
            .map(|ack| (ack.digest, ack.frontier.clone())),
        ..hello.clone()
    };
    put(&sender, FromAgent::Hello(hello)).await?;
    if let Some(ack) = realised {
        put(&sender, FromAgent::Ack(ack)).await?;
    }
    let incoming = client.sync(ReceiverStream::new(messages)).await?;
    Ok(Open {
        sender,
        incoming: incoming.into_inner(),
        acks,
    })
}

/// Another connection beside one that is open, with the newest keys, however often that has to be tried.
async fn reopen(
    keys: &mut watch::Receiver<Arc<InUse<Endpoint>>>,
    hello: &Hello,
    acks: &watch::Receiver<Option<Ack>>,
) -> Open {
    let mut wait = RETRY;
    let mut said = String::new();
    loop {
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = (wait * 2).min(RETRY_MOST);
        match open(keys, hello, acks.clone()).await {
            Ok(open) => return open,
            Err(ended) => {
                let reason = ended.to_string();
                if reason != said {
                    warn!(
                        reason,
                        "there is no connection with the new keys yet; the one with the earlier keys goes on"
                    );
                }
                said = reason;
            }
        }
    }
}

impl Open {
    /// Until it ends. Whoever does not wait for that loses what was under way on it, as with every connection that ends.
    async fn serve(
        &mut self,
        refusals: &mut mpsc::Receiver<Refused>,
        received: &mpsc::Sender<Received>,
    ) -> Result<(), Ended> {
        let sender = &self.sender;
        let mut arriving = Arriving::Nothing;
        let mut heard_at = tokio::time::Instant::now();
        let mut questions = tokio::time::interval(limits::ASK);
        questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let open = matches!(arriving, Arriving::Open(_));
            let patience = if open {
                limits::MESSAGE
            } else {
                Duration::from_secs(3600)
            };
            tokio::select! {
                message = timeout_at(heard_at + patience, self.incoming.message()) => {
                    heard_at = tokio::time::Instant::now();
                    let message = match message {
                        Ok(message) => message?,
                        Err(_) if open => return Err(Ended::Stalled),
                        Err(_) => continue,
                    };
                    let Some(message) = message else { return Ok(()) };
                    match arriving.take(FromController::try_from(message)?)? {
                        None => {}
                        Some(Ok(item)) => received.send(item).await.map_err(|_| Ended::Shutdown)?,
                        Some(Err(refused)) => put(sender, FromAgent::Refused(refused)).await?,
                    }
                }
                changed = self.acks.changed() => {
                    if changed.is_err() { return Err(Ended::Shutdown); }
                    let ack = self.acks.borrow_and_update().clone();
                    if let Some(ack) = ack { put(sender, FromAgent::Ack(ack)).await?; }
                }
                _ = questions.tick() => {
                    put(sender, FromAgent::Ask(clock::monotonic_ns())).await?;
                }
                refused = refusals.recv() => match refused {
                    None => return Err(Ended::Shutdown),
                    Some(refused) => put(sender, FromAgent::Refused(refused)).await?,
                },
            }
        }
    }
}

async fn put(sender: &mpsc::Sender<AgentMessage>, message: FromAgent) -> Result<(), Ended> {
    match timeout(limits::MESSAGE, sender.send((&message).into())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(tonic::Status::cancelled("the controller is gone").into()),
        Err(_) => Err(tonic::Status::deadline_exceeded("the controller does not read").into()),
    }
}

/// The revision that is coming in.
#[derive(Debug)]
enum Arriving {
    Nothing,
    Open(Assembly),
    /// The rest of one that was refused already.
    Rest,
}

impl Arriving {
    /// Puts revisions together. One that is damaged is refused; the stream goes on.
    fn take(
        &mut self,
        message: FromController,
    ) -> Result<Option<Result<Received, Refused>>, Ended> {
        match message {
            FromController::Confirm {
                digest,
                frontier,
                answer,
            } => {
                return Ok(Some(Ok(Received::Confirm {
                    digest,
                    frontier,
                    answer,
                })));
            }
            FromController::Header(header) => *self = Self::Open(Assembly::new(header)),
            FromController::Part { offset, content } => match self {
                Self::Nothing => return Err(Ended::Unannounced),
                Self::Rest => return Ok(None),
                Self::Open(open) => {
                    if let Err(error) = open.add(offset, &content) {
                        let refused = damaged(open.header().target, &error);
                        *self = Self::Rest;
                        return Ok(Some(Err(refused)));
                    }
                }
            },
        }
        match std::mem::replace(self, Self::Nothing) {
            Self::Open(whole) if whole.is_complete() => {
                let target = whole.header().target;
                let finished = whole.finish();
                Ok(Some(match finished {
                    Ok(revision) => Ok(Received::Revision(Box::new(revision))),
                    Err(error) => Err(damaged(target, &error)),
                }))
            }
            unfinished @ (Self::Nothing | Self::Open(_) | Self::Rest) => {
                *self = unfinished;
                Ok(None)
            }
        }
    }
}

fn damaged(digest: Digest, error: &AssemblyError) -> Refused {
    Refused {
        digest,
        refusal: Refusal::Damaged,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
