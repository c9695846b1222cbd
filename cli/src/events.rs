//! `bulkhead events`: what an agent saw, with the rule behind it. The agent knows what was decided; who compiled it knows by which rule.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::controller::{Address, Controller};
use crate::table::{self, Output};

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  curl -sN --unix-socket /var/lib/bulkhead-agent/agent.sock http://agent/events | bulkhead events"
)]
pub(crate) struct Arguments {
    /// An agent's events, one JSON object a line; `-` is standard input
    #[arg(short = 'f', long, value_name = "FILE", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    controller: Address,
    /// Print nothing but sums by kind and rule, at the end of the input
    #[arg(long)]
    sum: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// What of an event is understood here.
#[derive(Debug, Deserialize)]
struct Event {
    kind: String,
    hook: String,
    source: End,
    destination: End,
    protocol: String,
}

#[derive(Debug, Deserialize)]
struct End {
    address: String,
    port: u16,
    #[serde(default)]
    workload: Option<String>,
}

/// What the controller answers.
#[derive(Debug, Deserialize)]
struct Told {
    enforced: Decision,
    intended: Decision,
}

#[derive(Debug, Deserialize)]
struct Decision {
    allowed: bool,
    rule: String,
}

impl Event {
    /// The path at which the controller tells the rule of the side that saw it. ICMP events carry no type and code.
    fn path(&self) -> Option<String> {
        let Self {
            hook,
            source,
            destination,
            protocol,
            ..
        } = self;
        let (direction, subject, peer) = match hook.as_str() {
            "from_workload" => ("egress", source, destination),
            "to_workload" => ("ingress", destination, source),
            _ => return None,
        };
        let is_known = self.kind != "closed" && !protocol.starts_with("icmp");
        is_known.then(|| {
            format!(
                "/rule/{}/{direction}/{}/{protocol}/{}",
                subject.address, peer.address, destination.port
            )
        })
    }

    /// The rule, if what is in force still decides as it did then.
    fn rule(&self, told: Told) -> Option<String> {
        let (decision, allowed) = match self.kind.as_str() {
            "would_deny" => (told.intended, false),
            "would_allow" => (told.intended, true),
            "denied" => (told.enforced, false),
            "opened" => (told.enforced, true),
            _ => return None,
        };
        (decision.allowed == allowed).then_some(decision.rule)
    }

    fn line(&self, rule: &str) -> String {
        let name = |end: &End| end.workload.clone().unwrap_or_else(|| end.address.clone());
        format!(
            "{} {} → {}:{} {}: {rule}",
            self.kind,
            name(&self.source),
            name(&self.destination),
            self.destination.port,
            self.protocol
        )
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let input: Box<dyn BufRead> = match arguments.file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        Some(_) | None => {
            let file = File::open(&arguments.file);
            Box::new(BufReader::new(file.with_context(|| {
                format!("{}: cannot be read", arguments.file.display())
            })?))
        }
    };
    let controller = Controller::new(&arguments.controller);
    let mut sums: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut out = io::stdout().lock();
    for (number, line) in input.lines().enumerate() {
        let line = line.context("the events cannot be read")?;
        let unread = || format!("line {}: this is no event of an agent", number + 1);
        let mut value: Value = serde_json::from_str(&line).with_context(unread)?;
        let event = Event::deserialize(&value).with_context(unread)?;
        let told = match event.path() {
            // It may know no such workload any more.
            Some(path) => controller.ask(&path)?,
            None => None,
        };
        let rule = told.and_then(|told| event.rule(told));
        let said = rule.as_deref().unwrap_or("no rule of what is in force now");
        if arguments.sum {
            *sums
                .entry((event.kind.clone(), said.to_owned()))
                .or_default() += 1;
            continue;
        }
        match arguments.output {
            Output::Table => writeln!(out, "{}", event.line(said))?,
            Output::Json => {
                value["rule"] = rule.into();
                writeln!(out, "{value}")?;
            }
        }
    }
    print(&mut out, arguments.output, sums)
}

fn print(
    out: &mut impl Write,
    output: Output,
    sums: BTreeMap<(String, String), u64>,
) -> Result<()> {
    let mut rows = Vec::new();
    for ((kind, rule), count) in sums {
        match output {
            Output::Json => {
                let sum = serde_json::json!({"kind": kind, "rule": rule, "count": count});
                writeln!(out, "{sum}")?;
            }
            Output::Table => rows.push(vec![count.to_string(), kind, rule]),
        }
    }
    Ok(table::write(out, &rows)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn event(kind: &str, hook: &str) -> Event {
        serde_json::from_value(serde_json::json!({
            "time_ms": 1, "kind": kind, "reason": "policy", "hook": hook, "protocol": "tcp", "length": 60, "generation": 3,
            "source": {"address": "10.0.0.1", "port": 40000, "workload": "web/frontend"},
            "destination": {"address": "10.0.0.2", "port": 5432},
        }))
        .unwrap()
    }

    fn told() -> Told {
        let decision = |allowed, rule: &str| Decision {
            allowed,
            rule: rule.to_owned(),
        };
        Told {
            enforced: decision(true, "no policy isolates it"),
            intended: decision(false, "isolated by Segment databases"),
        }
    }

    #[test]
    fn the_side_that_saw_it_is_asked_about() {
        let path = |hook| event("would_deny", hook).path().unwrap();
        assert_eq!(
            path("from_workload"),
            "/rule/10.0.0.1/egress/10.0.0.2/tcp/5432"
        );
        assert_eq!(
            path("to_workload"),
            "/rule/10.0.0.2/ingress/10.0.0.1/tcp/5432"
        );
        assert_eq!(event("closed", "to_workload").path(), None);
    }

    #[test]
    fn an_audit_is_told_by_what_is_intended_and_never_by_what_has_changed_since() {
        let rule = |kind| event(kind, "to_workload").rule(told());
        assert_eq!(rule("would_deny").unwrap(), "isolated by Segment databases");
        assert_eq!(rule("opened").unwrap(), "no policy isolates it");
        assert_eq!(rule("denied"), None);
        assert_eq!(rule("would_allow"), None);
        assert_eq!(
            event("would_deny", "to_workload").line("isolated by Segment databases"),
            "would_deny web/frontend → 10.0.0.2:5432 tcp: isolated by Segment databases"
        );
    }
}
