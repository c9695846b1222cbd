//! Connection attempts from pods and from outside, with answers that tell a firewall's silence from a broken probe.

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::kubectl::{Kubectl, PodName};

/// For one connection attempt. A denied one always takes as long.
pub const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Protocols that can be probed. (No SCTP: few test kernels have it.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// A connection is made and closed.
    Tcp,
    /// A datagram has to be answered.
    Udp,
}

/// Something to be connected to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Address and port, of a pod, a Service or anything else.
    pub address: SocketAddrV4,
    /// How to speak to it.
    pub protocol: Protocol,
}

impl Target {
    /// A TCP port.
    pub fn tcp(address: SocketAddrV4) -> Self {
        Self {
            address,
            protocol: Protocol::Tcp,
        }
    }

    /// A UDP port.
    pub fn udp(address: SocketAddrV4) -> Self {
        Self {
            address,
            protocol: Protocol::Udp,
        }
    }

    fn arguments(&self) -> [String; 4] {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        [
            "connect".into(),
            self.address.to_string(),
            format!("--protocol={protocol}"),
            format!("--timeout={}ms", PROBE_LIMIT.as_millis()),
        ]
    }
}

/// What came of a connection attempt. A broken attempt is none of these but an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Connected, or answered.
    Open,
    /// Nothing came back: what a firewall that drops looks like.
    Silent,
    /// A reset or an ICMP error came back.
    Refused,
}

impl Kubectl {
    /// Tries one connection from within a pod that runs the agnhost image.
    pub fn probe(&self, from: &PodName, target: &Target) -> Result<Reach> {
        self.probe_all(from, std::slice::from_ref(target))?
            .pop()
            .context("a probe without an answer")
    }

    /// Tries all connections at the same time, with one exec; the answers are in the order of the targets.
    pub fn probe_all(&self, from: &PodName, targets: &[Target]) -> Result<Vec<Reach>> {
        let output = self.exec(from, &["/bin/sh", "-c", &probe_script(targets)])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut answers = vec![None; targets.len()];
        for line in text.lines() {
            if let Some((number, words)) = line.split_once(' ')
                && let Some(answer) = number.parse().ok().and_then(|n: usize| answers.get_mut(n))
            {
                *answer = reach(words);
            }
        }
        let broken = || {
            format!(
                "probes from pod {}/{}: {text}{}",
                from.namespace,
                from.name,
                String::from_utf8_lossy(&output.stderr)
            )
        };
        answers
            .into_iter()
            .collect::<Option<Vec<Reach>>>()
            .with_context(broken)
    }
}

/// Runs `connect`, a command that ends in agnhost's path, with the arguments of an attempt.
pub(crate) fn probe_with(mut connect: Command, target: &Target) -> Result<Reach> {
    let output = connect
        .args(target.arguments())
        .output()
        .context("start agnhost")?;
    let said = String::from_utf8_lossy(&output.stderr);
    reach(&format!("{} {said}", output.status.code().unwrap_or(-1)))
        .with_context(|| format!("probe of {target:?}: {said}"))
}

/// One background job per target; each says its number, its status and what agnhost had to say.
fn probe_script(targets: &[Target]) -> String {
    let mut script = String::new();
    for (number, target) in targets.iter().enumerate() {
        let arguments = target.arguments().join(" ");
        script += &format!("(said=$(/agnhost {arguments} 2>&1); echo {number} $? $said) &\n");
    }
    script + "wait\n"
}

/// From "STATUS WORDS" of agnhost; nothing if the probe itself did not work.
fn reach(words: &str) -> Option<Reach> {
    let words = words.trim();
    let (status, said) = words.split_once(' ').unwrap_or((words, ""));
    match (status, said.split(':').next().unwrap_or("")) {
        ("0", _) => Some(Reach::Open),
        (_, "TIMEOUT") => Some(Reach::Silent),
        (_, "REFUSED") => Some(Reach::Refused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_of_agnhost_count_as_an_answer() {
        assert_eq!(reach("0"), Some(Reach::Open));
        assert_eq!(reach("1 TIMEOUT"), Some(Reach::Silent));
        assert_eq!(reach("1 REFUSED"), Some(Reach::Refused));
        assert_eq!(reach("127 /bin/sh: /agnhost: not found"), None);
        assert_eq!(reach("1 UNKNOWN: missing port in address"), None);
        assert_eq!(reach("1 OTHER: no route to host"), None);
    }
}
