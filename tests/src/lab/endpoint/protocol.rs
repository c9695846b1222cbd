//! What the lab and its endpoints say to each other: one JSON document a line, questions on standard input, answers on standard
//! output. Every answer carries the number of its question, so questions may overtake each other.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Nanoseconds of the machine's monotonic clock, which all network namespaces share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(pub u64);

/// How a question is asked on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// A connection on which the server says its name.
    Tcp,
    /// A datagram that the server sends back with its name.
    Udp,
    /// Echo request, of the family of the address.
    Ping,
}

/// "Do you reach this?"
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Question {
    /// How.
    pub transport: Transport,
    /// Whom. The port of a ping is 0.
    pub to: SocketAddr,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The server of this name answered; a ping is answered by nobody in particular.
    Answered(String),
    /// The other end refused: it was reached.
    Refused,
    /// Nothing came back in time.
    Silence,
    /// The network said no, or the sending failed.
    Error(String),
}

impl Outcome {
    /// Whether packets went there and back.
    pub fn is_reached(&self) -> bool {
        matches!(self, Self::Answered(_) | Self::Refused)
    }
}

/// A stream of numbered records to somebody, who sends them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// TCP or UDP.
    pub transport: Transport,
    /// To whom.
    pub to: SocketAddr,
    /// From this port; 0 lets the kernel choose.
    pub from_port: u16,
    /// How fast.
    pub records_per_second: u32,
}

/// Names a stream of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub u32);

/// A stream as its sender sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sent {
    /// Records given to the kernel.
    pub records: u64,
    /// Records that came back.
    pub echoed: u64,
    /// When the last one came back.
    pub last_echo: Option<Instant>,
    /// The longest time without any coming back, in nanoseconds, up to the last one that did.
    pub longest_gap_ns: u64,
    /// Records that came back out of order or twice; impossible in TCP.
    pub disorder: u64,
    /// Why the stream ended, if it did.
    pub error: Option<String>,
}

/// What a server got from one peer on one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Intake {
    /// Bytes.
    pub bytes: u64,
    /// When the last one was read.
    pub last_arrival: Option<Instant>,
    /// The latest time of sending that any record carried.
    pub newest_record: Option<Instant>,
}

/// Many frames that differ in one number of two bytes, usually a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// The interface they go to.
    pub interface: String,
    /// What they have in common.
    pub frame: Vec<u8>,
    /// Where the number stands.
    pub offset: usize,
    /// The first number.
    pub first: u16,
    /// How many frames; the number goes up by one with each.
    pub count: u16,
}

/// From the lab to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Serve on these ports, TCP and UDP, both families.
    Serve(Vec<u16>),
    /// Ask all at the same time.
    Probe {
        /// What to ask.
        questions: Vec<Question>,
        /// After which silence is an answer.
        limit_ms: u64,
    },
    /// Begin a stream.
    Open(StreamPlan),
    /// How is it going?
    Stream(StreamId),
    /// End it.
    Close(StreamId),
    /// What has arrived from there on this port?
    Intake {
        /// TCP or UDP.
        transport: Transport,
        /// The server's port.
        port: u16,
        /// The peer.
        from: IpAddr,
    },
    /// Put a raw Ethernet frame on an interface.
    Inject {
        /// Its name.
        interface: String,
        /// The whole frame.
        frame: Vec<u8>,
    },
    /// Put many of them there, as fast as it goes.
    Flood(Flood),
    /// Begin to look at everything that arrives on an interface, keeping the counts of frames that contain any of the markers.
    Watch {
        /// Its name.
        interface: String,
        /// Bytes to look for.
        markers: Vec<Vec<u8>>,
    },
    /// How many frames with each of the markers have been seen?
    Watched,
}

/// From an endpoint to the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Done.
    Done,
    /// In the order of the questions.
    Probed(Vec<Outcome>),
    /// A stream has begun.
    Opened(StreamId),
    /// Its state.
    Stream(Sent),
    /// What has arrived.
    Intake(Intake),
    /// Frames seen for each marker, in order.
    Watched(Vec<u64>),
    /// It could not be done.
    Failed(String),
}

/// A line to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) request: Request,
}

/// A line from an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) number: u64,
    pub(crate) answer: Answer,
}
