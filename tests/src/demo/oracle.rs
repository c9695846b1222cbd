//! What the demo's matrix has to be, by the oracle: the manifests read anew and judged flow by flow, without the compiler.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use bulkhead_policy::eval::{Flow, Verdict, World, eval};
use bulkhead_policy::model::{Address, Event, Object, Protocol, Timestamp};

use super::application;
use crate::lab::endpoint::Transport;
use crate::lab::{Cell, Expected, Lab};

/// Echo request without a code.
const ECHO_REQUEST_V4: u16 = 8 << 8;
const ECHO_REQUEST_V6: u16 = 128 << 8;

/// A world of objects, and the question who may reach whom in it.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    world: World,
}

impl Oracle {
    /// Takes all objects of a file in.
    pub fn read(&mut self, path: &Path) -> Result<()> {
        application::read(path)?
            .into_iter()
            .for_each(|object| self.take(object));
        Ok(())
    }

    /// Takes an object in.
    pub fn take(&mut self, object: Object) {
        self.world.apply(Event::Apply(object));
    }

    /// The verdict on the flow that a cell's client opens.
    pub fn verdict(&self, lab: &Lab, cell: &Cell, now: Timestamp) -> Result<Verdict> {
        let address =
            |name: &str| Ok::<IpAddr, anyhow::Error>(lab.addresses(name)?.of(cell.family));
        let destination = address(&cell.destination)?;
        let (protocol, port) = match (cell.transport, destination) {
            (Transport::Tcp, _) => (Protocol::Tcp, cell.port),
            (Transport::Udp, _) => (Protocol::Udp, cell.port),
            (Transport::Ping, IpAddr::V4(_)) => (Protocol::Icmp, ECHO_REQUEST_V4),
            (Transport::Ping, IpAddr::V6(_)) => (Protocol::Icmpv6, ECHO_REQUEST_V6),
        };
        let flow = Flow {
            source: Address::from(address(&cell.source)?),
            destination: Address::from(destination),
            protocol,
            port,
        };
        Ok(eval(&self.world, &flow, now))
    }

    /// What the cell's client has to find.
    pub fn expected(&self, lab: &Lab, cell: &Cell, now: Timestamp) -> Result<Expected> {
        let verdict = self.verdict(lab, cell, now)?;
        Ok(if verdict.allowed() {
            Expected::Reached
        } else {
            Expected::Silent
        })
    }
}
