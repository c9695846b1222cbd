//! The addresses of a cluster and the network namespaces they live in.
//!
//! Every cluster has the same addresses: its wires are closed in namespaces of its own, so clusters cannot meet. The machine's
//! own network namespace gets no interface, address or route.
//!
//! ```text
//! kube-NAME-cp   bridge nodes0 172.30.0.1/24: the control plane, and the tests' place in the world
//! kube-NAME-nI   eth0 172.30.0.(10+I)/24, pods 10.244.I.0/24, one route per other node
//! ```

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;

/// Where the control plane listens, and the gateway of the nodes.
pub const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The first address of [`SERVICES`], by which pods reach the API server.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Cluster addresses of Services.
pub const SERVICES: &str = "10.96.0.0/16";
/// All pod ranges together.
pub const PODS: &str = "10.244.0.0/16";

/// A cluster's name: one word, short enough for cgroups, interfaces and namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// Takes 1 to 20 lower-case letters and digits.
    pub fn new(name: &str) -> Result<Self> {
        let fits = (1..=20).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !fits {
            bail!("cluster name {name:?}: use 1 to 20 lower-case letters and digits");
        }
        Ok(Self(name.to_owned()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The number of a node, counted from 1. At most [`NodeIndex::MAX`], as each takes a /24 and an address of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeIndex(u8);

impl NodeIndex {
    /// The most nodes a cluster can have.
    pub const MAX: u8 = 9;

    /// Fails outside of 1..=[`NodeIndex::MAX`].
    pub fn new(index: u8) -> Result<Self> {
        if !(1..=Self::MAX).contains(&index) {
            bail!("node {index}: nodes are numbered 1 to {}", Self::MAX);
        }
        Ok(Self(index))
    }

    /// The nodes 1 to `count`.
    pub fn first(count: u8) -> Result<Vec<Self>> {
        (1..=count).map(Self::new).collect()
    }

    /// The node's name in Kubernetes.
    pub fn name(self) -> String {
        format!("n{}", self.0)
    }

    /// The node's own address.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, 0, 10 + self.0)
    }

    /// The range its pods get addresses from.
    pub fn pods(self) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(10, 244, self.0, 0), 24)
    }

    /// Its place in lists.
    pub(crate) fn position(self) -> usize {
        usize::from(self.0) - 1
    }
}

/// A network namespace made by `ip netns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netns(String);

impl Netns {
    /// The control plane's.
    pub fn of_control_plane(cluster: &ClusterName) -> Self {
        Self(format!("kube-{}-cp", cluster.as_str()))
    }

    /// A node's.
    pub fn of_node(cluster: &ClusterName, node: NodeIndex) -> Self {
        Self(format!("kube-{}-{}", cluster.as_str(), node.name()))
    }

    /// The file that stands for it.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        std::path::Path::new(&self.path()).exists()
    }

    /// A command that runs inside it. The command keeps the machine's mounts and process numbers.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(program);
        command
    }

    fn make(&self) -> Result<()> {
        ip(&[], &format!("netns add {}\n", self.0))
    }

    /// Removes the name; the namespace goes with the last process in it.
    pub(crate) fn remove(&self) -> Result<()> {
        ip(&[], &format!("netns del {}\n", self.0))
    }

    /// Lines for `ip`, executed inside.
    fn set_up(&self, lines: &str) -> Result<()> {
        ip(&["-n", &self.0], lines)
    }
}

/// Makes the control plane's namespace with the bridge that all nodes hang on.
pub(crate) fn make_control_plane(cluster: &ClusterName) -> Result<()> {
    let netns = Netns::of_control_plane(cluster);
    netns.make()?;
    netns.set_up(&format!(
        "link set lo up\n\
         link add nodes0 type bridge forward_delay 0\n\
         addr add {CONTROL_PLANE}/24 dev nodes0\n\
         link set nodes0 up\n"
    ))?;
    let forward = netns
        .command("sh")
        .args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        .status()?;
    if !forward.success() {
        bail!("cannot switch on forwarding in {}", netns.0);
    }
    Ok(())
}

/// Makes a node's namespace, wires it to the bridge and lets it find the other nodes' pods.
pub(crate) fn make_node(cluster: &ClusterName, node: NodeIndex, all: &[NodeIndex]) -> Result<()> {
    let control_plane = Netns::of_control_plane(cluster);
    let netns = Netns::of_node(cluster, node);
    let (name, address, pods) = (node.name(), node.address(), node.pods());
    netns.make()?;
    control_plane.set_up(&format!(
        "link add {name} type veth peer name eth0 netns {}\n\
         link set {name} master nodes0 up\n\
         route replace {pods} via {address}\n",
        netns.0
    ))?;
    let mut lines = format!(
        "link set lo up\n\
         link set eth0 up\n\
         addr add {address}/24 dev eth0\n\
         route add default via {CONTROL_PLANE}\n"
    );
    for other in all.iter().filter(|other| **other != node) {
        lines += &format!("route add {} via {}\n", other.pods(), other.address());
    }
    netns.set_up(&lines)
}

fn ip(options: &[&str], lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start ip")?;
    child
        .stdin
        .take()
        .context("no pipe to ip")?
        .write_all(lines.as_bytes())
        .context("write to ip")?;
    let output = child.wait_with_output().context("wait for ip")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}\nwhile executing\n{lines}",
            options.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
