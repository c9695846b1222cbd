//! Reading links, far ends, addresses and host routes, and hearing of their changes.
//!
//! The far end of a veth lies in another network namespace. The kernel names that namespace by a number of ours
//! (IFLA_LINK_NETNSID) and answers questions about it; nothing has to be entered.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel knows dozens of attributes and gains more; the others do not concern us"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::pin;
use std::time::Duration;

use bulkhead_datapath::abi::Mac;
use bulkhead_graph::Address;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use thiserror::Error;
use tokio::sync::watch;

use super::{Far, Link, Links};

/// Why the node's links are not known.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(io::Error),
    /// A question was not answered.
    #[error("asking the kernel for {what}: {reason}")]
    Question {
        /// For what.
        what: &'static str,
        /// Why not.
        reason: Box<rtnetlink::Error>,
    },
}

fn question(what: &'static str) -> impl Fn(rtnetlink::Error) -> NetlinkError {
    move |reason| NetlinkError::Question {
        what,
        reason: Box::new(reason),
    }
}

/// Changes that come within this time are told as one.
const GATHER: Duration = Duration::from_millis(5);

/// Sockets for questions and for news.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    changes: watch::Receiver<u64>,
}

/// The end of a veth in another namespace, or in our own.
struct Peer {
    ifindex: u32,
    namespace: Option<i32>,
}

impl Netlink {
    /// Opens both sockets in the present network namespace. Their tasks end with the value.
    ///
    /// # Errors
    /// If the kernel gives no sockets.
    pub fn open() -> Result<Self, NetlinkError> {
        // Strict checking, or the kernel overlooks the namespace in a question for addresses.
        let (connection, handle, _) =
            rtnetlink::new_connection_with_strict_check().map_err(NetlinkError::Socket)?;
        tokio::spawn(connection);
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, _, news) =
            rtnetlink::new_multicast_connection(&groups).map_err(NetlinkError::Socket)?;
        tokio::spawn(connection);
        let (sender, changes) = watch::channel(0);
        tokio::spawn(tell(news, sender));
        Ok(Self { handle, changes })
    }

    /// Waits until something about links, addresses or routes has changed since the last call.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The socket for news is gone; asking now and then has to do.
            std::future::pending::<()>().await;
        }
    }

    /// Everything as it is now.
    ///
    /// # Errors
    /// If a question is not answered.
    pub async fn read(&self) -> Result<Links, NetlinkError> {
        let mut links = Links::default();
        let mut veths = Vec::new();
        let mut answers = pin!(self.handle.link().get().execute());
        while let Some(message) = answers.try_next().await.map_err(question("links"))? {
            let ifindex = message.header.index;
            match kind(&message) {
                Some(InfoKind::Veth) => veths.extend(peer(&message).map(|peer| (ifindex, peer))),
                Some(InfoKind::Bridge) => {
                    links.bridges.insert(ifindex);
                }
                Some(_) | None => {}
            }
            links.by_index.insert(
                ifindex,
                Link {
                    name: name(&message),
                    far: None,
                },
            );
        }
        for (ifindex, peer) in veths {
            // A far end that goes away while it is asked for is one that is not there.
            let far = self.far(&peer).await.ok();
            if let Some(link) = links.by_index.get_mut(&ifindex) {
                link.far = far;
            }
        }
        links.own = self.addresses(None, None).await?;
        links.routes = self.host_routes().await?;
        Ok(links)
    }

    async fn far(&self, peer: &Peer) -> Result<Far, NetlinkError> {
        let mut request = self.handle.link().get().match_index(peer.ifindex);
        if let Some(namespace) = peer.namespace {
            request
                .message_mut()
                .attributes
                .push(LinkAttribute::IfNetnsId(namespace));
        }
        let answer = pin!(request.execute())
            .try_next()
            .await
            .map_err(question("a veth's other end"))?;
        let mac = answer
            .as_ref()
            .and_then(mac)
            .ok_or_else(|| question("a veth's other end")(rtnetlink::Error::RequestFailed))?;
        Ok(Far {
            mac,
            addresses: self.addresses(peer.namespace, Some(peer.ifindex)).await?,
        })
    }

    /// Addresses in a namespace (ours for `None`), of one interface or of all; without link-local ones.
    async fn addresses(
        &self,
        namespace: Option<i32>,
        ifindex: Option<u32>,
    ) -> Result<BTreeSet<Address>, NetlinkError> {
        let mut addresses = BTreeSet::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = self.handle.address().get();
            let message = request.message_mut();
            message.header.family = family;
            message.header.index = ifindex.unwrap_or(0);
            message
                .attributes
                .extend(namespace.map(AddressAttribute::TargetNetNsId));
            let mut answers = pin!(request.execute());
            while let Some(message) = answers.try_next().await.map_err(question("addresses"))? {
                if ifindex.is_some_and(|ifindex| message.header.index != ifindex) {
                    continue;
                }
                addresses.extend(local_address(&message.attributes));
            }
        }
        Ok(addresses)
    }

    /// Routes of the main table that lead to one address, with their interface.
    async fn host_routes(&self) -> Result<BTreeMap<Address, u32>, NetlinkError> {
        let mut routes = BTreeMap::new();
        let four = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
        let six = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
        for (mut message, length) in [(four, 32), (six, 128)] {
            // Strict checking wants an empty question.
            message.attributes.clear();
            message.header.table = 0;
            message.header.protocol = 0.into();
            message.header.scope = 0.into();
            message.header.kind = 0.into();
            let mut answers = pin!(self.handle.route().get(message).execute());
            while let Some(route) = answers.try_next().await.map_err(question("routes"))? {
                if route.header.destination_prefix_length != length {
                    continue;
                }
                let mut destination = None;
                let mut interface = None;
                for attribute in &route.attributes {
                    match attribute {
                        RouteAttribute::Destination(RouteAddress::Inet(v4)) => {
                            destination = Some(Address::from(std::net::IpAddr::from(*v4)));
                        }
                        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => {
                            destination = Some(Address::from(std::net::IpAddr::from(*v6)));
                        }
                        RouteAttribute::Oif(ifindex) => interface = Some(*ifindex),
                        _ => {}
                    }
                }
                routes.extend(destination.zip(interface));
            }
        }
        Ok(routes)
    }
}

async fn tell(
    news: impl Stream<
        Item = (
            rtnetlink::packet_core::NetlinkMessage<RouteNetlinkMessage>,
            rtnetlink::sys::SocketAddr,
        ),
    >,
    sender: watch::Sender<u64>,
) {
    let mut news = pin!(news);
    while news.next().await.is_some() {
        // More is usually on its way: a veth alone is four messages.
        let quiet = async { while news.next().await.is_some() {} };
        let _ = tokio::time::timeout(GATHER, quiet).await;
        sender.send_modify(|count| *count += 1);
        if sender.is_closed() {
            return;
        }
    }
}

fn kind(message: &LinkMessage) -> Option<&InfoKind> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(info) => info.iter().find_map(|info| match info {
                LinkInfo::Kind(kind) => Some(kind),
                _ => None,
            }),
            _ => None,
        })
}

fn name(message: &LinkMessage) -> String {
    let name = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
    name.unwrap_or_else(|| format!("#{}", message.header.index))
}

fn peer(message: &LinkMessage) -> Option<Peer> {
    let mut peer = Peer {
        ifindex: 0,
        namespace: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Link(ifindex) => peer.ifindex = *ifindex,
            LinkAttribute::LinkNetNsId(namespace) => peer.namespace = Some(*namespace),
            _ => {}
        }
    }
    (peer.ifindex != 0).then_some(peer)
}

fn mac(message: &LinkMessage) -> Option<Mac> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => <[u8; 6]>::try_from(octets.as_slice())
                .ok()
                .map(|octets| Mac { octets }),
            _ => None,
        })
}

fn local_address(attributes: &[AddressAttribute]) -> Option<Address> {
    // On point-to-point links the interface's own address is the local one; elsewhere there may be only the other.
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let address = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let ip = local.or(address)?;
    let link_local = match ip {
        std::net::IpAddr::V4(v4) => v4.is_loopback(),
        std::net::IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
    };
    (!link_local).then(|| Address::from(ip))
}
