//! Which rule decides about one side of a flow: what an agent saw, named by who compiled it.

use bulkhead_graph::Stance;
use bulkhead_policy::engine::{Engine, Explanation};
use bulkhead_policy::model::{Address, Direction, Protocol};
use serde::Serialize;

/// One side of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The workload's address.
    pub subject: Address,
    /// Seen from it.
    pub direction: Direction,
    /// The other end.
    pub peer: Address,
    /// Transport.
    pub protocol: Protocol,
    /// As the model has it: the destination's port; for ICMP type and code.
    pub port: u16,
}

/// Both answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// What nodes enforce.
    pub enforced: Decision,
    /// What they would if everything in Audit were enforced.
    pub intended: Decision,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whether this side lets it pass.
    pub allowed: bool,
    /// Object, rule and name; or the objects that isolate.
    pub rule: String,
}

impl Asked {
    /// From the parts of a path: `10.0.0.1`, `egress`, `10.0.0.2`, `tcp` or a number, `443`.
    ///
    /// # Errors
    /// Says which part is wrong and what may stand there.
    pub fn read(
        subject: &str,
        direction: &str,
        peer: &str,
        protocol: &str,
        port: u16,
    ) -> Result<Self, String> {
        let address = |text: &str| {
            let ip: Result<std::net::IpAddr, _> = text.parse();
            ip.map(Address::from)
                .map_err(|_| format!("{text} is no address; write one like 10.0.0.1"))
        };
        let (protocol, port) = match protocol {
            "tcp" => (Protocol::Tcp, port),
            "udp" => (Protocol::Udp, port),
            "sctp" => (Protocol::Sctp, port),
            "icmp" => (Protocol::Icmp, port),
            "icmpv6" => (Protocol::Icmpv6, port),
            other => match other.parse::<u8>() {
                Ok(number) => (Protocol::Other, u16::from(number)),
                Err(_) => {
                    return Err(format!(
                        "{other} is no protocol; write tcp, udp, sctp, icmp, icmpv6 or a number"
                    ));
                }
            },
        };
        Ok(Self {
            subject: address(subject)?,
            direction: match direction {
                "ingress" => Direction::Ingress,
                "egress" => Direction::Egress,
                other => return Err(format!("{other} is no direction; write ingress or egress")),
            },
            peer: address(peer)?,
            protocol,
            port,
        })
    }

    /// `None` if no workload of ours owns the address.
    pub(crate) fn answer(&self, engine: &mut Engine) -> Option<Told> {
        Some(Told {
            enforced: self.decision(engine, Stance::Enforced)?,
            intended: self.decision(engine, Stance::Intended)?,
        })
    }

    fn decision(&self, engine: &mut Engine, stance: Stance) -> Option<Decision> {
        let through = match self.direction {
            Direction::Egress => engine.endpoints(self.peer, self.protocol, self.port),
            Direction::Ingress => None,
        };
        let Some(endpoints) = through else {
            let Explanation { allowed, reason } = self.ask(engine, self.peer, self.port, stance)?;
            let rule = reason.to_string();
            return Some(Decision { allowed, rule });
        };
        let mut chosen = Decision {
            allowed: false,
            rule: format!("the Service at {} has no endpoint", self.peer),
        };
        for (at, (address, port)) in endpoints.into_iter().enumerate() {
            let Explanation { allowed, reason } = self.ask(engine, address, port, stance)?;
            if at == 0 || !allowed {
                let rule = format!("{reason}, for the endpoint {address} port {port}");
                chosen = Decision { allowed, rule };
            }
            if !allowed {
                break;
            }
        }
        Some(chosen)
    }

    fn ask(
        &self,
        engine: &mut Engine,
        peer: Address,
        port: u16,
        stance: Stance,
    ) -> Option<Explanation> {
        let port = (self.protocol, port);
        engine.explain(self.subject, self.direction, peer, port, stance)
    }
}
