//! The endpoint as a process: reads questions from standard input until it ends, which is also when its owner dies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::LocalSet;

use super::link::{Watch, flood, inject};
use super::probe::probe;
use super::protocol::{Answer, Answered, Asked, Request, StreamId};
use super::serve::{Ledger, serve};
use super::stream::Stream;

/// What has arrived already is read before it is counted; the loop gets round to it in this time.
const DRAIN_TIME: Duration = Duration::from_millis(1);

/// Everything an endpoint knows.
struct Endpoint {
    name: String,
    ledger: Ledger,
    streams: RefCell<BTreeMap<StreamId, Stream>>,
    watch: RefCell<Option<Watch>>,
}

/// Runs until standard input ends. `name` is what servers answer with.
pub fn run(name: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let endpoint = Rc::new(Endpoint {
        name: name.to_owned(),
        ledger: Ledger::default(),
        streams: RefCell::default(),
        watch: RefCell::default(),
    });
    let questions = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await.context("read standard input")? {
            let Asked { number, request } =
                serde_json::from_str::<Asked>(&line).with_context(|| format!("read {line:?}"))?;
            let endpoint = Rc::clone(&endpoint);
            tokio::task::spawn_local(async move {
                let answer = endpoint
                    .answer(request)
                    .await
                    .unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
                say(&Answered { number, answer });
            });
        }
        anyhow::Ok(())
    };
    LocalSet::new().block_on(&runtime, questions)?;
    // Threads of streams and watches, and the one that reads standard input, are not waited for.
    runtime.shutdown_background();
    Ok(())
}

impl Endpoint {
    async fn answer(&self, request: Request) -> Result<Answer> {
        Ok(match request {
            Request::Serve(ports) => {
                for port in ports {
                    serve(&self.name, port, &self.ledger).await?;
                }
                Answer::Done
            }
            Request::Probe {
                questions,
                limit_ms,
            } => Answer::Probed(probe(questions, Duration::from_millis(limit_ms)).await),
            Request::Open(plan) => {
                let stream = Stream::open(plan)
                    .await
                    .with_context(|| format!("open a stream to {}", plan.to))?;
                let mut streams = self.streams.borrow_mut();
                let id = StreamId(u32::try_from(streams.len())?);
                streams.insert(id, stream);
                Answer::Opened(id)
            }
            Request::Stream(id) => Answer::Stream(self.stream(id, Stream::sent)?),
            Request::Close(id) => {
                self.stream(id, Stream::close)?;
                Answer::Done
            }
            Request::Intake {
                transport,
                port,
                from,
            } => {
                tokio::time::sleep(DRAIN_TIME).await;
                let ledger = self.ledger.borrow();
                Answer::Intake(
                    ledger
                        .get(&(transport, port, from.to_canonical()))
                        .copied()
                        .unwrap_or_default(),
                )
            }
            Request::Inject { interface, frame } => {
                inject(&interface, &frame)?;
                Answer::Done
            }
            Request::Flood(frames) => {
                // The servers and streams of the endpoint go on meanwhile.
                tokio::task::spawn_blocking(move || flood(frames)).await??;
                Answer::Done
            }
            Request::Watch { interface, markers } => {
                *self.watch.borrow_mut() = Some(Watch::begin(&interface, markers)?);
                Answer::Done
            }
            Request::Watched => {
                let watch = self.watch.borrow();
                Answer::Watched(watch.as_ref().context("no watch has begun")?.seen())
            }
        })
    }

    fn stream<T>(&self, id: StreamId, look: impl FnOnce(&Stream) -> T) -> Result<T> {
        self.streams
            .borrow()
            .get(&id)
            .map(look)
            .ok_or_else(|| anyhow!("there is no stream {}", id.0))
    }
}

/// The owner is gone if this fails, and then standard input ends as well.
fn say(answered: &Answered) {
    if let Ok(line) = serde_json::to_string(answered) {
        let mut output = std::io::stdout().lock();
        let _said = writeln!(output, "{line}").and_then(|()| output.flush());
    }
}
