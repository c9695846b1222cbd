//! Ports on the command line: `tcp/80`, `udp/53`, `sctp/7`, `icmp`.

use std::fmt;
use std::str::FromStr;

use bulkhead_graph::{Address, Protocol};

/// What a flow asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortQuery {
    /// A port of a protocol.
    Numbered {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// From 1.
        port: u16,
    },
    /// An echo request of the family of the addresses.
    Echo,
}

/// Type and code of an echo request as the model's port.
const ECHO_V4: u16 = u16::from_be_bytes([8, 0]);
const ECHO_V6: u16 = u16::from_be_bytes([128, 0]);

impl PortQuery {
    /// As the model names it, for flows to an address.
    pub(crate) fn to(self, destination: Address) -> (Protocol, u16) {
        match self {
            Self::Numbered { protocol, port } => (protocol, port),
            Self::Echo if destination.is_ipv4() => (Protocol::Icmp, ECHO_V4),
            Self::Echo => (Protocol::Icmpv6, ECHO_V6),
        }
    }

    /// The port as people and JSON write it; ICMP has none.
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Numbered { port, .. } => port,
            Self::Echo => 0,
        }
    }

    /// A port and the protocol's name: `80`, `tcp`; the name may be missing.
    pub(crate) fn from_parts(port: &str, protocol: Option<&str>) -> Result<Self, String> {
        let protocol = match protocol.unwrap_or("tcp").to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => {
                return Err(format!(
                    "unknown protocol {other:?}; use tcp, udp, sctp or icmp"
                ));
            }
        };
        let number = port.parse::<u16>().ok().filter(|port| *port != 0);
        let port = number
            .ok_or_else(|| format!("{port:?} is no port; a port is a number from 1 to 65535"))?;
        Ok(Self::Numbered { protocol, port })
    }
}

impl FromStr for PortQuery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("icmp") {
            return Ok(Self::Echo);
        }
        let (protocol, port) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?} is no port; write tcp/80, udp/53, sctp/7 or icmp"))?;
        Self::from_parts(port, Some(protocol))
    }
}

impl fmt::Display for PortQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered { protocol, port } => {
                write!(f, "{}/{port}", protocol_name(*protocol).to_lowercase())
            }
            Self::Echo => f.write_str("icmp"),
        }
    }
}

/// As in manifests.
pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
        Protocol::Icmp => "ICMP",
        Protocol::Icmpv6 => "ICMPv6",
        Protocol::Other => "other",
    }
}
