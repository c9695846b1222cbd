//! The running agent: one thread for the kernel, tasks for the stream, the links and the questions, and their end.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bulkhead_datapath::abi::ABI_VERSION;
use bulkhead_graph::{FORMAT, Timestamp};
use bulkhead_keys::InUse;
use bulkhead_wire::Hello;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use tracing::{info, warn};

use crate::enforce::{Enforcer, Input, Outputs, Rhythm, State};
use crate::http::{Http, router, socket};
use crate::interfaces::Netlink;
use crate::kernel::{Kernel, Opened, Options};
use crate::metrics::Metrics;
use crate::settings::Run;
use crate::store::Store;
use crate::stream::{Connection, Outgoing, Received, Stream};
use crate::{checks, clock, keys};

/// Looks for interfaces: soon after something changed or while something is missing, else now and then.
const LOOK_SOON: Duration = Duration::from_millis(50);
const LOOK_SOON_MOST: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_secs(30);

/// For the kernel's thread to finish a revision at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What may wait for the kernel's thread: whoever has more for it waits himself.
const INPUTS: usize = 16;

/// After so long it is said that what is on disk is still being taken up.
const RESUME: Duration = Duration::from_secs(10);

/// Events that a slow reader of the tail may be behind.
const EVENTS_BEHIND: usize = 16_384;

/// Runs until SIGTERM or SIGINT. Whatever is in force stays in force.
///
/// # Errors
/// If something that is needed is not there; the message says what to do.
pub async fn run(run: Run) -> anyhow::Result<()> {
    run.logging.start().map_err(anyhow::Error::msg)?;
    checks::kernel(&run.places)?;
    let _state = checks::state(&run.places.state)?;
    let _pins = checks::pins(&run.places.pins)?;
    let http_listener = match run.http {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let unix_listener = socket(&run.places.state)
        .with_context(|| format!("{}: cannot make the socket", run.places.state.display()))?;

    let netlink = Netlink::open()?;
    let links = netlink.read().await?;
    let options = Options {
        pins: Some(run.places.pins.clone()),
        capacity: run.sizes.capacity(),
    };
    let kernel = Kernel::open(&options)?;
    let opened = kernel.opened;
    if opened == Opened::New {
        adopt(&kernel, run.adopt_seconds);
    }
    info!(
        ?opened,
        load_ms = kernel.load_time.as_millis(),
        wait = %kernel.grace.way(),
        "kernel programs are loaded"
    );
    let metrics = Arc::new(Metrics::default());
    metrics.waits_by(kernel.grace.way());
    let (acks_sender, acks) = watch::channel(None);
    let (refusals_sender, refusals) = mpsc::channel(16);
    let (events, _) = broadcast::channel(EVENTS_BEHIND);
    let (waiting_sender, waiting) = watch::channel(false);
    let hello = Hello {
        node: run.node.clone(),
        abi: ABI_VERSION,
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: State::limits(&kernel.maps.capacity),
        realised: None,
    };
    let outputs = Outputs {
        acks: acks_sender,
        refusals: refusals_sender,
        events: events.clone(),
        waiting: waiting_sender,
        metrics: metrics.clone(),
    };
    let rhythm = Rhythm {
        sweep: Duration::from_secs(run.sweep_seconds),
        audit: Duration::from_secs(run.audit_seconds),
    };
    let store = Store::in_directory(&run.places.state);
    let (inputs, mut inbox) = mpsc::channel(INPUTS);
    let runtime = tokio::runtime::Handle::current();
    let (ended_sender, mut ended) = oneshot::channel();
    let (resumed_sender, resumed) = oneshot::channel();
    std::thread::Builder::new()
        .name("kernel".to_owned())
        .spawn(move || {
            let outcome = State::open(kernel, links).map(|state| {
                let mut enforcer = Enforcer::new(state, store, outputs, rhythm);
                enforcer.resume();
                // Somebody waits, or the process ends.
                let _ = resumed_sender.send(());
                enforcer.run(&runtime, &mut inbox);
            });
            // Nobody waits any more if the process ends for another reason.
            drop(ended_sender.send(outcome));
        })?;

    // Only now, when what is on disk is on its way into force: keys that are of no use must not open a node.
    let keys = match keys::load(&run, wall()) {
        Ok(keys) => Arc::new(keys),
        Err(error) => {
            end_thread(&inputs, &mut ended).await;
            return Err(error.context("the kernel goes on enforcing what it has"));
        }
    };
    let (connection_sender, connection) =
        watch::channel(Connection::Down("not tried yet".to_owned()));
    let (received_sender, received) = mpsc::channel(1);
    let stream = Stream {
        controller: run.controller.clone(),
        keys: keys.subscribe(),
        hello,
    };
    let outgoing = Outgoing {
        acks: acks.clone(),
        refusals,
    };
    let mut tasks = JoinSet::new();
    let mut spawn = |name: &'static str, task: Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.spawn(async move {
            task.await;
            name
        });
    };
    spawn(
        "the connection to the controller",
        Box::pin(async move {
            after(resumed).await;
            stream
                .run(outgoing, received_sender, connection_sender)
                .await;
        }),
    );
    spawn(
        "what hands revisions on",
        Box::pin(forward(received, inputs.clone())),
    );
    spawn(
        "what looks for interfaces",
        Box::pin(watch_links(netlink, waiting, inputs.clone())),
    );
    spawn(
        "what counts connections",
        Box::pin(watch_connection(connection.clone(), metrics.clone())),
    );
    spawn(
        "what tells when the certificate ends",
        Box::pin(watch_keys(keys.subscribe(), metrics.clone())),
    );
    spawn(
        "what looks for new keys",
        Box::pin(async move { keys.follow(wall).await }),
    );
    let end = inputs.clone();
    let http = Http {
        node: run.node.clone(),
        metrics,
        inputs,
        acks,
        connection,
        events,
    };
    let service = router(http);
    if let Some(listener) = http_listener {
        let service = service.clone();
        spawn(
            "the server on --http",
            Box::pin(async move { report_end(axum::serve(listener, service).await) }),
        );
    }
    spawn(
        "the server on the socket",
        Box::pin(async move { report_end(axum::serve(unix_listener, service).await) }),
    );
    info!(
        node = run.node,
        controller = run.controller,
        "the agent is up"
    );

    tokio::select! {
        signal = stop_signal() => signal?,
        outcome = &mut ended => {
            outcome.context("the thread that owns the kernel's tables has panicked")??;
            bail!("the thread that owns the kernel's tables has ended");
        }
        error = first_end(&mut tasks) => {
            // If it is the thread that has ended, its reason says more than that of whoever misses it.
            if let Ok(outcome) = tokio::time::timeout(SHUTDOWN, &mut ended).await {
                outcome.context("the thread that owns the kernel's tables has panicked")??;
            }
            return Err(error);
        }
    }
    info!("shutting down; the kernel goes on enforcing what it has");
    if tokio::time::timeout(SHUTDOWN, tasks.shutdown())
        .await
        .is_err()
    {
        warn!("not every task ended in time");
    }
    end_thread(&end, &mut ended).await;
    Ok(())
}

/// The thread that owns the kernel's tables ends after what it is doing; if it has ended already, all the better.
async fn end_thread<T>(inputs: &mpsc::Sender<Input>, ended: &mut oneshot::Receiver<T>) {
    let ending = async {
        drop(inputs.send(Input::End).await);
        drop(ended.await);
    };
    if tokio::time::timeout(SHUTDOWN, ending).await.is_err() {
        warn!("the kernel's thread did not end in time");
    }
}

fn wall() -> Timestamp {
    clock::now().wall
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("--http {address}: cannot listen there; choose another address or end who has it")
    })
}

/// Waits until one of the tasks ends, which none should. An agent without one of them would look healthy and be deaf.
async fn first_end(tasks: &mut JoinSet<&'static str>) -> anyhow::Error {
    match tasks.join_next().await {
        Some(Ok(name)) => {
            anyhow::anyhow!("{name} has ended; restart the agent, the kernel goes on enforcing")
        }
        Some(Err(error)) => anyhow::Error::new(error).context("a part of the agent has panicked"),
        None => std::future::pending().await,
    }
}

/// On a fresh node, TCP connections that are older than the programs are taken over for a while if policy allows them.
fn adopt(kernel: &Kernel, seconds: u64) {
    if let Some(mut node) = kernel.maps.node.read(0) {
        node.adopt_until_ns = clock::monotonic_ns() + seconds * 1_000_000_000;
        kernel.maps.node.write_limits(&node);
    }
}

fn report_end(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        warn!(%error, "a server has ended");
    }
}

async fn forward(mut received: mpsc::Receiver<Received>, inputs: mpsc::Sender<Input>) {
    while let Some(received) = received.recv().await {
        let input = match received {
            Received::Revision(revision) => Input::Revision(revision),
            Received::Confirm {
                digest,
                frontier,
                answer,
            } => Input::Confirm {
                digest,
                frontier,
                answer,
            },
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}

async fn watch_connection(mut connection: watch::Receiver<Connection>, metrics: Arc<Metrics>) {
    loop {
        metrics.connected(*connection.borrow_and_update() == Connection::Up);
        if connection.changed().await.is_err() {
            return;
        }
    }
}

async fn watch_keys(mut keys: watch::Receiver<Arc<InUse<Endpoint>>>, metrics: Arc<Metrics>) {
    loop {
        metrics.certificate_ends(keys.borrow_and_update().certificate.until);
        if keys.changed().await.is_err() {
            return;
        }
    }
}

async fn watch_links(
    mut netlink: Netlink,
    mut waiting: watch::Receiver<bool>,
    inputs: mpsc::Sender<Input>,
) {
    let mut soon = LOOK_SOON;
    loop {
        let pause = if *waiting.borrow_and_update() {
            soon
        } else {
            LOOK
        };
        tokio::select! {
            () = netlink.changed() => soon = LOOK_SOON,
            changed = waiting.changed() => {
                if changed.is_err() { return; }
                soon = LOOK_SOON;
                continue;
            }
            () = tokio::time::sleep(pause) => soon = (soon * 2).min(LOOK_SOON_MOST),
        }
        match netlink.read().await {
            Ok(links) => {
                if inputs.send(Input::Links(Box::new(links))).await.is_err() {
                    return;
                }
            }
            Err(error) => warn!(%error, "the node's links cannot be read"),
        }
    }
}

async fn stop_signal() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// Until what is on disk was taken up, or cannot be: the first Hello tells what is in force again. If the thread ends instead,
/// so does the process, and nobody is told anything.
async fn after(mut resumed: oneshot::Receiver<()>) {
    let in_time = tokio::time::timeout(RESUME, &mut resumed).await;
    let outcome = match in_time {
        Ok(outcome) => outcome,
        Err(_) => {
            warn!(
                "what was in force before is still being taken up; there is no connection to the controller before that (is the disk \
                 of --state stuck?)"
            );
            resumed.await
        }
    };
    if outcome.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_what_to_do() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let taken = first.local_addr().unwrap();
        let error = format!("{:#}", listen(taken).await.unwrap_err());
        let expected = format!(
            "--http {taken}: cannot listen there; choose another address or end who has it: Address already in use"
        );
        assert!(error.starts_with(&expected), "{error}");
    }

    #[tokio::test]
    async fn an_agent_that_has_lost_a_part_ends() {
        let mut tasks = JoinSet::new();
        tasks.spawn(std::future::pending());
        tasks.spawn(async { panic!("for the test") });
        let error = format!("{:#}", first_end(&mut tasks).await);
        assert!(
            error.contains("a part of the agent has panicked"),
            "{error}"
        );
        tasks.spawn(async { "the connection" });
        let error = format!("{:#}", first_end(&mut tasks).await);
        assert!(error.contains("the connection has ended"), "{error}");
    }
}
