//! Enums of the graph and their numbers on the wire, both ways.

use bulkhead_graph::{Action, Direction, Mode, Protocol, Stage};

use crate::field::Malformed;
use crate::proto;

macro_rules! enumeration {
    ($write:ident, $read:ident, $ours:ident { $($variant:ident),+ }) => {
        pub(super) fn $write(value: $ours) -> i32 {
            let number = match value { $($ours::$variant => proto::$ours::$variant,)+ };
            number.into()
        }

        pub(super) fn $read(number: i32, field: &str) -> Result<$ours, Malformed> {
            match proto::$ours::try_from(number) {
                $(Ok(proto::$ours::$variant) => Ok($ours::$variant),)+
                Ok(proto::$ours::Unspecified) | Err(_) => {
                    let problem = format!(concat!("{} is no known ", stringify!($ours)), number);
                    Err(Malformed::new(field, problem))
                }
            }
        }
    };
}

enumeration!(
    write_direction,
    read_direction,
    Direction { Ingress, Egress }
);
enumeration!(
    write_stage,
    read_stage,
    Stage {
        Quarantine,
        Exemption,
        Admin,
        Boundary,
        Namespace,
        Baseline,
        Segment
    }
);
enumeration!(write_action, read_action, Action { Allow, Deny, Pass });
enumeration!(write_mode, read_mode, Mode { Enforce, Audit });
enumeration!(
    write_protocol,
    read_protocol,
    Protocol {
        Tcp,
        Udp,
        Sctp,
        Icmp,
        Icmpv6,
        Other
    }
);
