//! What keeps a link working: ARP, neighbour and router discovery, multicast listener reports, redirects.
//!
//! Judged by who may say what, never by policy, and also while the workload is pending: probes need their answers.

use super::Subject;
use crate::abi::{Address, Reason};
use crate::parse::{Content, Packet};

#[inline(always)]
pub(super) fn from_workload(subject: &Subject<'_>, packet: &Packet) -> Result<Reason, Reason> {
    let mac = subject.workload.mac_word();
    let source = &packet.tuple.source;
    let own_source = subject.own(source).is_some();
    let own_link = packet.link == 0 || packet.link == mac;
    match packet.content {
        Content::Arp => {
            // An address probe (RFC 5227) has no sender address yet.
            let probe =
                *source == UNSPECIFIED_V4 && subject.own(&packet.tuple.destination).is_some();
            if packet.link == mac && (own_source || probe) {
                Ok(Reason::Arp)
            } else {
                Err(Reason::ArpSpoofed)
            }
        }
        Content::Solicitation => {
            // Duplicate address detection (RFC 4862) has no source address yet.
            let probe = *source == Address::UNSPECIFIED && subject.own(&packet.target).is_some();
            if own_link && (own_source || probe) {
                Ok(Reason::Neighbour)
            } else {
                Err(Reason::NeighbourSpoofed)
            }
        }
        Content::Advertisement => {
            if own_link && own_source && subject.own(&packet.target).is_some() {
                Ok(Reason::Neighbour)
            } else {
                Err(Reason::NeighbourSpoofed)
            }
        }
        Content::RouterSolicitation => {
            if own_link && (own_source || *source == Address::UNSPECIFIED) {
                Ok(Reason::Neighbour)
            } else {
                Err(Reason::NeighbourSpoofed)
            }
        }
        Content::ListenerReport => {
            if stays_on_the_link(packet) && (own_source || *source == Address::UNSPECIFIED) {
                Ok(Reason::MulticastListener)
            } else {
                Err(Reason::SourceAddressSpoofed)
            }
        }
        Content::RouterAdvertisement | Content::ListenerQuery => Err(Reason::RouterAdvertisement),
        Content::Redirect => Err(Reason::Redirect),
        Content::Flow | Content::Error => Err(Reason::Internal),
    }
}

/// `host` = the node's own host originated the packet.
#[inline(always)]
pub(super) fn to_workload(host: bool, packet: &Packet) -> Result<Reason, Reason> {
    match packet.content {
        Content::Arp => Ok(Reason::Arp),
        Content::Solicitation | Content::Advertisement | Content::RouterSolicitation => {
            Ok(Reason::Neighbour)
        }
        Content::ListenerReport | Content::ListenerQuery if stays_on_the_link(packet) => {
            Ok(Reason::MulticastListener)
        }
        Content::ListenerReport | Content::ListenerQuery => Err(Reason::NeighbourHeader),
        Content::RouterAdvertisement if host => Ok(Reason::HostOriginated),
        Content::RouterAdvertisement => Err(Reason::RouterAdvertisement),
        Content::Redirect => Err(Reason::Redirect),
        Content::Flow | Content::Error => Err(Reason::Internal),
    }
}

/// Hop limit 1 and a group of the link: what no router forwards and no single neighbour is sent (RFC 3810).
#[inline(always)]
fn stays_on_the_link(packet: &Packet) -> bool {
    packet.hop_limit == 1 && packet.tuple.destination.words().0 >> 48 == 0xff02
}

const UNSPECIFIED_V4: Address = Address::from_words(0, 0xffff_0000_0000);
