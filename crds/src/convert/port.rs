//! Ports of our rules.

use bulkhead_policy::model::{Fault, Port, Ports, Protocol};

use super::limits::{LIST, filled, named};
use super::violation::{Checked, Violation};
use crate::kinds::{self, PolicyPort};

const UNION: &str = "port, range, named, protocol, icmp, ipProtocol, every";

/// The ports of one rule. Nothing that is unreadable becomes *every port*.
pub(super) fn ports(ports: &[PolicyPort], field: &str, faults: &mut Vec<Fault>) -> Checked<Ports> {
    filled(ports, field, LIST)?;
    let mut list = Vec::with_capacity(ports.len());
    let mut every = false;
    for (index, port) in ports.iter().enumerate() {
        match one(port, &format!("{field}[{index}]"), faults)? {
            Some(port) => list.push(port),
            None => every = true,
        }
    }
    Ok(if every { Ports::Any } else { Ports::Of(list) })
}

/// `None` is every port.
fn one(port: &PolicyPort, field: &str, faults: &mut Vec<Fault>) -> Checked<Option<Port>> {
    let PolicyPort {
        port: number,
        range,
        named: name,
        protocol,
        icmp,
        ip_protocol,
        every,
    } = port;
    match (number, range, name, protocol, icmp, ip_protocol, every) {
        (Some(port), None, None, None, None, None, None) => {
            let number = port_number(port.number, &format!("{field}.port.number"))?;
            Ok(Some(Port::Range {
                protocol: with_ports(port.protocol),
                from: number,
                to: number,
            }))
        }
        (None, Some(range), None, None, None, None, None) => {
            let from = port_number(range.from, &format!("{field}.range.from"))?;
            let to = port_number(range.to, &format!("{field}.range.to"))?;
            if from > to {
                let message = format!(
                    "the range {from}–{to} runs backwards; from must not be greater than to"
                );
                return Err(Violation::new(format!("{field}.range"), message));
            }
            Ok(Some(Port::Range {
                protocol: with_ports(range.protocol),
                from,
                to,
            }))
        }
        (None, None, Some(port), None, None, None, None) => {
            named(&port.name, &format!("{field}.named.name"))?;
            Ok(Some(Port::Named {
                protocol: with_ports(port.protocol),
                name: port.name.as_str().into(),
            }))
        }
        (None, None, None, Some(protocol), None, None, None) => {
            Ok(Some(Port::Protocol(whole(*protocol))))
        }
        (None, None, None, None, Some(message), None, None) => {
            icmp_message(message, &format!("{field}.icmp")).map(Some)
        }
        (None, None, None, None, None, Some(protocol), None) => {
            ip_protocol_number(protocol.number, &format!("{field}.ipProtocol.number")).map(Some)
        }
        (None, None, None, None, None, None, Some(_)) => Ok(None),
        (None, None, None, None, None, None, None) => {
            let message = format!("nothing known is set; set exactly one of {UNION}");
            faults.push(Fault {
                field: field.to_owned(),
                message,
            });
            Ok(Some(Port::Unresolved))
        }
        _ => Err(Violation::new(
            field,
            format!("several are set; set exactly one of {UNION}"),
        )),
    }
}

fn icmp_message(message: &kinds::IcmpMessage, field: &str) -> Checked<Port> {
    let kind = octet(message.message, format!("{field}.type"))?;
    let (first, last) = match message.code {
        Some(code) => {
            let code = octet(code, format!("{field}.code"))?;
            (code, code)
        }
        None => (0, u8::MAX),
    };
    let protocol = match message.family {
        kinds::IpFamily::V4 => Protocol::Icmp,
        kinds::IpFamily::V6 => Protocol::Icmpv6,
    };
    Ok(Port::Range {
        protocol,
        from: u16::from_be_bytes([kind, first]),
        to: u16::from_be_bytes([kind, last]),
    })
}

/// A protocol that has no ports and no messages of its own here.
fn ip_protocol_number(number: i32, field: &str) -> Checked<Port> {
    let known = [
        (1, "ICMP"),
        (6, "TCP"),
        (17, "UDP"),
        (58, "ICMPv6"),
        (132, "SCTP"),
    ];
    if let Some((_, name)) = known.iter().find(|(known, _)| *known == number) {
        let message = format!("{number} is {name}; write `protocol: {name}`");
        return Err(Violation::new(field, message));
    }
    let number = octet(number, field.to_owned())?.into();
    Ok(Port::Range {
        protocol: Protocol::Other,
        from: number,
        to: number,
    })
}

fn octet(number: i32, field: String) -> Checked<u8> {
    u8::try_from(number)
        .map_err(|_| Violation::new(field, format!("{number} is not between 0 and 255")))
}

/// A number between 1 and 65535.
pub(super) fn port_number(number: i32, field: &str) -> Checked<u16> {
    u16::try_from(number)
        .ok()
        .filter(|number| *number != 0)
        .ok_or_else(|| {
            Violation::new(
                field,
                format!("{number} is no port; a port is between 1 and 65535"),
            )
        })
}

/// A protocol that has ports.
pub(super) fn with_ports(protocol: kinds::PortProtocol) -> Protocol {
    match protocol {
        kinds::PortProtocol::Tcp => Protocol::Tcp,
        kinds::PortProtocol::Udp => Protocol::Udp,
        kinds::PortProtocol::Sctp => Protocol::Sctp,
    }
}

fn whole(protocol: kinds::WholeProtocol) -> Protocol {
    match protocol {
        kinds::WholeProtocol::Tcp => Protocol::Tcp,
        kinds::WholeProtocol::Udp => Protocol::Udp,
        kinds::WholeProtocol::Sctp => Protocol::Sctp,
        kinds::WholeProtocol::Icmp => Protocol::Icmp,
        kinds::WholeProtocol::Icmpv6 => Protocol::Icmpv6,
    }
}

/// A protocol by the name that upstream kinds give it; they mean TCP where they say nothing.
pub(super) fn upstream_protocol(name: Option<&str>, field: &str) -> Checked<Protocol> {
    match name {
        None | Some("TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(Violation::new(
            field,
            format!("unknown protocol {other:?}; use TCP, UDP or SCTP"),
        )),
    }
}
