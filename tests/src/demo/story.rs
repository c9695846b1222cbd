//! The steps of the demo in their order. Each one shows something and fails if it is not so.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::application::Manifests;
use super::paper::{Ink, Paper, milliseconds};
use super::scene::{Conversation, Scene, now};
use crate::lab::endpoint::Transport;
use crate::lab::{Cell, Family, find_program};

/// Where the intruder sits, and what it tries.
const INTRUDER: &str = "ops/ci-runner";
const DOORS: &[(&str, u16)] = &[
    ("data/orders-db", 5432),
    ("data/cache", 6379),
    ("payments/vault", 8200),
    ("payments/gateway", 8443),
    ("payments/ledger", 5433),
    ("shop/cart", 7070),
    ("legacy/legacy-vm", 445),
];
/// What the intruder may still talk to, as operations are in audit only.
const STILL_OPEN: (&str, u16) = ("ops/backup", 873);
/// Silence for this long means dropped.
const SILENCE: Duration = Duration::from_millis(400);
/// How long a packet may take from the last hook to the receiving process, where the machine is busy.
const QUEUES: Duration = Duration::from_millis(50);
/// The transfer that nobody must disturb.
const TRANSFER: (&str, &str, u16) = ("shop/web-2", "shop/cart", 7070);
const TRANSFER_RECORDS_PER_SECOND: u32 = 1000;
/// How many times the agents are killed.
const KILLS: u32 = 2;

/// How the demo ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// After the last check.
    AtOnce,
    /// When whoever looks has seen enough.
    WhenTold,
}

/// Tells it all. The scene stays up when this returns.
pub fn tell(paper: &mut Paper, ending: Ending) -> Result<Scene> {
    let started = Instant::now();
    paper.title("Bulkhead", "stops lateral movement: a shop in network namespaces, the real controller, agents and eBPF programs");
    let mut scene = set_up(paper)?;
    let before = before(paper, &scene)?;
    policies(paper, &mut scene, &before)?;
    intruder(paper, &scene)?;
    quarantine(paper, &mut scene)?;
    restart(paper, &mut scene)?;
    paper.text("");
    paper.good(&format!(
        "everything was as told, in {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    if ending == Ending::WhenTold {
        what_to_try(paper, &scene);
    }
    Ok(scene)
}

fn set_up(paper: &mut Paper) -> Result<Scene> {
    paper.step("A shop on three nodes");
    let started = Instant::now();
    let scene = Scene::set_up(Manifests::of_source_tree())?;
    let plan = scene.lab().plan();
    paper.good(&format!(
        "{} workloads on {} nodes, each in a network namespace behind a veth pair, IPv4 and IPv6; a customer and a bank outside",
        plan.workloads().len(),
        plan.nodes().len()
    ));
    paper.good(&format!(
        "controller and {} agents run, both hooks of every workload are in the kernel, {}",
        plan.nodes().len(),
        milliseconds(started.elapsed())
    ));
    Ok(scene)
}

/// The matrix, and a connection from the time before there were policies, which they will cut.
fn before(paper: &mut Paper, scene: &Scene) -> Result<Conversation> {
    paper.step("Before: no policy, everybody reaches everybody");
    let started = Instant::now();
    let matrix = scene
        .checked_matrix()
        .context("the matrix before the policies")?;
    ensure!(
        matrix.reached() == matrix.outcomes().len(),
        "without policies everything has to be reached"
    );
    paper.matrix(&matrix);
    paper.good(&format!(
        "as the oracle says, found out by client processes in {}",
        milliseconds(started.elapsed())
    ));
    let conversation = scene.open(INTRUDER, "data/orders-db", 5432, 500)?;
    paper.note(&format!(
        "{INTRUDER} has opened a connection to data/orders-db:5432, and data flows"
    ));
    Ok(conversation)
}

fn policies(paper: &mut Paper, scene: &mut Scene, before: &Conversation) -> Result<()> {
    paper.step("Policies are copied into the folder that the controller watches");
    let took = scene.apply_policies()?;
    paper.good(&format!(
        "in force on every node, read back from the kernels, {} after the first file was written",
        milliseconds(took)
    ));
    no_byte_more(scene, before).context("the intruder's old connection")?;
    paper.stopped(&format!(
        "the connection {} -> {}:{} from before is dead: revoking cuts what is established",
        before.source, before.destination, before.port
    ));
    paper.step("After: the matrix, measured and compared with the oracle");
    let started = Instant::now();
    let matrix = scene
        .checked_matrix()
        .context("the matrix after the policies")?;
    ensure!(
        matrix.reached() < matrix.outcomes().len(),
        "the policies close something"
    );
    paper.matrix(&matrix);
    paper.good(&format!(
        "as the oracle says, cell by cell, found out by client processes in {}",
        milliseconds(started.elapsed())
    ));
    Ok(())
}

fn intruder(paper: &mut Paper, scene: &Scene) -> Result<()> {
    paper.step(&format!("An intruder in {INTRUDER} tries the doors"));
    for (destination, port) in DOORS {
        let cell = door(destination, *port);
        let to = SocketAddr::new(scene.lab().addresses(destination)?.of(Family::V4), *port);
        let outcome = scene
            .endpoint(INTRUDER)?
            .asks(Transport::Tcp, to, SILENCE)?;
        ensure!(
            !outcome.is_reached(),
            "the intruder has reached {destination}:{port}: {outcome:?}"
        );
        let verdict = scene.oracle.verdict(scene.lab(), &cell, now()?)?.enforced;
        let half = if verdict.egress.allowed {
            &verdict.ingress
        } else {
            &verdict.egress
        };
        let reason = half.rule.to_string();
        paper.stopped(&format!(
            "{:<22} {}",
            format!("{destination}:{port}"),
            paper.ink(Ink::Faint, &reason)
        ));
    }
    Ok(())
}

fn quarantine(paper: &mut Paper, scene: &mut Scene) -> Result<()> {
    paper.step(&format!(
        "{INTRUDER} is put into quarantine while it talks to {}:{}",
        STILL_OPEN.0, STILL_OPEN.1
    ));
    let conversation = scene.open(INTRUDER, STILL_OPEN.0, STILL_OPEN.1, 2000)?;
    scene.wait_echoes(&conversation, 200)?;
    let file = scene.manifests.quarantine();
    scene.oracle.read(&file)?;
    let (written, acknowledged) = scene
        .product
        .settle_timed(|| scene.product.apply_file(&file), |_| true)?;
    no_byte_more(scene, &conversation)?;
    let last = scene
        .intake(&conversation)?
        .last_arrival
        .context("data was flowing")?;
    paper.stopped(&format!(
        "the live connection got its last byte {} after the file was written; acknowledged by every node after {}",
        milliseconds(Duration::from_nanos(last.0.saturating_sub(written.0))),
        milliseconds(Duration::from_nanos(acknowledged.0 - written.0))
    ));
    paper.good("0 bytes arrived after the acknowledgement");
    scene
        .checked_matrix()
        .context("the matrix under quarantine")?;
    paper.good("the matrix is again as the oracle says");
    Ok(())
}

fn restart(paper: &mut Paper, scene: &mut Scene) -> Result<()> {
    let (source, destination, port) = TRANSFER;
    paper.step(&format!(
        "The agents of both nodes are killed under a transfer {source} -> {destination}:{port}"
    ));
    let transfer = scene.open(source, destination, port, TRANSFER_RECORDS_PER_SECOND)?;
    let ends =
        [source, destination].map(|key| scene.lab.plan().find(key).map(|workload| workload.node));
    let mut echoed = 0;
    for _ in 0..KILLS {
        for node in ends.into_iter().flatten() {
            scene.product.kill_agent(node)?;
        }
        echoed = scene.endpoint(source)?.stream(transfer.id)?.echoed + 100;
        scene
            .wait_echoes(&transfer, echoed)
            .context("while the agents were dead")?;
        closed_door(scene).context("while the agents were dead")?;
        for node in ends.into_iter().flatten() {
            scene.product.start_agent(node)?;
        }
        scene.product.wait_settled()?;
        closed_door(scene).context("after the agents had come back")?;
    }
    scene.wait_echoes(&transfer, echoed + 100)?;
    let sent = scene.endpoint(source)?.stream(transfer.id)?;
    ensure!(
        sent.error.is_none() && sent.disorder == 0,
        "the transfer was disturbed: {sent:?}"
    );
    scene.endpoint(source)?.close(transfer.id)?;
    paper.good(&format!(
        "SIGKILL to both agents, {KILLS} times: {} records back in order, 0 resets, longest pause {}",
        sent.echoed,
        milliseconds(Duration::from_nanos(sent.longest_gap_ns))
    ));
    paper.good("what is forbidden stayed forbidden while no agent was alive");
    scene
        .checked_matrix()
        .context("the matrix after the restarts")?;
    Ok(())
}

fn what_to_try(paper: &mut Paper, scene: &Scene) {
    let folder = scene.product.manifests().display().to_string();
    paper.step("It stays up. What to try, in another terminal, as root");
    let show = |what: &str, command: String| {
        paper.text(&format!("{what:<28} {}", paper.ink(Ink::Path, &command)));
    };
    show(
        &format!("let {INTRUDER} go:"),
        format!("rm {folder}/quarantine-ci-runner.yaml"),
    );
    show(
        "and lock it up again:",
        format!("cp {} {folder}/", scene.manifests.quarantine().display()),
    );
    show("edit a policy:", format!("$EDITOR {folder}/10-shop.yaml"));
    let closed = DOORS[0];
    let inside = |key: &str| {
        let place = scene.lab.workload(key).ok()?;
        Some(format!("nsenter --net={}", place.path().display()))
    };
    let knock = |key: &str, port: u16| {
        let address = scene.lab.addresses(key).ok()?.v4;
        Some(format!("bash -c 'cat </dev/tcp/{address}/{port}'"))
    };
    let (source, destination, port) = TRANSFER;
    if let (Some(inside), Some(open), Some(shut)) = (
        inside(source),
        knock(destination, port),
        knock(closed.0, closed.1),
    ) {
        show(&format!("be {source}:"), format!("{inside} bash"));
        show(
            &format!("  knock at {destination}:"),
            format!("{inside} timeout 2 {open}"),
        );
        show(
            &format!("  and at {}:", closed.0),
            format!("{inside} timeout 2 {shut}"),
        );
    }
    if let Ok(program) = find_program("bulkhead") {
        show(
            "ask why:",
            format!(
                "{} explain -f {folder} {source} {}:{}",
                program.display(),
                closed.0,
                closed.1
            ),
        );
    }
    show(
        "logs, keys and state:",
        scene.lab.folder().display().to_string(),
    );
    paper.text("");
}

/// After the acknowledgement nothing arrives: what had passed the hooks by then is all there is, and the sender hears nothing.
fn no_byte_more(scene: &Scene, conversation: &Conversation) -> Result<()> {
    let delivered = Instant::now() + QUEUES;
    while Instant::now() < delivered {
        scene.intake(conversation)?;
    }
    let at_acknowledgement = scene.intake(conversation)?.bytes;
    let client = scene.endpoint(&conversation.source)?;
    let heard = client.stream(conversation.id)?.echoed;
    // By then TCP has tried again more than once.
    let until = Instant::now() + 2 * SILENCE;
    while Instant::now() < until {
        let arrived = scene.intake(conversation)?.bytes;
        ensure!(
            arrived == at_acknowledgement,
            "{} bytes arrived after the acknowledgement",
            arrived - at_acknowledgement
        );
    }
    let heard_since = client.stream(conversation.id)?.echoed - heard;
    ensure!(
        heard_since == 0,
        "{heard_since} records came back after the acknowledgement"
    );
    client.close(conversation.id)
}

fn closed_door(scene: &Scene) -> Result<()> {
    let (destination, port) = DOORS[0];
    let to = SocketAddr::new(scene.lab.addresses(destination)?.of(Family::V4), port);
    let outcome = scene
        .endpoint(INTRUDER)?
        .asks(Transport::Tcp, to, SILENCE)?;
    if outcome.is_reached() {
        bail!("{INTRUDER} has reached {destination}:{port}");
    }
    Ok(())
}

fn door(destination: &str, port: u16) -> Cell {
    Cell {
        source: INTRUDER.to_owned(),
        destination: destination.to_owned(),
        transport: Transport::Tcp,
        port,
        family: Family::V4,
    }
}
