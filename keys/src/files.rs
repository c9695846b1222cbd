//! Three files, and whether they fit together.

use std::io;
use std::path::{Path, PathBuf};

use bulkhead_graph::Timestamp;
use bulkhead_wire::certificate::{self, CertificateError};
use thiserror::Error;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::validity::Validity;

/// Where the files are. Each may be a link that leads elsewhere one day, as in a volume of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificates of the authorities that are trusted.
    pub authority: PathBuf,
    /// The own certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// What to do about files that are of no use.
    pub remedy: String,
}

/// What the files hold. It has no `Debug`: one of them is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Of the authorities.
    pub authority: Vec<u8>,
    /// Of this end.
    pub certificate: Vec<u8>,
    /// Of this end.
    pub key: Vec<u8>,
}

/// A file that cannot be used.
#[derive(Debug, Error)]
#[error("{path}: {problem}; {remedy}")]
pub struct KeyError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub problem: Problem,
    /// What to do.
    pub remedy: String,
}

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read ({0})")]
    Unreadable(io::Error),
    /// It holds no certificate.
    #[error("{0}")]
    NoCertificate(CertificateError),
    /// Its time has not come.
    #[error("the certificate is not valid yet")]
    Early,
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// It is not of the same making as the others, or only half there.
    #[error("it cannot be used with {key} and {authority} ({reason})")]
    Misfit {
        /// The key beside it.
        key: PathBuf,
        /// The authority beside it.
        authority: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl Files {
    pub(crate) fn read(&self) -> Result<Pem, KeyError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| self.error(path, Problem::Unreadable(error)))
        };
        Ok(Pem {
            authority: read(&self.authority)?,
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    pub(crate) fn validity_of(&self, path: &Path, pem: &[u8]) -> Result<Validity, KeyError> {
        let (from, until) = certificate::validity(pem)
            .map_err(|error| self.error(path, Problem::NoCertificate(error)))?;
        Ok(Validity { from, until })
    }

    /// That the own certificate is valid now.
    pub(crate) fn check_time(&self, validity: Validity, now: Timestamp) -> Result<(), KeyError> {
        if now < validity.from {
            return Err(KeyError {
                path: self.certificate.clone(),
                problem: Problem::Early,
                remedy: "set the clock".to_owned(),
            });
        }
        if now >= validity.until {
            return Err(self.error(&self.certificate, Problem::Expired));
        }
        Ok(())
    }

    /// That every certificate is whole, and the key that of the own one.
    pub(crate) fn check_fit(&self, pem: &Pem) -> Result<(), KeyError> {
        fit(pem).map_err(|error| self.misfit(&*error))
    }

    pub(crate) fn misfit(&self, error: &(impl std::fmt::Display + ?Sized)) -> KeyError {
        let problem = Problem::Misfit {
            key: self.key.clone(),
            authority: self.authority.clone(),
            reason: error.to_string(),
        };
        self.error(&self.certificate, problem)
    }

    fn error(&self, path: &Path, problem: Problem) -> KeyError {
        KeyError {
            path: path.to_owned(),
            problem,
            remedy: self.remedy.clone(),
        }
    }
}

fn fit(pem: &Pem) -> Result<(), Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem.authority) {
        roots.add(certificate?)?;
    }
    let chain = CertificateDer::pem_slice_iter(&pem.certificate).collect::<Result<_, _>>()?;
    // What the reader says of a file that it cannot read quotes it, and this one is secret.
    let key = PrivateKeyDer::from_pem_slice(&pem.key)
        .map_err(|_| "the key file holds no whole private key in PEM form")?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())?;
    Ok(())
}
