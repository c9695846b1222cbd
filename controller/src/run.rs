//! The running controller: the compiler's thread, the agents' server, the HTTP server, and the end of all three.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bulkhead_crds::manifest::{Problem, Severity};
use bulkhead_graph::Timestamp;
use bulkhead_policy::engine::{EngineConfig, Finding};
use bulkhead_source::names::Lookups;
use bulkhead_source::{BootTime, Freshness, Update};
use bulkhead_wire::limits;
use bulkhead_wire::proto::distribution_server::DistributionServer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, info_span, warn};

use crate::clock;
use crate::http::{Http, router};
use crate::intent::{Compiled, Intent, append};
use crate::names::Names;
use crate::rule::{Asked, Told};
use crate::server::{Server, Shared};
use crate::status::ObjectState;
use crate::tls::Tls;

/// How long open streams may take to end at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// The longest sleep of the compiler, so that a step of the wall clock is noticed, and nodes that ask hear of inputs that stayed
/// as they were.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);

/// What the compiler's thread is asked.
enum Question {
    Objects(BTreeSet<String>, oneshot::Sender<Vec<ObjectState>>),
    Rule(Asked, oneshot::Sender<Option<Told>>),
}

/// Asks the compiler's thread.
#[derive(Clone)]
pub struct Questions(mpsc::Sender<Question>);

impl Questions {
    /// Every policy and segment with its nodes, and those of the `concerned` workloads that are its subjects; `None` when
    /// the controller ends.
    pub async fn objects(&self, concerned: BTreeSet<String>) -> Option<Vec<ObjectState>> {
        let (sender, answer) = oneshot::channel();
        let question = Question::Objects(concerned, sender);
        self.0.send(question).await.ok()?;
        answer.await.ok()
    }

    /// Which rule decides about one side of a flow, if a workload of ours owns its address; `None` when the controller ends.
    pub async fn rule(&self, asked: Asked) -> Option<Option<Told>> {
        let (sender, answer) = oneshot::channel();
        self.0.send(Question::Rule(asked, sender)).await.ok()?;
        answer.await.ok()
    }

    /// Returns when the compiler has ended.
    async fn ended(&self) {
        self.0.closed().await;
    }
}

/// Where the compiler hears of everything.
pub struct Inputs {
    /// What a source hands on. The compiler ends when this does.
    pub updates: mpsc::Receiver<Update>,
    /// Until when the source knows its inputs.
    pub freshness: Freshness,
    /// Who is asked for names.
    pub lookups: Lookups,
    /// How long the first compile may wait for names. Nodes keep what they have meanwhile.
    pub name_patience: Duration,
}

/// What a source has handed on and is not compiled yet.
struct Held {
    update: Update,
    /// When the source knew that there was nothing else.
    known_at: Option<BootTime>,
    /// No longer than until then.
    until: Instant,
}

impl Held {
    fn append(&mut self, update: Update, known_at: Option<BootTime>) {
        append(&mut self.update, update);
        self.known_at = known_at;
    }
}

/// Starts the compiler on a thread of its own: a large compile must not hold up the streams. It ends when the updates do.
///
/// # Errors
/// If there is no thread to be had.
pub fn start_compiler(
    shared: Arc<Shared>,
    config: EngineConfig,
    inputs: Inputs,
) -> anyhow::Result<Questions> {
    let (sender, questions) = mpsc::channel(16);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name("compiler".to_owned())
        .spawn(move || runtime.block_on(compile(&shared, config, inputs, questions)))
        .context("cannot start the compiler's thread")?;
    Ok(Questions(sender))
}

async fn compile(
    shared: &Shared,
    config: EngineConfig,
    inputs: Inputs,
    mut questions: mpsc::Receiver<Question>,
) {
    let Inputs {
        mut updates,
        freshness,
        lookups,
        name_patience,
    } = inputs;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut names = Names::new(config.cluster_ranges.clone(), lookups);
    let mut intent = Intent::new(config, threads, clock::now());
    // A moment and no pause: whatever else comes in between, it comes.
    let mut look_at = Instant::now() + LOOK_AT_CLOCK;
    let mut problems = Vec::new();
    let mut held: Option<Held> = None;
    loop {
        let boundary = Instant::now() + until(intent.next_boundary(), clock::now());
        let wake = held
            .iter()
            .map(|it| it.until)
            .fold(look_at.min(boundary), Instant::min);
        tokio::select! {
            update = updates.recv() => {
                let Some(mut update) = update else { return };
                // Before what was handed on by then is taken in.
                let known_at = freshness.instant();
                while let Ok(more) = updates.try_recv() {
                    append(&mut update, more);
                }
                problems = std::mem::take(&mut update.problems);
                names.resolve(&mut update);
                names.look();
                match &mut held {
                    Some(held) => held.append(update, known_at),
                    None => held = Some(Held { update, known_at, until: Instant::now() + name_patience }),
                }
                if !intent.is_ready() {
                    tell(shared, &problems, &names, &mut intent);
                }
            }
            Some(answer) = names.heard() => {
                let events = names.take(answer, |answer| shared.metrics.asked_for_name(answer));
                let moved = !events.is_empty();
                let compiled = match &mut held {
                    // They belong to what is compiled first.
                    Some(held) => {
                        held.update.events.extend(events);
                        None
                    }
                    None => moved.then(|| intent.resolve(events, clock::now())).flatten(),
                };
                if names.look() || moved {
                    tell(shared, &problems, &names, &mut intent);
                }
                if let Some(compiled) = compiled {
                    publish(shared, compiled);
                }
            }
            Some(question) = questions.recv() => match question {
                // Whoever asked may have gone: then nobody needs the answer.
                Question::Objects(concerned, answer) => drop(answer.send(intent.objects(&concerned))),
                Question::Rule(asked, answer) => drop(answer.send(intent.rule(&asked))),
            },
            () = sleep_until(wake) => {
                look_at = Instant::now() + LOOK_AT_CLOCK;
                let known_at = freshness.instant();
                if let Some(compiled) = intent.advance(clock::now()) {
                    tell(shared, &problems, &names, &mut intent);
                    publish(shared, compiled);
                }
                // What waits in the queue or for names was handed on by then, perhaps, and is not in the graphs.
                if held.is_none() && updates.is_empty() {
                    known(shared, known_at);
                }
            }
        }
        // A controller that has just started knows no name, and graphs without them would cut what the one before it allowed (G3).
        let waits =
            |held: &Held| !intent.is_ready() && names.are_missing() && Instant::now() < held.until;
        if let Some(held) = held.take_if(|held| !waits(held)) {
            take_in(shared, &problems, &names, &mut intent, held);
        }
    }
}

/// Compiles what a source has handed on.
fn take_in(shared: &Shared, problems: &[Problem], names: &Names, intent: &mut Intent, held: Held) {
    let events = held.update.events.len();
    let began = std::time::Instant::now();
    let _span = info_span!("compile", events).entered();
    let compiled = intent.take(held.update, clock::now());
    tell(shared, problems, names, intent);
    publish(shared, compiled);
    known(shared, held.known_at);
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (_, size) = intent.counts();
    info!(
        micros,
        workloads = size.workloads,
        policies = size.policies,
        rule_sets = size.rule_sets,
        "compiled"
    );
}

/// All that the source knew by then is on the board.
fn known(shared: &Shared, at: Option<BootTime>) {
    if let Some(at) = at {
        shared.board.known(at);
    }
}

/// What the source found, what is wrong with names, and what the compiler found. Nobody waits for the status while it is looked for.
fn tell(shared: &Shared, problems: &[Problem], names: &Names, intent: &mut Intent) {
    let said = [problems, names.problems()].concat();
    let all = with_findings(said, intent.findings());
    let counts = names.counts();
    let mut status = shared.status();
    status.problems(all);
    status.names(counts);
}

/// The source's problems and what the compiler found beside them. A folder's problems know file and line; what they say
/// already is not said twice.
fn with_findings(mut problems: Vec<Problem>, findings: Vec<Finding>) -> Vec<Problem> {
    let claim = |message: &str| message.split(';').next().map(str::to_owned);
    let said: BTreeSet<_> = problems
        .iter()
        .map(|problem| (problem.object.clone(), claim(&problem.message)))
        .collect();
    for Finding { object, message } in findings {
        let object = Some(object.to_string());
        if !said.contains(&(object.clone(), claim(&message))) {
            problems.push(Problem {
                severity: Severity::Warning,
                file: "".into(),
                line: None,
                object,
                field: None,
                message,
            });
        }
    }
    problems
}

/// Status first: whoever sees a graph on the board finds in the status that it is desired.
fn publish(shared: &Shared, compiled: Compiled) {
    let mut status = shared.status();
    for (node, graph) in &compiled.graphs {
        status.desired(node, graph.digest(), compiled.sequence);
    }
    status.forget_others(&compiled.nodes);
    drop(status);
    for (node, graph) in compiled.graphs {
        shared.board.put(&node, graph);
    }
    shared.board.reached(compiled.frontier);
}

fn until(boundary: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(boundary) = boundary else {
        return LOOK_AT_CLOCK;
    };
    let ms = u64::try_from(boundary.0.saturating_sub(now.0)).unwrap_or(0);
    Duration::from_millis(ms).min(LOOK_AT_CLOCK)
}

/// Sockets of a controller, bound before anything else is said to run.
pub struct Listeners {
    /// For agents.
    pub agents: tokio::net::TcpListener,
    /// For operators.
    pub http: tokio::net::TcpListener,
}

impl Listeners {
    /// Binds both.
    ///
    /// # Errors
    /// Names the address that cannot be had.
    pub async fn bind(agents: SocketAddr, http: SocketAddr) -> anyhow::Result<Self> {
        let bind = async |address: SocketAddr, flag: &str| {
            tokio::net::TcpListener::bind(address).await.with_context(|| {
                format!("--{flag} {address}: cannot listen there; choose another address or end who has it")
            })
        };
        Ok(Self {
            agents: bind(agents, "listen").await?,
            http: bind(http, "http").await?,
        })
    }
}

/// Serves until `end` says so.
///
/// # Errors
/// If a server fails, or the compiler ends.
pub async fn serve(
    shared: Arc<Shared>,
    questions: Questions,
    listeners: Listeners,
    tls: Tls,
    mut end: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let stop = |mut end: watch::Receiver<bool>| async move {
        // A sender that is gone means the end as well.
        let _ = end.wait_for(|ended| *ended).await;
    };
    let service = DistributionServer::new(Server(shared.clone()))
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES);
    let agents = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_service(service)
        .serve_with_incoming_shutdown(tls.incoming(listeners.agents), stop(end.clone()));
    let compiler = questions.clone();
    let answers = Http {
        shared,
        questions,
        tls: tls.clone(),
    };
    tokio::spawn(tls.follow());
    let http =
        axum::serve(listeners.http, router(answers)).with_graceful_shutdown(stop(end.clone()));
    let (agents, http) = (tokio::spawn(agents), tokio::spawn(http.into_future()));
    tokio::select! {
        ended = flatten(agents) => ended.context("the agents' server"),
        ended = flatten(http) => ended.context("the HTTP server"),
        // To go on would be to look healthy and to compile nothing; whoever started us starts us again.
        () = compiler.ended(), if !*end.borrow() => {
            bail!("the compiler or the source of intent has ended; nodes go on enforcing what they have")
        }
        () = async {
            let _ = end.wait_for(|ended| *ended).await;
            // Streams have no end of their own: agents hear of it, reconnect elsewhere, and enforce meanwhile.
            tokio::time::sleep(SHUTDOWN).await;
        } => {
            warn!("open streams were cut at shutdown");
            Ok(())
        }
    }
}

async fn flatten<E: std::error::Error + Send + Sync + 'static>(
    task: tokio::task::JoinHandle<Result<(), E>>,
) -> anyhow::Result<()> {
    task.await??;
    Ok(())
}
