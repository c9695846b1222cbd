//! What the kernels of all nodes drop, live, named by who is who in the lab.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use bulkhead_policy::eval::Flow;
use bulkhead_policy::model::{Address, Protocol};
use serde::Deserialize;

use super::paper::{Ink, Paper};
use super::rules::Rules;
use super::scene::{Scene, now};
use crate::lab::NodeNumber;

/// Before an agent that does not answer is asked again; it may be starting.
const AGAIN: Duration = Duration::from_millis(500);
/// A packet that is dropped again and again is told of once in this time.
const QUIET: Duration = Duration::from_secs(10);

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
    let mut teller = Teller {
        names: names(scene),
        rules: Rules::of(scene.product.manifests()),
        told: BTreeMap::new(),
    };
    let (sender, events) = channel();
    thread::scope(|scope| {
        for node in scene.lab().plan().nodes() {
            let sender = sender.clone();
            scope.spawn(move || listen(scene, *node, &sender));
        }
        drop(sender);
        for (node, event) in events {
            if let Some((ink, line)) = teller.line(node, &event) {
                paper.text(&paper.ink(ink, &line));
            }
        }
    });
    Ok(())
}

/// One node's events, for as long as somebody listens; an agent that was killed is asked again when it is back.
fn listen(scene: &Scene, node: NodeNumber, events: &Sender<(NodeNumber, Event)>) {
    loop {
        if let Ok(lines) = scene.product.agent_lines(node, "/events") {
            let parsed = lines
                .map_while(Result::ok)
                .filter_map(|line| serde_json::from_str(&line).ok());
            for event in parsed {
                if events.send((node, event)).is_err() {
                    return;
                }
            }
        }
        thread::sleep(AGAIN);
    }
}

/// Says in a line what happened to a packet and why.
struct Teller {
    names: BTreeMap<IpAddr, String>,
    rules: Rules,
    /// Lines of late, and when.
    told: BTreeMap<String, Instant>,
}

impl Teller {
    fn line(&mut self, node: NodeNumber, event: &Event) -> Option<(Ink, String)> {
        let (ink, word) = match event.kind.as_str() {
            "denied" | "would_allow" => (Ink::Stopped, "dropped"),
            "closed" if event.reason.ends_with("denied") || event.reason.starts_with("no_") => {
                (Ink::Stopped, "cut")
            }
            "would_deny" => (Ink::Faint, "would drop"),
            _ => return None,
        };
        let Event {
            source,
            destination,
            protocol,
            ..
        } = event;
        let (from, to) = (self.name(source), self.name(destination));
        let line = format!(
            "{:<7} {word:<10} {:<42} {}",
            node.name(),
            format!("{from} -> {to}:{}/{protocol}", destination.port),
            self.reason(event)
        );
        self.told.retain(|_, at| at.elapsed() < QUIET);
        let again = self.told.insert(line.clone(), Instant::now());
        again.is_none().then_some((ink, line))
    }

    fn name(&self, end: &End) -> String {
        self.names
            .get(&end.address)
            .cloned()
            .unwrap_or_else(|| end.address.to_string())
    }

    /// The rule where policy has decided, else the kernel's own word.
    fn reason(&mut self, event: &Event) -> String {
        if event.reason == "no_flow" {
            return "its connection is not, or no longer, allowed".to_owned();
        }
        let asked = ["opened", "egress_denied", "ingress_denied", "no_decision"];
        let rule = asked
            .contains(&event.reason.as_str())
            .then(|| flow(event))
            .flatten()
            .and_then(|flow| self.rules.denying(&flow, now().ok()?).ok()?);
        rule.unwrap_or_else(|| event.reason.clone())
    }
}

fn flow(event: &Event) -> Option<Flow> {
    let protocol = match event.protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        "icmp" => Protocol::Icmp,
        "icmpv6" => Protocol::Icmpv6,
        _ => return None,
    };
    Some(Flow {
        source: Address::from(event.source.address),
        destination: Address::from(event.destination.address),
        protocol,
        port: event.destination.port,
    })
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
