//! `ClusterNetworkPolicy` on a real API server, with upstream's own definition: both tiers, Accept, Deny and Pass between real pods,
//! and conditions that stand beside somebody else's.

use bulkhead_tests::cluster::installation::Installation;
use bulkhead_tests::cluster::upstream_definitions::install_cluster_network_policy;
use bulkhead_tests::cluster::{PodName, Reach};
use serde_json::Value;

use crate::machine;
use crate::story::{
    BACKEND, BACKEND_MAY_QUERY, DATABASE_IS_CLOSED, FRONTEND, POSTGRES, SCANNER, SETTLE_LIMIT,
    Story,
};

/// The database is nobody's business, but the backend's is left to whoever comes after.
const ONLY_THE_BACKEND_IS_LEFT_TO_OTHERS: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {team: db}}}
  ingress:
  - name: backend
    action: Pass
    from: [{pods: {namespaceSelector: {matchLabels: {team: web}}, podSelector: {matchLabels: {app: backend}}}}]
    protocols: [{tcp: {destinationPort: {number: 5432}}}]
  - name: others
    action: Deny
    from: [{namespaces: {}}]
";

/// Stronger than the guard.
const OPERATORS_MAY: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: operators}
spec:
  tier: Admin
  priority: 5
  subject: {namespaces: {matchLabels: {team: db}}}
  ingress:
  - {name: operators, action: Accept, from: [{namespaces: {matchLabels: {team: ops}}}]}
";

/// What is left where no namespace speaks.
const BY_DEFAULT_NOBODY: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: default}
spec:
  tier: Baseline
  priority: 10
  subject: {namespaces: {matchLabels: {team: db}}}
  ingress:
  - {name: nobody, action: Deny, from: [{namespaces: {}}]}
";

const BY_NAME: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: by-name}
spec:
  tier: Admin
  priority: 900
  subject: {namespaces: {matchLabels: {team: ops}}}
  egress:
  - {action: Accept, to: [{domainNames: [example.org]}]}
";

/// What another implementation says of the same object.
const SOMEBODY_ELSES_CONDITION: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
status:
  conditions:
  - {type: Elsewhere, status: 'True', reason: Seen, message: enforced elsewhere, lastTransitionTime: '2026-01-01T00:00:00Z'}
";

impl Story {
    /// The scanner may not open anything to the database's address.
    fn egress_by_address(&self) -> String {
        let postgres = self.addresses[&PodName::new(POSTGRES.0, POSTGRES.1)];
        format!(
            "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {{name: egress}}
spec:
  tier: Admin
  priority: 1
  subject: {{namespaces: {{matchLabels: {{team: ops}}}}}}
  egress:
  - {{name: database, action: Deny, to: [{{networks: [{postgres}/32]}}]}}
"
        )
    }

    fn policy(&self, name: &str) -> Value {
        let client = self.cluster.client();
        client.get(&["clusternetworkpolicies", name]).unwrap()
    }

    /// Waits for a condition of ours, and gives all of them.
    fn conditions(&self, name: &str, wanted: &str) -> Vec<Value> {
        let object = format!("clusternetworkpolicies/{name}");
        let client = self.cluster.client();
        client
            .wait_for(&format!("condition={wanted}"), SETTLE_LIMIT, &[&object])
            .unwrap();
        let policy = self.policy(name);
        policy["status"]["conditions"].as_array().unwrap().clone()
    }
}

fn status<'c>(conditions: &'c [Value], kind: &str) -> &'c str {
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind);
    condition.map_or("", |condition| {
        condition["status"].as_str().unwrap_or_default()
    })
}

#[test]
fn administrators_policies_of_upstream_decide_between_real_pods_and_are_told() {
    let _machine = machine();
    let story = Story::begin("cnp").unwrap();
    // The controller meets a cluster without the kind, and has to notice that it comes.
    let mut product = Installation::start(&story.cluster).unwrap();
    let (open, closed) = (Reach::Open, Reach::Silent);
    story.settles_with(SCANNER, POSTGRES, open);
    install_cluster_network_policy(&story.cluster).unwrap();

    story.apply(ONLY_THE_BACKEND_IS_LEFT_TO_OTHERS);
    story.settles_with(SCANNER, POSTGRES, closed);
    story.settles_with(FRONTEND, POSTGRES, closed);
    story.settles_with(BACKEND, POSTGRES, open);

    // Passed on, it meets the baseline.
    story.apply(BY_DEFAULT_NOBODY);
    story.settles_with(BACKEND, POSTGRES, closed);
    // And before that what the namespace says of itself.
    story.apply(DATABASE_IS_CLOSED);
    story.apply(BACKEND_MAY_QUERY);
    story.settles_with(BACKEND, POSTGRES, open);
    story.settles_with(FRONTEND, POSTGRES, closed);

    // The stronger priority first; a namespace does not close what an administrator accepts.
    story.apply(OPERATORS_MAY);
    story.settles_with(SCANNER, POSTGRES, open);
    let egress = story.egress_by_address();
    story.apply(&egress);
    story.settles_with(SCANNER, POSTGRES, closed);

    let applied = [
        "apply",
        "--server-side",
        "--subresource=status",
        "--field-manager=elsewhere",
        "-f",
        "-",
    ];
    let client = story.cluster.client();
    client
        .run_with_input(&applied, SOMEBODY_ELSES_CONDITION)
        .unwrap();
    let conditions = story.conditions("guard", "Enforced");
    assert_eq!(status(&conditions, "Accepted"), "True", "{conditions:#?}");
    assert_eq!(status(&conditions, "Degraded"), "False", "{conditions:#?}");
    assert_eq!(status(&conditions, "Elsewhere"), "True", "{conditions:#?}");

    // A new version is written about, and what others say stays.
    let weaker = ONLY_THE_BACKEND_IS_LEFT_TO_OTHERS.replace("priority: 10", "priority: 11");
    story.apply(&weaker);
    let generation = story.policy("guard")["metadata"]["generation"].clone();
    let seen = format!(
        "jsonpath={{.status.conditions[?(@.type==\"Enforced\")].observedGeneration}}={generation}"
    );
    client
        .wait_for(&seen, SETTLE_LIMIT, &["clusternetworkpolicies/guard"])
        .unwrap();
    let conditions = story.conditions("guard", "Enforced");
    assert_eq!(status(&conditions, "Elsewhere"), "True", "{conditions:#?}");

    // Names are not supported: it is said, and the rule accepts nobody.
    story.apply(BY_NAME);
    let conditions = story.conditions("by-name", "Accepted=False");
    assert_eq!(status(&conditions, "Degraded"), "True", "{conditions:#?}");
    client.delete(BY_NAME).unwrap();

    for policy in [
        egress.as_str(),
        OPERATORS_MAY,
        BY_DEFAULT_NOBODY,
        ONLY_THE_BACKEND_IS_LEFT_TO_OTHERS,
        BACKEND_MAY_QUERY,
        DATABASE_IS_CLOSED,
    ] {
        client.delete(policy).unwrap();
    }
    story.settles_with(SCANNER, POSTGRES, open);
    product.check_running().unwrap();
}
