//! The server's side of mutual TLS, from files that may be replaced while the controller runs.
//!
//! Invariant: whoever connects meets the newest files that fit together and are valid. Files that are not change nothing and are
//! reported; streams that are open stay open. A handshake that is stuck holds up nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bulkhead_graph::Timestamp;
use bulkhead_wire::{certificate, limits};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info, warn};

use crate::clock;
use crate::keys::KeyFolder;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The end of a certificate that is nearer than this is warned of, once a day.
const SOON_MS: i64 = 30 * DAY_MS;

const DAY_MS: i64 = 24 * 3_600_000;

/// Handshakes under way at a time; each has [`limits::HANDSHAKE`].
const HANDSHAKES: usize = 4096;

/// Wait after the system refused a connection, for want of descriptors.
const REFUSED: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Clone)]
pub struct Tls {
    folder: KeyFolder,
    current: Arc<watch::Sender<Arc<Loaded>>>,
}

struct Loaded {
    files: Files,
    config: Arc<ServerConfig>,
    /// When each certificate ends, by file.
    ends: BTreeMap<&'static str, Timestamp>,
}

#[derive(PartialEq, Eq)]
struct Files {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.folder).finish()
    }
}

impl Tls {
    /// From a key folder.
    ///
    /// # Errors
    /// Names the file that is missing, unreadable or expired.
    pub fn load(folder: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let folder = KeyFolder(folder.to_owned());
        let loaded = Loaded::new(&folder, Files::read(&folder)?, now)?;
        if folder.authority_key().exists() {
            info!(
                "{} is not needed here; keep it where `init` runs",
                folder.authority_key().display()
            );
        }
        let current = Arc::new(watch::Sender::new(Arc::new(loaded)));
        Ok(Self { folder, current })
    }

    /// When each certificate ends, by file.
    pub fn ends(&self) -> BTreeMap<&'static str, Timestamp> {
        self.current.borrow().ends.clone()
    }

    /// Connections with a client that the authority vouches for.
    pub fn incoming(
        &self,
        listener: TcpListener,
    ) -> ReceiverStream<std::io::Result<TlsStream<TcpStream>>> {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(accept(listener, self.current.subscribe(), sender));
        ReceiverStream::new(receiver)
    }

    /// Takes up new files, and warns of an end that is near. Never returns.
    pub async fn follow(self) {
        let mut reported = String::new();
        let mut warned: Option<Timestamp> = None;
        loop {
            let now = clock::now();
            let failed = match self.look(now) {
                Ok(()) => String::new(),
                Err(error) => format!("{error:#}"),
            };
            if failed != reported && !failed.is_empty() {
                warn!(
                    error = failed,
                    "the key files changed and cannot be used; the earlier ones stay in force"
                );
            }
            reported = failed;
            if warned.is_none_or(|at| now.0 - at.0 >= DAY_MS) {
                warned = Some(now);
                self.warn(now);
            }
            sleep(LOOK).await;
        }
    }

    fn look(&self, now: Timestamp) -> anyhow::Result<()> {
        let files = Files::read(&self.folder)?;
        if self.current.borrow().files == files {
            return Ok(());
        }
        let loaded = Loaded::new(&self.folder, files, now)?;
        self.current.send_replace(Arc::new(loaded));
        info!("new key files are in use");
        Ok(())
    }

    fn warn(&self, now: Timestamp) {
        for (file, end) in self.ends() {
            let left = end.0 - now.0;
            if left < SOON_MS {
                let days = left.div_euclid(DAY_MS);
                warn!(
                    file,
                    days,
                    "the certificate ends soon: run `bulkhead-controller init` where ca.key is kept, and copy the new files here"
                );
            }
        }
    }
}

impl Files {
    fn read(folder: &KeyFolder) -> anyhow::Result<Self> {
        let (certificate, key) = folder.controller();
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| {
                format!(
                    "{}: cannot be read; `bulkhead-controller init --keys FOLDER` makes it",
                    path.display()
                )
            })
        };
        Ok(Self {
            authority: read(&folder.authority())?,
            certificate: read(&certificate)?,
            key: read(&key)?,
        })
    }
}

impl Loaded {
    fn new(folder: &KeyFolder, files: Files, now: Timestamp) -> anyhow::Result<Self> {
        let (path, _) = folder.controller();
        let (from, to) = certificate::validity(&files.certificate)
            .with_context(|| path.display().to_string())?;
        if now < from || now >= to {
            bail!(
                "{}: the certificate is not valid now (it is from {} to {}, milliseconds since the epoch); run \
                 `bulkhead-controller init` again and copy the new files here, or set the clock",
                path.display(),
                from.0,
                to.0
            );
        }
        let authority = folder.authority();
        let (_, authority_ends) = certificate::validity(&files.authority)
            .with_context(|| authority.display().to_string())?;
        let config = config(&files).with_context(|| {
            format!(
                "{}: the keys there cannot be used for TLS; copy ca.crt, controller.crt and controller.key of one `init`",
                folder.0.display()
            )
        })?;
        Ok(Self {
            files,
            config: Arc::new(config),
            ends: [("ca.crt", authority_ends), ("controller.crt", to)].into(),
        })
    }
}

fn config(files: &Files) -> anyhow::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&files.authority) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let chain =
        CertificateDer::pem_slice_iter(&files.certificate).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&files.key)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

async fn accept(
    listener: TcpListener,
    current: watch::Receiver<Arc<Loaded>>,
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
        let acceptor = TlsAcceptor::from(current.borrow().config.clone());
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
