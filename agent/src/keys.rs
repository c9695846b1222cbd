//! What the agent proves with who it is, and what it knows the controller by: from files that may be replaced while it runs.

use std::time::Duration;

use anyhow::Context as _;
use bulkhead_graph::Timestamp;
use bulkhead_keys::{Files, Keys, Pem};
use bulkhead_wire::{certificate, limits};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::reason::whole;
use crate::settings::Run;

/// Makes sure that the files fit together, are this node's, and are valid now.
///
/// # Errors
/// Names the file, or the flag, and what to do.
pub fn load(run: &Run, now: Timestamp) -> anyhow::Result<Keys<Endpoint>> {
    let controller = Endpoint::from_shared(format!("https://{}", run.controller))
        .with_context(|| format!("--controller {}: write HOST:PORT", run.controller))?
        .connect_timeout(limits::HANDSHAKE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    let files = Files {
        authority: run.authority.clone(),
        certificate: run.certificate.clone(),
        key: run.key.clone(),
        remedy: format!(
            "`bulkhead-controller init --node {}` makes what is missing or ends soon; bring ca.crt and the node's two files here",
            run.node
        ),
    };
    let node = run.node.clone();
    let build = move |pem: &Pem| with_keys(controller.clone(), &node, pem);
    Ok(Keys::load(files, Box::new(build), now)?)
}

fn with_keys(
    controller: Endpoint,
    node: &str,
    pem: &Pem,
) -> Result<Endpoint, Box<dyn std::error::Error + Send + Sync>> {
    let (names, _) = certificate::names(&pem.certificate)?;
    let own = certificate::name_of_node(node);
    // As the controller reads it: the first name of a node counts.
    if certificate::node_of_pem(&pem.certificate).ok().as_deref() != Some(node) {
        return Err(format!("it is for {names:?} and not for {own}").into());
    }
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&pem.authority))
        .identity(Identity::from_pem(&pem.certificate, &pem.key))
        .domain_name(certificate::CONTROLLER)
        .timeout(limits::HANDSHAKE);
    controller
        .tls_config(tls)
        .map_err(|error| whole(&error).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::settings::{Command, Verb};

    #[test]
    fn a_certificate_out_of_its_time_or_of_another_node_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters =
            rcgen::CertificateParams::new(vec!["n1.node.bulkhead".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2024, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2025, 1, 1);
        let certificate = parameters.self_signed(&key).unwrap().pem();
        let [authority, agent, secret] = ["ca.crt", "agent.crt", "agent.key"].map(path);
        fs::write(&authority, &certificate).unwrap();
        fs::write(&agent, &certificate).unwrap();
        fs::write(&secret, key.serialize_pem()).unwrap();
        let run = |node: &str, controller: &str| {
            let arguments = [
                "bulkhead-agent",
                "run",
                &format!("--node={node}"),
                &format!("--controller={controller}"),
                &format!("--authority={authority}"),
                &format!("--certificate={agent}"),
                &format!("--key={secret}"),
            ]
            .map(str::to_owned);
            let Verb::Run(run) = Command::try_parse_from(arguments).unwrap().verb else {
                panic!("`run` is parsed as something else");
            };
            run
        };
        let at = |year: i64| Timestamp::from_seconds((year - 1970) * 31_556_952 + 86_400 * 30);
        let own = run("n1", "controller:9443");
        load(&own, at(2024)).unwrap();
        let error = load(&own, at(2025)).unwrap_err().to_string();
        assert!(
            error.starts_with(&agent)
                && error.contains(
                    "the certificate has expired; `bulkhead-controller init --node n1` makes"
                ),
            "{error}"
        );
        let error = load(&own, at(2023)).unwrap_err().to_string();
        assert!(error.contains("not valid yet; set the clock"), "{error}");
        let error = load(&run("n2", "controller:9443"), at(2024)).unwrap_err();
        let expected = "it is for [\"n1.node.bulkhead\"] and not for n2.node.bulkhead";
        assert!(error.to_string().contains(expected), "{error}");
        let error = load(&run("n1", "not a host"), at(2024)).unwrap_err();
        let expected = "--controller not a host: write HOST:PORT";
        assert!(error.to_string().contains(expected), "{error}");
        fs::remove_file(&secret).unwrap();
        let error = load(&own, at(2024)).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{secret}: cannot be read")),
            "{error}"
        );
    }
}
