//! The key files of one end of the stream (its authority's certificate, its own, the key of that), which may be replaced while
//! the program runs.
//!
//! Invariant: what is in use was read from files that fit together and were valid at that time. Files that are not change
//! nothing and are reported.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod files;
mod validity;
mod warning;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_graph::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

pub use files::{Files, KeyError, Pem, Problem};
pub use validity::Validity;
use warning::{Ends, Failures};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Makes of files what connections are made with; they fit together already.
pub type Build<T> =
    Box<dyn Fn(&Pem) -> Result<T, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// The files of one end, and what connections are made with.
pub struct Keys<T> {
    files: Files,
    build: Build<T>,
    current: watch::Sender<Arc<InUse<T>>>,
}

/// What was made of files that fit together.
pub struct InUse<T> {
    /// With this a connection is made.
    pub made: T,
    /// From when to when the authority vouches for anybody.
    pub authority: Validity,
    /// From when to when the certificate is valid.
    pub certificate: Validity,
    pem: Pem,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The files that are in use.
    Same,
    /// Others, which are in use from now on.
    New,
}

impl<T> fmt::Debug for Keys<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.files).finish()
    }
}

impl<T> fmt::Debug for InUse<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("InUse");
        text.field("authority", &self.authority);
        text.field("certificate", &self.certificate);
        text.finish_non_exhaustive()
    }
}

impl<T> Keys<T> {
    /// From files that have to fit together and be valid now.
    ///
    /// # Errors
    /// Names the file and what to do.
    pub fn load(files: Files, build: Build<T>, now: Timestamp) -> Result<Self, KeyError> {
        let in_use = InUse::new(&files, &build, files.read()?, now)?;
        let current = watch::Sender::new(Arc::new(in_use));
        Ok(Self {
            files,
            build,
            current,
        })
    }

    /// What a connection is made with now.
    pub fn current(&self) -> Arc<InUse<T>> {
        self.current.borrow().clone()
    }

    /// The same, and that it has changed.
    pub fn subscribe(&self) -> watch::Receiver<Arc<InUse<T>>> {
        self.current.subscribe()
    }

    /// Takes up files that are others than those in use.
    ///
    /// # Errors
    /// Names the file that cannot be used; what is in use stays so.
    pub fn look(&self, now: Timestamp) -> Result<Look, KeyError> {
        let pem = self.files.read()?;
        if self.current.borrow().pem == pem {
            return Ok(Look::Same);
        }
        let in_use = InUse::new(&self.files, &self.build, pem, now)?;
        self.current.send_replace(Arc::new(in_use));
        Ok(Look::New)
    }

    /// Looks again and again, says what cannot be used, and warns of an end that is near. Never returns.
    pub async fn follow(&self, now: impl Fn() -> Timestamp) {
        let (mut failures, mut ends) = (Failures::default(), Ends::default());
        loop {
            let at = now();
            let looked = self.look(at);
            if let Ok(Look::New) = looked {
                let file = self.files.certificate.display();
                info!(%file, "new key files are in use");
            }
            let found = looked.err().map(|error| error.to_string());
            if let Some(error) = failures.found(found) {
                warn!(
                    error,
                    "the key files changed and cannot be used; the earlier ones stay in use"
                );
            }
            let current = self.current();
            let certificates = [
                (&self.files.authority, current.authority),
                (&self.files.certificate, current.certificate),
            ];
            for (file, days) in ends.near(certificates, at) {
                let (file, remedy) = (file.display(), &self.files.remedy);
                warn!(%file, days, "the certificate ends soon, or has ended: {remedy}");
            }
            sleep(LOOK).await;
        }
    }
}

impl<T> InUse<T> {
    fn new(files: &Files, build: &Build<T>, pem: Pem, now: Timestamp) -> Result<Self, KeyError> {
        let authority = files.validity_of(&files.authority, &pem.authority)?;
        let certificate = files.validity_of(&files.certificate, &pem.certificate)?;
        files.check_time(certificate, now)?;
        files.check_fit(&pem)?;
        let made = build(&pem).map_err(|error| files.misfit(&error))?;
        Ok(Self {
            made,
            authority,
            certificate,
            pem,
        })
    }
}

#[cfg(test)]
mod tests;
