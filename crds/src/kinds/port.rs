//! Ports, as rules name them: exactly one of several things.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which ports a rule speaks of: exactly one of the fields. The port is that of the flow's first packet at the
/// workload, after Service translation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "[has(self.port), has(self.range), has(self.named), has(self.protocol), has(self.icmp), has(self.ipProtocol), has(self.every)].exists_one(x, x)"
).message("a port is exactly one of port, range, named, protocol, icmp, ipProtocol, every"))]
#[serde(rename_all = "camelCase")]
pub struct PolicyPort {
    /// One port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumber>,
    /// Ports from one number to another, both included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<PortRange>,
    /// Whatever number the destination workload's containers give to this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<NamedPort>,
    /// Every port of a protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<WholeProtocol>,
    /// One kind of ICMP message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpMessage>,
    /// Another IP protocol, such as GRE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_protocol: Option<IpProtocol>,
    /// Every port of every protocol, written `every: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<EveryPort>,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortNumber {
    /// The protocol.
    pub protocol: PortProtocol,
    /// The number.
    #[schemars(range(min = 1, max = 65535))]
    pub number: i32,
}

/// Ports from one number to another, both included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.from <= self.to").message("from must not be greater than to"))]
#[serde(rename_all = "camelCase")]
pub struct PortRange {
    /// The protocol.
    pub protocol: PortProtocol,
    /// The first port.
    #[schemars(range(min = 1, max = 65535))]
    pub from: i32,
    /// The last port.
    #[schemars(range(min = 1, max = 65535))]
    pub to: i32,
}

/// A port by the name that the destination's containers give to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedPort {
    /// The protocol.
    pub protocol: PortProtocol,
    /// The name, as in a container's `ports[].name`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// One kind of ICMP message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IcmpMessage {
    /// ICMP or ICMPv6.
    pub family: IpFamily,
    /// The type; echo request is 8 in IPv4 and 128 in IPv6.
    #[serde(rename = "type")]
    #[schemars(range(min = 0, max = 255))]
    pub message: i32,
    /// The code; that of echo is 0. Absent: every code of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub code: Option<i32>,
}

/// An IP protocol without ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!(self.number in [1, 6, 17, 58, 132])")
    .message("ICMP, TCP, UDP, ICMPv6 and SCTP are written as protocol"))]
#[serde(rename_all = "camelCase")]
pub struct IpProtocol {
    /// Its number as IANA assigned it; GRE is 47, ESP 50.
    #[schemars(range(min = 0, max = 255))]
    pub number: i32,
}

/// Every port of every protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct EveryPort {}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A protocol as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WholeProtocol {
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
    /// ICMP of IPv4.
    #[serde(rename = "ICMP")]
    Icmp,
    /// ICMP of IPv6.
    #[serde(rename = "ICMPv6")]
    Icmpv6,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamily {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}
