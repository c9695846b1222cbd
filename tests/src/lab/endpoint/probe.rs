//! The asking half of an endpoint: many questions at the same time, each with its own time limit.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv,
    send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::protocol::{Outcome, Question, Transport};
use super::record::{RECORD_LENGTH, Record, now};

/// Questions that are under way at the same time: bounds what a big matrix does to a small machine.
const AT_ONCE: usize = 256;
const ICMP_ECHO_REQUEST: u8 = 8;
const ICMP_ECHO_REPLY: u8 = 0;
const ICMPV6_ECHO_REQUEST: u8 = 128;
const ICMPV6_ECHO_REPLY: u8 = 129;

/// Asks everything; the outcomes are in the order of the questions.
pub(crate) async fn probe(questions: Vec<Question>, limit: Duration) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(questions.len());
    for (batch, part) in questions.chunks(AT_ONCE).enumerate() {
        let asked: Vec<_> = part
            .iter()
            .enumerate()
            .map(|(position, question)| {
                let number = (batch * AT_ONCE + position) as u64;
                tokio::task::spawn_local(ask(*question, number, limit))
            })
            .collect();
        for task in asked {
            outcomes.push(
                task.await
                    .unwrap_or_else(|error| Outcome::Error(error.to_string())),
            );
        }
    }
    outcomes
}

async fn ask(question: Question, number: u64, limit: Duration) -> Outcome {
    let answer = async {
        match question.transport {
            Transport::Tcp => greeting(question.to).await,
            Transport::Udp => reflection(question.to, number, limit / 2).await,
            Transport::Ping => ping(question.to.ip(), number, limit).await,
        }
    };
    match timeout(limit, answer).await {
        Err(_) => Outcome::Silence,
        Ok(Ok(name)) => Outcome::Answered(name),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
        Ok(Err(error)) if error.kind() == ErrorKind::TimedOut => Outcome::Silence,
        Ok(Err(error)) => Outcome::Error(error.to_string()),
    }
}

async fn greeting(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    let mut name = String::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(name),
            letter => name.push(char::from(letter)),
        }
    }
}

/// Asks again after half of the time, as a datagram may be lost while the neighbour is being looked for.
async fn reflection(to: SocketAddr, number: u64, again: Duration) -> io::Result<String> {
    let socket = UdpSocket::bind(any_of(to.ip())).await?;
    socket.connect(to).await?;
    let record = Record {
        sequence: number,
        sent: now(),
    }
    .to_bytes();
    let mut buffer = [0; 256];
    socket.send(&record).await?;
    let length = match timeout(again, socket.recv(&mut buffer)).await {
        Ok(received) => received?,
        Err(_) => {
            socket.send(&record).await?;
            socket.recv(&mut buffer).await?
        }
    };
    let answer = &buffer[..length];
    match answer.strip_prefix(&record) {
        Some(name) => Ok(String::from_utf8_lossy(name).into_owned()),
        None => Err(io::Error::other(format!(
            "an answer to another question, {length} bytes"
        ))),
    }
}

fn any_of(peer: IpAddr) -> SocketAddr {
    match peer {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// In a thread of its own: nothing readable of tokio's takes a raw socket.
async fn ping(to: IpAddr, number: u64, limit: Duration) -> io::Result<String> {
    tokio::task::spawn_blocking(move || ping_blocking(to, number, limit)).await?
}

fn ping_blocking(to: IpAddr, number: u64, limit: Duration) -> io::Result<String> {
    let (family, protocol, request, reply) = match to {
        IpAddr::V4(_) => (
            AddressFamily::Inet,
            SockProtocol::Icmp,
            ICMP_ECHO_REQUEST,
            ICMP_ECHO_REPLY,
        ),
        IpAddr::V6(_) => (
            AddressFamily::Inet6,
            SockProtocol::IcmpV6,
            ICMPV6_ECHO_REQUEST,
            ICMPV6_ECHO_REPLY,
        ),
    };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(limit_ms))?;
    let address = SockaddrStorage::from(SocketAddr::new(to, 0));
    // Only what comes from there is delivered.
    connect(socket.as_raw_fd(), &address)?;
    let token = Record {
        sequence: number,
        sent: now(),
    }
    .to_bytes();
    send(
        socket.as_raw_fd(),
        &echo_request(request, &token),
        MsgFlags::empty(),
    )?;
    let mut buffer = [0; 512];
    let sent = std::time::Instant::now();
    while sent.elapsed() < limit {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) if is_reply(to, &buffer[..length], reply, &token) => {
                return Ok(String::new());
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// The kernel fills in the checksum of ICMPv6 itself, whatever is there.
fn echo_request(kind: u8, token: &[u8; RECORD_LENGTH]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    // Identifier and sequence number are parts of the token, so that the flows of concurrent pings differ.
    message.extend_from_slice(&[token[14], token[15], token[6], token[7]]);
    message.extend_from_slice(token);
    let sum = internet_checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Raw sockets of IPv4 deliver the header too, those of IPv6 do not.
fn is_reply(from: IpAddr, packet: &[u8], reply: u8, token: &[u8; RECORD_LENGTH]) -> bool {
    let header = match from {
        IpAddr::V4(_) => packet
            .first()
            .map_or(0, |first| usize::from(first & 0x0f) * 4),
        IpAddr::V6(_) => 0,
    };
    let Some(message) = packet.get(header..) else {
        return false;
    };
    message.first() == Some(&reply) && message.get(8..) == Some(token)
}

/// RFC 1071.
pub(crate) fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            u32::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded above.
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_over_a_message_with_its_checksum_is_zero() {
        let mut message = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1, b'a', b'b', b'c'];
        let sum = internet_checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(internet_checksum(&message), 0);
    }
}
