//! The controller, as a command asks it: where it is, and how long it is waited for.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use ureq::http::Uri;

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A controller on this machine.
const BESIDE: &str = "http://127.0.0.1:9480";

/// Where it is. It bears no name of a verb's arguments: clap makes a group of each.
#[derive(clap::Args)]
pub(crate) struct Address {
    /// Where the controller serves its metrics and status (its `--http`). At a loopback address or `localhost` it is asked
    /// directly, whatever proxy the environment names
    #[arg(
        long,
        value_name = "URL",
        env = "BULKHEAD_CONTROLLER_URL",
        default_value = BESIDE
    )]
    controller: String,
}

/// Asks one controller, again and again over the same connection.
pub(crate) struct Controller {
    client: ureq::Agent,
    url: String,
}

impl Controller {
    pub(crate) fn new(address: &Address) -> Self {
        // A variable that is empty counts as not set.
        let named = Some(&*address.controller).filter(|url| !url.is_empty());
        let url = named.unwrap_or(BESIDE).trim_end_matches('/').to_owned();
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false);
        if is_on_this_machine(&url) {
            // A proxy that the environment names would look for it on its own machine.
            config = config.proxy(None);
        }
        Self {
            client: config.build().into(),
            url,
        }
    }

    /// Where it answers about a path, for messages.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// What it answers; `None` where it knows nothing of that name.
    pub(crate) fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let url = self.url(path);
        let mut response = self.client.get(&url).call().with_context(|| {
            format!(
                "{url}: the controller does not answer; is it running, and is this its metrics address?"
            )
        })?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            other => bail!("{url}: the controller answers {other}; is it of this version?"),
        }
        let answer = response.body_mut().read_json();
        answer
            .map(Some)
            .with_context(|| format!("{url}: the answer is not that of a Bulkhead controller"))
    }
}

/// Whether a URL names a loopback address, or the name that leads to one everywhere.
fn is_on_this_machine(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else {
        return false;
    };
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
        Err(_) => {
            let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_address_and_by_name() {
        for host in [
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "[::]",
            "localhost.",
            "api.localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "LocalHost",
        ] {
            assert!(is_on_this_machine(&format!("http://{host}:9480")), "{host}");
            assert!(is_on_this_machine(&format!("http://{host}")), "{host}");
        }
        for url in [
            "http://192.0.2.1:9480",
            "http://[2001:db8::1]:9480",
            "http://127.example:9480",
            "http://localhost.example:9480",
            "http://192.0.2.1:9480/127.0.0.1",
            "nothing of the kind",
            "",
        ] {
            assert!(!is_on_this_machine(url), "{url}");
        }
    }
}
