//! Who is who on the stream: the names in the certificates of both sides.

use std::net::IpAddr;

use bulkhead_graph::Timestamp;
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, GeneralName, Pem, X509Certificate};

/// The name that agents look for in the controller's certificate, whatever address they reach it by.
pub const CONTROLLER: &str = "controller.bulkhead";

const NODE_SUFFIX: &str = ".node.bulkhead";

/// The name that a node's agent has in its certificate.
pub fn name_of_node(node: &str) -> String {
    format!("{node}{NODE_SUFFIX}")
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("it is no X.509 certificate in PEM or DER form: {0}")]
    Unreadable(String),
    /// A certificate for something else.
    #[error(
        "it names no node (a DNS name ending in `{NODE_SUFFIX}`); make one with `bulkhead-controller init`"
    )]
    NamesNoNode,
}

fn unreadable(error: impl std::fmt::Display) -> CertificateError {
    CertificateError::Unreadable(error.to_string())
}

/// The node that a certificate (DER) was made for.
///
/// # Errors
/// If it cannot be read or names no node.
pub fn node_of(der: &[u8]) -> Result<String, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(unreadable)?;
    let names = certificate.subject_alternative_name().map_err(unreadable)?;
    let mut names = names.iter().flat_map(|names| &names.value.general_names);
    names
        .find_map(|name| {
            let GeneralName::DNSName(name) = name else {
                return None;
            };
            name.strip_suffix(NODE_SUFFIX)
        })
        .map(str::to_owned)
        .ok_or(CertificateError::NamesNoNode)
}

/// The node that the first certificate of a PEM text was made for.
///
/// # Errors
/// If it cannot be read or names no node.
pub fn node_of_pem(pem: &[u8]) -> Result<String, CertificateError> {
    node_of(&first(pem)?.contents)
}

/// The DNS names and addresses of the first certificate of a PEM text.
///
/// # Errors
/// If there is none that can be read.
pub fn names(pem: &[u8]) -> Result<(Vec<String>, Vec<IpAddr>), CertificateError> {
    let pem = first(pem)?;
    let certificate = pem.parse_x509().map_err(unreadable)?;
    let names = certificate.subject_alternative_name().map_err(unreadable)?;
    let (mut texts, mut addresses) = (Vec::new(), Vec::new());
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            texts.push((*name).to_owned());
        } else if let GeneralName::IPAddress(bytes) = name {
            addresses.extend(address(bytes));
        }
    }
    Ok((texts, addresses))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn first(pem: &[u8]) -> Result<Pem, CertificateError> {
    let pem = Pem::iter_from_buffer(pem)
        .next()
        .ok_or_else(|| unreadable("the file holds none"))?;
    pem.map_err(unreadable)
}

/// From when to when all certificates of a PEM text are valid.
///
/// # Errors
/// If there is none that can be read.
pub fn validity(pem: &[u8]) -> Result<(Timestamp, Timestamp), CertificateError> {
    let mut whole: Option<(Timestamp, Timestamp)> = None;
    for pem in Pem::iter_from_buffer(pem) {
        let pem = pem.map_err(unreadable)?;
        let certificate = pem.parse_x509().map_err(unreadable)?;
        let validity = certificate.validity();
        let from = Timestamp::from_seconds(validity.not_before.timestamp());
        let until = Timestamp::from_seconds(validity.not_after.timestamp());
        whole = Some(match whole {
            None => (from, until),
            Some((before, end)) => (before.max(from), end.min(until)),
        });
    }
    whole.ok_or_else(|| unreadable("the file holds none"))
}
