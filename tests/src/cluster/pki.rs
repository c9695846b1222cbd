//! The certificates of one cluster: a single authority that signs servers, clients and kubelets, the key of service account
//! tokens, and a kubeconfig per client.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;

use super::network::{API_SERVICE, CONTROL_PLANE, NodeIndex};

/// Somebody who calls the API server with a client certificate.
struct Client {
    file: String,
    common_name: String,
    /// Kubernetes takes it as the group.
    organization: Option<&'static str>,
}

/// A folder of keys, certificates and kubeconfigs.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// Makes everything for the control plane and the nodes.
    pub(crate) fn make(folder: PathBuf, nodes: &[NodeIndex]) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let pki = Self { folder };
        let authority = Authority::new()?;
        pki.write("ca.crt", &authority.pem())?;
        pki.write("ca.key", &authority.issuer.key().serialize_pem())?;
        let tokens = KeyPair::generate()?;
        pki.write("tokens.key", &tokens.serialize_pem())?;
        pki.write("tokens.pub", &tokens.public_key_pem())?;

        let mut names: Vec<SanType> = Vec::new();
        for name in [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ] {
            names.push(SanType::DnsName(name.try_into()?));
        }
        names.extend(
            [CONTROL_PLANE, API_SERVICE, std::net::Ipv4Addr::LOCALHOST]
                .map(|a| SanType::IpAddress(IpAddr::V4(a))),
        );
        pki.server(&authority, "apiserver", "kube-apiserver", None, names)?;
        for node in nodes {
            let names = vec![
                SanType::DnsName(node.name().as_str().try_into()?),
                SanType::IpAddress(IpAddr::V4(node.address())),
            ];
            pki.server(
                &authority,
                &format!("{}-server", node.name()),
                &format!("system:node:{}", node.name()),
                Some("system:nodes"),
                names,
            )?;
        }
        for client in clients(nodes) {
            pki.client(&authority, &client)?;
        }
        Ok(pki)
    }

    /// Where a file of the folder is, as an argument of a command line.
    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// The kubeconfig of a client.
    pub(crate) fn kubeconfig(&self, client: &str) -> String {
        self.path(&format!("{client}.kubeconfig"))
    }

    fn server(
        &self,
        authority: &Authority,
        file: &str,
        name: &str,
        group: Option<&str>,
        names: Vec<SanType>,
    ) -> Result<()> {
        let (certificate, key) =
            authority.sign(name, group, ExtendedKeyUsagePurpose::ServerAuth, names)?;
        self.write(&format!("{file}.crt"), &certificate)?;
        self.write(&format!("{file}.key"), &key)
    }

    fn client(&self, authority: &Authority, client: &Client) -> Result<()> {
        let (certificate, key) = authority.sign(
            &client.common_name,
            client.organization,
            ExtendedKeyUsagePurpose::ClientAuth,
            Vec::new(),
        )?;
        self.write(&format!("{}.crt", client.file), &certificate)?;
        self.write(&format!("{}.key", client.file), &key)?;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "cluster",
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": client.file}}],
            "clusters": [{"name": "cluster", "cluster": {
                "server": format!("https://{CONTROL_PLANE}:6443"),
                "certificate-authority": self.path("ca.crt"),
            }}],
            "users": [{"name": client.file, "user": {
                "client-certificate": self.path(&format!("{}.crt", client.file)),
                "client-key": self.path(&format!("{}.key", client.file)),
            }}],
        });
        self.write(
            &format!("{}.kubeconfig", client.file),
            &format!("{kubeconfig:#}\n"),
        )
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        write_private(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn clients(nodes: &[NodeIndex]) -> Vec<Client> {
    let named = |file: &str, common_name: &str, organization| Client {
        file: file.into(),
        common_name: common_name.into(),
        organization,
    };
    let mut clients = vec![
        named("admin", "admin", Some("system:masters")),
        named("controller-manager", "system:kube-controller-manager", None),
        named("scheduler", "system:kube-scheduler", None),
        named("proxy", "system:kube-proxy", None),
        named(
            "apiserver-to-kubelet",
            "kube-apiserver",
            Some("system:masters"),
        ),
        named("front-proxy", "front-proxy", None),
    ];
    clients.extend(nodes.iter().map(|node| {
        named(
            &node.name(),
            &format!("system:node:{}", node.name()),
            Some("system:nodes"),
        )
    }));
    clients
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject("bulkhead-test-cluster", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
        })
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn sign(
        &self,
        name: &str,
        group: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
        names: Vec<SanType>,
    ) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, group);
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn subject(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    subject
}
