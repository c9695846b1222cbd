//! The server's side of mutual TLS, from files that may be replaced while the controller runs.
//!
//! Invariant: whoever connects meets the newest files that fit together and were valid when they came (`bulkhead_keys`); streams that
//! are open stay open. A handshake that is stuck holds up nobody.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_graph::Timestamp;
use bulkhead_keys::{Files, InUse, KeyError, Keys, Pem};
use bulkhead_wire::{certificate, limits};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info};

use crate::clock;
use crate::keys::KeyFolder;

/// Handshakes under way at a time; each has [`limits::HANDSHAKE`].
const HANDSHAKES: usize = 4096;

/// Wait after the system refused a connection, for want of descriptors.
const REFUSED: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Keys<Arc<ServerConfig>>>);

impl Tls {
    /// From a key folder.
    ///
    /// # Errors
    /// Names the file that is missing, unreadable or expired.
    pub fn load(folder: &Path, now: Timestamp) -> Result<Self, KeyError> {
        let folder = KeyFolder(folder.to_owned());
        let (certificate, key) = folder.controller();
        let files = Files {
            authority: folder.authority(),
            certificate,
            key,
            remedy: "`bulkhead-controller init --keys FOLDER` where ca.key is kept makes what is missing or ends soon; copy ca.crt, \
                     controller.crt and controller.key of there"
                .to_owned(),
        };
        let keys = Keys::load(files, Box::new(config), now)?;
        if folder.authority_key().exists() {
            info!(
                "{} is not needed here; keep it where `init` runs",
                folder.authority_key().display()
            );
        }
        Ok(Self(Arc::new(keys)))
    }

    /// When each certificate ends, by file.
    pub fn ends(&self) -> BTreeMap<&'static str, Timestamp> {
        let current = self.0.current();
        [
            ("ca.crt", current.authority.until),
            ("controller.crt", current.certificate.until),
        ]
        .into()
    }

    /// Connections with a client that the authority vouches for.
    pub fn incoming(
        &self,
        listener: TcpListener,
    ) -> ReceiverStream<std::io::Result<TlsStream<TcpStream>>> {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(accept(listener, self.0.subscribe(), sender));
        ReceiverStream::new(receiver)
    }

    /// Takes up new files, and warns of an end that is near. Never returns.
    pub async fn follow(self) {
        self.0.follow(clock::now).await;
    }
}

fn config(files: &Pem) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&files.authority) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let chain =
        CertificateDer::pem_slice_iter(&files.certificate).collect::<Result<Vec<_>, _>>()?;
    let (names, _) = certificate::names(&files.certificate)?;
    if !names.iter().any(|name| name == certificate::CONTROLLER) {
        return Err(format!(
            "it is for {names:?} and not for {}",
            certificate::CONTROLLER
        )
        .into());
    }
    // Nothing of a secret file goes into a message.
    let key = PrivateKeyDer::from_pem_slice(&files.key)
        .map_err(|_| "the key file holds no whole private key in PEM form")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Whoever resumes is not asked for a certificate, and what he showed once may have ended.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    current: watch::Receiver<Arc<InUse<Arc<ServerConfig>>>>,
    sender: mpsc::Sender<std::io::Result<TlsStream<TcpStream>>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "a connection was not accepted");
                sleep(REFUSED).await;
                continue;
            }
        };
        // Without it small messages wait, and nothing else.
        let _ = stream.set_nodelay(true);
        let acceptor = TlsAcceptor::from(current.borrow().made.clone());
        let sender = sender.clone();
        tokio::spawn(async move {
            let _permit = permit;
            match timeout(limits::HANDSHAKE, acceptor.accept(stream)).await {
                // Whoever would serve it may have ended.
                Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
                Ok(Err(error)) => debug!(%error, "a handshake failed"),
                Err(_) => debug!("a handshake took too long"),
            }
        });
    }
}
