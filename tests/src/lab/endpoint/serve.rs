//! The serving half of an endpoint: says its name, sends back what it gets and remembers how much that was.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::protocol::{Intake, Transport};
use super::record::{Record, Records, now};

/// Longer than any name, and than any datagram the lab sends.
const BUFFER_LENGTH: usize = 16 * 1024;

/// What has arrived, by transport, own port and peer.
pub(crate) type Ledger = Rc<RefCell<BTreeMap<(Transport, u16, IpAddr), Intake>>>;

/// Opens a port in both transports; from then on it is answered until the process ends.
pub(crate) async fn serve(name: &str, port: u16, ledger: &Ledger) -> Result<()> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = TcpListener::bind(everywhere)
        .await
        .with_context(|| format!("listen on TCP {port}"))?;
    let socket = UdpSocket::bind(everywhere)
        .await
        .with_context(|| format!("listen on UDP {port}"))?;
    tokio::task::spawn_local(accept(name.to_owned(), port, listener, Rc::clone(ledger)));
    tokio::task::spawn_local(reflect(name.to_owned(), port, socket, Rc::clone(ledger)));
    Ok(())
}

async fn accept(name: String, port: u16, listener: TcpListener, ledger: Ledger) {
    loop {
        // A connection that is gone before it is accepted concerns nobody else.
        if let Ok((stream, peer)) = listener.accept().await {
            let (name, ledger) = (name.clone(), Rc::clone(&ledger));
            tokio::task::spawn_local(async move {
                // How a connection ends is what the other end finds out and reports.
                let _ended = converse(&name, port, stream, peer.ip(), &ledger).await;
            });
        }
    }
}

async fn converse(
    name: &str,
    port: u16,
    mut stream: TcpStream,
    peer: IpAddr,
    ledger: &Ledger,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    let mut buffer = vec![0; BUFFER_LENGTH];
    let mut records = Records::default();
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let got = records.push(&buffer[..length]);
        note(ledger, Transport::Tcp, port, peer, length, &got);
        stream.write_all(&buffer[..length]).await?;
    }
}

async fn reflect(name: String, port: u16, socket: UdpSocket, ledger: Ledger) {
    let mut buffer = vec![0; BUFFER_LENGTH];
    loop {
        // An ICMP error about an earlier answer shows up here and is about that answer only.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let got: Vec<Record> = Record::from_bytes(&buffer[..length]).into_iter().collect();
        note(&ledger, Transport::Udp, port, peer.ip(), length, &got);
        let mut answer = buffer[..length].to_vec();
        answer.extend_from_slice(name.as_bytes());
        // Whoever asked finds out that no answer came.
        let _sent = socket.send_to(&answer, peer).await;
    }
}

fn note(
    ledger: &Ledger,
    transport: Transport,
    port: u16,
    peer: IpAddr,
    length: usize,
    records: &[Record],
) {
    let mut ledger = ledger.borrow_mut();
    let intake = ledger
        .entry((transport, port, peer.to_canonical()))
        .or_default();
    intake.bytes += length as u64;
    intake.last_arrival = Some(now());
    intake.newest_record = records
        .iter()
        .map(|r| r.sent)
        .chain(intake.newest_record)
        .max();
}
