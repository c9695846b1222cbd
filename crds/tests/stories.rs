//! Stories that a policy author would recognise, told in manifests and judged by the oracle.
//!
//! Each document of `tests/stories/*.yaml` is a story: manifests, and flows that have to be allowed or denied. Where a
//! story does not say what is *intended*, it must be the same as what is enforced.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a story that cannot be read has failed"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use bulkhead_crds::manifest;
use bulkhead_policy::eval::{Flow, Verdict, World, eval};
use bulkhead_policy::model::{Address, Event, Object, Protocol, Timestamp};
use ipnet::IpNet;
use serde::Deserialize;

/// Issue 3 asks for so many.
const AT_LEAST: usize = 80;

/// When stories play that do not say when.
const USUAL_INSTANT: &str = "2026-06-01T12:00:00Z";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    story: String,
    manifests: String,
    at: Option<String>,
    #[serde(default)]
    cluster_ranges: Vec<IpNet>,
    #[serde(default)]
    allowed: Vec<String>,
    #[serde(default)]
    denied: Vec<String>,
    intended: Option<Flows>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flows {
    #[serde(default)]
    allowed: Vec<String>,
    #[serde(default)]
    denied: Vec<String>,
}

#[test]
fn every_story_ends_as_it_is_told() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/stories");
    let cast = objects(
        "cast",
        &fs::read_to_string(folder.join("cast/shop.yaml")).unwrap(),
    );
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    let (mut told, mut wrong) = (BTreeMap::new(), Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let stories: Vec<Story> = serde_saphyr::from_multiple(&text)
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for story in stories {
            let name = format!(
                "{}: {}",
                file.file_name().unwrap().to_string_lossy(),
                story.story
            );
            wrong.extend(
                tell(&story, &cast)
                    .into_iter()
                    .map(|what| format!("{name}\n    {what}")),
            );
            assert!(
                told.insert(story.story, file.clone()).is_none(),
                "told twice: {name}"
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} stories:\n{}",
        wrong.len(),
        told.len(),
        wrong.join("\n")
    );
    assert!(told.len() >= AT_LEAST, "{} stories", told.len());
    println!("{} stories", told.len());
}

fn objects(name: &str, text: &str) -> Vec<Object> {
    let manifest = manifest::read(name, text.as_bytes());
    assert!(manifest.problems.is_empty(), "{}", manifest.problems[0]);
    manifest
        .objects
        .into_iter()
        .map(|located| located.object)
        .collect()
}

/// Everything that did not come out as told.
fn tell(story: &Story, cast: &[Object]) -> Vec<String> {
    let mut world = World::new(story.cluster_ranges.iter().copied());
    let own = objects(&story.story, &story.manifests);
    cast.iter()
        .chain(&own)
        .for_each(|object| world.apply(Event::Apply(object.clone())));
    let now = instant(story.at.as_deref().unwrap_or(USUAL_INSTANT));
    let mut wrong = Vec::new();
    let mut expect =
        |lines: &[String], expected: bool, stance: &str, reading: &dyn Fn(&Verdict) -> bool| {
            for line in lines {
                for flow in flows(line, &world) {
                    let verdict = eval(&world, &flow, now);
                    if reading(&verdict) != expected {
                        let outcome = if stance == "intended" {
                            &verdict.intended
                        } else {
                            &verdict.enforced
                        };
                        let (egress, ingress) = (&outcome.egress.rule, &outcome.ingress.rule);
                        wrong.push(format!(
                            "{line}: {stance} is {}; egress: {egress}; ingress: {ingress}",
                            !expected
                        ));
                    }
                }
            }
        };
    expect(&story.allowed, true, "enforced", &Verdict::allowed);
    expect(&story.denied, false, "enforced", &Verdict::allowed);
    let (allowed, denied) = match &story.intended {
        Some(intended) => (&intended.allowed, &intended.denied),
        None => (&story.allowed, &story.denied),
    };
    expect(allowed, true, "intended", &Verdict::intended);
    expect(denied, false, "intended", &Verdict::intended);
    assert!(
        !story.allowed.is_empty() || !story.denied.is_empty(),
        "{}: says nothing",
        story.story
    );
    wrong
}

/// `web/frontend -> db/postgres:5432/TCP`, once for each family that both ends have.
fn flows(line: &str, world: &World) -> Vec<Flow> {
    let (source, rest) = line
        .split_once(" -> ")
        .unwrap_or_else(|| panic!("{line}: SOURCE -> DESTINATION:PORT/PROTOCOL"));
    let (destination, port) = rest
        .rsplit_once(':')
        .unwrap_or_else(|| panic!("{line}: names no port"));
    let (sources, destinations) = (addresses(source, world), addresses(destination, world));
    let mut flows = Vec::new();
    for source in sources {
        for destination in destinations
            .iter()
            .copied()
            .filter(|it| it.is_ipv4() == source.is_ipv4())
        {
            let (protocol, port) = match port.split_once('/') {
                None if port == "icmp" && destination.is_ipv4() => (Protocol::Icmp, 8 << 8),
                None if port == "icmp" => (Protocol::Icmpv6, 128 << 8),
                Some((port, "TCP")) => (Protocol::Tcp, port.parse().unwrap()),
                Some((port, "UDP")) => (Protocol::Udp, port.parse().unwrap()),
                Some((port, "SCTP")) => (Protocol::Sctp, port.parse().unwrap()),
                _ => panic!("{line}: unknown port {port}"),
            };
            flows.push(Flow {
                source,
                destination,
                protocol,
                port,
            });
        }
    }
    assert!(!flows.is_empty(), "{line}: no family in common");
    flows
}

fn addresses(name: &str, world: &World) -> Vec<Address> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return vec![address.into()];
    }
    let mut named = world
        .workloads()
        .filter(|it| format!("{}/{}", it.namespace, it.name) == name);
    let workload = named
        .next()
        .unwrap_or_else(|| panic!("nobody is called {name}"));
    workload
        .addresses
        .iter()
        .map(|address| Address::from(*address))
        .collect()
}

fn instant(text: &str) -> Timestamp {
    let time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time =
        serde_json::from_value(serde_json::Value::from(text)).unwrap();
    Timestamp(time.0.as_millisecond())
}
