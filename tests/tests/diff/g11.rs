//! G11 and G12 on manifests: every field of every kind is deleted, emptied and made unreadable, and what comes of it is
//! held against a written list, `tests/metamorphic/g11.yaml`.
//!
//! The list says for each field one word for each harm, and two (`closes|opens`) where it depends on whether the rule
//! around it allows or denies (`Pass` counts as neither: it may do both):
//! *refused*: the object is not taken, and the last good version goes on;
//! *same*: no verdict changes; *closes*: nothing is allowed that was not;
//! *opens*: a restriction is gone, and what opens is no more than the rest of the object could mean.

use std::sync::Arc;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use bulkhead_crds::convert::{InputKind, input_kind, plain_object};
use bulkhead_policy::eval::{Flow, Owner, World, eval};
use bulkhead_policy::model::{
    Action, Address, Event, Isolation, LabelSelector, Mode, Moment, NamespaceScope, Object, Peers,
    Policy, Ports, Protocol, Segment, SortedSet, Subject, Tier, Timestamp, WorkloadSelector,
};
use serde::Deserialize;
use serde_json::Value;

use crate::fields::{Harm, Place, Step, UPSTREAM, at, harmed, of_schemas, places};

/// When everything is judged.
const NOW: Timestamp = Timestamp(1_780_315_200_000);

const ASKED: &[(Protocol, u16)] = &[
    (Protocol::Tcp, 80),
    (Protocol::Tcp, 443),
    (Protocol::Tcp, 5432),
    (Protocol::Tcp, 8080),
    (Protocol::Udp, 53),
    (Protocol::Sctp, 3868),
    (Protocol::Icmp, 8 << 8),
    (Protocol::Icmpv6, 128 << 8),
    (Protocol::Other, 47),
];

/// Strangers that stories speak of.
const OUTSIDE: &[&str] = &["203.0.113.7", "192.168.0.1", "2001:db8::7", "10.1.1.99"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Same,
    Closes,
    Opens,
}

impl Outcome {
    fn named(word: &str) -> Self {
        match word {
            "refused" => Self::Refused,
            "same" => Self::Same,
            "closes" => Self::Closes,
            "opens" => Self::Opens,
            other => panic!("{other} is no outcome"),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Same => "same",
            Self::Closes => "closes",
            Self::Opens => "opens",
        }
    }
}

#[derive(Deserialize)]
struct Story {
    manifests: String,
    #[serde(default)]
    cluster_ranges: Vec<ipnet::IpNet>,
    /// Something in it cannot be read on purpose.
    #[serde(default)]
    unreadable: bool,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn documents(text: &str) -> Vec<Value> {
    // As the product reads them: an object of the name `on` has that name.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Option<Value>> =
        serde_saphyr::from_multiple_with_options(text, options).unwrap();
    let items = |document: Value| match document["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![document],
    };
    documents.into_iter().flatten().flat_map(items).collect()
}

/// Worlds in manifests: the stories that policy authors recognise, and one with what they leave out.
fn worlds() -> Vec<(String, Vec<Value>, Vec<ipnet::IpNet>)> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let cast = documents(&read(folder("stories/cast/shop.yaml")));
    let mut paths: Vec<PathBuf> = fs::read_dir(folder("stories"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.push(folder("metamorphic/worlds.yaml"));
    let mut worlds = Vec::new();
    for path in paths {
        let stories: Vec<Story> = serde_saphyr::from_multiple(&read(path.clone())).unwrap();
        for (number, story) in stories.into_iter().enumerate() {
            if story.unreadable {
                continue;
            }
            let mut objects = cast.clone();
            let told = documents(&story.manifests);
            let name = format!("{}[{number}]", path.file_name().unwrap().to_string_lossy());
            told.iter().for_each(|object| is_taken(&name, object));
            objects.extend(told);
            worlds.push((name, objects, story.cluster_ranges));
        }
    }
    worlds
}

/// A world with an object that is refused, or not whole, would tell of nothing, in silence.
fn is_taken(world: &str, value: &Value) {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let kind = input_kind(text("apiVersion"), text("kind"));
    let InputKind::Read(kind) = kind else {
        assert_eq!(kind, InputKind::Ignored, "{world}: {value}");
        return;
    };
    let converted = plain_object(kind, value).unwrap_or_else(|it| panic!("{world}: {it}"));
    assert!(
        converted.faults.is_empty(),
        "{world}: {:?}",
        converted.faults
    );
}

fn convert(value: &Value) -> Option<Object> {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    match input_kind(text("apiVersion"), text("kind")) {
        InputKind::Read(kind) => plain_object(kind, value).ok().map(|it| it.object),
        InputKind::Ignored | InputKind::Unknown(_) | InputKind::Foreign(_) => None,
    }
}

/// What a world allows: for each flow both halves, enforced and intended, while the controller is heard and long after.
type Verdicts = Vec<(Flow, [bool; 8])>;

fn verdicts(world: &World, flows: &[Flow]) -> Verdicts {
    let judge = |flow: &Flow| {
        let of = |outcome: &bulkhead_policy::eval::Outcome| {
            [outcome.egress.allowed, outcome.ingress.allowed]
        };
        let at = |unheard_ms| {
            let verdict = eval(
                world,
                flow,
                Moment {
                    now: NOW,
                    unheard_ms,
                },
            );
            (of(&verdict.enforced), of(&verdict.intended))
        };
        let (([a, b], [c, d]), ([e, f], [g, h])) = (at(0), at(u64::MAX));
        (*flow, [a, b, c, d, e, f, g, h])
    };
    flows.iter().map(judge).collect()
}

fn flows(world: &World) -> Vec<Flow> {
    let mut addresses: BTreeSet<Address> = world
        .workloads()
        .flat_map(|workload| workload.addresses.iter().copied().map(Address::from))
        .collect();
    addresses.extend(
        OUTSIDE
            .iter()
            .map(|text| Address::from(text.parse::<std::net::IpAddr>().unwrap())),
    );
    let mut flows = Vec::new();
    for (number, source) in addresses.iter().enumerate() {
        for (other, destination) in addresses.iter().enumerate() {
            if source == destination || source.is_ipv4() != destination.is_ipv4() {
                continue;
            }
            // Each pair meets some ports, all pairs together meet all.
            let some = ASKED.iter().skip((number + other) % 2).step_by(2);
            for (protocol, port) in some {
                if bulkhead_tests::tuples::fits(*protocol, *source) {
                    flows.push(Flow {
                        source: *source,
                        destination: *destination,
                        protocol: *protocol,
                        port: *port,
                    });
                }
            }
        }
    }
    flows
}

fn with(world: &World, object: Object) -> World {
    let mut world = world.clone();
    world.apply(Event::Apply(object));
    world
}

/// The object with every restriction gone that it could have: the most that the rest of it can mean.
fn loosened(object: &Object) -> Vec<Object> {
    match object {
        Object::Policy(policy) => [Action::Allow, Action::Pass]
            .map(|kept| Object::Policy(Arc::new(loose_policy(policy, kept))))
            .into(),
        Object::Segment(segment) => {
            let mut all = segment.members.clone();
            all.selectors.push(WorkloadSelector::everything());
            let without = Segment {
                isolation: None,
                ..(**segment).clone()
            };
            let wide = Segment {
                members: all,
                ..without.clone()
            };
            let open = |isolation| Isolation {
                ingress: Action::Allow,
                egress: Action::Allow,
                within: Action::Allow,
                ..isolation
            };
            let wide_open = Segment {
                isolation: segment.isolation.map(open),
                mode: Mode::Enforce,
                ..wide.clone()
            };
            [without, wide, wide_open].map(Object::from).into()
        }
        Object::Namespace(_)
        | Object::Workload(..)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_) => vec![object.clone()],
    }
}

/// Only rules of this action are left, and those speak of everybody; everybody in reach is a subject.
fn loose_policy(policy: &Policy, kept: Action) -> Policy {
    let mut loose = policy.clone();
    loose.mode = Mode::Enforce;
    loose.isolates = SortedSet::new();
    for rules in [&mut loose.ingress, &mut loose.egress] {
        rules.retain(|rule| rule.action == kept || rule.action == Action::Allow);
        for rule in rules {
            rule.peers = Peers::Any;
            rule.ports = Ports::Any;
        }
    }
    loose.active_from = None;
    loose.expires_at = None;
    loose.max_staleness = None;
    let everybody = WorkloadSelector {
        namespaces: match policy.tier {
            Tier::Namespace => NamespaceScope::Named(policy.object.namespace.clone()),
            Tier::Quarantine | Tier::Admin(_) | Tier::Baseline(_) => {
                NamespaceScope::Matching(LabelSelector::everything())
            }
        },
        ..WorkloadSelector::everything()
    };
    loose.subjects = vec![Subject::Selected(everybody)];
    loose
}

/// What one harm to one place came to.
struct Seen {
    outcome: Outcome,
    /// A flow that shows it, or that should not have changed.
    example: Option<String>,
    fault: Option<String>,
}

/// One object of a world, and everything that stays the same while it is harmed.
struct Bench<'w> {
    world: &'w World,
    flows: &'w [Flow],
    before: &'w Verdicts,
    object: Object,
    bounds: Vec<Verdicts>,
}

impl<'w> Bench<'w> {
    fn new(world: &'w World, flows: &'w [Flow], before: &'w Verdicts, object: Object) -> Self {
        let mut bounds: Vec<Verdicts> = loosened(&object)
            .into_iter()
            .map(|loose| verdicts(&with(world, loose), flows))
            .collect();
        let mut without = world.clone();
        without.apply(Event::Delete(object.reference()));
        bounds.push(verdicts(&without, flows));
        Self {
            world,
            flows,
            before,
            object,
            bounds,
        }
    }

    fn harm(&self, value: &Value) -> Seen {
        let Some(after) = convert(value) else {
            return Seen {
                outcome: Outcome::Refused,
                example: None,
                fault: None,
            };
        };
        if after.reference() != self.object.reference() {
            return Seen {
                outcome: Outcome::Opens,
                example: None,
                fault: Some("it has another name".to_owned()),
            };
        }
        if after == self.object {
            return Seen {
                outcome: Outcome::Same,
                example: None,
                fault: None,
            };
        }
        let after = with(self.world, after);
        self.compare(&verdicts(&after, self.flows))
    }

    fn compare(&self, after: &Verdicts) -> Seen {
        let mut seen = Seen {
            outcome: Outcome::Same,
            example: None,
            fault: None,
        };
        let namespace = &self.object.reference().namespace;
        for (number, ((flow, old), (_, new))) in self.before.iter().zip(after).enumerate() {
            if old == new {
                continue;
            }
            for half in 0..8 {
                if old[half] == new[half] {
                    continue;
                }
                let outcome = if new[half] {
                    Outcome::Opens
                } else {
                    Outcome::Closes
                };
                if outcome > seen.outcome {
                    seen.outcome = outcome;
                    seen.example = Some(format!("half {half} of {flow:?}"));
                }
                let bounded = self.bounds.iter().any(|bound| bound[number].1[half]);
                if new[half] && !bounded {
                    seen.fault = Some(format!("half {half} of {flow:?} opens beyond the object"));
                }
                let subject = if half % 2 == 0 {
                    flow.source
                } else {
                    flow.destination
                };
                if !namespace.is_empty() && !self.is_inside(subject, namespace) {
                    seen.fault = Some(format!("half {half} of {flow:?} is of another namespace"));
                }
            }
        }
        seen
    }

    fn is_inside(&self, address: Address, namespace: &str) -> bool {
        matches!(self.world.owner(address), Owner::Workload(owner) if *owner.namespace == *namespace)
    }
}

/// Which word of the list counts: the first where the rule around a place allows, the second where it denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Around {
    Allow,
    Deny,
}

/// `None` inside of a rule that passes.
fn around(object: &Value, place: &Place) -> Option<Around> {
    let rule = place
        .steps
        .iter()
        .position(|step| matches!(step, Step::Item(_)))
        .map(|at| &place.steps[..=at]);
    let action = rule.and_then(|rule| at(object, rule)?["action"].as_str());
    match action {
        Some("Pass") => None,
        Some("Deny") => Some(Around::Deny),
        _ => Some(Around::Allow),
    }
}

/// What was seen of a field, by harm and by what stands around it.
type Table = BTreeMap<(String, String), BTreeMap<(Harm, Around), BTreeSet<Outcome>>>;

fn look(table: &mut Table, faults: &mut Vec<String>) -> usize {
    let mut harms = 0;
    for (name, objects, ranges) in worlds() {
        let mut world = World::new(ranges);
        for object in objects.iter().filter_map(convert) {
            world.apply(Event::Apply(object));
        }
        let flows = flows(&world);
        let before = verdicts(&world, &flows);
        for value in &objects {
            let kind = value["kind"].as_str().unwrap_or_default();
            let is_ours = value["apiVersion"]
                .as_str()
                .is_some_and(|version| version.starts_with(kinds_group()));
            let (true, Some(object)) = (is_ours || UPSTREAM.contains(&kind), convert(value)) else {
                continue;
            };
            let bench = Bench::new(&world, &flows, &before, object);
            for place in places(value) {
                for harm in Harm::ALL {
                    for harmed in harmed(value, &place, harm) {
                        let seen = bench.harm(&harmed);
                        harms += 1;
                        let at = format!("{name}: {kind} {} {harm:?}", place.path);
                        if let Some(fault) = seen.fault {
                            faults.push(format!("{at}: {fault}"));
                        }
                        let key = (kind.to_owned(), place.path.clone());
                        let row = table.entry(key).or_default();
                        if let Some(around) = around(value, &place) {
                            let new = row.entry((harm, around)).or_default().insert(seen.outcome);
                            if new && let Some(example) = seen.example {
                                println!("{at}: {}, {example}", seen.outcome.word());
                            }
                        }
                    }
                }
            }
        }
    }
    harms
}

fn kinds_group() -> &'static str {
    bulkhead_crds::kinds::GROUP
}

/// Set to have the list written as it is seen. What it says then is for a person to read: each *opens* has to be the loss of
/// a restriction.
const WRITE: &str = "BULKHEAD_WRITE_G11";

/// The list as it would have to be for what was seen.
fn listed(table: &Table) -> String {
    let mut text = String::from(
        "# What comes of a field that is deleted, emptied, unreadable: see tests/tests/diff/g11.rs for the words. Written with\n\
         # BULKHEAD_WRITE_G11=1, and read by a person: what opens is the loss of a restriction, a condition or a date; a text that\n\
         # nobody meant still names something, and an unknown field is an absent one. Upstream's kinds keep upstream's meaning:\n\
         # there an absent or empty list of peers or ports is everybody and everything.\n",
    );
    let mut last = "";
    for ((kind, path), row) in table {
        if kind != last {
            text += &format!("{kind}:\n");
            last = kind;
        }
        let words = Harm::ALL.map(|harm| {
            let worst = |around| {
                row.get(&(harm, around))
                    .and_then(|seen| seen.last().copied())
            };
            match (worst(Around::Allow), worst(Around::Deny)) {
                (Some(allow), Some(deny)) if allow != deny => {
                    format!("{}|{}", allow.word(), deny.word())
                }
                (Some(one), _) | (None, Some(one)) => one.word().to_owned(),
                (None, None) => Outcome::Same.word().to_owned(),
            }
        });
        text += &format!("  \"{path}\": {}\n", words.join(" "));
    }
    text
}

/// By kind and path: the words.
fn written() -> BTreeMap<(String, String), Vec<String>> {
    let text = fs::read_to_string(folder("metamorphic/g11.yaml")).unwrap();
    let list: BTreeMap<String, BTreeMap<String, String>> = serde_saphyr::from_str(&text).unwrap();
    let mut rows = BTreeMap::new();
    for (kind, fields) in list {
        for (path, words) in fields {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            assert_eq!(
                words.len(),
                3,
                "{kind} {path}: deleted, emptied, unreadable"
            );
            rows.insert((kind.clone(), path), words);
        }
    }
    rows
}

/// The outcomes that a word of the list allows.
fn expected(words: &[String], harm: Harm, around: Around) -> Outcome {
    let word = &words[harm as usize];
    let (allow, deny) = word.split_once('|').unwrap_or((word, word));
    Outcome::named(match around {
        Around::Allow => allow,
        Around::Deny => deny,
    })
}

#[test]
fn g11_every_field_lost_emptied_or_unreadable_is_as_written() {
    let (mut table, mut faults) = (Table::new(), Vec::new());
    let harms = look(&mut table, &mut faults);
    if std::env::var_os(WRITE).is_some() {
        fs::write(folder("metamorphic/g11.yaml"), listed(&table)).unwrap();
    }
    let written = written();
    println!("{harms} harms to {} fields", table.len());
    for field in of_schemas() {
        if !table.contains_key(&field) {
            faults.push(format!("{} {}: no story has this field", field.0, field.1));
        }
    }
    for (field, row) in &table {
        let Some(words) = written.get(field) else {
            faults.push(format!(
                "{} {}: not in the list; seen: {row:?}",
                field.0, field.1
            ));
            continue;
        };
        for ((harm, around), seen) in row {
            let expected = expected(words, *harm, *around);
            // Not every story shows all that a harm can do; none may show more, and one must show it.
            let worst = seen.last().expect("something was seen");
            let is_refusal = |outcome: &Outcome| *outcome == Outcome::Refused;
            let fits =
                *worst == expected && (expected != Outcome::Refused || seen.iter().all(is_refusal));
            if !fits {
                faults.push(format!(
                    "{} {} {harm:?} ({around:?}): written {}, seen {seen:?}",
                    field.0,
                    field.1,
                    expected.word()
                ));
            }
        }
    }
    let gone = written.keys().filter(|field| !table.contains_key(*field));
    faults.extend(gone.map(|(kind, path)| format!("{kind} {path}: written, and never seen")));
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}
