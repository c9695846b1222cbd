//! The two directions of the stream as enums.

use bytes::Bytes;

use crate::field::{self, Malformed};
use crate::proto::{self, agent_message, controller_message};
use crate::{Ack, Frontier, Header, Hello, Refused, limits};

/// What an agent sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromAgent {
    /// First, and only first.
    Hello(Hello),
    /// In force and read back.
    Ack(Ack),
    /// Not taken.
    Refused(Refused),
    /// Whether what is enforced is right now; holds when that was asked, by the agent's own clock.
    Ask(u64),
}

/// What a controller says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When it was asked, by the agent's own clock: nothing that the answer met on its way makes it any newer.
    pub at: u64,
    /// For how long the controller itself had not heard of its inputs.
    pub age_ms: u64,
}

/// What the controller sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromController {
    /// A revision begins.
    Header(Header),
    /// A piece of it.
    Part {
        /// Where it belongs.
        offset: u64,
        /// The piece.
        content: Bytes,
    },
    /// The inputs moved, the revision did not.
    Confirm {
        /// The revision.
        digest: bulkhead_graph::Digest,
        /// The newer inputs.
        frontier: Frontier,
        /// To the newest question, if there was one.
        answer: Option<Answer>,
    },
}

impl From<&FromAgent> for proto::AgentMessage {
    fn from(message: &FromAgent) -> Self {
        use agent_message::Message;
        Self {
            message: Some(match message {
                FromAgent::Hello(hello) => Message::Hello(hello.to_proto()),
                FromAgent::Ack(ack) => Message::Ack(ack.to_proto()),
                FromAgent::Refused(refused) => Message::Refused(refused.to_proto()),
                FromAgent::Ask(at) => Message::Ask(proto::Ask { at: *at }),
            }),
        }
    }
}

impl TryFrom<proto::AgentMessage> for FromAgent {
    type Error = Malformed;

    fn try_from(message: proto::AgentMessage) -> Result<Self, Malformed> {
        use agent_message::Message;
        match field::required(message.message, "AgentMessage.message")? {
            Message::Hello(hello) => Hello::from_proto(hello)
                .map(Self::Hello)
                .map_err(|e| e.within("Hello")),
            Message::Ack(ack) => Ack::from_proto(ack)
                .map(Self::Ack)
                .map_err(|e| e.within("Ack")),
            Message::Refused(refused) => Refused::from_proto(refused)
                .map(Self::Refused)
                .map_err(|e| e.within("Refused")),
            Message::Ask(ask) => Ok(Self::Ask(ask.at)),
        }
    }
}

impl From<FromController> for proto::ControllerMessage {
    fn from(message: FromController) -> Self {
        use controller_message::Message;
        Self {
            message: Some(match message {
                FromController::Header(header) => Message::Header(proto::Header {
                    base: header.base.0.to_vec(),
                    target: header.target.0.to_vec(),
                    frontier: Some(header.frontier.to_proto()),
                    length: header.length,
                }),
                FromController::Part { offset, content } => {
                    Message::Part(proto::Part { offset, content })
                }
                FromController::Confirm {
                    digest,
                    frontier,
                    answer,
                } => Message::Confirm(proto::Confirm {
                    digest: digest.0.to_vec(),
                    frontier: Some(frontier.to_proto()),
                    answer: answer.map(|Answer { at, age_ms }| proto::Answer {
                        at,
                        age_ms: Some(age_ms),
                    }),
                }),
            }),
        }
    }
}

impl TryFrom<proto::ControllerMessage> for FromController {
    type Error = Malformed;

    fn try_from(message: proto::ControllerMessage) -> Result<Self, Malformed> {
        use controller_message::Message;
        match field::required(message.message, "ControllerMessage.message")? {
            Message::Header(header) => header_from(header)
                .map(Self::Header)
                .map_err(|e| e.within("Header")),
            Message::Part(part) if part.content.len() > limits::PART_BYTES => {
                let problem = format!(
                    "has {} bytes, more than {}",
                    part.content.len(),
                    limits::PART_BYTES
                );
                Err(Malformed::new("Part.content", problem))
            }
            Message::Part(part) => Ok(Self::Part {
                offset: part.offset,
                content: part.content,
            }),
            Message::Confirm(confirm) => {
                let digest = field::digest(&confirm.digest, "Confirm.digest")?;
                let frontier = field::required(confirm.frontier, "Confirm.frontier")?;
                let frontier =
                    Frontier::from_proto(frontier).map_err(|e| e.within("Confirm.frontier"))?;
                let answer = confirm.answer.map(answer_from).transpose();
                let answer = answer.map_err(|e| e.within("Confirm.answer"))?;
                Ok(Self::Confirm {
                    digest,
                    frontier,
                    answer,
                })
            }
        }
    }
}

fn answer_from(answer: proto::Answer) -> Result<Answer, Malformed> {
    Ok(Answer {
        at: answer.at,
        age_ms: field::required(answer.age_ms, "age_ms")?,
    })
}

fn header_from(header: proto::Header) -> Result<Header, Malformed> {
    if header.length > limits::DELTA_BYTES {
        let problem = format!("{} bytes, more than {}", header.length, limits::DELTA_BYTES);
        return Err(Malformed::new("length", problem));
    }
    let frontier = field::required(header.frontier, "frontier")?;
    Ok(Header {
        base: field::digest(&header.base, "base")?,
        target: field::digest(&header.target, "target")?,
        frontier: Frontier::from_proto(frontier).map_err(|e| e.within("frontier"))?,
        length: header.length,
    })
}
