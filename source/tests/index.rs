//! Files come, change, break and go; what is in force follows, and never loses what is still good.
#![allow(clippy::unwrap_used, reason = "tests")]

use bulkhead_policy::model::Event;
use bulkhead_source::index::{Content, Index, Scan};

fn scan(files: &[(&str, &str)]) -> Scan {
    files
        .iter()
        .map(|(name, text)| ((*name).into(), Content::Bytes(text.as_bytes().to_vec())))
        .collect()
}

fn namespace(name: &str, team: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{team: {team}}}}}}}\n---\n"
    )
}

/// Events as people would write them.
fn told(events: &[Event]) -> Vec<String> {
    let tell = |event: &Event| match event {
        Event::Apply(object) => format!("apply {}", object.reference()),
        Event::Delete(reference) => format!("delete {reference}"),
        Event::Reset(kind, objects) => format!("reset {} {}", kind.name(), objects.len()),
    };
    events.iter().map(tell).collect()
}

fn problems(index: &Index) -> Vec<String> {
    index.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn only_what_changed_is_told() {
    let mut index = Index::default();
    let (a, b) = (namespace("a", "x"), namespace("b", "x"));
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", &a), ("2.yaml", &b)]))),
        ["apply Namespace a", "apply Namespace b"]
    );
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", &a), ("2.yaml", &b)]))),
        [""; 0]
    );
    let changed = namespace("a", "z");
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", &changed), ("2.yaml", &b)]))),
        ["apply Namespace a"]
    );
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", &changed)]))),
        ["delete Namespace b"]
    );
    assert_eq!(problems(&index), [""; 0]);
}

#[test]
fn an_object_may_move_from_file_to_file() {
    let mut index = Index::default();
    let a = namespace("a", "x");
    index.handle(scan(&[("1.yaml", &a)]));
    assert_eq!(told(&index.handle(scan(&[("2.yaml", &a)]))), [""; 0]);
}

#[test]
fn a_broken_file_keeps_all_its_objects_and_stops_no_other() {
    let mut index = Index::default();
    let (a, b) = (namespace("a", "x"), namespace("b", "x"));
    index.handle(scan(&[("1.yaml", &a), ("2.yaml", &b)]));
    let broken = format!("{a}kind: [\n");
    let events = index.handle(scan(&[
        ("1.yaml", &broken),
        ("2.yaml", &namespace("b", "z")),
    ]));
    assert_eq!(told(&events), ["apply Namespace b"]);
    assert!(
        problems(&index)[0].starts_with("1.yaml:3: this is no valid YAML"),
        "{:?}",
        problems(&index)
    );
    // Mended: nothing had been lost, so nothing has to be told.
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", &a), ("2.yaml", &namespace("b", "z"))]))),
        [""; 0]
    );
    assert_eq!(problems(&index), [""; 0]);
    // A broken file that is deleted takes its objects along.
    index.handle(scan(&[
        ("1.yaml", &broken),
        ("2.yaml", &namespace("b", "z")),
    ]));
    assert_eq!(
        told(&index.handle(scan(&[("2.yaml", &namespace("b", "z"))]))),
        ["delete Namespace a"]
    );
}

#[test]
fn one_bad_object_keeps_its_last_good_version_and_the_rest_of_the_file_goes_on() {
    let mut index = Index::default();
    let (a, b, c) = (
        namespace("a", "x"),
        namespace("b", "x"),
        namespace("c", "x"),
    );
    index.handle(scan(&[("1.yaml", &format!("{a}{b}{c}"))]));
    let bad = "{apiVersion: v1, kind: Namespace, metadata: {name: a, lables: {}}}\n---\n";
    // `a` is bad and stays as it was, `b` changes, `c` is meant to be gone.
    let events = index.handle(scan(&[(
        "1.yaml",
        &format!("{bad}{}", namespace("b", "z")),
    )]));
    assert_eq!(told(&events), ["delete Namespace c", "apply Namespace b"]);
    assert_eq!(problems(&index).len(), 1);
    assert!(
        problems(&index)[0].starts_with("1.yaml:1: Namespace a: metadata.lables: "),
        "{:?}",
        problems(&index)
    );
}

/// A tenant's policy that denies everything to its pods, or is unreadable.
fn policy(app: &str, ingress: &str) -> String {
    format!(
        "{{apiVersion: bulkhead.dev/v1alpha1, kind: SegmentationPolicy, metadata: {{name: p, namespace: n}}, spec: \
         {{subjects: [{{pods: {{matchLabels: {{app: {app}}}}}}}], ingress: {ingress}}}}}\n---\n"
    )
}

const GOOD: &str = "[{action: Deny, from: [{everyone: {}}], ports: [{every: {}}]}]";
const BAD: &str = "[{action: Deny, from: nobody}]";

fn in_force(index: &Index) -> String {
    format!("{:?}", index.objects().collect::<Vec<_>>())
}

#[test]
fn g11_a_restriction_that_was_never_good_has_something_standing_in_for_it() {
    let mut index = Index::default();
    let other = namespace("b", "x");
    let events = index.handle(scan(&[("1.yaml", &policy("old", BAD)), ("2.yaml", &other)]));
    assert_eq!(
        told(&events),
        ["apply SegmentationPolicy n/p", "apply Namespace b"]
    );
    let said = problems(&index);
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].starts_with("1.yaml:1: SegmentationPolicy n/p: spec.ingress[0].from: "));
    assert!(said[1].starts_with("1.yaml:1: SegmentationPolicy n/p: no good version of it is known, and until it can be read it denies"));
    // It follows each new version that cannot be read either.
    let events = index.handle(scan(&[("1.yaml", &policy("new", BAD)), ("2.yaml", &other)]));
    assert_eq!(told(&events), ["apply SegmentationPolicy n/p"]);
    assert!(in_force(&index).contains("new") && !in_force(&index).contains("old"));
    // Where the file as a whole cannot be read, it stays.
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", "kind: ["), ("2.yaml", &other)]))),
        [""; 0]
    );
    assert!(in_force(&index).contains("new"));
    // A good version takes its place, and is the one that a bad version after it leaves in force.
    index.handle(scan(&[
        ("1.yaml", &policy("good", GOOD)),
        ("2.yaml", &other),
    ]));
    assert_eq!(problems(&index), [""; 0]);
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", &policy("bad", BAD)), ("2.yaml", &other)]))),
        [""; 0]
    );
    assert_eq!(problems(&index).len(), 1);
    assert!(in_force(&index).contains("good"));
    // And it goes with the object.
    index.handle(scan(&[("2.yaml", &other)]));
    index.handle(scan(&[("1.yaml", &policy("old", BAD)), ("2.yaml", &other)]));
    assert_eq!(
        told(&index.handle(scan(&[("2.yaml", &other)]))),
        ["delete SegmentationPolicy n/p"]
    );
    assert_eq!(problems(&index), [""; 0]);
}

#[test]
fn what_stands_in_is_no_good_version_after_a_restart() {
    let mut before = Index::default();
    before.handle(scan(&[("1.yaml", &policy("old", BAD))]));
    let mut index = Index::with_last_good(before.last_good());
    index.handle(scan(&[("1.yaml", &policy("new", BAD))]));
    assert!(in_force(&index).contains("new"));
    assert_eq!(problems(&index).len(), 2);
}

const KEPT: &str = "1.yaml: it cannot be read; its last good version stays in force";

/// One file, which cannot be read.
fn unreadable() -> Scan {
    let why = Content::Unreadable("it cannot be read".to_owned());
    Scan::from([("1.yaml".into(), why)])
}

#[test]
fn a_file_that_cannot_be_opened_keeps_its_objects() {
    let mut index = Index::default();
    index.handle(scan(&[("1.yaml", &namespace("a", "x"))]));
    assert_eq!(told(&index.handle(unreadable())), [""; 0]);
    assert_eq!(problems(&index), [KEPT]);
    // So it is with what was good before a restart.
    let mut index = Index::with_last_good(index.last_good());
    assert_eq!(told(&index.handle(unreadable())), ["apply Namespace a"]);
    assert_eq!(problems(&index), [KEPT]);
}

#[test]
fn a_folder_that_cannot_be_opened_keeps_the_objects_of_its_files_over_a_restart_too() {
    let (a, b, c) = (
        namespace("a", "x"),
        namespace("b", "x"),
        namespace("c", "x"),
    );
    let all = scan(&[("f/1.yaml", &a), ("f/deep/2.yaml", &b), ("f-3.yaml", &c)]);
    let mut index = Index::default();
    index.handle(all.clone());
    let mut closed = scan(&[]);
    closed.insert("f".into(), Content::Unreadable("it cannot be read".into()));
    assert_eq!(told(&index.handle(closed.clone())), ["delete Namespace c"]);
    let kept = ["f: it cannot be read; what its files said last stays in force"];
    assert_eq!(problems(&index), kept);

    let mut again = Index::with_last_good(index.last_good());
    let events = again.handle(closed);
    assert_eq!(told(&events), ["apply Namespace a", "apply Namespace b"]);
    assert_eq!(problems(&again), kept);

    assert_eq!(told(&index.handle(all)), ["apply Namespace c"]);
    assert_eq!(problems(&index), [""; 0]);
    assert_eq!(told(&index.handle(scan(&[("f/1.yaml", &a)]))).len(), 2);
}

#[test]
fn a_file_that_was_never_read_is_not_said_to_have_a_good_version() {
    let mut index = Index::default();
    assert_eq!(told(&index.handle(unreadable())), [""; 0]);
    assert_eq!(problems(&index), ["1.yaml: it cannot be read"]);
    // What stands in for something is no version of it.
    let mut index = Index::default();
    index.handle(scan(&[("1.yaml", &policy("never", BAD))]));
    assert_eq!(told(&index.handle(unreadable())), [""; 0]);
    assert!(in_force(&index).contains("never"));
    let [.., meaning, unreadable] = &problems(&index)[..] else {
        panic!("what stands in is not told any more");
    };
    assert!(
        meaning.contains("no good version of it is known"),
        "{meaning}"
    );
    assert_eq!(unreadable, "1.yaml: it cannot be read");
}

#[test]
fn what_is_read_now_counts_before_what_is_remembered_of_a_file_that_cannot_be_read() {
    let (open, closed) = (namespace("a", "open"), namespace("a", "closed"));
    let mut index = Index::default();
    index.handle(scan(&[("1.yaml", &open)]));
    let mut moved = scan(&[("2.yaml", &closed)]);
    moved.insert(
        "1.yaml".into(),
        Content::Unreadable("it cannot be read".into()),
    );
    assert_eq!(told(&index.handle(moved)), ["apply Namespace a"]);
    assert!(in_force(&index).contains("closed"), "{}", in_force(&index));
    let told = problems(&index).join("\n");
    assert!(
        told.contains("it also stands in 2.yaml:1, and that one counts"),
        "{told}"
    );
}

#[test]
fn the_same_object_in_two_files_names_both_and_the_first_file_counts() {
    let (x, z) = (namespace("a", "x"), namespace("a", "z"));
    let files = [("1.yaml", x.as_str()), ("2.yaml", z.as_str())];
    let mut index = Index::default();
    assert_eq!(told(&index.handle(scan(&files))), ["apply Namespace a"]);
    let expected = "2.yaml:1: Namespace a: it also stands in 1.yaml:1, and that one counts; remove one of them";
    assert_eq!(problems(&index), [expected]);
    // Not the history decides but the names: the other way round it ends in the same.
    let mut other = Index::default();
    other.handle(scan(&[files[1]]));
    other.handle(scan(&files));
    assert!(index.objects().eq(other.objects()));
    // Without the first, the second is in force.
    assert_eq!(
        told(&index.handle(scan(&[files[1]]))),
        ["apply Namespace a"]
    );
    assert_eq!(problems(&index), [""; 0]);
}

#[test]
fn a_file_that_is_broken_at_the_start_has_the_objects_from_before() {
    let mut before = Index::default();
    before.handle(scan(&[
        ("1.yaml", &namespace("a", "x")),
        ("2.yaml", &namespace("b", "x")),
    ]));
    let mut index = Index::with_last_good(before.last_good());
    // In the meantime one was broken and one deleted.
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", "kind: [")]))),
        ["apply Namespace a"]
    );
    assert_eq!(problems(&index).len(), 1);
    // And where files are good, what was remembered does not matter.
    let mut index = Index::with_last_good(before.last_good());
    assert_eq!(
        told(&index.handle(scan(&[("1.yaml", &namespace("c", "x"))]))),
        ["apply Namespace c"]
    );
}

#[test]
fn what_is_wrong_only_beside_each_other() {
    let pod = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: n}}, spec: {{nodeName: n, containers: []}}, \
             status: {{phase: Running, podIP: 10.0.0.1}}}}\n---\n"
        )
    };
    let policy = "
apiVersion: bulkhead.dev/v1alpha1
kind: ClusterSegmentationPolicy
metadata: {name: p}
spec:
  tier: Admin
  priority: 1
  subjects: [{segment: lost}]
  ingress: [{action: Deny, from: [{everyone: {}}, {segment: gone}], ports: [{every: {}}]}]
  egress: [{action: Allow, to: [{segment: gone}], ports: [{every: {}}]}]
";
    let mut index = Index::default();
    index.handle(scan(&[
        ("1.yaml", &format!("{}{}", pod("a"), pod("b"))),
        ("2.yaml", policy),
    ]));
    let said = problems(&index);
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said[0].starts_with(
        "2.yaml:2: ClusterSegmentationPolicy p: spec.subjects[0]: there is no Segment lost: "
    ));
    assert!(said[1].starts_with("2.yaml:2: ClusterSegmentationPolicy p: spec.egress[0].to[0].segment: there is no Segment gone"));
    assert!(
        said[2].starts_with("1.yaml:1: Pod n/a: Pod n/b also claims 10.0.0.1; "),
        "{said:#?}"
    );
    let segments = "{apiVersion: bulkhead.dev/v1alpha1, kind: Segment, metadata: {name: gone}, spec: {networks: [{cidr: 10.0.0.0/8}]}}\n---\n\
                    {apiVersion: bulkhead.dev/v1alpha1, kind: Segment, metadata: {name: lost}, spec: {networks: [{cidr: 10.0.0.0/8}]}}";
    index.handle(scan(&[
        ("1.yaml", &pod("a")),
        ("2.yaml", policy),
        ("3.yaml", segments),
    ]));
    assert_eq!(problems(&index), [""; 0]);
}
