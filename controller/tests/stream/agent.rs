//! The agent's side of the stream, by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bulkhead_controller::keys::KeyFolder;
use bulkhead_graph::{FORMAT, NodeGraph};
use bulkhead_wire::proto::distribution_client::DistributionClient;
use bulkhead_wire::proto::{AgentMessage, ControllerMessage};
use bulkhead_wire::{
    Ack, Answer, Assembly, FromAgent, FromController, Hello, Limits, Revision, certificate,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::controller::SOON;

/// With what it holds.
pub(crate) struct Agent {
    sender: mpsc::Sender<AgentMessage>,
    pub(crate) incoming: tonic::Streaming<ControllerMessage>,
    pub(crate) held: Arc<NodeGraph>,
}

/// What an agent of this version says first.
pub(crate) fn hello(node: &str) -> Hello {
    Hello {
        node: node.to_owned(),
        abi: 1,
        format: FORMAT,
        version: "test".to_owned(),
        limits: Limits::default(),
        realised: None,
    }
}

impl Agent {
    pub(crate) async fn connect(
        address: SocketAddr,
        trusted: &std::path::Path,
        own: &std::path::Path,
        certified: &str,
        hello: Hello,
    ) -> Result<Self, String> {
        let (certificate_file, key) = KeyFolder(own.to_owned()).node(certified);
        let read = |path: PathBuf| std::fs::read(path).unwrap();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(trusted.join("ca.crt"))))
            .identity(Identity::from_pem(read(certificate_file), read(key)))
            .domain_name(certificate::CONTROLLER);
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .unwrap()
            .tls_config(tls)
            .unwrap();
        let text = |error: &dyn std::error::Error| format!("{error:?}");
        let channel = endpoint.connect().await.map_err(|error| text(&error))?;
        let (sender, messages) = mpsc::channel(4);
        sender
            .send((&FromAgent::Hello(hello)).into())
            .await
            .unwrap();
        let mut client = DistributionClient::new(channel);
        let incoming = client
            .sync(ReceiverStream::new(messages))
            .await
            .map_err(|error| text(&error))?;
        Ok(Self {
            sender,
            incoming: incoming.into_inner(),
            held: Arc::default(),
        })
    }

    pub(crate) async fn revision(&mut self) -> Result<Revision, String> {
        let mut assembly: Option<Assembly> = None;
        loop {
            let message = timeout(SOON, self.incoming.message())
                .await
                .map_err(|_| "nothing came".to_owned())?;
            let message =
                message.map_err(|status| format!("{}: {}", status.code(), status.message()))?;
            let message = message.ok_or("the stream ended")?;
            match FromController::try_from(message).unwrap() {
                FromController::Header(header) => assembly = Some(Assembly::new(header)),
                FromController::Part { offset, content } => {
                    assembly.as_mut().unwrap().add(offset, &content).unwrap();
                }
                FromController::Confirm { .. } => {}
            }
            if let Some(whole) = assembly.take_if(|open| open.is_complete()) {
                return Ok(whole.finish().unwrap());
            }
        }
    }

    /// Asks whether what it enforces is right, and waits for the answer.
    pub(crate) async fn ask(&mut self, at: u64) -> Option<(bulkhead_graph::Digest, Answer)> {
        self.sender
            .send((&FromAgent::Ask(at)).into())
            .await
            .unwrap();
        let answered = async {
            loop {
                let message = self.incoming.message().await.unwrap().unwrap();
                if let FromController::Confirm {
                    digest,
                    answer: Some(answer),
                    ..
                } = FromController::try_from(message).unwrap()
                {
                    return (digest, answer);
                }
            }
        };
        timeout(SOON, answered).await.ok()
    }

    pub(crate) async fn realise(&mut self) -> Revision {
        let revision = self.revision().await.unwrap();
        let empty = NodeGraph::default();
        let base = if revision.delta.base == empty.digest() {
            &empty
        } else {
            &*self.held
        };
        self.held = Arc::new(revision.delta.apply(base).unwrap());
        let ack = Ack {
            digest: revision.delta.target,
            frontier: revision.frontier.clone(),
            used: Limits::default(),
            applied_us: 1,
            confirmed_us: 1,
            writes: 1,
            denied: Vec::new(),
            unprotected: Vec::new(),
            protected: 0,
        };
        self.sender
            .send((&FromAgent::Ack(ack)).into())
            .await
            .unwrap();
        revision
    }
}
