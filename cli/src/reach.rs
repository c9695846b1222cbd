//! `bulkhead reach`: the whole matrix.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;

use anyhow::Result;
use bulkhead_policy::eval::Flow;
use serde::Serialize;

use crate::at::When;
use crate::endpoint::{self, Endpoint, EndpointKind};
use crate::engine::{Answer, EngineKind, Evidence, Judge, Side, prepare};
use crate::input::Manifests;
use crate::ports::{PortQuery, protocol_name};
use crate::table::{self, Output};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    bulkhead reach -f policies/ --port tcp/80 --port udp/53\n  \
    kubectl get ns,pods,netpol,bulkhead -A -o json | bulkhead reach -f - --port tcp/443 --external 203.0.113.7 -o json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifests: Manifests,
    /// tcp/80, udp/53, sctp/7 or icmp (repeatable)
    #[arg(long = "port", value_name = "PORT", required = true)]
    ports: Vec<PortQuery>,
    /// An address outside the cluster, judged with every workload both ways (repeatable)
    #[arg(long = "external", value_name = "ADDRESS")]
    external: Vec<IpAddr>,
    /// Who judges
    #[arg(long, value_enum, default_value = "oracle")]
    engine: EngineKind,
    #[command(flatten)]
    when: When,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// One verdict, as JSON has it.
#[derive(Serialize)]
struct Row<'a> {
    source: &'a str,
    destination: &'a str,
    protocol: &'static str,
    port: u16,
    allowed: bool,
    intended: bool,
    egress: Side,
    ingress: Side,
}

#[derive(Serialize)]
struct Verdicts<'a> {
    verdicts: Vec<Row<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    programs: Vec<Evidence>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let objects = arguments.manifests.read()?;
    let mut endpoints = endpoint::workloads(&objects)?;
    endpoints.extend(arguments.external.iter().copied().map(Endpoint::external));
    let at = arguments.when.moment();
    let mut judge = prepare(
        arguments.engine,
        &objects,
        &arguments.manifests.cluster_ranges,
        at,
    )?;
    let mut verdicts = Vec::new();
    for port in &arguments.ports {
        let mut of_port = Vec::new();
        for source in &endpoints {
            for destination in &endpoints {
                if source.kind == EndpointKind::Workload
                    || destination.kind == EndpointKind::Workload
                {
                    of_port.push(row(judge.as_mut(), source, destination, *port)?);
                }
            }
        }
        verdicts.push(of_port);
    }
    let programs = judge.evidence()?;
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.output {
        Output::Json => {
            serde_json::to_writer(
                &mut out,
                &Verdicts {
                    verdicts: verdicts.into_iter().flatten().collect(),
                    programs,
                },
            )?;
            writeln!(out)?;
        }
        Output::Table => {
            print(&mut out, &endpoints, &arguments.ports, &verdicts)?;
            for program in programs {
                writeln!(out, "{program}")?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Where both ends have both address families, a flow is allowed if it is in each: a client may choose either.
fn row<'a>(
    judge: &mut dyn Judge,
    source: &'a Endpoint,
    destination: &'a Endpoint,
    query: PortQuery,
) -> Result<Row<'a>> {
    let mut answer: Option<Answer> = None;
    let pairs = source.pairs(destination);
    let judged_at = pairs
        .first()
        .map_or(destination.addresses[0], |(_, to)| *to);
    for (from, to) in pairs {
        let (protocol, port) = query.to(to);
        let of_family = judge.judge(&Flow {
            source: from,
            destination: to,
            protocol,
            port,
        })?;
        answer = Some(match answer {
            None => of_family,
            Some(other) => both(other, of_family),
        });
    }
    let Answer {
        allowed,
        intended,
        egress,
        ingress,
    } = answer.unwrap_or_else(Answer::unconnected);
    Ok(Row {
        source: &source.name,
        destination: &destination.name,
        protocol: protocol_name(query.to(judged_at).0),
        port: query.number(),
        allowed,
        intended,
        egress,
        ingress,
    })
}

fn both(first: Answer, second: Answer) -> Answer {
    let stricter = |first: Side, second: Side| {
        if first.allowed && !second.allowed {
            second
        } else {
            first
        }
    };
    Answer {
        allowed: first.allowed && second.allowed,
        intended: first.intended && second.intended,
        egress: stricter(first.egress, second.egress),
        ingress: stricter(first.ingress, second.ingress),
    }
}

/// One matrix for each port.
fn print(
    out: &mut impl Write,
    endpoints: &[Endpoint],
    ports: &[PortQuery],
    rows: &[Vec<Row<'_>>],
) -> io::Result<()> {
    let mut is_audited = false;
    for (port, rows) in ports.iter().zip(rows) {
        let cells: BTreeMap<(&str, &str), &Row<'_>> = rows
            .iter()
            .map(|row| ((row.source, row.destination), row))
            .collect();
        let mut lines = vec![vec![format!("{port} from \\ to")]];
        lines[0].extend(endpoints.iter().map(|endpoint| endpoint.name.clone()));
        for source in endpoints {
            let mut line = vec![source.name.clone()];
            for destination in endpoints {
                let cell = cells.get(&(source.name.as_str(), destination.name.as_str()));
                is_audited |= cell.is_some_and(|row| row.allowed != row.intended);
                line.push(cell.map_or("-", |row| mark(row)).to_owned());
            }
            lines.push(line);
        }
        table::write(out, &lines)?;
        writeln!(out)?;
    }
    let all = rows.iter().map(Vec::len).sum::<usize>();
    let allowed = rows.iter().flatten().filter(|row| row.allowed).count();
    writeln!(out, "{allowed} of {all} flows are allowed")?;
    if is_audited {
        writeln!(
            out,
            "* would be the other way round if everything in Audit were enforced"
        )?;
    }
    Ok(())
}

fn mark(row: &Row<'_>) -> &'static str {
    match (row.allowed, row.intended) {
        (true, true) => "yes",
        (true, false) => "yes*",
        (false, false) => "no",
        (false, true) => "no*",
    }
}
