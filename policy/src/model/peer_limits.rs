//! How much of a node's graph the peers of one namespace's policies may take (I7). A selector is a list of all that it
//! matches, on every node with a subject of its rule; without a limit one tenant could make a revision that no node can be sent.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    Action, Direction, Interned, Peer, Peers, Policy, Port, Ports, Protocol, Rule, WorkloadSelector,
};

/// Limits for the policies of one namespace together. What segments hold and whom cluster policies name counts for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Different lists.
    pub lists: usize,
    /// Workloads on them, counted once for each list.
    pub workloads: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            lists: 4096,
            workloads: 1 << 21,
        }
    }
}

/// Workloads that nodes need a list of, because a rule names them as peers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerList {
    /// Only as far as they give a number to a port's name: on egress the peers name the ports.
    pub port: Option<ListedPort>,
    /// Of whom.
    pub of: ListOf,
}

/// A port's name in an egress rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedPort {
    /// Transport.
    pub protocol: Protocol,
    /// The name.
    pub name: Interned,
    /// What the rule does. A `Deny` also needs those who give no number to the name.
    pub action: Action,
}

/// Whom a list is of; shared, because one rule may need it for each of many names of ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListOf {
    /// Workloads by identity.
    Selected(Arc<WorkloadSelector>),
    /// Whatever else these peers are. Anybody may be among them.
    Others(Arc<Peers>),
}

impl PeerList {
    fn of_peer(selector: &WorkloadSelector) -> Self {
        Self {
            port: None,
            of: ListOf::Selected(Arc::new(selector.clone())),
        }
    }

    fn named(port: &ListedPort, of: &ListOf) -> Self {
        Self {
            port: Some(port.clone()),
            of: of.clone(),
        }
    }

    /// How often a workload is on the list, if it is one of them at all and gives so many numbers to the port's name.
    pub fn count(&self, numbers: usize) -> usize {
        match &self.port {
            None => 1,
            Some(port) => match port.action {
                Action::Allow | Action::Pass => numbers,
                Action::Deny => numbers.max(1),
            },
        }
    }
}

/// The longest that any list can be for the sake of one workload, which names so many ports.
pub fn longest_for(named_ports: usize) -> usize {
    named_ports.max(1)
}

impl Rule {
    /// Lists of its peers. Everybody is no list.
    fn peer_lists(&self) -> impl Iterator<Item = PeerList> {
        self.listed_peers().map(PeerList::of_peer)
    }

    fn listed_peers(&self) -> impl Iterator<Item = &WorkloadSelector> {
        let peers = match &self.peers {
            Peers::Any => &[][..],
            Peers::Of(peers) => peers,
        };
        peers.iter().filter_map(|peer| match peer {
            Peer::Workloads(selector) => (!selector.is_universal()).then_some(selector),
            Peer::Network(_) | Peer::Nodes(_) | Peer::Segment(_) | Peer::Unresolved => None,
        })
    }

    /// Names of ports that its peers give.
    fn names_of_peers(&self, direction: Direction) -> impl Iterator<Item = ListedPort> {
        let ports = match (&self.ports, direction) {
            (Ports::Of(ports), Direction::Egress) => ports,
            (Ports::Any, _) | (_, Direction::Ingress) => &[][..],
        };
        ports.iter().filter_map(|port| match port {
            Port::Named { protocol, name } => Some(ListedPort {
                protocol: *protocol,
                name: name.clone(),
                action: self.action,
            }),
            Port::Protocol(_) | Port::Range { .. } | Port::Unresolved => None,
        })
    }

    /// Whom it needs a list of for each name of a port.
    fn named_peers(&self) -> Vec<ListOf> {
        let selected = self.listed_peers().cloned().map(Arc::new);
        let mut all: Vec<ListOf> = selected.map(ListOf::Selected).collect();
        let has_others = match &self.peers {
            Peers::Any => true,
            Peers::Of(peers) => peers.len() > all.len(),
        };
        if has_others {
            all.push(ListOf::Others(Arc::new(self.peers.clone())));
        }
        all
    }

    /// How many lists it needs at most for names of ports.
    fn named_lists(&self, direction: Direction) -> usize {
        self.names_of_peers(direction).count() * (self.listed_peers().count() + 1)
    }
}

impl Policy {
    /// How many lists of peers it needs at most.
    pub fn peer_lists(&self) -> usize {
        let lists = |(direction, rule): (Direction, &Rule)| {
            rule.listed_peers().count() + rule.named_lists(direction)
        };
        rules(self).map(lists).sum()
    }
}

fn rules(policy: &Policy) -> impl Iterator<Item = (Direction, &Rule)> {
    let of = |direction| {
        policy
            .rules(direction)
            .iter()
            .map(move |it| (direction, it))
    };
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .flat_map(of)
}

/// The different lists that the policies of one namespace need.
#[derive(Debug)]
pub struct PeerLists {
    /// How many there are.
    pub count: usize,
    /// The first of them, as many as there may be, in order.
    pub first: Vec<PeerList>,
}

/// Which lists of peers there is room for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PeerRoom {
    /// All of them.
    #[default]
    All,
    /// These, and no other.
    Only(BTreeSet<PeerList>),
}

impl PeerRoom {
    fn lacks(&self, list: &PeerList) -> bool {
        match self {
            Self::All => false,
            Self::Only(lists) => !lists.contains(list),
        }
    }

    /// A rule as it counts: peers and names of ports that there is no room for lead nowhere. That is nobody in an `Allow` and
    /// everybody in a `Deny`, and there on every port where the rule has any by name.
    pub fn reduce<'r>(&self, rule: &'r Rule, direction: Direction) -> Cow<'r, Rule> {
        let mut reduced = Cow::Borrowed(rule);
        if matches!(self, Self::All) {
            return reduced;
        }
        let lost: BTreeSet<PeerList> = rule.peer_lists().filter(|it| self.lacks(it)).collect();
        let is_lost = |peer: &Peer| match peer {
            Peer::Workloads(selector) => lost.contains(&PeerList::of_peer(selector)),
            Peer::Network(_) | Peer::Nodes(_) | Peer::Segment(_) | Peer::Unresolved => false,
        };
        if !lost.is_empty()
            && let Peers::Of(peers) = &mut reduced.to_mut().peers
        {
            peers
                .iter_mut()
                .filter(|it| is_lost(it))
                .for_each(|it| *it = Peer::Unresolved);
        }
        let denies_all = !lost.is_empty() && rule.action == Action::Deny;
        let named = match direction {
            Direction::Ingress => Vec::new(),
            Direction::Egress => rule.named_peers(),
        };
        let lacking = rule.names_of_peers(direction).filter(|port| {
            denies_all
                || named
                    .iter()
                    .any(|of| self.lacks(&PeerList::named(port, of)))
        });
        let lacking: BTreeSet<(Protocol, Interned)> =
            lacking.map(|port| (port.protocol, port.name)).collect();
        if !lacking.is_empty()
            && let Ports::Of(ports) = &mut reduced.to_mut().ports
        {
            for port in ports {
                if let Port::Named { protocol, name } = port
                    && lacking.contains(&(*protocol, name.clone()))
                {
                    *port = Port::Unresolved;
                }
            }
        }
        reduced
    }

    /// How many peers and ports of a policy there is no room for, and which rule has the first.
    pub fn left_out(&self, policy: &Policy) -> Option<(usize, String)> {
        let (mut count, mut first) = (0, None);
        for direction in [Direction::Ingress, Direction::Egress] {
            for (at, rule) in policy.rules(direction).iter().enumerate() {
                let lost = lost(rule, &self.reduce(rule, direction));
                if lost > 0 {
                    let word = match direction {
                        Direction::Ingress => "ingress",
                        Direction::Egress => "egress",
                    };
                    count += lost;
                    first.get_or_insert_with(|| format!("{word}[{at}]"));
                }
            }
        }
        first.map(|first| (count, first))
    }
}

/// How many peers and ports are not what they were.
fn lost(before: &Rule, after: &Rule) -> usize {
    let peers = match (&before.peers, &after.peers) {
        (Peers::Of(before), Peers::Of(after)) => {
            before.iter().zip(after).filter(|(a, b)| a != b).count()
        }
        (Peers::Any, _) | (_, Peers::Any) => 0,
    };
    let ports = match (&before.ports, &after.ports) {
        (Ports::Of(before), Ports::Of(after)) => {
            before.iter().zip(after).filter(|(a, b)| a != b).count()
        }
        (Ports::Any, _) | (_, Ports::Any) => 0,
    };
    peers + ports
}

/// With more than so many times as many lists as there may be, those for names of ports are not even looked at.
const ABSURD: usize = 16;

impl PeerLimits {
    /// Whether so many lists have room, if none can be longer than this.
    pub fn fit(self, lists: usize, longest: usize) -> bool {
        lists <= self.lists && lists.saturating_mul(longest) <= self.workloads
    }

    /// The lists that the policies of one namespace need. Those for names of ports come last, and are left out where there are
    /// absurdly many: a rule needs one for each of its peers and names.
    pub fn lists<'p>(self, policies: impl Iterator<Item = &'p Policy>) -> PeerLists {
        let rules: Vec<(Direction, &Rule)> = policies.flat_map(rules).collect();
        // Most are the same again: a list is made of those that differ.
        let peers = rules.iter().flat_map(|(_, rule)| rule.listed_peers());
        let mut peers: Vec<&WorkloadSelector> = peers.collect();
        peers.sort_unstable();
        peers.dedup();
        let mut lists: BTreeSet<PeerList> = peers.into_iter().map(PeerList::of_peer).collect();
        let named = rules.iter().map(|(to, rule)| rule.named_lists(*to));
        let named: usize = named.sum();
        let count = if named > ABSURD.saturating_mul(self.lists) {
            lists.len() + named
        } else {
            for (direction, rule) in rules {
                let named = rule.named_peers();
                for port in rule.names_of_peers(direction) {
                    lists.extend(named.iter().map(|of| PeerList::named(&port, of)));
                }
            }
            lists.len()
        };
        let first = lists.into_iter().take(self.lists).collect();
        PeerLists { count, first }
    }

    /// Which of the first lists have room, said by how many workloads are on each, in the order of the lists. The shortest come
    /// first, of equal ones the first.
    pub fn admit(self, lengths: &[usize]) -> Vec<bool> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|at| lengths[*at]);
        let mut admitted = vec![false; lengths.len()];
        let mut left = self.workloads;
        for at in order {
            let Some(rest) = left.checked_sub(lengths[at]) else {
                break;
            };
            left = rest;
            admitted[at] = true;
        }
        admitted
    }

    /// Whether all lists have room, of which there are so many, with so many workloads on the first of them.
    pub fn hold(self, lists: usize, workloads: usize) -> bool {
        lists <= self.lists && workloads <= self.workloads
    }

    /// What people have to know of a policy that is left without some of its peers or ports.
    pub fn problem(self, left_out: usize, first: &str, lists: usize, workloads: usize) -> String {
        let mut why = Vec::new();
        if lists > self.lists {
            why.push(format!(
                "need {lists} different lists of peers, of {} that there may be",
                self.lists
            ));
        }
        if workloads > self.workloads {
            why.push(format!(
                "name more than {} workloads as peers, each counted once for each different selector and each port's name; the shortest \
                 lists have room first",
                self.workloads
            ));
        }
        let why = why.join(", and ");
        format!(
            "{left_out} of its peers and ports, the first in {first}, are nobody in an Allow and everybody in a Deny, because the \
             policies of its namespace {why}; select fewer workloads, the same ones in several rules, or a Segment, which is not counted"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PeerLimits = PeerLimits {
        lists: 4,
        workloads: 10,
    };

    #[test]
    fn the_shortest_have_room_and_of_equal_ones_the_first() {
        for (lengths, expected) in [
            (&[][..], &[][..]),
            (&[3, 3, 4], &[true, true, true]),
            (&[9, 1, 2, 3], &[false, true, true, true]),
            (&[4, 4, 4], &[true, true, false]),
            (&[11, 0], &[false, true]),
        ] {
            assert_eq!(LIMITS.admit(lengths), expected, "{lengths:?}");
        }
    }

    #[test]
    fn what_fits_whatever_is_on_it_has_room() {
        for lists in 0..6 {
            for longest in 0..6 {
                let all = LIMITS.admit(&vec![longest; lists]);
                let has_room = lists <= LIMITS.lists && all.into_iter().all(|it| it);
                assert_eq!(LIMITS.fit(lists, longest), has_room);
            }
        }
    }
}
