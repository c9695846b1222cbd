//! The controller, as a command asks it: where it is, and how long it is waited for.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where it is. It bears no name of a verb's arguments: clap makes a group of each.
#[derive(clap::Args)]
pub(crate) struct Address {
    /// Where the controller serves its metrics and status (its `--http`)
    #[arg(
        long,
        value_name = "URL",
        env = "BULKHEAD_CONTROLLER_URL",
        default_value = "http://127.0.0.1:9480"
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
        let client = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build()
            .into();
        Self {
            client,
            url: address.controller.trim_end_matches('/').to_owned(),
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
