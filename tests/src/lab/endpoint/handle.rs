//! The lab's side of an endpoint: a child process, and methods that ask it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::protocol::{
    Answer, Answered, Asked, Flood, Intake, Outcome, Question, Request, Sent, StreamId, StreamPlan,
    Transport,
};
use crate::lab::netns::Netns;
use crate::lab::run_folder::make;

/// For an answer beyond the time that the question itself may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// A process in a namespace that asks and serves. Dropped, it ends.
#[derive(Debug)]
pub struct Endpoint {
    name: String,
    child: Mutex<Child>,
    line: Mutex<Line>,
    waiting: Waiting,
}

type Waiting = Arc<Mutex<BTreeMap<u64, Sender<Answer>>>>;

#[derive(Debug)]
struct Line {
    input: Option<ChildStdin>,
    next: u64,
}

/// A question that has been put and not been answered yet.
#[derive(Debug)]
pub struct Pending {
    endpoint: String,
    answer: Receiver<Answer>,
    limit: Duration,
}

impl Endpoint {
    /// Starts the program in the namespace; its servers say `name`.
    pub(crate) fn start(program: &std::path::Path, name: &str, netns: &Netns) -> Result<Self> {
        let spawn = || {
            Command::new(program)
                .arg(name)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .with_context(|| format!("start {}", program.display()))
        };
        let mut child = netns.enter(|| make(spawn))?;
        let output = child.stdout.take().context("no pipe from the endpoint")?;
        let input = child.stdin.take();
        let waiting = Waiting::default();
        let answers = Arc::clone(&waiting);
        thread::spawn(move || hand_out(output, &answers));
        Ok(Self {
            name: name.to_owned(),
            child: Mutex::new(child),
            line: Mutex::new(Line { input, next: 0 }),
            waiting,
        })
    }

    /// What its servers say.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Serves TCP and UDP on these ports.
    pub fn serve(&self, ports: &[u16]) -> Result<()> {
        self.done(Request::Serve(ports.to_vec()))
    }

    /// Asks all questions at the same time and waits for the outcomes.
    pub fn probe(&self, questions: &[Question], limit: Duration) -> Result<Vec<Outcome>> {
        self.begin_probe(questions, limit)?.outcomes()
    }

    /// Asks without waiting.
    pub fn begin_probe(&self, questions: &[Question], limit: Duration) -> Result<Pending> {
        let limit_ms = u64::try_from(limit.as_millis())?;
        let batches = u32::try_from(questions.len() / 200 + 1)?;
        self.put(
            Request::Probe {
                questions: questions.to_vec(),
                limit_ms,
            },
            limit * batches,
        )
    }

    /// One question.
    pub fn asks(&self, transport: Transport, to: SocketAddr, limit: Duration) -> Result<Outcome> {
        let mut outcomes = self.probe(&[Question { transport, to }], limit)?;
        outcomes.pop().context("an outcome for each question")
    }

    /// Begins a stream; fails if a connection cannot be made.
    pub fn open(&self, plan: StreamPlan) -> Result<StreamId> {
        let Answer::Opened(id) = self.ask(Request::Open(plan))? else {
            return Err(self.confused());
        };
        Ok(id)
    }

    /// The state of a stream.
    pub fn stream(&self, id: StreamId) -> Result<Sent> {
        let Answer::Stream(sent) = self.ask(Request::Stream(id))? else {
            return Err(self.confused());
        };
        Ok(sent)
    }

    /// Ends a stream.
    pub fn close(&self, id: StreamId) -> Result<()> {
        self.done(Request::Close(id))
    }

    /// What its servers have got from there.
    pub fn intake(&self, transport: Transport, port: u16, from: IpAddr) -> Result<Intake> {
        let Answer::Intake(intake) = self.ask(Request::Intake {
            transport,
            port,
            from,
        })?
        else {
            return Err(self.confused());
        };
        Ok(intake)
    }

    /// Puts a frame on an interface of its namespace.
    pub fn inject(&self, interface: &str, frame: &[u8]) -> Result<()> {
        self.done(Request::Inject {
            interface: interface.to_owned(),
            frame: frame.to_vec(),
        })
    }

    /// Puts many frames on an interface of its namespace, one after the other.
    pub fn flood(&self, flood: Flood) -> Result<()> {
        self.done(Request::Flood(flood))
    }

    /// Looks at what arrives on an interface, counting frames by marks.
    pub fn watch(&self, interface: &str, markers: &[&[u8]]) -> Result<()> {
        let markers = markers.iter().map(|marker| marker.to_vec()).collect();
        self.done(Request::Watch {
            interface: interface.to_owned(),
            markers,
        })
    }

    /// How many frames with each of the marks have arrived.
    pub fn watched(&self) -> Result<Vec<u64>> {
        let Answer::Watched(counts) = self.ask(Request::Watched)? else {
            return Err(self.confused());
        };
        Ok(counts)
    }

    fn done(&self, request: Request) -> Result<()> {
        let Answer::Done = self.ask(request)? else {
            return Err(self.confused());
        };
        Ok(())
    }

    fn ask(&self, request: Request) -> Result<Answer> {
        self.put(request, Duration::ZERO)?.wait()
    }

    fn put(&self, request: Request, takes: Duration) -> Result<Pending> {
        let (sender, answer) = channel();
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let number = line.next;
        line.next += 1;
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, sender);
        let mut text = serde_json::to_string(&Asked { number, request })?;
        text.push('\n');
        let input = line.input.as_mut().context("the endpoint has ended")?;
        input
            .write_all(text.as_bytes())
            .with_context(|| format!("endpoint {} is gone", self.name))?;
        Ok(Pending {
            endpoint: self.name.clone(),
            answer,
            limit: takes + ANSWER_LIMIT,
        })
    }

    fn confused(&self) -> anyhow::Error {
        anyhow!("endpoint {} has answered another question", self.name)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.line
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .input = None;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself; waiting tells the kernel to forget it.
        let _killed = child.kill();
        let _waited = child.wait();
    }
}

impl Pending {
    /// The outcomes of a probe.
    pub fn outcomes(self) -> Result<Vec<Outcome>> {
        let endpoint = self.endpoint.clone();
        let Answer::Probed(outcomes) = self.wait()? else {
            bail!("endpoint {endpoint} has answered another question")
        };
        Ok(outcomes)
    }

    fn wait(self) -> Result<Answer> {
        let answer = self.answer.recv_timeout(self.limit).with_context(|| {
            format!(
                "endpoint {} has not answered within {:?}",
                self.endpoint, self.limit
            )
        })?;
        if let Answer::Failed(reason) = answer {
            bail!("endpoint {}: {reason}", self.endpoint);
        }
        Ok(answer)
    }
}

/// Until the endpoint ends; those who still wait then find their channel closed.
fn hand_out(output: ChildStdout, waiting: &Mutex<BTreeMap<u64, Sender<Answer>>>) {
    for line in BufReader::new(output).lines() {
        let Ok(Answered { number, answer }) = line
            .map_err(anyhow::Error::from)
            .and_then(|l| Ok(serde_json::from_str(&l)?))
        else {
            break;
        };
        let asked = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        if let Some(asked) = asked {
            // Whoever asked may have given up.
            let _taken = asked.send(answer);
        }
    }
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}
