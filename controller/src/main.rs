//! `bulkhead-controller`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bulkhead_controller::keys::{KeyFolder, Wanted, ends, make};
use bulkhead_controller::publish::Pace;
use bulkhead_controller::run::{Inputs, Listeners, serve, start_compiler};
use bulkhead_controller::server::Shared;
use bulkhead_controller::settings::{Command, Init, Run, Verb};
use bulkhead_controller::tls::Tls;
use bulkhead_controller::{api, clock};
use bulkhead_policy::engine::EngineConfig;
use bulkhead_settings::{Resolved, SettingsError};
use bulkhead_source::folder::{self, FolderConfig};
use bulkhead_source::names::{self, NameServers};
use bulkhead_source::{Freshness, kubernetes};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// The compiler makes and drops very many small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long nodes keep what they have after a start, for the sake of names that nobody has answered yet.
const NAME_PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let outcome = match bulkhead_settings::resolve::<Command>(std::env::args_os()) {
        Err(SettingsError::Usage(error)) => error.exit(),
        Err(error) => Err(anyhow::Error::new(error)),
        Ok(Resolved::Print(text)) => {
            print!("{text}");
            Ok(())
        }
        Ok(Resolved::Run(command)) => match command.verb {
            Verb::Init(init) => make_keys(&init),
            Verb::Run(run) => start(run),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulkhead-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn make_keys(init: &Init) -> anyhow::Result<()> {
    let wanted = Wanted {
        nodes: init.nodes.clone(),
        names: init.names.clone(),
        addresses: init.addresses.clone(),
        // Agents' clocks may be a little behind.
        from: time::OffsetDateTime::now_utc() - time::Duration::minutes(5),
        lifetime: time::Duration::days(i64::from(init.days)),
        renew_before: time::OffsetDateTime::now_utc() + renewal(init),
    };
    let folder = KeyFolder(init.keys.clone());
    let made = make(&folder, &wanted).context("keys")?;
    if made.is_empty() {
        println!(
            "{}: everything is there already, and does not end soon",
            init.keys.display()
        );
    }
    made.iter().for_each(|path| println!("{}", path.display()));
    let left = ends(&folder.authority())?.0 - clock::now().0;
    let days = left / (24 * 3_600_000);
    if days < i64::from(init.renew_days) {
        eprintln!(
            "bulkhead-controller: {}: the authority ends in {days} days and is never made anew by itself; make another one in \
             another folder, and give every agent its certificate",
            folder.authority().display()
        );
    }
    Ok(())
}

/// Short-lived certificates are not made anew each time.
fn renewal(init: &Init) -> time::Duration {
    let days = init.renew_days.min(init.days / 3);
    time::Duration::days(i64::from(days))
}

#[tokio::main]
async fn start(run: Run) -> anyhow::Result<()> {
    if run.folder.is_none() && !run.kubernetes {
        bail!("say where intent comes from: --folder FOLDER, or --kubernetes");
    }
    run.logging.start().map_err(anyhow::Error::msg)?;
    let tls = Tls::load(&run.keys, clock::now())?;
    let listeners = Listeners::bind(run.listen, run.http).await?;
    let pace = Pace {
        gather: Duration::from_millis(run.gather_ms),
        ..Pace::default()
    };
    let shared = Arc::new(Shared::new(pace));
    let config = EngineConfig {
        cluster_ranges: run.cluster_ranges.clone(),
        ..EngineConfig::default()
    };
    let freshness = Freshness::default();
    let updates = match (&run.folder, run.kubernetes) {
        (Some(folder), false) => {
            let config = FolderConfig {
                freshness: freshness.clone(),
                ..FolderConfig::new(folder, Some(run.state.clone()))
            };
            folder::watch(config).context("--folder")?
        }
        (None, true) => kubernetes::watch(api::client().await?, freshness.clone())
            .await
            .context("--kubernetes")?,
        (None, false) | (Some(_), true) => {
            bail!("--folder and --kubernetes exclude each other, and one is needed")
        }
    };
    let (lookups, asker) = names::line();
    let name_patience = if run.resolve_names {
        names::start(name_servers(&run), asker);
        NAME_PATIENCE
    } else {
        Duration::ZERO
    };
    let inputs = Inputs {
        updates,
        freshness,
        lookups,
        name_patience,
    };
    let questions = start_compiler(shared.clone(), config, inputs)?;
    if run.kubernetes {
        tokio::spawn(api::write_statuses(
            api::client().await?,
            shared.clone(),
            questions.clone(),
        ));
    }
    let (end, ended) = watch::channel(false);
    info!(agents = %run.listen, http = %run.http, "the controller is up");
    tokio::spawn(async move {
        stop_signal().await;
        info!("shutting down; nodes go on enforcing what they have");
        end.send_replace(true);
    });
    serve(shared, questions, listeners, tls, ended).await
}

fn name_servers(run: &Run) -> NameServers {
    match run.dns_servers.is_empty() {
        true => NameServers::System,
        false => NameServers::These(run.dns_servers.clone()),
    }
}

async fn stop_signal() {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
