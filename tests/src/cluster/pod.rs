//! Pods and Services for tests: agnhost, serving the ports it is told to, or just there to be probed from.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::kubectl::{Kubectl, PodName};
use super::network::NodeIndex;
use super::programs::AGNHOST_IMAGE;

/// A pod to be made.
#[derive(Debug, Clone)]
pub struct TestPod {
    /// Namespace and name.
    pub name: PodName,
    labels: BTreeMap<String, String>,
    node: Option<NodeIndex>,
    ports: Vec<u16>,
}

impl TestPod {
    /// A pod that serves nothing, on whatever node the scheduler likes.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            name: PodName::new(namespace, name),
            labels: BTreeMap::new(),
            node: None,
            ports: Vec::new(),
        }
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// On this node.
    #[must_use]
    pub fn on(mut self, node: NodeIndex) -> Self {
        self.node = Some(node);
        self
    }

    /// Serving HTTP at the TCP port, and answering datagrams at the UDP port of the same number.
    #[must_use]
    pub fn serving(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// The object.
    pub fn manifest(&self) -> Value {
        let mut spec = json!({
            "terminationGracePeriodSeconds": 1,
            "containers": self.containers(),
        });
        if let Some(node) = self.node {
            spec["nodeName"] = json!(node.name());
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": self.name.namespace, "name": self.name.name, "labels": self.labels},
            "spec": spec,
        })
    }

    fn containers(&self) -> Vec<Value> {
        let container = |name: String| json!({"name": name, "image": AGNHOST_IMAGE, "imagePullPolicy": "Never"});
        let serving = |port: &u16| {
            let mut serving = container(format!("port-{port}"));
            serving["args"] = json!([
                "netexec",
                format!("--http-port={port}"),
                format!("--udp-port={port}")
            ]);
            // Not a network probe: the node's probes would be one more thing that policies allow or deny. And only until
            // the first success: each one starts a program, and a busy machine would call the pod unready.
            serving["startupProbe"] = json!({
                "exec": {"command": ["/agnhost", "connect", format!("127.0.0.1:{port}"), "--timeout=1s"]},
                "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 60,
            });
            serving
        };
        if self.ports.is_empty() {
            return vec![container("idle".into())];
        }
        self.ports.iter().map(serving).collect()
    }
}

/// A Service with a cluster address: `port` leads to the same port of the pods, for TCP and UDP.
pub fn service(namespace: &str, name: &str, selector: (&str, &str), port: u16) -> Value {
    let ports = ["TCP", "UDP"].map(
        |protocol| json!({"name": protocol.to_lowercase(), "protocol": protocol, "port": port}),
    );
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": {selector.0: selector.1}, "ports": ports},
    })
}

/// Several objects as one, for [`Kubectl::apply`].
pub fn list(objects: impl IntoIterator<Item = Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects.into_iter().collect::<Vec<_>>()})
        .to_string()
}

impl Kubectl {
    /// Makes a namespace and waits until pods can be made in it.
    pub fn make_namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}).to_string())?;
        self.wait_for(
            "create",
            Duration::from_secs(30),
            &["serviceaccount/default", "--namespace", name],
        )
    }

    /// Makes the pods and waits until all are Ready.
    pub fn make_pods(&self, pods: &[TestPod], limit: Duration) -> Result<()> {
        self.apply(&list(pods.iter().map(TestPod::manifest)))?;
        for pod in pods {
            let object = format!("pod/{}", pod.name.name);
            self.wait_for(
                "condition=Ready",
                limit,
                &[&object, "--namespace", &pod.name.namespace],
            )?;
        }
        Ok(())
    }

    /// A pod's address.
    pub fn pod_address(&self, pod: &PodName) -> Result<Ipv4Addr> {
        self.address_at(
            &pod.namespace,
            &format!("pod/{}", pod.name),
            "/status/podIP",
        )
    }

    /// A Service's cluster address with a port.
    pub fn service_address(&self, namespace: &str, name: &str, port: u16) -> Result<SocketAddrV4> {
        Ok(SocketAddrV4::new(
            self.address_at(namespace, &format!("service/{name}"), "/spec/clusterIP")?,
            port,
        ))
    }

    fn address_at(&self, namespace: &str, object: &str, field: &str) -> Result<Ipv4Addr> {
        let value = self.get(&[object, "--namespace", namespace])?;
        let text = value.pointer(field).and_then(Value::as_str);
        text.and_then(|text| text.parse().ok()).with_context(|| {
            format!("{object} of {namespace}: no IPv4 address at {field}: {text:?}")
        })
    }
}
