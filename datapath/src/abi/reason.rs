//! Why a packet passed or was dropped: one list for kernel, events, metrics, CLI and documents (I8).
//!
//! Numbers and names are stable: a number is never given a second meaning.

/// What a reason does to its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// On to the next program of the hook.
    Pass,
    /// Dropped here.
    Drop,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $action:ident;)+) => {
        /// Why a packet passed or was dropped.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Reason {
            /// All reasons in the order of their numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The stable name: metrics label, CLI word, event field.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// One line for people.
            pub const fn description(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// What becomes of the packet.
            pub const fn action(self) -> Action {
                match self { $(Reason::$variant => Action::$action,)+ }
            }

            /// The reason with this number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Reason::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Belongs to a flow that was judged by the revision in force.
    Established = 1, "established", Pass;
    /// Belongs to a flow that was judged by the revision in force after a change, and is still allowed.
    Rejudged = 2, "rejudged", Pass;
    /// Opens a flow that both halves known on this node allow.
    Opened = 3, "opened", Pass;
    /// Belongs to a connection older than the programs, taken over in the window after the first attach.
    Adopted = 4, "adopted", Pass;
    /// Belongs to a flow opened to a workload whose budget for such flows is used up: judged packet by packet, not remembered.
    Unremembered = 5, "unremembered", Pass;
    /// ICMP error about a known flow.
    Related = 6, "related", Pass;
    /// Originated by the node's own host.
    HostOriginated = 7, "host_originated", Pass;
    /// From a workload to its own address.
    ToSelf = 8, "to_self", Pass;
    /// ARP with the workload's own addresses, or towards it.
    Arp = 9, "arp", Pass;
    /// IPv6 neighbour or router discovery with the workload's own addresses, or towards it.
    Neighbour = 10, "neighbour", Pass;
    /// IPv6 multicast listener report of the workload.
    MulticastListener = 11, "multicast_listener", Pass;

    /// The interface is not known to the programs.
    NoInterface = 32, "no_interface", Drop;
    /// The slot of the interface belongs to another interface by now.
    NoWorkload = 33, "no_workload", Drop;
    /// The workload's identity is not known yet.
    Pending = 34, "pending", Drop;
    /// The workload has no rule set in this direction.
    NoRuleSet = 35, "no_rule_set", Drop;
    /// The other end has no class: neither its address nor a network that contains it is known.
    NoClass = 36, "no_class", Drop;
    /// The rule set says nothing about the other end's class.
    NoDecision = 37, "no_decision", Drop;
    /// The sender's egress half denies.
    EgressDenied = 38, "egress_denied", Drop;
    /// The receiver's ingress half denies.
    IngressDenied = 39, "ingress_denied", Drop;
    /// Neither opens a flow nor belongs to one.
    NoFlow = 40, "no_flow", Drop;
    /// The workload has as many flows open as its budget allows.
    BudgetByWorkload = 41, "budget_by_workload", Drop;
    /// The flow table took no entry.
    FlowTableFull = 43, "flow_table_full", Drop;

    /// Source MAC is not the workload's.
    SourceMacSpoofed = 64, "source_mac_spoofed", Drop;
    /// Source address is not the workload's.
    SourceAddressSpoofed = 65, "source_address_spoofed", Drop;
    /// ARP sender is not the workload.
    ArpSpoofed = 66, "arp_spoofed", Drop;
    /// Neighbour advertisement or link-layer option that is not the workload's own.
    NeighbourSpoofed = 67, "neighbour_spoofed", Drop;
    /// What only routers may say (router advertisement, multicast query), from a workload or forwarded to one.
    RouterAdvertisement = 68, "router_advertisement", Drop;
    /// ICMP redirect: nobody may change a workload's routes.
    Redirect = 69, "redirect", Drop;
    /// Source address of a local workload, but not through that workload's interface.
    LocalSourceSpoofed = 70, "local_source_spoofed", Drop;
    /// Destination is neither the workload's address nor a group.
    ForeignDestination = 71, "foreign_destination", Drop;
    /// Tunnel protocol or port towards a node.
    Tunnel = 72, "tunnel", Drop;
    /// Source address that nobody may send from (unspecified, loopback, group).
    SourceAddressInvalid = 73, "source_address_invalid", Drop;

    /// Shorter than its headers say.
    Truncated = 96, "truncated", Drop;
    /// VLAN tag.
    Vlan = 97, "vlan", Drop;
    /// Neither IP nor ARP.
    EtherType = 98, "ether_type", Drop;
    /// IPv4 header that contradicts itself.
    Ipv4Header = 99, "ipv4_header", Drop;
    /// IPv6 header that contradicts itself.
    Ipv6Header = 100, "ipv6_header", Drop;
    /// Source routing (IPv4 option or IPv6 routing header type 0).
    SourceRoute = 101, "source_route", Drop;
    /// More than six extension headers, or one that is not known.
    ExtensionHeaders = 102, "extension_headers", Drop;
    /// TCP header that contradicts itself.
    TcpHeader = 103, "tcp_header", Drop;
    /// TCP flags that no honest end sends together.
    TcpFlags = 104, "tcp_flags", Drop;
    /// UDP header that contradicts itself.
    UdpHeader = 105, "udp_header", Drop;
    /// ARP that is not IPv4 over Ethernet, or contradicts itself.
    ArpHeader = 106, "arp_header", Drop;
    /// Neighbour discovery that contradicts itself or was forwarded.
    NeighbourHeader = 107, "neighbour_header", Drop;
    /// ICMP error about something that is no known flow.
    UnrelatedError = 108, "unrelated_error", Drop;
    /// Fragment too small, overlapping the header, or beyond the end.
    FragmentInvalid = 109, "fragment_invalid", Drop;
    /// Fragment whose first has not been seen.
    FragmentUnknown = 110, "fragment_unknown", Drop;
    /// The workload has as many fragmented datagrams under way as its budget allows.
    FragmentBudget = 111, "fragment_budget", Drop;

    /// A table that always exists was not there, or a read failed.
    Internal = 127, "internal", Drop;
}

impl Reason {
    /// Whether the packet goes on.
    #[inline(always)]
    pub const fn passes(self) -> bool {
        Self::number_passes(self as u8)
    }

    /// Whether the packet goes on whose reason has this number; none has 0.
    #[inline(always)]
    pub const fn number_passes(number: u8) -> bool {
        number != 0 && number < 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The table of reasons in the documents is this list. `BULKHEAD_BLESS=1` writes it.
    #[test]
    fn the_documents_list_every_reason() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/design/datapath.md");
        let (begin, end) = ("<!-- reasons -->\n", "<!-- /reasons -->");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(begin).unwrap();
        let (written, after) = rest.split_once(end).unwrap();
        let mut table = String::from("| number | name | action | meaning |\n|---|---|---|---|\n");
        for reason in Reason::ALL {
            let action = if reason.passes() { "pass" } else { "drop" };
            let (number, name, meaning) = (*reason as u8, reason.name(), reason.description());
            table.push_str(&format!("| {number} | `{name}` | {action} | {meaning} |\n"));
        }
        if std::env::var_os("BULKHEAD_BLESS").is_some() {
            std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        } else {
            assert_eq!(
                written, table,
                "write the table again with BULKHEAD_BLESS=1"
            );
        }
    }

    #[test]
    fn numbers_names_and_actions_are_consistent() {
        let mut names = BTreeSet::new();
        for pair in Reason::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for reason in Reason::ALL {
            assert!(names.insert(reason.name()), "{} twice", reason.name());
            assert_eq!(
                reason.passes(),
                reason.action() == Action::Pass,
                "{}",
                reason.name()
            );
            assert_eq!(Reason::from_number(*reason as u8), Some(*reason));
            assert!(reason.description().ends_with('.'));
        }
    }
}
