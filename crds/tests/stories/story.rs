//! A story: manifests, and flows that have to be allowed or denied. Where it does not say what is *intended*, it must be the
//! same as what is enforced.
//!
//! Shared with the rung of the ladder that asks the compiled tables (`tests/tests/diff/stories.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use bulkhead_crds::manifest;
use bulkhead_policy::eval::{Flow, World};
use bulkhead_policy::model::{Address, Event, Moment, Object, Protocol, Timestamp};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

/// When stories play that do not say when.
const USUAL_INSTANT: &str = "2026-06-01T12:00:00Z";

/// The cluster in which every story plays.
static CAST: LazyLock<Vec<Object>> = LazyLock::new(|| {
    let text = fs::read_to_string(folder().join("cast/shop.yaml")).unwrap();
    let cast = manifest::read("cast", text.as_bytes());
    assert!(cast.problems.is_empty(), "{}", cast.problems[0]);
    let objects = cast.objects.into_iter();
    objects.map(|located| located.object).collect()
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Story {
    story: String,
    manifests: String,
    at: Option<String>,
    /// For how long no node has heard its controller.
    #[serde(default)]
    unheard_minutes: u64,
    #[serde(default)]
    pub(crate) cluster_ranges: Vec<IpNet>,
    /// Some of the manifests cannot be read, and what stands in for them is in force.
    #[serde(default)]
    unreadable: bool,
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

/// What is told of one flow.
pub(crate) struct Expectation {
    /// As it stands in the story.
    pub(crate) line: String,
    pub(crate) flow: Flow,
    /// `None` where nothing is told.
    pub(crate) enforced: Option<bool>,
    pub(crate) intended: Option<bool>,
}

/// Every story with the file it stands in.
pub(crate) fn all() -> Vec<(String, Story)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    let (mut stories, mut names) = (Vec::new(), BTreeSet::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let told: Vec<Story> = serde_saphyr::from_multiple(&text)
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for story in told {
            let file = file.file_name().unwrap().to_string_lossy();
            assert!(
                names.insert(story.story.clone()),
                "told twice: {}",
                story.story
            );
            stories.push((format!("{file}: {}", story.story), story));
        }
    }
    stories
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/stories")
}

impl Story {
    /// Everything there is in it, the usual cast first.
    pub(crate) fn objects(&self) -> Vec<Object> {
        let own = manifest::read(&self.story, self.manifests.as_bytes());
        assert_eq!(
            self.unreadable,
            !own.problems.is_empty(),
            "{}: {:?}",
            self.story,
            own.problems
        );
        let stand_ins = own.unreadable.into_iter().filter_map(|it| it.stand_in);
        let stand_ins = stand_ins.map(|stand_in| stand_in.object);
        let read = own.objects.into_iter().map(|located| located.object);
        CAST.iter().cloned().chain(read).chain(stand_ins).collect()
    }

    pub(crate) fn now(&self) -> Timestamp {
        let text = self.at.as_deref().unwrap_or(USUAL_INSTANT);
        let time: Time = serde_json::from_value(text.into()).unwrap();
        Timestamp(time.0.as_millisecond())
    }

    /// When it plays, and for how long the controller was not heard then.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            unheard_ms: self.unheard_minutes * 60_000,
        }
    }

    pub(crate) fn world(&self) -> World {
        let mut world = World::new(self.cluster_ranges.iter().copied());
        for object in self.objects() {
            world.apply(Event::Apply(object));
        }
        world
    }

    pub(crate) fn expectations(&self, world: &World) -> Vec<Expectation> {
        assert!(
            !self.allowed.is_empty() || !self.denied.is_empty(),
            "{}: says nothing",
            self.story
        );
        let mut told = Vec::new();
        let mut tell = |lines: &[String], enforced: Option<bool>, intended: Option<bool>| {
            for line in lines {
                told.extend(flows(line, world).into_iter().map(|flow| Expectation {
                    line: line.clone(),
                    flow,
                    enforced,
                    intended,
                }));
            }
        };
        let same = |allowed| Some(allowed).filter(|_| self.intended.is_none());
        tell(&self.allowed, Some(true), same(true));
        tell(&self.denied, Some(false), same(false));
        if let Some(intended) = &self.intended {
            tell(&intended.allowed, None, Some(true));
            tell(&intended.denied, None, Some(false));
        }
        told
    }
}

/// `web/frontend -> db/postgres:5432/TCP`, once for each family that both ends have; `:icmp` is an echo request, `:icmp/3/1`
/// another message, `:ip/47` another protocol.
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
        let same_family = |it: &&Address| it.is_ipv4() == source.is_ipv4();
        for destination in destinations.iter().filter(same_family) {
            let (protocol, port) = wanted(line, port, destination.is_ipv4());
            flows.push(Flow {
                source,
                destination: *destination,
                protocol,
                port,
            });
        }
    }
    assert!(!flows.is_empty(), "{line}: no family in common");
    flows
}

fn wanted(line: &str, port: &str, is_ipv4: bool) -> (Protocol, u16) {
    let icmp = match is_ipv4 {
        true => Protocol::Icmp,
        false => Protocol::Icmpv6,
    };
    let parts: Vec<&str> = port.split('/').collect();
    let number = |text: &str| -> u16 {
        text.parse()
            .unwrap_or_else(|_| panic!("{line}: {text} is no number"))
    };
    match parts[..] {
        ["icmp"] if is_ipv4 => (icmp, 8 << 8),
        ["icmp"] => (icmp, 128 << 8),
        ["icmp", kind, code] => (icmp, number(kind) << 8 | number(code)),
        ["ip", protocol] => (Protocol::Other, number(protocol)),
        [port, "TCP"] => (Protocol::Tcp, number(port)),
        [port, "UDP"] => (Protocol::Udp, number(port)),
        [port, "SCTP"] => (Protocol::Sctp, number(port)),
        _ => panic!("{line}: unknown port {port}"),
    }
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
    let addresses = workload.addresses.iter();
    addresses.map(|address| Address::from(*address)).collect()
}
