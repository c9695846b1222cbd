//! What should be reachable, according to the policy model's own reading of the objects that the API server holds right now.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bulkhead_crds::convert::{InputKind, input_kind, plain_object};
use bulkhead_graph::{Protocol, Timestamp};
use bulkhead_policy::eval::{Flow, World, eval};
use bulkhead_policy::model::{Address, Event};
use serde_json::Value;

use super::kubectl::Kubectl;
use super::probe::{self, Reach, Target};
use super::upstream_definitions;

/// Everything that intent or identity depends on.
const RESOURCES: &str = "nodes,namespaces,pods,services,endpointslices.discovery.k8s.io,networkpolicies.networking.k8s.io,\
     segments.bulkhead.dev,segmentationpolicies.bulkhead.dev,clustersegmentationpolicies.bulkhead.dev,\
     quarantines.bulkhead.dev,workloads.bulkhead.dev";

/// The objects of a cluster at one moment.
pub struct Oracle {
    world: World,
    now: Timestamp,
}

impl Oracle {
    /// Reads all objects. An object that the model refuses is an error: stories use only good ones.
    pub fn of(client: &Kubectl) -> Result<Self> {
        let mut resources = RESOURCES.to_owned();
        let definition = [
            "get",
            "crd",
            upstream_definitions::NAME,
            "--ignore-not-found",
        ];
        // Not every cluster has this kind.
        if !client.run(&definition)?.is_empty() {
            resources = format!("{resources},{}", upstream_definitions::NAME);
        }
        let list = client.get(&[&resources, "--all-namespaces"])?;
        let mut world = World::new([]);
        for object in list["items"].as_array().context("kubectl get: no items")? {
            let text = |field: &str| object[field].as_str().unwrap_or_default();
            match input_kind(text("apiVersion"), text("kind")) {
                InputKind::Read(kind) => {
                    let converted = plain_object(kind, object).map_err(|rejection| {
                        anyhow::anyhow!("{}: {rejection:?}", described(object))
                    })?;
                    if !converted.faults.is_empty() {
                        bail!("{}: {:?}", described(object), converted.faults);
                    }
                    world.apply(Event::Apply(converted.object));
                }
                InputKind::Ignored | InputKind::Foreign(_) => {}
                InputKind::Unknown(advice) => bail!("{}: {advice}", described(object)),
            }
        }
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock is before 1970")?;
        Ok(Self {
            world,
            now: Timestamp(i64::try_from(since_1970.as_millis())?),
        })
    }

    /// What a probe should find, and why. Through a Service, every endpoint has to agree.
    pub fn expect(&self, source: IpAddr, target: &Target, endpoints: &[Target]) -> (Reach, String) {
        let flows = std::iter::once(target).chain(endpoints);
        for flow in flows.map(|target| flow(source, target)) {
            let outcome = eval(&self.world, &flow, self.now).enforced;
            for half in [outcome.egress, outcome.ingress] {
                if !half.allowed {
                    return (Reach::Silent, format!("{:?}", half.rule));
                }
            }
        }
        (Reach::Open, "both halves allow".into())
    }
}

fn flow(source: IpAddr, target: &Target) -> Flow {
    Flow {
        source: Address::from(source),
        destination: Address::from(IpAddr::V4(*target.address.ip())),
        protocol: match target.protocol {
            probe::Protocol::Tcp => Protocol::Tcp,
            probe::Protocol::Udp => Protocol::Udp,
        },
        port: target.address.port(),
    }
}

fn described(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!(
        "{} {}/{}",
        object["kind"], metadata["namespace"], metadata["name"]
    )
}
