//! What the kernels of all nodes drop, live, named by who is who in the lab.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::paper::{Ink, Paper};
use super::scene::Scene;
use crate::lab::NodeNumber;

/// Before an agent that does not answer is asked again; it may be starting.
const AGAIN: Duration = Duration::from_millis(500);

/// One line of an agent's events, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Event {
    kind: String,
    reason: String,
    source: End,
    destination: End,
    protocol: String,
}

#[derive(Debug, Deserialize)]
struct End {
    address: IpAddr,
    port: u16,
}

/// Prints what is dropped, or would be if everything were enforced, until the process is told to end.
pub fn follow(paper: &Paper, scene: &Scene) -> Result<()> {
    paper.text(&paper.ink(
        Ink::Bold,
        "What the kernels drop, live (Ctrl-C ends it all and leaves nothing behind):",
    ));
    let names = names(scene);
    let (sender, lines) = channel();
    thread::scope(|scope| {
        for node in scene.lab().plan().nodes() {
            let (sender, names) = (sender.clone(), &names);
            scope.spawn(move || listen(scene, *node, names, &sender));
        }
        drop(sender);
        for (ink, line) in lines {
            paper.text(&paper.ink(ink, &line));
        }
    });
    Ok(())
}

/// One node's events, for as long as somebody listens; an agent that was killed is asked again when it is back.
fn listen(
    scene: &Scene,
    node: NodeNumber,
    names: &BTreeMap<IpAddr, String>,
    lines: &Sender<(Ink, String)>,
) {
    loop {
        if let Ok(events) = scene.product.agent_lines(node, "/events") {
            for line in events.map_while(Result::ok) {
                let shown = serde_json::from_str(&line)
                    .ok()
                    .and_then(|event| shown(&event, node, names));
                if let Some(shown) = shown
                    && lines.send(shown).is_err()
                {
                    return;
                }
            }
        }
        thread::sleep(AGAIN);
    }
}

fn shown(
    event: &Event,
    node: NodeNumber,
    names: &BTreeMap<IpAddr, String>,
) -> Option<(Ink, String)> {
    let (ink, word) = match event.kind.as_str() {
        "denied" => (Ink::Stopped, "dropped"),
        "would_deny" => (Ink::Faint, "would drop"),
        _ => return None,
    };
    let name = |end: &End| {
        names
            .get(&end.address)
            .cloned()
            .unwrap_or_else(|| end.address.to_string())
    };
    let Event {
        source,
        destination,
        protocol,
        reason,
        ..
    } = event;
    let line = format!(
        "{:<7} {word:<10} {} -> {}:{}/{protocol}  {reason}",
        node.name(),
        name(source),
        name(destination),
        destination.port
    );
    Some((ink, line))
}

fn names(scene: &Scene) -> BTreeMap<IpAddr, String> {
    let plan = scene.lab().plan();
    let workloads = plan
        .workloads()
        .iter()
        .map(|workload| (workload.key(), workload.addresses));
    let nodes = plan
        .nodes()
        .iter()
        .map(|node| (node.name(), node.addresses()));
    let outside = plan
        .outsiders()
        .iter()
        .map(|outsider| (outsider.name.clone(), outsider.addresses));
    let all = workloads.chain(nodes).chain(outside);
    all.flat_map(|(name, addresses)| addresses.both().map(|address| (address, name.clone())))
        .collect()
}
