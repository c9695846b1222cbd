//! `bulkhead status` of a running installation: what it prints is what the controller knows, and moves with it.

use bulkhead_tests::lab::{Plan, Status};
use serde_json::Value;

use crate::guarded::{Guarded, isolate};

const NODES: [&str; 9] = [
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
const OBJECTS: [&str; 5] = ["OBJECT", "ACCEPTED", "ENFORCED", "NODES", "MESSAGE"];
const POLICY: &str = "SegmentationPolicy shop/db";
/// The node of the database, below the header and the first node.
const DB_ROW: usize = 2;

/// What is printed for people, each table with its header, cell by cell.
#[derive(Debug)]
struct Printed {
    nodes: Vec<Vec<String>>,
    objects: Vec<Vec<String>>,
    problems: Vec<String>,
}

impl Printed {
    fn of(world: &Guarded) -> Self {
        let text = answer(world, &["status"]);
        let is_problem = |line: &&str| line.starts_with("error: ") || line.starts_with("warning: ");
        let (problems, rows): (Vec<&str>, Vec<&str>) = text.lines().partition(is_problem);
        let rows: Vec<Vec<String>> = rows.into_iter().map(cells).collect();
        // An empty line lies between the tables.
        let mut tables = rows.split(|row| row.is_empty());
        let mut table = || tables.next().unwrap_or_default().to_vec();
        Self {
            nodes: table(),
            objects: table(),
            problems: problems.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Every node of the lab, and of each what the controller says.
    fn assert_nodes(&self, world: &Guarded, status: &Status) {
        let (header, rows) = self.nodes.split_first().unwrap();
        assert_eq!(*header, NODES);
        let nodes = world.lab.plan().nodes();
        let names: Vec<String> = nodes.iter().map(|node| node.name()).collect();
        let printed: Vec<String> = rows.iter().map(|row| row[0].clone()).collect();
        assert_eq!(printed, names);
        assert_eq!(rows.len(), status.nodes.len(), "{status:#?}");
        for (row, node) in rows.iter().zip(&status.nodes) {
            let [
                name,
                health,
                desired,
                realised,
                heard,
                protected,
                unprotected,
                denied,
                message,
            ] = &row[..]
            else {
                panic!("{row:?}")
            };
            assert_eq!(
                (name, health, message),
                (&node.name, &node.health, &node.message)
            );
            assert_eq!(*desired, short(node.desired.as_deref()), "{node:?}");
            assert_eq!(*realised, short(node.realised.as_deref()), "{node:?}");
            assert!(heard == "-" || heard.ends_with(" ago"), "{row:?}");
            assert_eq!(*protected, node.protected.to_string());
            assert_eq!(unprotected, "0");
            assert_eq!(*denied, node.denied.len().to_string());
        }
    }

    /// The first letters of the revision that a node enforces, and that it should enforce.
    fn revision(&self, row: usize) -> String {
        let row = &self.nodes[row];
        assert_eq!(row[2], row[3], "desired and realised: {row:?}");
        row[3].clone()
    }
}

/// What a verb of the command answers.
fn answer(world: &Guarded, arguments: &[&str]) -> String {
    let output = world.product.command_line(arguments).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Columns lie two spaces apart, or more.
fn cells(line: &str) -> Vec<String> {
    line.split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Enough letters of a revision to tell two apart.
fn short(digest: Option<&str>) -> String {
    digest.map_or("-".to_owned(), |digest| digest[..12].to_owned())
}

/// Without what moves while nothing happens.
fn at_rest(status: &str) -> Value {
    let mut status: Value = serde_json::from_str(status).unwrap();
    for node in status["nodes"].as_array_mut().unwrap() {
        let heard = node.as_object_mut().unwrap().remove("heard_at_ms");
        assert!(heard.is_some(), "{node}");
    }
    status
}

#[test]
fn bulkhead_status_prints_every_node_with_its_revisions_every_policy_and_every_problem() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    let db = world.lab.plan().find("shop/db").unwrap().node;
    let before = Printed::of(&world);
    before.assert_nodes(&world, &world.product.status().unwrap());
    assert_eq!(before.nodes[DB_ROW][1], "healthy");
    assert!(before.objects.is_empty(), "{before:?}");
    assert!(before.problems.is_empty(), "{before:?}");

    // A policy comes: another revision on the node of its subject, and in a row of its own whether it is in force.
    let good = isolate("shop", "db", &[("web", 5432)]);
    world.enforce("db.json", &good).unwrap();
    let enforced = Printed::of(&world);
    enforced.assert_nodes(&world, &world.product.status().unwrap());
    assert_ne!(enforced.revision(DB_ROW), before.revision(DB_ROW));
    assert_eq!(enforced.objects[0], OBJECTS);
    assert_eq!(enforced.objects[1..], [[POLICY, "yes", "yes", "1 of 1"]]);
    assert!(enforced.problems.is_empty(), "{enforced:?}");

    // Programs get all that the controller says.
    let said = at_rest(&answer(&world, &["status", "-o", "json"]));
    let known = world.product.ask_controller("/status").unwrap();
    assert_eq!(said, at_rest(&known));
    assert_eq!(said["nodes"].as_array().unwrap().len(), 2, "{said}");

    // The file breaks: its last good version stays in force, and what is wrong is printed.
    let mut broken = good.clone();
    broken["spec"]["nonsense"] = 1.into();
    world.enforce("db.json", &broken).unwrap();
    let wrong = Printed::of(&world);
    wrong.assert_nodes(&world, &world.product.status().unwrap());
    assert_eq!(wrong.revision(DB_ROW), enforced.revision(DB_ROW));
    let file = world.product.manifests().join("db.json");
    let problem = format!("{}:1: {POLICY}: spec.nonsense: ", file.display());
    assert_eq!(wrong.problems.len(), 1, "{wrong:?}");
    let line = wrong.problems[0].strip_prefix("error: ").unwrap();
    assert!(line.starts_with(&problem), "{line}");
    assert_eq!(
        wrong.objects[1..],
        [[POLICY, "no", "yes", "1 of 1", line]],
        "{wrong:?}"
    );
    world.enforce("db.json", &good).unwrap();
    let mended = Printed::of(&world);
    assert!(mended.problems.is_empty(), "{mended:?}");
    assert_eq!(mended.objects, enforced.objects);

    // An agent is gone, and what it enforces is not.
    world.product.kill_agent(db).unwrap();
    let status = world
        .product
        .wait("the agent known to be gone", |status| {
            status.nodes.iter().any(|node| node.health == "lost")
        })
        .unwrap();
    let lost = Printed::of(&world);
    lost.assert_nodes(&world, &status);
    assert_eq!(lost.nodes[DB_ROW][1], "lost");
    assert_eq!(lost.revision(DB_ROW), enforced.revision(DB_ROW));

    // It comes back with what it had: nobody ever took the node for one that has lost it.
    world.product.start_agent(db).unwrap();
    let back = world.product.wait_settled().unwrap();
    let realised_at = |status: &Status| {
        let mut nodes = status.nodes.iter();
        let node = nodes.find(|node| node.name == db.name()).unwrap();
        node.realised_at_ms.expect("something realised")
    };
    assert_eq!(realised_at(&back), realised_at(&status));

    // Nobody is there to be asked.
    world.product.kill_controller().unwrap();
    let output = world.product.command_line(&["status"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let expected =
        "bulkhead: http://127.0.0.1:9480/status: the controller does not answer; is it running";
    assert!(said.starts_with(expected), "{said}");
}
