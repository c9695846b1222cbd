//! The life of a flow: which entry a packet belongs to, and how far each packet brings it (a pure state machine).
//!
//! The state steers time-outs and nothing else. Whether a packet passes is the judged word's business.

use crate::abi::{FlowKey, FlowLife, FlowOwner, FlowState, Hook, Opener};
use crate::parse::{FLAG_FIN, FLAG_OPENER, FLAG_RST, Query, Tuple};

const TCP: u8 = 6;
const SCTP: u8 = 132;

/// One tick is 2^30 ns, about 1.07 s: what flows and fragments remember as time.
#[inline(always)]
pub const fn tick(now_ns: u64) -> u32 {
    (now_ns >> 30) as u32
}

/// Whether the protocol has connections that only a certain packet opens.
#[inline(always)]
pub const fn is_stream(protocol: u8) -> bool {
    protocol == TCP || protocol == SCTP
}

/// The entry that a packet belongs to: the same for both directions. `owner` knows nothing of requests yet.
#[inline(always)]
pub const fn key(hook: Hook, tuple: &Tuple, owner: FlowOwner) -> FlowKey {
    let asked_by_peer = match hook {
        Hook::FromWorkload => matches!(tuple.query, Query::Reply),
        Hook::ToWorkload => matches!(tuple.query, Query::Request),
    };
    let owner = if asked_by_peer {
        owner.asked_by_peer()
    } else {
        owner
    };
    let (source, destination) = (tuple.source_port, tuple.destination_port);
    match hook {
        Hook::FromWorkload => FlowKey::new(tuple.destination, source, destination, owner),
        Hook::ToWorkload => FlowKey::new(tuple.source, destination, source, owner),
    }
}

/// Whether a packet at this hook comes from the end that opened the flow.
#[inline(always)]
pub const fn is_by_opener(hook: Hook, opener: Opener) -> bool {
    matches!(
        (hook, opener),
        (Hook::FromWorkload, Opener::Workload) | (Hook::ToWorkload, Opener::Peer | Opener::Host)
    )
}

/// What one more packet makes of a flow. `flags` are the packet's; `now` is in ticks.
#[inline(always)]
pub const fn advance(life: FlowLife, hook: Hook, flags: u8, protocol: u8, now: u32) -> FlowLife {
    // Nearly all packets.
    if flags & (FLAG_RST | FLAG_FIN) == 0 && matches!(life.state(), FlowState::Established) {
        return life.seen_at(now);
    }
    let by_opener = is_by_opener(hook, life.opener());
    let (mut state, mut finished) = (life.state(), life.finished());
    if flags & FLAG_RST != 0 {
        state = FlowState::Closed;
    } else if flags & FLAG_FIN != 0 {
        finished |= 1 << hook as u8;
        state = if finished == 3 {
            FlowState::Closed
        } else {
            FlowState::Closing
        };
    } else if flags & FLAG_OPENER != 0 && is_stream(protocol) {
        // The opener starts again with the same ports.
        if by_opener
            && matches!(
                state,
                FlowState::Closing | FlowState::Closed | FlowState::Denied
            )
        {
            (state, finished) = (FlowState::New, 0);
        }
    } else if matches!(state, FlowState::Denied) {
        // Allowed again.
        state = FlowState::Established;
    } else if !by_opener && matches!(state, FlowState::New) {
        state = FlowState::Established;
    }
    if !is_stream(protocol) && !by_opener && matches!(state, FlowState::New) {
        state = FlowState::Established;
    }
    life.advanced(state, finished, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: Hook = Hook::FromWorkload;
    const IN: Hook = Hook::ToWorkload;

    fn check(opener: Opener, packets: &[(Hook, u8)], expected: FlowState) {
        let mut life = FlowLife::new(opener, FlowState::New, 0, 0);
        for (at, (hook, flags)) in packets.iter().enumerate() {
            life = advance(life, *hook, *flags, TCP, at as u32);
        }
        assert_eq!(life.state(), expected, "{packets:?}");
        assert_eq!(life.opener(), opener);
    }

    #[test]
    fn tcp_goes_through_its_states() {
        check(Opener::Workload, &[(OUT, FLAG_OPENER)], FlowState::New);
        check(
            Opener::Workload,
            &[(OUT, FLAG_OPENER), (OUT, 0)],
            FlowState::New,
        );
        check(
            Opener::Workload,
            &[(OUT, FLAG_OPENER), (IN, 0)],
            FlowState::Established,
        );
        check(
            Opener::Peer,
            &[(IN, FLAG_OPENER), (OUT, 0), (IN, FLAG_FIN)],
            FlowState::Closing,
        );
        check(
            Opener::Peer,
            &[(IN, 0), (OUT, 0), (IN, FLAG_FIN), (IN, FLAG_FIN)],
            FlowState::Closing,
        );
        check(
            Opener::Peer,
            &[(IN, 0), (OUT, 0), (IN, FLAG_FIN), (OUT, FLAG_FIN)],
            FlowState::Closed,
        );
        check(Opener::Peer, &[(IN, 0), (OUT, FLAG_RST)], FlowState::Closed);
        check(
            Opener::Peer,
            &[(IN, 0), (OUT, FLAG_RST), (IN, FLAG_OPENER)],
            FlowState::New,
        );
        check(
            Opener::Host,
            &[(IN, FLAG_OPENER), (OUT, 0)],
            FlowState::Established,
        );
    }

    #[test]
    fn udp_is_established_by_an_answer() {
        let life = FlowLife::new(Opener::Workload, FlowState::New, 0, 0);
        assert_eq!(
            advance(life, OUT, FLAG_OPENER, 17, 1).state(),
            FlowState::New
        );
        assert_eq!(
            advance(life, IN, FLAG_OPENER, 17, 1).state(),
            FlowState::Established
        );
    }

    #[test]
    fn an_established_flow_only_ends_or_is_seen() {
        for opener in [Opener::Workload, Opener::Peer, Opener::Host] {
            for finished in 0..4 {
                let life = FlowLife::new(opener, FlowState::New, FlowLife::AUDITED, 7).advanced(
                    FlowState::Established,
                    finished,
                    8,
                );
                for (hook, flags, protocol) in [
                    (OUT, 0, TCP),
                    (IN, 0, TCP),
                    (OUT, FLAG_OPENER, TCP),
                    (IN, FLAG_OPENER, 17),
                ] {
                    let seen = life.advanced(FlowState::Established, finished, 9);
                    assert_eq!(advance(life, hook, flags, protocol, 9), seen);
                }
                for hook in [OUT, IN] {
                    let reset = advance(life, hook, FLAG_RST, TCP, 9).state();
                    assert_eq!(reset, FlowState::Closed);
                    let said = advance(life, hook, FLAG_FIN, TCP, 9).state();
                    assert!(matches!(said, FlowState::Closing | FlowState::Closed));
                }
            }
        }
    }

    #[test]
    fn both_directions_have_one_key() {
        let out = Tuple {
            source_port: 1,
            destination_port: 2,
            ..Tuple::default()
        };
        let back = Tuple {
            source_port: 2,
            destination_port: 1,
            ..Tuple::default()
        };
        assert_eq!(key(OUT, &out, FlowOwner(5)), key(IN, &back, FlowOwner(5)));
        let request = Tuple {
            query: Query::Request,
            source_port: 9,
            destination_port: 0x800,
            ..Tuple::default()
        };
        let reply = Tuple {
            query: Query::Reply,
            source_port: 0x800,
            destination_port: 9,
            ..Tuple::default()
        };
        assert_eq!(
            key(OUT, &request, FlowOwner(5)),
            key(IN, &reply, FlowOwner(5))
        );
        assert_eq!(
            key(IN, &request, FlowOwner(5)),
            key(OUT, &reply, FlowOwner(5))
        );
        assert_ne!(
            key(OUT, &request, FlowOwner(5)).owner,
            key(IN, &request, FlowOwner(5)).owner
        );
    }
}
