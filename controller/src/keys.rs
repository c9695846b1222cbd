//! The keys of a standalone installation: a certificate authority, the controller's certificate, one for each node.
//!
//! Private keys are readable by their owner only. What is there is kept: running it again adds what is missing, and makes
//! anew what ends soon. The authority is never made anew; its key is needed here only, and not where the controller runs.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bulkhead_graph::Timestamp;
use bulkhead_wire::certificate;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

/// Where the files of a key folder are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFolder(pub PathBuf);

impl KeyFolder {
    /// Certificate of the authority: both sides trust it and nothing else.
    pub fn authority(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    pub(crate) fn authority_key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    /// The controller's certificate and key.
    pub fn controller(&self) -> (PathBuf, PathBuf) {
        (self.0.join("controller.crt"), self.0.join("controller.key"))
    }

    /// A node's certificate and key.
    pub fn node(&self, node: &str) -> (PathBuf, PathBuf) {
        let folder = self.0.join("nodes");
        (
            folder.join(format!("{node}.crt")),
            folder.join(format!("{node}.key")),
        )
    }
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Nodes whose agents need a certificate.
    pub nodes: Vec<String>,
    /// Further names of the controller, for other clients than agents.
    pub names: Vec<String>,
    /// Addresses of the controller, likewise.
    pub addresses: Vec<IpAddr>,
    /// From when on it is valid.
    pub from: OffsetDateTime,
    /// How long, for all but the authority.
    pub lifetime: Duration,
    /// Certificates that end before this are made anew, with the names that they have.
    pub renew_before: OffsetDateTime,
}

/// Why keys were not made.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A name that no certificate can carry.
    #[error("{name}: not a name for a certificate ({problem})")]
    Name {
        /// As given.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The authority there is cannot be used.
    #[error("{path}: {problem}; move the folder away to begin with a new authority")]
    Authority {
        /// Its certificate.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A certificate that is there cannot be read.
    #[error("{path}: {problem}; remove it to have another one made")]
    Certificate {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Making a certificate failed.
    #[error("cannot make a certificate: {0}")]
    Making(rcgen::Error),
}

impl From<rcgen::Error> for KeyError {
    fn from(error: rcgen::Error) -> Self {
        Self::Making(error)
    }
}

/// Days that an authority is valid.
const AUTHORITY: Duration = Duration::days(3650);

/// Makes what is missing in the folder, or ends soon, and says which certificates were made.
///
/// # Errors
/// Names the file or name that stands in the way.
pub fn make(folder: &KeyFolder, wanted: &Wanted) -> Result<Vec<PathBuf>, KeyError> {
    for name in &wanted.nodes {
        check_node_name(name)?;
    }
    let nodes = folder.0.join("nodes");
    fs::create_dir_all(&nodes).map_err(|reason| KeyError::File {
        path: nodes,
        reason,
    })?;
    let mut made = Vec::new();
    let issuer = authority(folder, wanted, &mut made)?;
    let (certificate, key) = folder.controller();
    let until = instant(ends(&folder.authority())?).min(wanted.from + wanted.lifetime);
    if is_due(&certificate, wanted)? {
        let (mut own, mut addresses) = known_names(&certificate)?;
        own.extend(wanted.names.iter().cloned());
        own.retain(|name| name != certificate::CONTROLLER);
        own.sort();
        own.dedup();
        addresses.extend(&wanted.addresses);
        addresses.sort();
        addresses.dedup();
        let mut params = leaf(&[certificate::CONTROLLER.to_owned()], wanted.from, until)?;
        params.subject_alt_names.extend(names(&own)?);
        params
            .subject_alt_names
            .extend(addresses.into_iter().map(SanType::IpAddress));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        issue(&params, &issuer, &certificate, &key)?;
        made.push(certificate);
    }
    let mut every = wanted.nodes.clone();
    every.extend(known_nodes(folder)?);
    every.sort();
    every.dedup();
    for node in &every {
        let (certificate, key) = folder.node(node);
        if is_due(&certificate, wanted)? {
            let mut params = leaf(&[certificate::name_of_node(node)], wanted.from, until)?;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            issue(&params, &issuer, &certificate, &key)?;
            made.push(certificate);
        }
    }
    Ok(made)
}

/// When a certificate ends.
///
/// # Errors
/// If it cannot be read.
pub fn ends(path: &Path) -> Result<Timestamp, KeyError> {
    let validity = certificate::validity(read(path)?.as_bytes());
    validity
        .map(|(_, until)| until)
        .map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &certificate::CertificateError) -> KeyError {
    KeyError::Certificate {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}

fn instant(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn is_due(certificate: &Path, wanted: &Wanted) -> Result<bool, KeyError> {
    Ok(!certificate.exists() || instant(ends(certificate)?) < wanted.renew_before)
}

/// The names and addresses that a certificate has already.
fn known_names(certificate: &Path) -> Result<(Vec<String>, Vec<IpAddr>), KeyError> {
    if !certificate.exists() {
        return Ok(<_>::default());
    }
    certificate::names(read(certificate)?.as_bytes())
        .map_err(|error| unreadable(certificate, &error))
}

/// Nodes that have a certificate.
fn known_nodes(folder: &KeyFolder) -> Result<Vec<String>, KeyError> {
    let nodes = folder.0.join("nodes");
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&nodes)?;
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    let paths = list().map_err(|reason| KeyError::File {
        path: nodes.clone(),
        reason,
    })?;
    let certificates = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "crt"));
    let names = certificates.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    Ok(names.filter(|name| check_node_name(name).is_ok()).collect())
}

fn check_node_name(name: &str) -> Result<(), KeyError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let problem = if name.is_empty() || name.len() > 230 {
        "its length is not 1 to 230 characters"
    } else if !name.chars().all(allowed) {
        "a node's name has lower-case letters, digits, `-` and `.` only"
    } else if name
        .split('.')
        .any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-'))
    {
        "each part between dots begins and ends with a letter or digit"
    } else {
        return Ok(());
    };
    Err(KeyError::Name {
        name: name.to_owned(),
        problem: problem.to_owned(),
    })
}

fn names(names: &[String]) -> Result<Vec<SanType>, KeyError> {
    let read = |name: &String| {
        let text = name
            .as_str()
            .try_into()
            .map_err(|error: rcgen::Error| KeyError::Name {
                name: name.clone(),
                problem: error.to_string(),
            })?;
        Ok(SanType::DnsName(text))
    };
    names.iter().map(read).collect()
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn leaf(
    sans: &[String],
    from: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<CertificateParams, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&sans[0]);
    params.subject_alt_names = names(sans)?;
    params.not_before = from;
    params.not_after = until;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn authority(
    folder: &KeyFolder,
    wanted: &Wanted,
    made: &mut Vec<PathBuf>,
) -> Result<Issuer<'static, KeyPair>, KeyError> {
    let (certificate, key) = (folder.authority(), folder.authority_key());
    if !certificate.exists() {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject("Bulkhead authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = wanted.from;
        params.not_after = wanted.from + AUTHORITY.max(wanted.lifetime);
        let pair = KeyPair::generate()?;
        let signed = params.self_signed(&pair)?;
        write(&key, pair.serialize_pem().as_bytes(), 0o600)?;
        write(&certificate, signed.pem().as_bytes(), 0o644)?;
        made.push(certificate.clone());
    }
    let unusable = |path: &Path, error: rcgen::Error| KeyError::Authority {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let pair = KeyPair::from_pem(&read(&key)?).map_err(|error| unusable(&key, error))?;
    Issuer::from_ca_cert_pem(&read(&certificate)?, pair)
        .map_err(|error| unusable(&certificate, error))
}

fn issue(
    params: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
    certificate: &Path,
    key: &Path,
) -> Result<(), KeyError> {
    let pair = KeyPair::generate()?;
    let signed = params.signed_by(&pair, issuer)?;
    write(key, pair.serialize_pem().as_bytes(), 0o600)?;
    write(certificate, signed.pem().as_bytes(), 0o644)
}

fn read(path: &Path) -> Result<String, KeyError> {
    fs::read_to_string(path).map_err(|reason| KeyError::File {
        path: path.to_owned(),
        reason,
    })
}

/// Written beside and renamed, so that a key is never there in part.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), KeyError> {
    let failed = |reason| KeyError::File {
        path: path.to_owned(),
        reason,
    };
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn wanted(nodes: &[&str]) -> Wanted {
        Wanted {
            nodes: nodes.iter().map(ToString::to_string).collect(),
            names: vec!["policy.example".to_owned()],
            addresses: vec!["192.0.2.1".parse().unwrap()],
            from: OffsetDateTime::UNIX_EPOCH,
            lifetime: Duration::days(7),
            renew_before: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_ends_soon_is_made_anew_under_the_same_authority_and_names() {
        let folder =
            KeyFolder(std::env::temp_dir().join(format!("bulkhead-renew-{}", std::process::id())));
        let _ = fs::remove_dir_all(&folder.0);
        make(&folder, &wanted(&["n1"])).unwrap();
        let authority = fs::read(folder.authority()).unwrap();
        let later = |days: i64| Wanted {
            nodes: Vec::new(),
            names: Vec::new(),
            addresses: Vec::new(),
            from: OffsetDateTime::UNIX_EPOCH + Duration::days(days),
            lifetime: Duration::days(7),
            renew_before: OffsetDateTime::UNIX_EPOCH + Duration::days(days + 2),
        };
        assert!(make(&folder, &later(4)).unwrap().is_empty());
        let made = make(&folder, &later(6)).unwrap();
        assert_eq!(made, [folder.controller().0, folder.node("n1").0]);
        assert_eq!(fs::read(folder.authority()).unwrap(), authority);
        for path in &made {
            assert_eq!(ends(path).unwrap(), Timestamp::from_seconds(13 * 24 * 3600));
        }
        let (names, addresses) = certificate::names(&fs::read(&made[0]).unwrap()).unwrap();
        assert_eq!(names, [certificate::CONTROLLER, "policy.example"]);
        assert_eq!(addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        // Nothing outlives the authority.
        make(&folder, &later(3648)).unwrap();
        let until = ends(&folder.node("n1").0).unwrap();
        assert_eq!(until, ends(&folder.authority()).unwrap());
        fs::remove_dir_all(&folder.0).unwrap();
    }

    #[test]
    fn making_again_adds_and_never_replaces() {
        let folder =
            KeyFolder(std::env::temp_dir().join(format!("bulkhead-keys-{}", std::process::id())));
        let _ = fs::remove_dir_all(&folder.0);
        let made = make(&folder, &wanted(&["n1"])).unwrap();
        assert_eq!(
            made,
            [
                folder.authority(),
                folder.controller().0,
                folder.node("n1").0
            ]
        );
        let before = fs::read(folder.node("n1").1).unwrap();
        let made = make(&folder, &wanted(&["n1", "n2"])).unwrap();
        assert_eq!(made, [folder.node("n2").0]);
        assert_eq!(fs::read(folder.node("n1").1).unwrap(), before);
        for key in [
            folder.authority_key(),
            folder.controller().1,
            folder.node("n2").1,
        ] {
            assert_eq!(
                fs::metadata(&key).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                key.display()
            );
        }
        let (_, until) = certificate::validity(&fs::read(folder.node("n2").0).unwrap()).unwrap();
        assert_eq!(
            until,
            bulkhead_graph::Timestamp::from_seconds(7 * 24 * 3600)
        );
        fs::remove_dir_all(&folder.0).unwrap();
    }

    #[test]
    fn a_node_name_cannot_leave_the_folder_or_claim_two_names() {
        for name in ["", "../n1", "N1", "a..b", "-a", "n1,n2"] {
            let error = check_node_name(name).unwrap_err();
            assert!(matches!(error, KeyError::Name { .. }), "{name}");
        }
        check_node_name("node-1.rack-2").unwrap();
    }
}
