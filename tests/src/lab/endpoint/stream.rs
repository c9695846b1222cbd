//! Streams of numbered records, each with its own threads so that their pace does not depend on what else the endpoint does.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

use super::protocol::{Instant, Sent, StreamPlan, Transport};
use super::record::{RECORD_LENGTH, Record, Records, now};

/// To a server that is not there, or must not be reached.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// A running stream. It ends when it fails or is closed.
pub(crate) struct Stream {
    state: Arc<State>,
    /// To be shut down at the end; threads of UDP look up by themselves.
    connection: Option<TcpStream>,
}

#[derive(Default)]
struct State {
    sent: Mutex<Sent>,
    closed: AtomicBool,
}

impl Stream {
    pub(crate) async fn open(plan: StreamPlan) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let pace = Pace::new(plan.records_per_second);
        let connection = match plan.transport {
            Transport::Tcp => {
                let tcp = connect(plan).await?;
                let (reader, writer) = (tcp.try_clone()?, tcp.try_clone()?);
                let (reading, writing) = (Arc::clone(&state), Arc::clone(&state));
                thread::spawn(move || reading.end(read_tcp(reader, &reading)));
                thread::spawn(move || writing.end(write_tcp(writer, pace, &writing)));
                Some(tcp)
            }
            Transport::Udp => {
                let udp = Arc::new(UdpSocket::bind(local(plan))?);
                udp.connect(plan.to)?;
                // So that the reader looks up from time to time whether the stream is closed.
                udp.set_read_timeout(Some(Duration::from_millis(100)))?;
                let reader = Arc::clone(&udp);
                let (reading, writing) = (Arc::clone(&state), Arc::clone(&state));
                thread::spawn(move || read_udp(&reader, &reading));
                thread::spawn(move || write_udp(&udp, pace, &writing));
                None
            }
            Transport::Ping => return Err(io::Error::other("pings make no stream")),
        };
        Ok(Self { state, connection })
    }

    pub(crate) fn sent(&self) -> Sent {
        self.state.lock().clone()
    }

    pub(crate) fn close(&self) {
        self.state.closed.store(true, Ordering::Relaxed);
        if let Some(tcp) = &self.connection {
            // A stream that is broken already is closed.
            let _closed = tcp.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn wrote(&self) {
        self.lock().records += 1;
    }

    fn came_back(&self, record: Record, at: Instant) {
        let mut sent = self.lock();
        if record.sequence != sent.echoed {
            sent.disorder += 1;
        }
        if let Some(before) = sent.last_echo {
            sent.longest_gap_ns = sent.longest_gap_ns.max(at.0.saturating_sub(before.0));
        }
        sent.echoed += 1;
        sent.last_echo = Some(at);
    }

    /// Remembers the first failure; what fails because the stream was closed is none.
    fn end(&self, result: io::Result<()>) {
        if let (Err(error), false) = (result, self.is_closed()) {
            self.lock().error.get_or_insert_with(|| error.to_string());
        }
    }
}

/// When the next record is due. Late ones are caught up with, so that the average holds.
struct Pace {
    start: Instant,
    period_ns: u64,
    count: u64,
}

impl Pace {
    fn new(records_per_second: u32) -> Self {
        Self {
            start: now(),
            period_ns: NANOSECONDS_PER_SECOND / u64::from(records_per_second.max(1)),
            count: 0,
        }
    }

    fn wait(&mut self) -> u64 {
        let due = self.start.0 + self.count * self.period_ns;
        thread::sleep(Duration::from_nanos(due.saturating_sub(now().0)));
        self.count += 1;
        self.count - 1
    }
}

async fn connect(plan: StreamPlan) -> io::Result<TcpStream> {
    let socket = if plan.to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(local(plan))?;
    let stream = tokio::time::timeout(CONNECT_LIMIT, socket.connect(plan.to))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??
        .into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn local(plan: StreamPlan) -> SocketAddr {
    match plan.to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, plan.from_port).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, plan.from_port).into(),
    }
}

fn write_tcp(mut stream: TcpStream, mut pace: Pace, state: &State) -> io::Result<()> {
    while !state.is_closed() {
        let sequence = pace.wait();
        stream.write_all(
            &Record {
                sequence,
                sent: now(),
            }
            .to_bytes(),
        )?;
        state.wrote();
    }
    Ok(())
}

fn read_tcp(mut stream: TcpStream, state: &State) -> io::Result<()> {
    let mut greeting = [0];
    while greeting != *b"\n" {
        stream.read_exact(&mut greeting)?;
    }
    let mut buffer = [0; 4096];
    let mut records = Records::default();
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let at = now();
        for record in records.push(&buffer[..length]) {
            state.came_back(record, at);
        }
    }
}

/// Errors about earlier datagrams (nobody there, not permitted) do not end it: the next one may pass.
fn write_udp(socket: &UdpSocket, mut pace: Pace, state: &State) {
    while !state.is_closed() {
        let sequence = pace.wait();
        if socket
            .send(
                &Record {
                    sequence,
                    sent: now(),
                }
                .to_bytes(),
            )
            .is_ok()
        {
            state.wrote();
        }
    }
}

fn read_udp(socket: &UdpSocket, state: &State) {
    let mut buffer = [0; 256];
    while !state.is_closed() {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        if let Some(record) = buffer
            .get(..length.min(RECORD_LENGTH))
            .and_then(Record::from_bytes)
        {
            state.came_back(record, now());
        }
    }
}
