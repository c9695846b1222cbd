//! `bulkhead status`: what of the intent is in force, asked of the controller.

use std::io::{self, Write};

use anyhow::{Context, Result};
use bulkhead_source::Problem;
use serde::Deserialize;
use serde_json::Value;

use crate::controller::{Address, Controller};
use crate::table::{self, Output};

const PATH: &str = "/status";

#[derive(clap::Args)]
#[command(after_help = "Example:\n  bulkhead status --controller http://127.0.0.1:9480")]
pub(crate) struct Arguments {
    #[command(flatten)]
    controller: Address,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// What of the controller's answer is shown; programs get all of it.
#[derive(Debug, Deserialize)]
struct Answer {
    ready: bool,
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    objects: Vec<Object>,
    #[serde(default)]
    problems: Vec<Problem>,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    health: String,
    #[serde(default)]
    message: String,
    desired: Option<String>,
    realised: Option<String>,
    heard_at_ms: Option<i64>,
    #[serde(default)]
    protected: u64,
    #[serde(default)]
    unprotected: Vec<Value>,
    #[serde(default)]
    denied: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Object {
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
    accepted: bool,
    enforced: bool,
    desired_nodes: usize,
    realised_nodes: usize,
    #[serde(default)]
    messages: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let controller = Controller::new(&arguments.controller);
    let url = controller.url(PATH);
    let answer: Option<Value> = controller.ask(PATH)?;
    let value = answer
        .with_context(|| format!("{url}: the controller has none; is it one of Bulkhead's?"))?;
    let mut out = io::stdout().lock();
    match arguments.output {
        Output::Json => Ok(writeln!(out, "{value}")?),
        Output::Table => {
            let answer = Answer::deserialize(&value).with_context(|| {
                format!("{url}: the controller is of another version than this command")
            })?;
            Ok(print(&mut out, &answer)?)
        }
    }
}

fn print(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    if !answer.ready {
        writeln!(
            out,
            "The controller has not read its source of intent yet; nodes go on with what they have."
        )?;
    }
    let header = [
        "NODE",
        "HEALTH",
        "DESIRED",
        "REALISED",
        "HEARD",
        "PROTECTED",
        "UNPROTECTED",
        "DENIED",
        "MESSAGE",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let now = jiff::Timestamp::now().as_millisecond();
    rows.extend(answer.nodes.iter().map(|node| {
        vec![
            node.name.clone(),
            node.health.clone(),
            short(node.desired.as_deref()),
            short(node.realised.as_deref()),
            ago(node.heard_at_ms, now),
            node.protected.to_string(),
            node.unprotected.len().to_string(),
            node.denied.len().to_string(),
            node.message.clone(),
        ]
    }));
    table::write(out, &rows)?;
    if !answer.objects.is_empty() {
        writeln!(out)?;
        let mut rows = vec![
            ["OBJECT", "ACCEPTED", "ENFORCED", "NODES", "MESSAGE"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(answer.objects.iter().map(object));
        table::write(out, &rows)?;
    }
    for problem in &answer.problems {
        writeln!(out, "{}: {problem}", problem.severity)?;
    }
    Ok(())
}

/// Enough of a digest to tell two apart.
fn short(digest: Option<&str>) -> String {
    digest.map_or("-".to_owned(), |digest| digest.chars().take(12).collect())
}

/// Since when the node has not been told that what it enforces is right, as far as this controller knows.
fn ago(heard_at_ms: Option<i64>, now_ms: i64) -> String {
    heard_at_ms.map_or("-".to_owned(), |at_ms| {
        let seconds = now_ms.saturating_sub(at_ms).max(0) / 1000;
        format!("{:#} ago", jiff::SignedDuration::from_secs(seconds))
    })
}

fn object(object: &Object) -> Vec<String> {
    let Object {
        kind,
        namespace,
        name,
        accepted,
        enforced,
        desired_nodes,
        realised_nodes,
        messages,
    } = object;
    let slash = if namespace.is_empty() { "" } else { "/" };
    let word = |truth: bool| if truth { "yes" } else { "no" }.to_owned();
    vec![
        format!("{kind} {namespace}{slash}{name}"),
        word(*accepted),
        word(*enforced),
        format!("{realised_nodes} of {desired_nodes}"),
        messages.join("; "),
    ]
}
