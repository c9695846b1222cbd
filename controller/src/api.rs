//! Writing status into the cluster's objects. Enforcement never waits for it; a write that fails is made later.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bulkhead_crds::kinds::{
    ClusterSegmentationPolicy, NodeEnforcement, NodeEnforcementSpec, Quarantine, Segment,
    SegmentationPolicy,
};
use bulkhead_crds::upstream;
use bulkhead_policy::model::Kind;
use bulkhead_source::kubernetes::reason_of;
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch as Change, PatchParams, PostParams,
};
use kube::{Client, Resource as _};
use serde_json::json;
use tracing::{debug, warn};

use crate::clock;
use crate::run::Questions;
use crate::server::Shared;
use crate::status::{Ledger, Patch, PatchStatus, Target};

/// Between two looks at what has to be written. A change of substance is seen within this time.
const LOOK: Duration = Duration::from_secs(1);

/// Dates of nodes are written this often.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// After a failed write, its target waits for so long, and everything else goes on.
const RETRY: Duration = Duration::from_secs(5);

/// Writes under way at the same time.
const WRITES: usize = 8;

/// Agents of a controller that has just started come within so long; to write that none is there would be news to nobody.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Who owns the conditions that stand beside those of others.
const MANAGER: &str = "bulkhead-controller";

/// Reaches the API server by KUBECONFIG, or by the pod's service account.
///
/// # Errors
/// If neither is there, or what is there cannot be used.
pub async fn client() -> anyhow::Result<Client> {
    Client::try_default().await.map_err(|error| {
        let reason = reason_of(&error);
        anyhow!("--kubernetes: set KUBECONFIG, or run in a pod with a service account: {reason}")
    })
}

/// Writes what changes, until the controller ends.
pub async fn write_statuses(client: Client, shared: Arc<Shared>, questions: Questions) {
    let mut ledger = Ledger::default();
    let mut seen = None;
    let start = tokio::time::Instant::now();
    let mut looked = start;
    loop {
        tokio::time::sleep(LOOK).await;
        let (connected, nodes) = shared.status().connected();
        if connected < nodes && start.elapsed() < ARRIVAL {
            continue;
        }
        // Asking is not free for the compiler: where nothing was reported, nothing can have changed but dates.
        let changes = (shared.status().changes(), shared.board.frontier());
        if seen.as_ref() == Some(&changes) && looked.elapsed() < LOOK_ANYWAY {
            continue;
        }
        looked = tokio::time::Instant::now();
        seen = Some(changes);
        let concerned = shared.status().concerned();
        let Some(objects) = questions.objects(concerned).await else {
            return;
        };
        let view = shared.status().view(shared.board.frontier(), &objects);
        let writes = ledger.patches(&view, clock::now()).into_iter();
        let writes = writes.map(|patch| {
            let client = client.clone();
            async move {
                let outcome = write(&client, &patch).await;
                (patch.target, outcome)
            }
        });
        let mut outcomes = stream::iter(writes).buffer_unordered(WRITES);
        let mut is_whole = true;
        while let Some((target, outcome)) = outcomes.next().await {
            if let Err(error) = outcome {
                let error = reason_of(&error);
                warn!(?target, %error, "a status could not be written; it is tried again");
                ledger.failed(&target);
                is_whole = false;
            }
        }
        if !is_whole {
            seen = None;
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn write(client: &Client, patch: &Patch) -> Result<(), kube::Error> {
    let (api, name) = match &patch.target {
        Target::Node(node) => (
            Api::all_with(client.clone(), &ApiResource::erase::<NodeEnforcement>(&())),
            node,
        ),
        Target::Object {
            kind,
            namespace,
            name,
        } => {
            let Some(resource) = resource(kind) else {
                return Ok(());
            };
            let api: Api<DynamicObject> = if namespace.is_empty() {
                Api::all_with(client.clone(), &resource)
            } else {
                Api::namespaced_with(client.clone(), namespace, &resource)
            };
            (api, name)
        }
    };
    let status = match &patch.status {
        PatchStatus::Object(status) => json!({ "status": status }),
        PatchStatus::Node(status) => json!({ "status": status }),
    };
    let change = Change::Merge(&status);
    let outcome = match (&patch.target, &patch.status) {
        (Target::Object { kind, name, .. }, PatchStatus::Object(status)) if is_shared(kind) => {
            // Others may enforce it too and have conditions there: only ours are ours.
            let ours = json!({
                "apiVersion": format!("{}/{}", upstream::GROUP, upstream::VERSION),
                "kind": kind,
                "metadata": { "name": name },
                "status": { "conditions": status.conditions },
            });
            let parameters = PatchParams::apply(MANAGER).force();
            api.patch_status(name, &parameters, &Change::Apply(&ours))
                .await
        }
        _ => {
            api.patch_status(name, &PatchParams::default(), &change)
                .await
        }
    };
    match (outcome, &patch.target) {
        (Ok(_), _) => Ok(()),
        (Err(kube::Error::Api(error)), Target::Node(node)) if error.code == 404 => {
            let Some(owner) = Api::<Node>::all(client.clone()).get_opt(node).await? else {
                debug!(node, "no such node, and so nothing to write about it");
                return Ok(());
            };
            let nodes: Api<NodeEnforcement> = Api::all(client.clone());
            let mut object = NodeEnforcement::new(node, NodeEnforcementSpec::default());
            // It goes with its node.
            object.meta_mut().owner_references = owner.owner_ref(&()).map(|owner| vec![owner]);
            nodes.create(&PostParams::default(), &object).await?;
            api.patch_status(name, &PatchParams::default(), &change)
                .await
                .map(drop)
        }
        (Err(kube::Error::Api(error)), Target::Object { .. }) if error.code == 404 => {
            debug!(target = ?patch.target, "gone meanwhile");
            Ok(())
        }
        (Err(error), _) => Err(error),
    }
}

/// Whether the kind is not ours alone.
fn is_shared(kind: &str) -> bool {
    kind == Kind::ClusterNetworkPolicy.name()
}

fn resource(kind: &str) -> Option<ApiResource> {
    let shared = GroupVersionKind::gvk(
        upstream::GROUP,
        upstream::VERSION,
        Kind::ClusterNetworkPolicy.name(),
    );
    let all = [
        ApiResource::from_gvk_with_plural(&shared, "clusternetworkpolicies"),
        ApiResource::erase::<SegmentationPolicy>(&()),
        ApiResource::erase::<ClusterSegmentationPolicy>(&()),
        ApiResource::erase::<Quarantine>(&()),
        ApiResource::erase::<Segment>(&()),
    ];
    all.into_iter().find(|resource| resource.kind == kind)
}
