//! The programs of the cluster, built from the pinned Go module `tests/kubernetes` and kept in the cache.
//!
//! The folder's name is a digest of everything the outcome depends on, so a stale program cannot be used and a present one is
//! never built again. The first build takes 11 minutes of CPU time; what is under way is told line by line.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::image::{Image, ImageFile};
use super::requirements;

/// Names under which the one executable `kube-all` is started.
const LINKS: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
];
/// What `go build` is asked for.
const PACKAGES: &[&str] = &[
    "./kube-all",
    "./pause",
    "k8s.io/kubernetes/test/images/agnhost",
];
/// Packages compiled at the same time. One takes up to 1.9 GB, and others want the machine too.
const PARALLEL: usize = 2;
/// Between two lines that tell how far the build is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// The shell and its friends in the pods' image.
const BUSYBOX_LINKS: &[&str] = &["sh", "cat", "echo", "ip", "ls", "nc", "ping", "ps", "sleep"];

/// The image of the pause container, named in `node/containerd.toml` too.
pub const PAUSE_IMAGE: &str = "bulkhead.test/pause:1";
/// The image that test pods run: upstream's agnhost as entry point, with a shell.
pub const AGNHOST_IMAGE: &str = "bulkhead.test/agnhost:1";

/// A folder with `bin/` and `images/`.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Finds the programs, or builds them.
    pub fn ready() -> Result<Self> {
        let source = module();
        let key = key(&source)?;
        let store = store();
        fs::create_dir_all(&store).with_context(|| format!("make {}", store.display()))?;
        let programs = Self {
            folder: store.join(&key),
        };
        // Two runs at the same time must not build the same thing twice.
        let lock = File::create(store.join("build.lock")).context("make the lock of the build")?;
        lock.lock().context("wait for another build")?;
        if !programs.folder.is_dir() {
            let unfinished = store.join("unfinished");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).context("remove an unfinished build")?;
            }
            build(&source, &unfinished)?;
            fs::rename(&unfinished, &programs.folder).context("put the build in its place")?;
        }
        Ok(programs)
    }

    /// A program by its name.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join("bin").join(program)
    }

    /// A program by its name, as an argument of a command line.
    pub(crate) fn argument(&self, program: &str) -> String {
        self.path(program).display().to_string()
    }

    /// The archives that every node imports.
    pub(crate) fn images(&self) -> [PathBuf; 2] {
        ["pause.tar", "agnhost.tar"].map(|file| self.folder.join("images").join(file))
    }
}

/// Where programs, running clusters and their logs are: the user's cache, so that another checkout does not compile
/// Kubernetes again (programs lie under a hash of what they are built from).
pub(crate) fn store() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"),
            |cache| cache.join("bulkhead"),
        )
        .join("kubernetes")
}

/// The files this crate keeps for the cluster.
pub(crate) fn module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes")
}

/// A call of Go that builds from the pinned versions and from nothing else.
pub(crate) fn go(module: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-buildvcs=false -mod=readonly");
    go
}

fn go_answer(module: &Path, arguments: &[&str]) -> Result<String> {
    let output = go(module)
        .args(arguments)
        .output()
        .context("start go: install Go (see the docs of the harness for the version)")?;
    if !output.status.success() {
        bail!(
            "go {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn key(module: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        digest.update(format!("{name} {}\n", bytes.len()));
        digest.update(bytes);
    };
    for file in ["go.mod", "go.sum", "kube-all/main.go", "pause/main.go"] {
        add(
            file,
            &fs::read(module.join(file))
                .with_context(|| format!("read {file} of {}", module.display()))?,
        );
    }
    add("go", go_answer(module, &["env", "GOVERSION"])?.as_bytes());
    add("packages", PACKAGES.join(" ").as_bytes());
    add("links", LINKS.join(" ").as_bytes());
    add("busybox", BUSYBOX_LINKS.join(" ").as_bytes());
    add("images", [PAUSE_IMAGE, AGNHOST_IMAGE].join(" ").as_bytes());
    add("image format", include_bytes!("image.rs"));
    Ok(digest
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// The linker's options: no symbols, and the version that all programs report (unstamped, the API server says v0.0.0).
fn linker_options(release: &str) -> Result<String> {
    let mut numbers = release.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        bail!("k8s.io/kubernetes {release}: expected vMAJOR.MINOR.PATCH");
    };
    let mut options = String::from("-s -w");
    for package in [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ] {
        for (variable, value) in [
            ("gitVersion", release),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
        ] {
            options += &format!(" -X {package}.{variable}={value}");
        }
    }
    Ok(options)
}

fn build(module: &Path, into: &Path) -> Result<()> {
    let release = go_answer(
        module,
        &["list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"],
    )?;
    let total = go_answer(module, &[&["list", "-deps"], PACKAGES].concat())?
        .lines()
        .count();
    eprintln!(
        "cluster: building Kubernetes {release} from {total} packages (about 6 minutes on two idle cores, once)"
    );
    let bin = into.join("bin");
    fs::create_dir_all(&bin)?;
    compile(module, &linker_options(&release)?, &bin, total)?;
    for link in LINKS {
        std::os::unix::fs::symlink("kube-all", bin.join(link))
            .with_context(|| format!("link {link}"))?;
    }
    let images = into.join("images");
    fs::create_dir_all(&images)?;
    pause_image(&bin).write(&images.join("pause.tar"))?;
    agnhost_image(&bin)?.write(&images.join("agnhost.tar"))
}

fn compile(module: &Path, linker_options: &str, bin: &Path, total: usize) -> Result<()> {
    let started = Instant::now();
    let mut child = go(module)
        .args([
            "build",
            "-v",
            "-trimpath",
            "-p",
            &PARALLEL.to_string(),
            "-ldflags",
            linker_options,
            "-o",
        ])
        .arg(bin)
        .args(PACKAGES)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start go build")?;
    // With -v go names each package when it is done with it, between the messages of the compiler.
    let mut compiled = 0_usize;
    let mut messages = Vec::new();
    let mut told = Instant::now();
    for line in BufReader::new(child.stderr.take().context("no pipe from go")?).lines() {
        let line = line?;
        if line.contains(' ') || line.contains('\t') {
            messages.push(line);
            continue;
        }
        compiled += 1;
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            eprintln!(
                "cluster: {compiled} of at most {total} packages compiled, {} s",
                started.elapsed().as_secs()
            );
        }
    }
    let status = child.wait().context("wait for go build")?;
    if !status.success() {
        bail!(
            "go build in {} failed ({status}):\n{}",
            module.display(),
            messages.join("\n")
        );
    }
    eprintln!("cluster: built in {} s", started.elapsed().as_secs());
    Ok(())
}

fn pause_image(bin: &Path) -> Image {
    Image::new(PAUSE_IMAGE, "/pause").with("pause", ImageFile::Program(bin.join("pause")))
}

fn agnhost_image(bin: &Path) -> Result<Image> {
    let busybox = requirements::find("/bin/busybox")
        .context("no /bin/busybox: install the Debian package busybox-static")?;
    let mut image = Image::new(AGNHOST_IMAGE, "/agnhost")
        .with_default_arguments(&["pause"])
        .with("agnhost", ImageFile::Program(bin.join("agnhost")))
        .with("bin/busybox", ImageFile::Program(busybox))
        .with(
            "etc/passwd",
            ImageFile::Text("root:x:0:0:root:/:/bin/sh\n".into()),
        )
        .with("tmp", ImageFile::WritableFolder);
    for link in BUSYBOX_LINKS {
        image = image.with(&format!("bin/{link}"), ImageFile::Link("busybox".into()));
    }
    Ok(image)
}
