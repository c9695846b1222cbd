//! Names of the outside world between a source and the compiler: what segments come out with, answer by answer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use bulkhead_policy::model::{
    Event, Kind, Membership, Mode, Network, Node, Object, ObjectRef, Segment, SortedMap, SortedSet,
};
use bulkhead_source::BootTime;
use bulkhead_source::names::{Answer, Counts, NAMES, Table};

const MINUTE: Duration = Duration::from_mins(1);

fn segment(name: &str, domains: &[&str]) -> Object {
    let segment = Segment {
        name: name.into(),
        members: Membership {
            selectors: Vec::new(),
            networks: Vec::new(),
            partial: !domains.is_empty(),
            domains: domains.iter().map(|&domain| domain.into()).collect(),
            unread: false,
        },
        isolation: None,
        mode: Mode::Enforce,
    };
    segment.into()
}

fn with(object: Object, change: impl FnOnce(&mut Membership)) -> Object {
    let Object::Segment(mut segment) = object else {
        panic!("no segment")
    };
    change(&mut segment.members);
    Object::Segment(segment)
}

fn node(name: &str, range: &str) -> Object {
    let node = Node {
        name: name.into(),
        labels: SortedMap::new(),
        pod_ranges: [range.parse().unwrap()].into(),
        addresses: SortedSet::new(),
    };
    node.into()
}

fn namespace(name: &str) -> Object {
    let namespace = bulkhead_policy::model::Namespace {
        name: name.into(),
        labels: SortedMap::new(),
        closing: false,
    };
    namespace.into()
}

fn apply(objects: impl IntoIterator<Item = Object>) -> Vec<Event> {
    objects.into_iter().map(Event::Apply).collect()
}

fn whole(name: &str, addresses: &[&str]) -> Answer {
    let addresses = addresses.iter().map(|text| text.parse().unwrap());
    Answer::whole(name.into(), addresses)
}

/// Of each segment that was handed on: its name, its networks, and `?` if it is partial.
fn told(events: &[Event]) -> Vec<String> {
    let one = |object: &Object| match object {
        Object::Segment(segment) => {
            let members = &segment.members;
            let networks: Vec<String> = members
                .networks
                .iter()
                .map(|it| it.cidr.to_string())
                .collect();
            let unsure = if members.partial { "?" } else { "" };
            format!("{}{unsure} {}", segment.name, networks.join(" "))
                .trim_end()
                .to_owned()
        }
        Object::Namespace(_)
        | Object::Workload(..)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Policy(_) => object.reference().to_string(),
    };
    let each = |event: &Event| match event {
        Event::Apply(object) => vec![one(object)],
        Event::Delete(object) => vec![format!("delete {object}")],
        Event::Reset(_, objects) => objects.iter().map(one).collect(),
    };
    events.iter().flat_map(each).collect()
}

fn wanted(table: &Table) -> Vec<String> {
    table.wanted().iter().map(ToString::to_string).collect()
}

#[test]
fn a_segment_is_partial_until_all_of_its_names_are_known_and_only_it_is_handed_on_again() {
    let (mut table, now) = (Table::new([]), BootTime::now());
    let objects = [
        segment("partner", &["a.b", "c.d"]),
        segment("other", &["e.f"]),
        segment("plain", &[]),
        namespace("web"),
    ];
    assert_eq!(
        told(&table.handle(apply(objects))),
        ["partner?", "other?", "plain", "Namespace web"]
    );
    assert_eq!(wanted(&table), ["a.b", "c.d", "e.f"]);
    assert_eq!(table.problems().len(), 3);
    let first = whole("a.b", &["203.0.113.2", "2001:db8::1", "203.0.113.1"]);
    assert_eq!(
        told(&table.answer(first.clone(), now)),
        ["partner? 203.0.113.1/32 203.0.113.2/32 2001:db8::1/128"]
    );
    assert_eq!(told(&table.answer(first, now)), [""; 0], "nothing is new");
    assert_eq!(
        told(&table.answer(whole("c.d", &["198.51.100.1"]), now)),
        ["partner 198.51.100.1/32 203.0.113.1/32 203.0.113.2/32 2001:db8::1/128"]
    );
    let expected = Counts {
        wanted: 3,
        unresolved: 1,
        addresses: 4,
    };
    assert_eq!(table.counts(), expected);
    let [problem] = &table.problems()[..] else {
        panic!("{:?}", table.problems())
    };
    assert_eq!(
        problem.to_string(),
        "Segment other: spec.domains[0]: e.f has no answer yet: until it has, it is nobody in an Allow and everybody in a \
         Deny; the controller asks for names if it is started with --resolve-names"
    );
    assert_eq!(
        told(&table.answer(whole("x.y", &["192.0.2.1"]), now)),
        [""; 0]
    );
}

#[test]
fn networks_of_its_own_stay_and_so_does_what_cannot_be_read_of_it() {
    let (mut table, now) = (Table::new([]), BootTime::now());
    let known = "192.0.2.0/24".parse().unwrap();
    let object = with(segment("s", &["a.b"]), |members| {
        members.networks = vec![Network::new(known, [])];
        members.leave_unread();
    });
    table.handle(apply([object.clone()]));
    assert_eq!(
        told(&table.answer(whole("a.b", &["203.0.113.1"]), now)),
        ["s? 192.0.2.0/24 203.0.113.1/32"]
    );
    let mended = with(object, |members| members.unread = false);
    assert_eq!(
        told(&table.handle(apply([mended]))),
        ["s 192.0.2.0/24 203.0.113.1/32"]
    );
}

#[test]
fn a_relist_is_one_replacement_and_what_is_known_of_names_outlives_it() {
    let (mut table, now) = (Table::new([]), BootTime::now());
    table.handle(apply([segment("a", &["a.b"]), segment("b", &["c.d"])]));
    table.answer(whole("a.b", &["203.0.113.1"]), now);
    table.answer(whole("c.d", &["203.0.113.2"]), now);
    let again = vec![segment("a", &["a.b"]), segment("c", &["e.f"])];
    let events = table.handle(vec![Event::Reset(Kind::Segment, again)]);
    assert!(matches!(&events[..], [Event::Reset(Kind::Segment, _)]));
    assert_eq!(told(&events), ["a 203.0.113.1/32", "c?"]);
    assert_eq!(wanted(&table), ["a.b", "e.f"]);
    // Whoever went meanwhile is asked for anew.
    assert_eq!(told(&table.handle(apply([segment("b", &["c.d"])]))), ["b?"]);
    let gone = Event::Delete(ObjectRef::cluster(Kind::Segment, "a"));
    assert_eq!(told(&table.handle(vec![gone])), ["delete Segment a"]);
    assert_eq!(told(&table.handle(apply([segment("b", &[])]))), ["b"]);
    assert_eq!(wanted(&table), ["e.f"]);
}

#[test]
fn no_name_makes_a_workload_of_the_cluster_a_peer_whenever_its_range_becomes_known() {
    let declared = "10.2.0.0/16".parse().unwrap();
    let (mut table, now) = (Table::new([declared]), BootTime::now());
    table.handle(apply([segment("s", &["a.b"]), node("n1", "10.1.1.0/24")]));
    let answer = whole(
        "a.b",
        &[
            "10.1.1.7",
            "10.1.2.7",
            "10.2.0.7",
            "127.0.0.1",
            "203.0.113.1",
        ],
    );
    assert_eq!(
        told(&table.answer(answer, now)),
        ["s 10.1.2.7/32 203.0.113.1/32"]
    );
    let said = table.problems()[0].to_string();
    assert!(
        said.contains(
            "a.b is answered with 10.1.1.7, 10.2.0.7, 127.0.0.1, which no name can stand for"
        ),
        "{said}"
    );
    assert_eq!(
        told(&table.handle(apply([node("n2", "10.1.2.0/24")]))),
        ["Node n2", "s 203.0.113.1/32"]
    );
    assert_eq!(
        told(&table.handle(apply([node("n2", "10.1.2.0/24")]))),
        ["Node n2"]
    );
    // A node is no host of the outside world either.
    let Object::Node(mut third) = node("n3", "10.1.3.0/24") else {
        panic!("a node")
    };
    third.addresses = ["203.0.113.1".parse().unwrap()].into();
    assert_eq!(
        told(&table.handle(apply([Object::Node(third)]))),
        ["Node n3", "s?"]
    );
    let fewer = Event::Reset(Kind::Node, vec![node("n1", "10.1.1.0/24")]);
    assert_eq!(
        told(&table.handle(vec![fewer])),
        ["Node n1", "s 10.1.2.7/32 203.0.113.1/32"]
    );
}

#[test]
fn a_name_that_is_answered_no_more_keeps_its_addresses_and_says_so() {
    let (mut table, now) = (Table::new([]), BootTime::now());
    table.handle(apply([segment("s", &["a.b"])]));
    table.answer(whole("a.b", &["203.0.113.1"]), now);
    assert_eq!(table.problems(), []);
    let failed = Answer::failed("a.b".into(), [], "there is no such name");
    assert_eq!(told(&table.answer(failed, now + 60 * MINUTE)), [""; 0]);
    let said = table.problems()[0].to_string();
    assert!(
        said.contains("a.b is answered no more (there is no such name): the addresses that it had last stay in force"),
        "{said}"
    );
    // Back with another address; the earlier one was not told for longer than the grace time.
    assert_eq!(
        told(&table.answer(whole("a.b", &["203.0.113.2"]), now + 61 * MINUTE)),
        ["s 203.0.113.2/32"]
    );
    assert_eq!(table.problems(), []);
}

#[test]
fn a_name_that_was_never_answered_says_what_that_means_and_what_to_do() {
    let (mut table, now) = (Table::new([]), BootTime::now());
    table.handle(apply([segment("s", &["x.y", "a.b"])]));
    let failed = Answer::failed("a.b".into(), [], "there is no such name");
    assert_eq!(told(&table.answer(failed, now)), [""; 0]);
    let problems = table.problems();
    assert_eq!(problems[1].field.as_deref(), Some("spec.domains[1]"));
    assert!(
        problems[1]
            .message
            .starts_with("a.b is not known (there is no such name): it is nobody in an Allow"),
        "{}",
        problems[1]
    );
}

#[test]
fn names_beyond_the_limit_are_not_asked_for_and_say_so() {
    let mut table = Table::new([]);
    let names: Vec<String> = (0..=NAMES).map(|n| format!("h{n:05}.b")).collect();
    let segments = names.chunks(64).enumerate().map(|(number, names)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        segment(&format!("s{number:03}"), &names)
    });
    table.handle(apply(segments));
    assert_eq!(table.wanted().len(), NAMES);
    let said = table.problems().pop().unwrap().to_string();
    assert!(
        said.contains("h04096.b is not asked for, because segments have more than 4096 names"),
        "{said}"
    );
}
