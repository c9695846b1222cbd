//! FLOWS: connections that were judged. The table guards itself: the owner's incarnation is in the key, and the judged
//! state is one word that carries a tag of the tuple, so that an entry reused under a reader is noticed.

use super::{Address, ExpiryId, Generation, WorkloadSlot, plain::plain};

/// Whose flow: the workload's slot and incarnation, which of its addresses, the protocol, and (ICMP) who asked.
///
/// Packed into one word: protocol 8, incarnation 8, address 3, asked by peer 1, slot 12 bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowOwner(pub u32);

impl FlowOwner {
    /// Which address: none of the workload's own (a group, or a workload that routes).
    pub const FOREIGN_ADDRESS: u8 = 7;
    /// Which address: the link-local one that follows from the MAC.
    pub const LINK_LOCAL: u8 = 6;

    /// Packs the parts; `address` is below 8.
    #[inline(always)]
    pub const fn new(slot: WorkloadSlot, incarnation: u8, address: u8, protocol: u8) -> Self {
        Self(
            (slot.0 & 0xfff) << 20
                | (address as u32 & 7) << 16
                | (incarnation as u32) << 8
                | protocol as u32,
        )
    }

    /// The same owner, for a request that the peer made (ICMP queries have no ports that would tell).
    #[inline(always)]
    pub const fn asked_by_peer(self) -> Self {
        Self(self.0 | 1 << 19)
    }

    /// The workload's slot.
    pub const fn slot(self) -> WorkloadSlot {
        WorkloadSlot(self.0 >> 20)
    }

    /// The incarnation of the slot.
    pub const fn incarnation(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The IP protocol number.
    pub const fn protocol(self) -> u8 {
        self.0 as u8
    }
}

/// Which flow, as seen by the workload it belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The other end.
    pub peer: Address,
    /// The workload's port (ICMP: identifier), host order.
    pub local_port: u16,
    /// The peer's port (ICMP: type × 256 + code of the request), host order.
    pub peer_port: u16,
    /// Whose flow.
    pub owner: FlowOwner,
}

impl FlowKey {
    /// From its parts, in three words: what is stored in pieces is slow to be read as a whole.
    #[inline(always)]
    pub const fn new(peer: Address, local_port: u16, peer_port: u16, owner: FlowOwner) -> Self {
        let (local_port, peer_port, owner) = (local_port as u64, peer_port as u64, owner.0 as u64);
        let rest = if cfg!(target_endian = "little") {
            owner << 32 | peer_port << 16 | local_port
        } else {
            local_port << 48 | peer_port << 32 | owner
        };
        let (high, low) = peer.halves();
        // SAFETY: three aligned words, and every bit pattern of them is a key.
        unsafe { core::mem::transmute::<[u64; 3], Self>([high, low, rest]) }
    }

    /// Sixteen bits that differ between most tuples: a reader that holds a reused entry notices.
    #[inline(always)]
    pub const fn tag(&self) -> u16 {
        let (high, low) = self.peer.halves();
        let mixed = (high ^ low.rotate_left(23) ^ self.rest()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 48) as u16
    }

    /// All but the peer, in one load.
    #[inline(always)]
    const fn rest(&self) -> u64 {
        let words = core::ptr::from_ref(self).cast::<u64>();
        // SAFETY: ports and owner are the last of the value's three aligned words.
        unsafe { words.add(2).read() }
    }
}

/// What a flow was judged by: one word {generation 32, expiry 16, tag 16}, replaced only by compare-and-exchange.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowJudged(pub u64);

impl FlowJudged {
    /// Packs the parts.
    #[inline(always)]
    pub const fn new(generation: Generation, expiry: ExpiryId, tag: u16) -> Self {
        Self((generation.0 & 0xffff_ffff) << 32 | (expiry.0 as u64 & 0xffff) << 16 | tag as u64)
    }

    /// Whether the word belongs to the tuple with this tag.
    #[inline(always)]
    pub const fn has_tag(self, tag: u16) -> bool {
        self.0 as u16 == tag
    }

    /// The deadline of the judgement.
    #[inline(always)]
    pub const fn expiry(self) -> ExpiryId {
        ExpiryId((self.0 >> 16) as u32 & 0xffff)
    }

    /// Whether the judgement is older than `generation` (compared on a circle of 2^32).
    #[inline(always)]
    pub const fn is_before(self, generation: Generation) -> bool {
        ((self.0 >> 32) as u32).wrapping_sub(generation.0 as u32) as i32 <= -1
    }
}

/// Who opened a flow. It is judged again in that direction, and never the other.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opener {
    /// The workload that owns the entry.
    Workload = 1,
    /// The other end.
    Peer = 2,
    /// The node's own host: passes without policy and is never judged again.
    Host = 3,
}

/// How far a flow has come; decides how long the sweep leaves it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowState {
    /// Only the opener has spoken.
    New = 1,
    /// Both have spoken.
    Established = 2,
    /// One side has said FIN.
    Closing = 3,
    /// Both have said FIN, or one RST.
    Closed = 4,
    /// It was judged again and denied.
    Denied = 5,
}

/// The slowly changing part of a flow in one word: {last seen 32, flags 8, finished 8, state 8, opener 8}.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowLife(pub u64);

impl FlowLife {
    /// Flag: the peer is a local workload, whose packets must come from its own interface.
    pub const PEER_IS_LOCAL: u8 = 1;
    /// Flag: enforced and intended verdict differ.
    pub const AUDITED: u8 = 2;
    /// Flag: older than the programs, so that its opener is a guess: it has to be allowed in both directions.
    pub const ADOPTED: u8 = 4;

    /// A flow at its beginning; `seen` in ticks of 2^30 ns.
    #[inline(always)]
    pub const fn new(opener: Opener, state: FlowState, flags: u8, seen: u32) -> Self {
        Self((seen as u64) << 32 | (flags as u64) << 24 | (state as u64) << 8 | opener as u64)
    }

    /// Who opened it.
    #[inline(always)]
    pub const fn opener(self) -> Opener {
        match self.0 as u8 {
            1 => Opener::Workload,
            3 => Opener::Host,
            _ => Opener::Peer,
        }
    }

    /// How far it has come.
    #[inline(always)]
    pub const fn state(self) -> FlowState {
        match (self.0 >> 8) as u8 {
            2 => FlowState::Established,
            3 => FlowState::Closing,
            4 => FlowState::Closed,
            5 => FlowState::Denied,
            _ => FlowState::New,
        }
    }

    /// Which hooks have seen a FIN: bit 0 from the workload, bit 1 to it.
    #[inline(always)]
    pub const fn finished(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The flag bits.
    #[inline(always)]
    pub const fn flags(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// When the last packet passed, in ticks of 2^30 ns.
    #[inline(always)]
    pub const fn seen(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The same flow, seen at this time.
    #[inline(always)]
    pub const fn seen_at(self, seen: u32) -> Self {
        Self((seen as u64) << 32 | self.0 & 0xffff_ffff)
    }

    /// The same flow with other flags.
    #[inline(always)]
    pub const fn with_flags(self, flags: u8) -> Self {
        Self(self.0 & !0xff00_0000 | (flags as u64) << 24)
    }

    /// The same flow with another state, FIN marks and time.
    #[inline(always)]
    pub const fn advanced(self, state: FlowState, finished: u8, seen: u32) -> Self {
        Self(
            (seen as u64) << 32
                | (self.0 & 0xff00_00ff)
                | (finished as u64) << 16
                | (state as u64) << 8,
        )
    }
}

/// Packets and bytes of one direction in one word {packets 24, bytes 40}, so that counting is one atomic addition.
///
/// Exact as long as somebody reads it within 2^24 packets and 2^40 bytes; the difference of two readings wraps rightly.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowTraffic(pub u64);

impl FlowTraffic {
    const BYTES: u64 = (1 << 40) - 1;

    /// What to add for one packet.
    #[inline(always)]
    pub const fn one(bytes: u32) -> u64 {
        1 << 40 | bytes as u64
    }

    /// Packets and bytes since an earlier reading.
    pub const fn since(self, earlier: FlowTraffic) -> (u64, u64) {
        let bytes = (self.0 & Self::BYTES).wrapping_sub(earlier.0 & Self::BYTES) & Self::BYTES;
        // A carry out of the byte field has counted one packet too many; the whole difference tells.
        let whole = self.0.wrapping_sub(earlier.0);
        ((whole.wrapping_sub(bytes)) >> 40 & 0xff_ffff, bytes)
    }
}

/// One element of FLOWS.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowValue {
    /// What it was judged by.
    pub judged: FlowJudged,
    /// Who opened it, how far it has come, when it was last seen.
    pub life: FlowLife,
    /// From the workload.
    pub sent: FlowTraffic,
    /// To the workload.
    pub received: FlowTraffic,
    /// Fills up the kernel's element: it begins with 48 bytes of its own and the key, and so takes two lines of the cache. Without
    /// it every second packet would meet a third.
    pub padding: [u64; 3],
}

/// What the kernel's element of a hash begins with (`struct htab_elem`).
const ELEMENT_BYTES: usize = 48;
const LINE_BYTES: usize = 64;
const _: () = assert!(
    (ELEMENT_BYTES + size_of::<FlowKey>() + size_of::<FlowValue>()).is_multiple_of(LINE_BYTES)
);

plain! {
    FlowOwner: 4, align 4;
    FlowKey: 24, align 8;
    FlowJudged: 8, align 8;
    FlowLife: 8, align 8;
    FlowTraffic: 8, align 8;
    FlowValue: 56, align 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judged_word_keeps_its_parts_apart() {
        let word = FlowJudged::new(Generation(0x1_0000_0007), ExpiryId(65_535), 0xbeef);
        assert!(word.has_tag(0xbeef) && !word.has_tag(0xbeee));
        assert_eq!(word.expiry(), ExpiryId(65_535));
        assert!(
            !word.is_before(Generation(7))
                && word.is_before(Generation(8))
                && !word.is_before(Generation(6))
        );
        assert!(
            FlowJudged::new(Generation(0xffff_ffff), ExpiryId(0), 0)
                .is_before(Generation(0x1_0000_0000))
        );
    }

    #[test]
    fn key_is_its_parts() {
        let peer = Address::from(core::net::Ipv4Addr::new(10, 1, 2, 3));
        let owner = FlowOwner::new(WorkloadSlot(4_095), 200, 7, 17);
        let key = FlowKey::new(peer, 0x1234, 0x5678, owner);
        let parts = FlowKey {
            peer,
            local_port: 0x1234,
            peer_port: 0x5678,
            owner,
        };
        assert_eq!(key, parts);
        let others = [
            FlowKey::new(peer, 0x1235, 0x5678, owner),
            FlowKey::new(peer, 0x1234, 0x5679, owner),
            FlowKey::new(peer, 0x1234, 0x5678, owner.asked_by_peer()),
            FlowKey::new(Address::UNSPECIFIED, 0x1234, 0x5678, owner),
        ];
        others
            .iter()
            .for_each(|other| assert_ne!(other.tag(), key.tag()));
    }

    #[test]
    fn life_word_keeps_its_parts_apart() {
        let life = FlowLife::new(Opener::Host, FlowState::New, FlowLife::AUDITED, 77);
        let later = life.advanced(FlowState::Closing, 2, 99);
        assert_eq!(
            (
                later.opener(),
                later.state(),
                later.finished(),
                later.flags(),
                later.seen()
            ),
            (Opener::Host, FlowState::Closing, 2, FlowLife::AUDITED, 99)
        );
    }

    #[test]
    fn traffic_counts_across_wrapping() {
        let start = FlowTraffic(0xff_fffe << 40 | (FlowTraffic::BYTES - 10));
        let mut word = start.0;
        for _ in 0..5 {
            word = word.wrapping_add(FlowTraffic::one(100));
        }
        assert_eq!(FlowTraffic(word).since(start), (5, 500));
    }

    #[test]
    fn owner_keeps_its_parts_apart() {
        let owner = FlowOwner::new(WorkloadSlot(4_095), 200, 7, 17);
        assert_eq!(
            (owner.slot(), owner.incarnation(), owner.protocol()),
            (WorkloadSlot(4_095), 200, 17)
        );
        assert_ne!(owner, owner.asked_by_peer());
        assert_eq!(owner.asked_by_peer().slot(), owner.slot());
    }
}
