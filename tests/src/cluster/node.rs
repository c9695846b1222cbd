//! A node: network, mount, PID, UTS and IPC namespaces with a containerd, a kubelet, a kube-proxy, a bpffs and a cgroup subtree of
//! their own. Killing its first process is pulling the plug: every process of the node goes with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use serde_json::json;

use super::cgroup;
use super::network::{self, ClusterName, Netns, NodeIndex, PODS};
use super::pki::Pki;
use super::process::{Launch, Process, status_field};
use super::programs::{Programs, module};
use super::wait::Deadline;

const START_LIMIT: Duration = Duration::from_secs(60);

/// A node, on or off.
#[derive(Debug)]
pub struct Node {
    index: NodeIndex,
    netns: Netns,
    folder: PathBuf,
    pki: Pki,
    programs: Programs,
    running: Option<Running>,
}

/// What runs while a node is on.
#[derive(Debug)]
struct Running {
    place: NodePlace,
    /// Ended first, and with it all others.
    init: Process,
    services: Vec<Process>,
}

/// The way into a node's namespaces.
#[derive(Debug, Clone)]
pub struct NodePlace {
    netns: Netns,
    init: Pid,
}

impl NodePlace {
    /// Finds a node that somebody else has started.
    pub fn find(cluster: &ClusterName, node: NodeIndex) -> Result<Self> {
        let netns = Netns::of_node(cluster, node);
        let init = super::leftovers::processes_in(&netns)?
            .into_iter()
            // Numbered 1 in a PID namespace one below the machine's; pods are two below.
            .find(|pid| {
                let numbers = status_field(*pid, "NSpid").unwrap_or_default();
                numbers.split_whitespace().skip(1).eq(["1"])
            })
            .with_context(|| {
                format!(
                    "node {} of cluster {} does not run",
                    node.name(),
                    cluster.as_str()
                )
            })?;
        Ok(Self { netns, init })
    }

    /// A command in the node's network, mount, PID, UTS and IPC namespaces. It is the caller's to start, and runs below `nsenter`: kill
    /// the program, not the command; see [`Node::spawn`].
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init))
            .arg(format!("--net={}", self.netns.path()))
            .args(["--mount", "--pid", "--uts", "--ipc", "--"])
            .arg(program)
            .args(arguments);
        command
    }
}

impl Node {
    /// Makes the node and brings containerd up with the images, without Kubernetes.
    pub(crate) fn begin(
        cluster: &ClusterName,
        index: NodeIndex,
        all: &[NodeIndex],
        folder: PathBuf,
        pki: Pki,
        programs: Programs,
    ) -> Result<Self> {
        network::make_node(cluster, index, all)?;
        cgroup::make(cluster, index)?;
        fs::create_dir_all(folder.join("log"))?;
        write_configuration(cluster, index, &folder, &pki)?;
        let netns = Netns::of_node(cluster, index);
        let mut node = Self {
            index,
            netns,
            folder,
            pki,
            programs,
            running: None,
        };
        node.boot()?;
        Ok(node)
    }

    /// Kills every process of the node at once, pods included. Its disk, its network and its Node object stay.
    pub fn pull_plug(&mut self) -> Result<()> {
        let running = self.running.take();
        running.map_or(Ok(()), |running| running.init.kill())
    }

    /// Starts a node whose plug was pulled, without waiting for Kubernetes to notice.
    pub fn power_on(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("node {} is on already", self.name());
        }
        self.boot()?;
        self.join()
    }

    fn boot(&mut self) -> Result<()> {
        let ready = self.folder.join("ready");
        if ready.exists() {
            fs::remove_file(&ready).with_context(|| format!("remove {}", ready.display()))?;
        }
        let init = start_init(self.index, &self.netns, &self.folder, &self.programs)?;
        let place = NodePlace {
            netns: self.netns.clone(),
            init: Pid::from_raw(init.pid()),
        };
        let running = self.running.insert(Running {
            place,
            services: Vec::new(),
            init,
        });
        wait_for_file(&ready, &mut running.init)
            .and_then(|()| self.start_containerd())
            .with_context(|| format!("start node {}", self.name()))
    }

    /// Starts the kubelet and kube-proxy. The API server has to be there, and the Node object.
    pub(crate) fn join(&mut self) -> Result<()> {
        self.start_kubelet()?;
        let flags = [format!(
            "--config={}",
            self.folder.join("kube-proxy.json").display()
        )];
        self.start_service("kube-proxy", &self.programs.argument("kube-proxy"), &flags)
    }

    /// Its number.
    pub fn index(&self) -> NodeIndex {
        self.index
    }

    /// Its name in Kubernetes.
    pub fn name(&self) -> String {
        self.index.name()
    }

    /// The way in, for those who cannot hold the node. It ends with a pulled plug.
    pub fn place(&self) -> Result<&NodePlace> {
        let running = self.running.as_ref();
        running
            .map(|running| &running.place)
            .with_context(|| format!("node {} is off", self.name()))
    }

    /// A command in the node; see [`NodePlace::command`].
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<Command> {
        Ok(self.place()?.command(program, arguments))
    }

    /// Starts a program in the node in the background, its output in the node's log folder. `prepare` may add environment.
    pub fn spawn(
        &self,
        name: &str,
        program: &str,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Process> {
        let mut command = self.command(program, arguments)?;
        prepare(&mut command);
        Process::spawn(
            &format!("{name} on {}", self.name()),
            command,
            Launch::ByParent,
            self.log(name),
        )
    }

    /// Where the output of one of its programs goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join("log").join(format!("{name}.log"))
    }

    /// Runs a program in the node to its end and gives what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(program, arguments)?
            .output()
            .with_context(|| format!("start {program} on {}", self.name()))?;
        if !output.status.success() {
            bail!(
                "{program} {} on {}: {}",
                arguments.join(" "),
                self.name(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Imports an image archive, so that pods of this node can name it.
    pub fn import(&self, archive: &Path) -> Result<()> {
        self.run(
            "ctr",
            &[
                "--namespace=k8s.io",
                "images",
                "import",
                "--digests=false",
                &archive.display().to_string(),
            ],
        )
        .map(drop)
    }

    /// Fails, with the end of its log, if one of the node's own programs has ended.
    pub fn check_running(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        running.init.check_running()?;
        running
            .services
            .iter_mut()
            .try_for_each(Process::check_running)
    }

    pub(crate) fn leave(&mut self) {
        if let Some(running) = &mut self.running {
            running.services.iter_mut().for_each(Process::leave);
            running.init.leave();
        }
    }

    fn start_containerd(&mut self) -> Result<()> {
        let configuration = module().join("node/containerd.toml").display().to_string();
        self.start_service(
            "containerd",
            "containerd",
            &[
                format!("--config={configuration}"),
                "--log-level=warn".into(),
            ],
        )?;
        let answers = Deadline::after(START_LIMIT).until("an answer of containerd", || {
            self.run("ctr", &["version"]).map(Some)
        });
        if answers.is_err() {
            self.check_running()?;
        }
        answers?;
        for archive in self.programs.images() {
            self.import(&archive)?;
        }
        Ok(())
    }

    fn start_kubelet(&mut self) -> Result<()> {
        let flags = [
            format!("--config={}", self.folder.join("kubelet.json").display()),
            format!("--kubeconfig={}", self.pki.kubeconfig(&self.name())),
            format!("--hostname-override={}", self.name()),
            format!("--node-ip={}", self.index.address()),
        ];
        self.start_service("kubelet", &self.programs.argument("kubelet"), &flags)
    }

    fn start_service(&mut self, name: &str, program: &str, flags: &[String]) -> Result<()> {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let service = self.spawn(name, program, &flags, |_| ())?;
        let running = self.running.as_mut();
        running
            .context("a service was started in a node that is off")?
            .services
            .push(service);
        Ok(())
    }
}

fn wait_for_file(ready: &Path, init: &mut Process) -> Result<()> {
    Deadline::after(START_LIMIT).until("the set-up of its namespaces", || {
        if ready.exists() {
            return Ok(Some(Ok(())));
        }
        Ok(init.check_running().err().map(Err))
    })?
}

fn start_init(
    index: NodeIndex,
    netns: &Netns,
    folder: &Path,
    programs: &Programs,
) -> Result<Process> {
    let mut command = netns.command("unshare");
    command
        .args([
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child=KILL",
            "--propagation=private",
            "--",
        ])
        .arg("sh")
        .arg(module().join("node/init.sh"))
        .arg(index.name())
        .arg(folder)
        .arg(programs.path("pause"));
    Process::spawn(
        &format!("init of {}", index.name()),
        command,
        Launch::ByParent,
        folder.join("log/init.log"),
    )
}

/// What the kubelet, kube-proxy and the network plugins of a node are told. (JSON is YAML.)
fn write_configuration(
    cluster: &ClusterName,
    index: NodeIndex,
    folder: &Path,
    pki: &Pki,
) -> Result<()> {
    let name = index.name();
    let resolver = folder.join("resolv.conf");
    let kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": pki.path("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.path(&format!("{name}-server.crt")),
        "tlsPrivateKeyFile": pki.path(&format!("{name}-server.key")),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup::of_node(cluster, index),
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDomain": "cluster.local",
        "resolvConf": resolver,
        "makeIPTablesUtilChains": false,
        "nodeStatusUpdateFrequency": "5s",
        "volumePluginDir": folder.join("volume-plugins"),
        // The disk is everybody's: how full it is says nothing about the node.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%"},
    });
    let proxy = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": pki.kubeconfig("proxy")},
        "hostnameOverride": name,
        "mode": "nftables",
        "clusterCIDR": PODS,
        "detectLocalMode": "ClusterCIDR",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // These settings are the whole machine's and cannot be written from a network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    let plugins = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            // A routed veth pair per pod: the plainest thing that eBPF programs can be attached to.
            {"type": "ptp", "mtu": 1500, "ipMasq": false, "ipam": {
                "type": "host-local", "ranges": [[{"subnet": index.pods()}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/var/lib/cni/addresses",
            }},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    for (file, value) in [
        ("kubelet.json", kubelet),
        ("kube-proxy.json", proxy),
        ("cni.conflist", plugins),
    ] {
        fs::write(folder.join(file), format!("{value:#}\n"))
            .with_context(|| format!("write {file} of {name}"))?;
    }
    fs::write(&resolver, "# no resolver: the cluster has no DNS\n")
        .with_context(|| format!("write resolv.conf of {name}"))
}
