//! The product on a real cluster: what pods can reach is what the oracle reads from the objects, whatever happens to the programs.

use std::process::Stdio;

use bulkhead_tests::cluster::Reach;
use bulkhead_tests::cluster::installation::Installation;

use crate::machine;
use crate::story::{
    BACKEND, BACKEND_MAY_QUERY, DATABASE_IS_CLOSED, FRONTEND, POSTGRES, SCANNER, SETTLE_LIMIT,
    Story,
};

impl Story {
    /// Conditions on the segment, one small object a node, and then silence: an idle cluster makes no writes.
    fn the_api_server_is_told(&self) {
        let client = self.cluster.client();
        let segment = ["segment/database"];
        client
            .wait_for("condition=Enforced", SETTLE_LIMIT, &segment)
            .unwrap();
        let segment = client.get(&segment).unwrap();
        let status = &segment["status"];
        assert_eq!(
            status["observedGeneration"], segment["metadata"]["generation"],
            "{status}"
        );
        // The database is on one node.
        assert_eq!(
            status["nodes"],
            serde_json::json!({"desired": 1, "realised": 1})
        );
        assert!(status["lastEnforcedSeconds"].is_number(), "{status}");
        client
            .wait_for(
                "jsonpath={.status.health}=Realised",
                SETTLE_LIMIT,
                &["nodeenforcements", "--all"],
            )
            .unwrap();
        let nodes = client.get(&["nodeenforcements"]).unwrap();
        let nodes = nodes["items"].as_array().unwrap();
        assert_eq!(nodes.len(), self.cluster.nodes().len());
        for node in nodes {
            assert_eq!(node["metadata"]["ownerReferences"][0]["kind"], "Node");
        }
        // What changed before may be written once more, at the pace of dates.
        let is_silent = (0..3).any(|_| self.writes_while_nothing_happens().is_empty());
        assert!(is_silent, "an idle cluster makes no writes");
    }

    /// Longer than the pace at which dates alone are written.
    fn writes_while_nothing_happens(&self) -> String {
        let watches = ["segments", "nodeenforcements"].map(|kind| {
            let mut watch = self.cluster.client().command();
            watch.args(["get", kind, "--watch-only", "-o", "name"]);
            watch.arg("--request-timeout=35s").stdout(Stdio::piped());
            watch.spawn().unwrap()
        });
        let outputs = watches.map(|watch| watch.wait_with_output().unwrap().stdout);
        let seen = String::from_utf8_lossy(&outputs.concat()).into_owned();
        println!("written while nothing happened: {seen:?}");
        seen
    }
}

const BACKEND_IS_QUARANTINED: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Quarantine
metadata: {name: backend}
spec:
  reason: seen scanning
  subjects: [{workloads: {namespaces: {matchLabels: {team: web}}, pods: {matchLabels: {app: backend}}}}]
";

const DATABASE_IS_A_SEGMENT: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: database}
spec:
  members: [{namespaces: {matchLabels: {team: db}}}]
  isolation: {ingress: Deny, egress: Allow, within: Allow}
  mode: Enforce
";

#[test]
fn pods_reach_what_the_objects_say_through_changes_and_restarts() {
    let _machine = machine();
    let story = Story::begin("story").unwrap();
    let mut product = Installation::start(&story.cluster).unwrap();
    let open = Reach::Open;
    let closed = Reach::Silent;
    story.settles_with(SCANNER, POSTGRES, open);

    story.apply(DATABASE_IS_CLOSED);
    story.settles_with(BACKEND, POSTGRES, closed);

    story.apply(BACKEND_MAY_QUERY);
    story.settles_with(BACKEND, POSTGRES, open);
    story.settles_with(FRONTEND, POSTGRES, closed);

    story.apply(BACKEND_IS_QUARANTINED);
    story.settles_with(BACKEND, POSTGRES, closed);
    story
        .cluster
        .client()
        .delete(BACKEND_IS_QUARANTINED)
        .unwrap();
    story.settles_with(BACKEND, POSTGRES, open);

    // Nobody enforces less because nobody controls.
    product.kill_controller().unwrap();
    story.settles_with(FRONTEND, POSTGRES, closed);
    story.cluster.client().delete(BACKEND_MAY_QUERY).unwrap();
    assert_eq!(
        story.reach(BACKEND, POSTGRES),
        open,
        "a node moved although nobody told it to"
    );
    product.start_controller(&story.cluster).unwrap();
    story.settles_with(BACKEND, POSTGRES, closed);

    product.kill_agent(3).unwrap();
    story.settles_with(SCANNER, POSTGRES, closed);
    story.apply(BACKEND_MAY_QUERY);
    product.start_agent(&story.cluster, 3).unwrap();
    story.settles_with(BACKEND, POSTGRES, open);

    story.cluster.client().delete(BACKEND_MAY_QUERY).unwrap();
    story.cluster.client().delete(DATABASE_IS_CLOSED).unwrap();
    story.settles_with(SCANNER, POSTGRES, open);

    story.apply(DATABASE_IS_A_SEGMENT);
    story.settles_with(SCANNER, POSTGRES, closed);
    story.the_api_server_is_told();
    product.check_running().unwrap();
}
