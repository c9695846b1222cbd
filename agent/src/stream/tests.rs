//! Renewed keys and the connection that was made with the earlier ones, over real TLS on loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::pin::Pin;

use bulkhead_graph::{FORMAT, Timestamp};
use bulkhead_keys::{Keys, Look};
use bulkhead_wire::proto::distribution_server::{Distribution, DistributionServer};
use bulkhead_wire::{Limits, certificate};
use clap::Parser as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::*;
use crate::settings::{Command, Verb};

const SOON: Duration = Duration::from_secs(20);

/// Who vouches for both sides.
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate with its key.
struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Issued {
    fn new(authority: &Authority, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, authority).unwrap();
        Self { certificate, key }
    }

    fn der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }
}

/// Replaces the agent's certificate, and nothing else.
fn put_certificate(folder: &Path, issued: &Issued) {
    fs::write(folder.join("agent.crt"), issued.certificate.pem()).unwrap();
}

/// Replaces its key.
fn put_key(folder: &Path, issued: &Issued) {
    fs::write(folder.join("agent.key"), issued.key.serialize_pem()).unwrap();
}

/// Replaces all three files; returns what the agent proves itself with from then on.
fn renew(folder: &Path, authority: &Authority) -> Issued {
    let issued = Issued::new(authority, &certificate::name_of_node("n1"));
    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    put_certificate(folder, &issued);
    put_key(folder, &issued);
    issued
}

/// What the controller's side sees.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Somebody knocks.
    Accepted,
    /// An agent with this certificate has said hello.
    Opened(Vec<u8>),
    /// Its stream is over.
    Ended(Vec<u8>),
}

struct Watcher(mpsc::UnboundedSender<Seen>);

type Silence = Pin<Box<dyn tokio_stream::Stream<Item = Result<ControllerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Distribution for Watcher {
    type SyncStream = Silence;

    async fn sync(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Silence>, Status> {
        let certificates = request.peer_certs().unwrap();
        let certificate = certificates[0].to_vec();
        let (seen, mut incoming) = (self.0.clone(), request.into_inner());
        let (held, silence) = mpsc::channel(1);
        tokio::spawn(async move {
            let _held = held;
            let hello = incoming.message().await.unwrap().unwrap();
            assert!(matches!(
                FromAgent::try_from(hello).unwrap(),
                FromAgent::Hello(_)
            ));
            seen.send(Seen::Opened(certificate.clone())).unwrap();
            while let Ok(Some(_)) = incoming.message().await {}
            // At the end of the test nobody listens any more.
            let _ = seen.send(Seen::Ended(certificate));
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(silence))))
    }
}

/// Starts the controller's side; returns its address and what it sees.
async fn controller(authority: &Authority) -> (String, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, seen) = mpsc::unbounded_channel();
    let accepted = sender.clone();
    let incoming = TcpListenerStream::new(listener).map(move |stream| {
        // At the end of the test nobody listens any more.
        let _ = accepted.send(Seen::Accepted);
        stream
    });
    let own = Issued::new(authority, certificate::CONTROLLER);
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(
            own.certificate.pem(),
            own.key.serialize_pem(),
        ))
        .client_ca_root(Certificate::from_pem(authority.pem()));
    let server = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(DistributionServer::new(Watcher(sender)))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    (address, seen)
}

fn load(folder: &Path, controller: &str) -> Keys<Endpoint> {
    let file = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        "bulkhead-agent",
        "run",
        "--node=n1",
        &format!("--controller={controller}"),
        &format!("--authority={}", file("ca.crt")),
        &format!("--certificate={}", file("agent.crt")),
        &format!("--key={}", file("agent.key")),
    ]
    .map(str::to_owned);
    let Verb::Run(run) = Command::try_parse_from(arguments).unwrap().verb else {
        panic!("`run` is parsed as something else");
    };
    crate::keys::load(&run, now()).unwrap()
}

fn now() -> Timestamp {
    clock::now().wall
}

/// An agent's end of the stream, with what others hold of it.
struct Agent {
    connection: watch::Receiver<Connection>,
    _acks: watch::Sender<Option<Ack>>,
    _refusals: mpsc::Sender<Refused>,
    _received: mpsc::Receiver<Received>,
}

impl Agent {
    fn start(keys: &Keys<Endpoint>, controller: &str) -> Self {
        let (acks_sender, acks) = watch::channel(None);
        let (refusals_sender, refusals) = mpsc::channel(1);
        let (received_sender, received) = mpsc::channel(1);
        let (state, connection) = watch::channel(Connection::Down(String::new()));
        let stream = Stream {
            controller: controller.to_owned(),
            keys: keys.subscribe(),
            hello: Hello {
                node: "n1".to_owned(),
                abi: 1,
                format: FORMAT,
                version: "test".to_owned(),
                limits: Limits::default(),
                realised: None,
            },
        };
        let outgoing = Outgoing { acks, refusals };
        tokio::spawn(stream.run(outgoing, received_sender, state));
        Self {
            connection,
            _acks: acks_sender,
            _refusals: refusals_sender,
            _received: received,
        }
    }
}

/// What the controller's side sees next.
async fn next(seen: &mut mpsc::UnboundedReceiver<Seen>) -> Seen {
    let next = timeout(SOON, seen.recv()).await;
    next.expect("something in time").unwrap()
}

#[tokio::test]
async fn renewed_keys_are_used_by_a_new_connection_before_the_old_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = authority();
    let (address, mut seen) = controller(&authority).await;
    let first = renew(folder, &authority);
    let keys = load(folder, &address);
    let mut agent = Agent::start(&keys, &address);
    assert_eq!(next(&mut seen).await, Seen::Accepted);
    assert_eq!(next(&mut seen).await, Seen::Opened(first.der()));
    let up = agent.connection.wait_for(|state| *state == Connection::Up);
    timeout(SOON, up).await.unwrap().unwrap();

    // Half of a pair.
    let second = Issued::new(&authority, &certificate::name_of_node("n1"));
    put_certificate(folder, &second);
    keys.look(now()).unwrap_err();
    put_key(folder, &second);
    assert_eq!(keys.look(now()).unwrap(), Look::New);
    assert_eq!(next(&mut seen).await, Seen::Accepted);
    assert_eq!(next(&mut seen).await, Seen::Opened(second.der()));
    assert_eq!(next(&mut seen).await, Seen::Ended(first.der()));
    assert!(
        !agent.connection.has_changed().unwrap(),
        "there was a connection all the time"
    );
}

#[tokio::test]
async fn keys_that_the_controller_does_not_accept_end_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (authority, other) = (authority(), authority());
    let (address, mut seen) = controller(&authority).await;
    let first = renew(folder, &authority);
    let keys = load(folder, &address);
    let _agent = Agent::start(&keys, &address);
    assert_eq!(next(&mut seen).await, Seen::Accepted);
    assert_eq!(next(&mut seen).await, Seen::Opened(first.der()));
    // Signed by another authority: they fit together.
    let foreign = Issued::new(&other, &certificate::name_of_node("n1"));
    put_certificate(folder, &foreign);
    put_key(folder, &foreign);
    assert_eq!(keys.look(now()).unwrap(), Look::New);
    for attempt in 0..3 {
        assert_eq!(next(&mut seen).await, Seen::Accepted, "attempt {attempt}");
    }
    let second = renew(folder, &authority);
    assert_eq!(keys.look(now()).unwrap(), Look::New);
    let mut more = next(&mut seen).await;
    while more == Seen::Accepted {
        more = next(&mut seen).await;
    }
    assert_eq!(more, Seen::Opened(second.der()));
    assert_eq!(next(&mut seen).await, Seen::Ended(first.der()));
}

#[tokio::test]
async fn why_there_is_no_connection_is_told_once() {
    // Port 9 is "discard": nobody has listened there for decades.
    let refused = Endpoint::from_static("http://127.0.0.1:9").connect().await;
    let ended = Ended::Transport(refused.unwrap_err());
    let said = ended.to_string();
    assert_eq!(said.matches("Connection refused").count(), 1, "{said}");
    assert!(std::error::Error::source(&ended).is_none());
    let ended = Ended::from(Status::unavailable("not now"));
    let expected = format!("{}: not now", tonic::Code::Unavailable);
    assert_eq!(ended.to_string(), expected);
    assert!(std::error::Error::source(&ended).is_none());
}
