//! What policy said lately is asked no second time, and nobody can tell but by the clock: an answer ends with its generation,
//! and what may change without a new one is looked up each time.

use std::net::{IpAddr, Ipv4Addr};

use bulkhead_agent::kernel::{Kernel, Options, Skb};
use bulkhead_datapath::abi::{
    Class, DecisionKey, DecisionValue, ExpiryId, Generation, Hook, Lane, Lanes, Mac, PeerLane,
    PeerSlot, PeerValue, PortClass, PortTable, Reason, RuleSet, WorkloadLane, WorkloadSlot,
    WorkloadValue,
};
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_tests::packets::LOCAL_INTERFACE;

use crate::node;
use crate::verdict::now_ns;

const MAC: Mac = Mac {
    octets: [2, 0, 0, 0, 0, 1],
};
const ME: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
const WEB: u16 = 80;
const UPLINK: u32 = 9;
const BUDGET: u32 = 100;
const HOUR_NS: u64 = 3_600_000_000_000;

const DECISION: DecisionKey = DecisionKey {
    rule_set: RuleSet(1),
    class: Class(1),
    block: 0,
};
const EVERYTHING: DecisionValue = DecisionValue {
    enforced: u64::MAX,
    intended: u64::MAX,
    enforced_after: 0,
    intended_after: 0,
    expiry: ExpiryId::NONE,
    reserved: 0,
};
const NOTHING: DecisionValue = DecisionValue {
    enforced: 0,
    intended: 0,
    ..EVERYTHING
};

fn peer() -> PeerValue {
    let lane = PeerLane {
        class: Class(1),
        ..PeerLane::default()
    };
    PeerValue {
        address: PEER.into(),
        lanes: Lanes::both(lane),
        ..PeerValue::default()
    }
}

/// One workload and one peer; rule set 1 judges in the even lane, rule set 2 in the odd one.
fn tables() -> MemoryTables {
    let mut tables = MemoryTables::default();
    tables.node.flows_by_workload = BUDGET;
    tables.node.flows_to_workload = BUDGET;
    tables.interfaces.insert(LOCAL_INTERFACE, WorkloadSlot(0));
    let mut workload = WorkloadValue {
        ifindex: LOCAL_INTERFACE,
        mac: MAC,
        ..WorkloadValue::default()
    };
    workload.v4[0] = ME.into();
    let lane = |number| WorkloadLane {
        egress: RuleSet(number),
        ingress: RuleSet(number),
        class: Class::NONE,
    };
    workload.lanes = Lanes([lane(1), lane(2)]);
    tables.workloads.insert(WorkloadSlot(0), workload);
    tables.set_peer(PeerSlot(0), peer());
    for lane in [Lane::Even, Lane::Odd] {
        tables.set_port_class(PortTable::Tcp, lane, WEB, PortClass(1));
    }
    tables
}

/// Asks the real programs, from another port each time.
struct Asked {
    kernel: Kernel,
    port: u16,
}

impl Asked {
    fn about(decisions: &[(DecisionKey, DecisionValue)]) -> Self {
        let mut kernel = super::kernel(&Options {
            pins: None,
            capacity: node::CAPACITY,
        });
        let mut tables = tables();
        tables.decisions.extend(decisions.iter().copied());
        kernel.fill(&tables).unwrap();
        Self {
            kernel,
            port: 1_000,
        }
    }

    fn again(&self, hook: Hook) -> Reason {
        let (from, to) = match hook {
            Hook::FromWorkload => (ME, PEER),
            Hook::ToWorkload => (PEER, ME),
        };
        let payload = Payload::Tcp {
            source: self.port,
            destination: WEB,
            flags: SYN,
        };
        let skb = Skb {
            ifindex: LOCAL_INTERFACE,
            ingress_ifindex: UPLINK,
        };
        let frame = IpFrame::new(MAC, from, to, payload).build();
        self.kernel.run(hook, &frame, skb).unwrap().reason
    }

    fn another(&mut self, hook: Hook) -> Reason {
        self.port += 1;
        self.again(hook)
    }

    /// Both programs, several times.
    #[track_caller]
    fn expect(&mut self, from_workload: Reason, to_workload: Reason) {
        for _ in 0..3 {
            assert_eq!(self.another(Hook::FromWorkload), from_workload);
            assert_eq!(self.another(Hook::ToWorkload), to_workload);
        }
    }

    #[track_caller]
    fn expect_allowed(&mut self) {
        self.expect(Reason::Opened, Reason::Opened);
    }

    #[track_caller]
    fn expect_denied(&mut self) {
        self.expect(Reason::EgressDenied, Reason::IngressDenied);
    }
}

#[test]
fn g1_an_answer_ends_with_its_generation() {
    let odd = DecisionKey {
        rule_set: RuleSet(2),
        ..DECISION
    };
    let mut asked = Asked::about(&[(DECISION, EVERYTHING), (odd, NOTHING)]);
    for generation in 0..6 {
        asked.kernel.maps.node.flip(Generation(generation));
        if generation % 2 == 0 {
            asked.expect_allowed();
        } else {
            asked.expect_denied();
        }
    }
}

/// The rule sets keep their numbers; only what their lanes' class says of the peer is another.
#[test]
fn g1_an_answer_ends_with_its_generation_under_the_same_rule_set() {
    let other = DecisionKey {
        class: Class(2),
        ..DECISION
    };
    let mut asked = Asked::about(&[(DECISION, EVERYTHING), (other, NOTHING)]);
    asked.expect_allowed();
    let mut value = peer();
    value.lanes.0[1].class = Class(2);
    asked.kernel.maps.classes.write(0, &value);
    let mut workload = tables().workloads[&WorkloadSlot(0)];
    workload.lanes.0[1] = workload.lanes.0[0];
    asked.kernel.maps.workloads.write(0, &workload);
    asked.expect_allowed();
    asked.kernel.maps.node.flip(Generation(1));
    asked.expect_denied();
}

#[test]
fn what_the_tables_lack_is_asked_for_again() {
    let mut asked = Asked::about(&[]);
    asked.expect(Reason::NoDecision, Reason::NoDecision);
    let decisions = &mut asked.kernel.maps.decisions;
    decisions.insert(&DECISION, &EVERYTHING).unwrap();
    asked.expect_allowed();
}

#[test]
fn g9_a_deadline_that_moves_moves_every_answer() {
    let until = DecisionValue {
        expiry: ExpiryId(1),
        ..EVERYTHING
    };
    let mut asked = Asked::about(&[(DECISION, until)]);
    for at in [now_ns() + HOUR_NS, 1, now_ns() + HOUR_NS] {
        assert!(asked.kernel.maps.expiries.store(1, at));
        if at == 1 {
            asked.expect_denied();
        } else {
            asked.expect_allowed();
        }
    }
}

#[test]
fn g6_a_peer_that_has_become_local_has_to_come_through_its_interface() {
    let mut asked = Asked::about(&[(DECISION, EVERYTHING)]);
    asked.expect_allowed();
    let mut value = peer();
    value.set_local_workload(Some(WorkloadSlot(1)));
    asked.kernel.maps.classes.write(0, &value);
    asked.expect(Reason::Opened, Reason::LocalSourceSpoofed);
}

#[test]
fn a_flow_that_is_there_is_found_before_another_is_made() {
    let mut asked = Asked::about(&[(DECISION, EVERYTHING)]);
    asked.expect_allowed();
    for hook in Hook::ALL {
        assert_eq!(asked.another(hook), Reason::Opened);
        assert_eq!(asked.again(hook), Reason::Established);
    }
    assert_eq!(asked.kernel.maps.flows.entries().unwrap().len(), 8);
}

#[test]
fn g9_an_answer_is_no_way_past_a_budget() {
    let mut asked = Asked::about(&[(DECISION, EVERYTHING)]);
    for _ in 0..BUDGET {
        asked.another(Hook::FromWorkload);
        asked.another(Hook::ToWorkload);
    }
    asked.expect(Reason::BudgetByWorkload, Reason::Unremembered);
    let flows = asked.kernel.maps.flows.entries().unwrap();
    assert_eq!(flows.len(), 2 * BUDGET as usize);
}
