//! `bulkhead explain`: which rules decide about one flow, on both sides, enforced and intended.

use std::io::{self, Write};

use anyhow::{Context, Result, anyhow, bail};
use bulkhead_policy::eval::{Flow, Half, Outcome, Provenance, RuleReference, Stage};
use bulkhead_policy::model::{Kind, Lease, Object, Tier};
use serde::Serialize;

use crate::at::When;
use crate::endpoint;
use crate::engine::{Answer, EngineKind, Evidence, Oracle, prepare};
use crate::input::Manifests;
use crate::ports::{PortQuery, protocol_name};
use crate::table::Output;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    bulkhead explain -f policies/ web/frontend db/postgres:5432\n  \
    bulkhead explain -f policies/ web/frontend 203.0.113.7:53/udp\n  \
    bulkhead explain -f policies/ web/frontend '[2001:db8::1]:443'\n  \
    bulkhead explain -f policies/ --engine kernel web/frontend db/postgres:5432")]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifests: Manifests,
    /// NAMESPACE/NAME of a workload, or an address
    source: String,
    /// The same with a port: NAMESPACE/NAME:PORT[/PROTOCOL], or :icmp
    destination: String,
    /// Who judges; steps are the oracle's, and a judge who disagrees with it is an error
    #[arg(long, value_enum, default_value = "oracle")]
    engine: EngineKind,
    #[command(flatten)]
    when: When,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// One step of the pipeline, in order.
const STEPS: [(Stage, &str); 6] = [
    (Stage::Quarantine, "quarantine"),
    (Stage::Admin, "admin tier"),
    (Stage::Boundary, "segment boundary"),
    (Stage::Namespace, "namespace tier"),
    (Stage::Baseline, "baseline tier"),
    (Stage::Segment, "segment isolation"),
];

/// One flow for each address family that both ends have.
#[derive(Serialize)]
struct Explanations {
    flows: Vec<Explanation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    programs: Vec<Evidence>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    source: String,
    source_address: String,
    destination: String,
    destination_address: String,
    protocol: &'static str,
    port: u16,
    enforced: Stance,
    intended: Stance,
    /// What is enforced ends once a node has not heard its controller for so long, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_staleness_ms: Option<u64>,
    /// What the engine says, where another than the oracle was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<Answer>,
}

impl Explanation {
    /// Whether the engine found what the oracle did.
    fn is_agreed(&self) -> bool {
        self.engine.as_ref().is_none_or(|answer| {
            answer.allowed == self.enforced.allowed
                && answer.intended == self.intended.allowed
                && answer.egress.allowed == self.enforced.egress.allowed
                && answer.ingress.allowed == self.enforced.ingress.allowed
        })
    }
}

#[derive(Serialize)]
struct Stance {
    allowed: bool,
    egress: Side,
    ingress: Side,
}

#[derive(Serialize)]
struct Side {
    allowed: bool,
    rule: String,
    /// The steps up to the one that decides; none where the pipeline is not asked.
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    step: &'static str,
    decision: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let objects = arguments.manifests.read()?;
    let (destination, port) = split_port(&arguments.destination)?;
    let source = endpoint::find(&arguments.source, &objects)?;
    let destination = endpoint::find(destination, &objects)?;
    let pairs = source.pairs(&destination);
    if pairs.is_empty() {
        bail!(
            "{} and {} have no address family in common",
            source.name,
            destination.name
        );
    }
    let ranges = &arguments.manifests.cluster_ranges;
    let at = arguments.when.moment();
    let oracle = Oracle::new(&objects, ranges, at);
    let mut judge = match arguments.engine {
        EngineKind::Oracle => None,
        other @ (EngineKind::Compiled | EngineKind::Kernel) => {
            Some(prepare(other, &objects, ranges, at)?)
        }
    };
    let mut flows = Vec::new();
    for (from, to) in pairs {
        let (protocol, number) = port.to(to);
        let flow = Flow {
            source: from,
            destination: to,
            protocol,
            port: number,
        };
        let verdict = oracle.verdict(&flow);
        flows.push(Explanation {
            source: source.name.clone(),
            source_address: from.to_string(),
            destination: destination.name.clone(),
            destination_address: to.to_string(),
            protocol: protocol_name(protocol),
            port: port.number(),
            enforced: stance(&verdict.enforced, &objects),
            intended: stance(&verdict.intended, &objects),
            max_staleness_ms: oracle.ends_unheard_after(&flow).map(|Lease(ms)| ms),
            engine: match &mut judge {
                Some(judge) => Some(judge.judge(&flow)?),
                None => None,
            },
        });
    }
    let programs = judge.map_or_else(|| Ok(Vec::new()), |judge| judge.evidence())?;
    let explanations = Explanations { flows, programs };
    let mut out = io::stdout().lock();
    match arguments.output {
        Output::Json => {
            serde_json::to_writer(&mut out, &explanations)?;
            writeln!(out)?;
        }
        Output::Table => {
            for explanation in &explanations.flows {
                print(&mut out, explanation)?;
            }
            for program in &explanations.programs {
                writeln!(out, "{program}")?;
            }
        }
    }
    if let Some(wrong) = explanations.flows.iter().find(|flow| !flow.is_agreed()) {
        bail!(
            "{} → {}: the engine and the oracle disagree, which is a defect of Bulkhead; please report it with these manifests",
            wrong.source_address,
            wrong.destination_address
        );
    }
    Ok(())
}

/// `db/postgres:5432/udp` into what is named and what is asked for.
fn split_port(text: &str) -> Result<(&str, PortQuery)> {
    let missing = || format!("{text}: name a port, like {text}:443, {text}:53/udp or {text}:icmp");
    let (name, port) = text.rsplit_once(':').with_context(missing)?;
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    if port.eq_ignore_ascii_case("icmp") {
        return Ok((name, PortQuery::Echo));
    }
    let (port, protocol) = port
        .split_once('/')
        .map_or((port, None), |(port, protocol)| (port, Some(protocol)));
    let query =
        PortQuery::from_parts(port, protocol).map_err(|message| anyhow!("{text}: {message}"))?;
    Ok((name, query))
}

fn stance(outcome: &Outcome, objects: &[Object]) -> Stance {
    Stance {
        allowed: outcome.allowed(),
        egress: side(&outcome.egress, objects),
        ingress: side(&outcome.ingress, objects),
    }
}

fn side(half: &Half, objects: &[Object]) -> Side {
    let decision = format!(
        "{}: {}",
        if half.allowed { "allowed" } else { "denied" },
        half.rule
    );
    let mut steps = Vec::new();
    let asked = if let Provenance::Endpoint { rule, .. } = &half.rule {
        rule
    } else {
        &half.rule
    };
    if let Some(last) = deciding_step(asked, objects) {
        for (_, step) in STEPS.iter().take_while(|(stage, _)| *stage < last) {
            steps.push(Step {
                step,
                decision: "goes on".to_owned(),
            });
        }
        let named = STEPS
            .iter()
            .find(|(stage, _)| *stage == last)
            .map_or("", |(_, step)| step);
        steps.push(Step {
            step: named,
            decision,
        });
    } else if matches!(asked, Provenance::Unopposed) {
        steps.extend(STEPS.iter().map(|(_, step)| Step {
            step,
            decision: "goes on".to_owned(),
        }));
        steps.push(Step {
            step: "end",
            decision: "allowed: nothing isolates it".to_owned(),
        });
    }
    Side {
        allowed: half.allowed,
        rule: half.rule.to_string(),
        steps,
    }
}

/// `None` where the pipeline did not decide.
fn deciding_step(rule: &Provenance, objects: &[Object]) -> Option<Stage> {
    match rule {
        Provenance::Rule(rule) => stage_of(rule, objects),
        Provenance::Isolated { stage, .. } | Provenance::Within { stage, .. } => Some(*stage),
        Provenance::Unopposed
        | Provenance::OwnAddress
        | Provenance::NotOurs
        | Provenance::Contested
        | Provenance::JudgedAtEndpoint
        | Provenance::Endpoint { .. }
        | Provenance::LeftOut(_)
        | Provenance::NoEndpoint(_) => None,
    }
}

fn stage_of(rule: &RuleReference, objects: &[Object]) -> Option<Stage> {
    if rule.object.kind == Kind::Segment {
        return Some(Stage::Segment);
    }
    if rule.object.kind == Kind::Namespace {
        return Some(Stage::Namespace);
    }
    let policies = objects.iter().filter_map(|object| match object {
        Object::Policy(policy) => Some(&**policy),
        Object::Namespace(_)
        | Object::Workload(..)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Segment(_) => None,
    });
    let policy = policies
        .into_iter()
        .find(|policy| policy.object == rule.object)?;
    Some(match policy.tier {
        Tier::Quarantine => Stage::Quarantine,
        Tier::Admin(_) => Stage::Admin,
        Tier::Namespace => Stage::Namespace,
        Tier::Baseline(_) => Stage::Baseline,
    })
}

fn print(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let Explanation {
        source,
        source_address,
        destination,
        destination_address,
        protocol,
        port,
        enforced,
        intended,
        max_staleness_ms,
        engine,
    } = explanation;
    let port = if *port == 0 {
        String::new()
    } else {
        format!(":{port}")
    };
    let word = |stance: &Stance| if stance.allowed { "ALLOWED" } else { "DENIED" };
    writeln!(
        out,
        "{source} → {destination}{port} {protocol} ({source_address} → {destination_address}): {}",
        word(enforced)
    )?;
    print_stance(out, enforced)?;
    if let Some(ms) = max_staleness_ms {
        let span = jiff::SignedDuration::from_millis(i64::try_from(*ms).unwrap_or(i64::MAX));
        writeln!(
            out,
            "It ends on a node that has not heard its controller for {span:#} (maxStaleness)."
        )?;
    }
    if enforced.allowed == intended.allowed
        && enforced.egress.rule == intended.egress.rule
        && enforced.ingress.rule == intended.ingress.rule
    {
        writeln!(out, "The same with everything in Audit enforced.")?;
    } else {
        writeln!(out, "With everything in Audit enforced: {}", word(intended))?;
        print_stance(out, intended)?;
    }
    let Some(answer) = engine else {
        return Ok(());
    };
    let word = |allowed: bool| if allowed { "allowed" } else { "denied" };
    writeln!(
        out,
        "The engine: {}; egress {} ({}), ingress {} ({}); with everything in Audit enforced: {}",
        word(answer.allowed),
        word(answer.egress.allowed),
        answer.egress.rule,
        word(answer.ingress.allowed),
        answer.ingress.rule,
        word(answer.intended)
    )
}

fn print_stance(out: &mut impl Write, stance: &Stance) -> io::Result<()> {
    for (name, side) in [
        ("egress of the source", &stance.egress),
        ("ingress of the destination", &stance.ingress),
    ] {
        let word = if side.allowed { "allows" } else { "denies" };
        writeln!(out, "  {name} {word}: {}", side.rule)?;
        for step in &side.steps {
            writeln!(out, "    {:<18} {}", step.step, step.decision)?;
        }
    }
    Ok(())
}
