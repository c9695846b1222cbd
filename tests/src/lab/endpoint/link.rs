//! Raw Ethernet: what an attacker with root in his own namespace can send, and what really arrives somewhere.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};

use super::protocol::Flood;

/// Longer than any frame of the lab, merged ones included.
const FRAME_MAX: usize = 70_000;

/// Puts one frame on the wire as it is.
pub(crate) fn inject(interface: &str, frame: &[u8]) -> Result<()> {
    Sender::to(interface)?.send(frame)
}

/// Puts frames on the wire that differ in one number.
pub(crate) fn flood(flood: Flood) -> Result<()> {
    let Flood {
        interface,
        mut frame,
        offset,
        first,
        count,
    } = flood;
    let sender = Sender::to(&interface)?;
    for number in 0..count {
        frame
            .get_mut(offset..offset + 2)
            .context("the number lies in the frame")?
            .copy_from_slice(&first.wrapping_add(number).to_be_bytes());
        sender.send(&frame)?;
    }
    Ok(())
}

/// A packet socket that sends on one interface.
struct Sender {
    socket: OwnedFd,
    address: LinkAddr,
}

impl Sender {
    fn to(interface: &str) -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .context("open a packet socket")?;
        Ok(Self {
            socket,
            address: link_address(interface)?,
        })
    }

    fn send(&self, frame: &[u8]) -> Result<()> {
        sendto(
            self.socket.as_raw_fd(),
            frame,
            &self.address,
            MsgFlags::empty(),
        )
        .with_context(|| format!("send {} bytes", frame.len()))?;
        Ok(())
    }
}

/// Counts frames that contain marks.
pub(crate) struct Watch {
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Watch {
    /// Everything that arrives after this returns is looked at.
    pub(crate) fn begin(interface: &str, markers: Vec<Vec<u8>>) -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .context("open a packet socket")?;
        let address = link_address(interface)?;
        bind(socket.as_raw_fd(), &address).with_context(|| format!("look at {interface}"))?;
        let seen = Arc::new(Mutex::new(vec![0; markers.len()]));
        let counts = Arc::clone(&seen);
        let own = address
            .addr()
            .context("an Ethernet interface has an address")?;
        thread::spawn(move || look(&socket, own, &markers, &counts));
        Ok(Self { seen })
    }

    pub(crate) fn seen(&self) -> Vec<u64> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Frames that leave by the interface are shown to the socket too; they carry its own address as their source.
fn look(socket: &OwnedFd, own: [u8; 6], markers: &[Vec<u8>], counts: &Mutex<Vec<u64>>) {
    let mut buffer = vec![0; FRAME_MAX];
    loop {
        let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
            continue;
        };
        let frame = &buffer[..length];
        if frame.get(6..12) == Some(&own) {
            continue;
        }
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (marker, count) in markers.iter().zip(counts.iter_mut()) {
            if frame.windows(marker.len()).any(|part| part == marker) {
                *count += 1;
            }
        }
    }
}

fn link_address(interface: &str) -> Result<LinkAddr> {
    getifaddrs()
        .context("list interfaces")?
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address?.as_link_addr().copied())
        .with_context(|| format!("there is no interface {interface}"))
}
