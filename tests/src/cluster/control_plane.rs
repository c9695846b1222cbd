//! etcd, API server, controller manager and scheduler, in the control plane's network namespace.
//!
//! The control plane has a route to every pod but no kube-proxy: the API server goes straight to the endpoints of a Service
//! (aggregator routing), which is what webhooks need.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::kubectl::Kubectl;
use super::network::{self, CONTROL_PLANE, ClusterName, Netns, PODS, SERVICES};
use super::pki::Pki;
use super::process::{Launch, Process};
use super::programs::Programs;
use super::wait::Deadline;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The store.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
}

impl Component {
    fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

/// The running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    netns: Netns,
    folder: PathBuf,
    pki: Pki,
    programs: Programs,
    running: BTreeMap<Component, Process>,
}

impl ControlPlane {
    /// Makes the network and starts etcd and the API server, without waiting for them.
    pub(crate) fn begin(
        cluster: &ClusterName,
        folder: PathBuf,
        pki: Pki,
        programs: Programs,
    ) -> Result<Self> {
        network::make_control_plane(cluster)?;
        let netns = Netns::of_control_plane(cluster);
        let mut control_plane = Self {
            netns,
            folder,
            pki,
            programs,
            running: BTreeMap::new(),
        };
        control_plane.start(Component::Etcd)?;
        control_plane.start(Component::ApiServer)?;
        Ok(control_plane)
    }

    /// Waits for the API server and starts the others, which would exit if the first roles were not there yet.
    pub(crate) fn complete(&mut self, kubectl: &Kubectl, deadline: Deadline) -> Result<()> {
        self.wait_ready(kubectl, deadline)?;
        self.start(Component::ControllerManager)?;
        self.start(Component::Scheduler)
    }

    /// Waits until the API server says it is ready.
    pub fn wait_ready(&mut self, kubectl: &Kubectl, deadline: Deadline) -> Result<()> {
        let ready = deadline.until("a ready API server", || {
            kubectl.run(&["get", "--raw", "/readyz"]).map(Some)
        });
        if ready.is_err() {
            self.check_running()?;
        }
        ready.map(drop)
    }

    /// Starts a program that does not run.
    pub fn start(&mut self, component: Component) -> Result<()> {
        let program = component.program();
        let mut command = self.netns.command(&self.programs.argument(program));
        command.args(self.flags(component));
        let log = self.folder.join("log").join(format!("{program}.log"));
        self.running.insert(
            component,
            Process::spawn(program, command, Launch::Direct, log)?,
        );
        Ok(())
    }

    /// Kills a program, as a crash would; what it has stored stays.
    pub fn kill(&mut self, component: Component) -> Result<()> {
        self.running
            .remove(&component)
            .with_context(|| format!("{} does not run", component.program()))?
            .kill()
    }

    /// Fails, with the end of its log, if one of the programs has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        self.running
            .values_mut()
            .try_for_each(Process::check_running)
    }

    pub(crate) fn leave(&mut self) {
        self.running.values_mut().for_each(Process::leave);
    }

    pub(crate) fn end(&mut self) {
        self.running.clear();
    }

    fn flags(&self, component: Component) -> Vec<String> {
        match component {
            Component::Etcd => self.etcd_flags(),
            Component::ApiServer => self.api_server_flags(),
            Component::ControllerManager => self.controller_manager_flags(),
            Component::Scheduler => self.scheduler_flags(),
        }
    }

    fn etcd_flags(&self) -> Vec<String> {
        let data = self.folder.join("etcd");
        let (clients, peers) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
        vec![
            format!("--data-dir={}", data.display()),
            // A crashed machine takes the whole cluster with it, so there is nothing to be synced for.
            "--unsafe-no-fsync".into(),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            "--log-level=warn".into(),
        ]
    }

    fn api_server_flags(&self) -> Vec<String> {
        let authority = self.pki.path("ca.crt");
        vec![
            "--etcd-servers=http://127.0.0.1:2379".into(),
            format!("--advertise-address={CONTROL_PLANE}"),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--secure-port=6443".into(),
            format!("--tls-cert-file={}", self.pki.path("apiserver.crt")),
            format!("--tls-private-key-file={}", self.pki.path("apiserver.key")),
            format!("--client-ca-file={authority}"),
            "--anonymous-auth=false".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--allow-privileged=true".into(),
            format!("--service-account-issuer={ISSUER}"),
            format!("--api-audiences={ISSUER}"),
            format!("--service-account-key-file={}", self.pki.path("tokens.pub")),
            format!(
                "--service-account-signing-key-file={}",
                self.pki.path("tokens.key")
            ),
            format!("--kubelet-certificate-authority={authority}"),
            format!(
                "--kubelet-client-certificate={}",
                self.pki.path("apiserver-to-kubelet.crt")
            ),
            format!(
                "--kubelet-client-key={}",
                self.pki.path("apiserver-to-kubelet.key")
            ),
            "--kubelet-preferred-address-types=InternalIP".into(),
            "--enable-aggregator-routing=true".into(),
            format!("--requestheader-client-ca-file={authority}"),
            "--requestheader-allowed-names=front-proxy".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            format!(
                "--proxy-client-cert-file={}",
                self.pki.path("front-proxy.crt")
            ),
            format!(
                "--proxy-client-key-file={}",
                self.pki.path("front-proxy.key")
            ),
        ]
    }

    fn controller_manager_flags(&self) -> Vec<String> {
        let mut flags = self.client_flags("controller-manager");
        flags.extend([
            "--use-service-account-credentials=true".into(),
            format!(
                "--service-account-private-key-file={}",
                self.pki.path("tokens.key")
            ),
            format!("--root-ca-file={}", self.pki.path("ca.crt")),
            format!("--cluster-signing-cert-file={}", self.pki.path("ca.crt")),
            format!("--cluster-signing-key-file={}", self.pki.path("ca.key")),
            // The ranges are on the Node objects before the kubelets come, so that they are those of the routes.
            "--allocate-node-cidrs=false".into(),
            format!("--cluster-cidr={PODS}"),
        ]);
        flags
    }

    fn scheduler_flags(&self) -> Vec<String> {
        self.client_flags("scheduler")
    }

    fn client_flags(&self, client: &str) -> Vec<String> {
        let kubeconfig = self.pki.kubeconfig(client);
        vec![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--bind-address=127.0.0.1".into(),
            "--leader-elect=false".into(),
        ]
    }
}

/// Makes the folders that the programs write to.
pub(crate) fn make_folders(folder: &std::path::Path) -> Result<()> {
    for part in ["etcd", "log"] {
        let path = folder.join(part);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    // etcd refuses a folder that others can read.
    fs::set_permissions(
        folder.join("etcd"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )?;
    Ok(())
}
