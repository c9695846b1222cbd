//! The task that asks name servers for the names that are wanted, again and again. A shell: what it hears it hands on.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bulkhead_policy::model::Interned;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{TokioResolver, system_conf};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, error};

use super::schedule::{Outcome, Schedule};
use super::{Answer, Asker};

/// A question with all of its attempts.
const PATIENCE: Duration = Duration::from_secs(5);

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Where the system says whom to ask.
const SYSTEM: &str = "/etc/resolv.conf";

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameServers {
    /// Those of `/etc/resolv.conf`, in its order.
    System,
    /// These, in this order.
    These(Vec<SocketAddr>),
}

/// Asks until the other end of the line is gone. Needs a tokio runtime.
pub fn start(servers: NameServers, asker: Asker) {
    tokio::spawn(run(servers, asker));
}

/// What came of one question.
struct Heard {
    answer: Answer,
    outcome: Outcome,
    /// Nobody answered: perhaps somebody else is to be asked by now.
    is_silent: bool,
}

async fn run(servers: NameServers, mut asker: Asker) {
    let mut client = None;
    let mut schedule = Schedule::default();
    let mut questions: JoinSet<Heard> = JoinSet::new();
    loop {
        let now = tokio::time::Instant::now();
        for name in schedule.due(now) {
            let client = client.get_or_insert_with(|| connect(&servers)).clone();
            questions.spawn(heard(client, name));
        }
        let next = schedule.next();
        tokio::select! {
            wanted = asker.wanted.changed() => {
                if wanted.is_err() {
                    return;
                }
                let wanted = asker.wanted.borrow_and_update().clone();
                schedule.want(&wanted, tokio::time::Instant::now());
            }
            Some(heard) = questions.join_next() => {
                let Heard { answer, outcome, is_silent } = heard.expect("it waits for another task and has no way to panic");
                schedule.done(&answer.name, outcome, tokio::time::Instant::now());
                if is_silent {
                    client = None;
                }
                if asker.answers.send(answer).await.is_err() {
                    return;
                }
            }
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
}

/// Whoever cannot be asked says so with each question, and is looked for again with the next one.
fn connect(servers: &NameServers) -> Result<TokioResolver, String> {
    let config = match servers {
        NameServers::System => {
            let (config, _) = system_conf::read_system_conf().map_err(|error| {
                format!("{SYSTEM}: {error}; name servers can be given with --dns-server")
            })?;
            // Its search list is for names that are not whole.
            ResolverConfig::from_name_servers(config.name_servers().to_vec())
        }
        NameServers::These(servers) => {
            ResolverConfig::from_name_servers(servers.iter().map(server).collect())
        }
    };
    let provider = TokioRuntimeProvider::default();
    let builder = TokioResolver::builder_with_config(config, provider).with_options(options());
    builder.build().map_err(|error| error.to_string())
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = ATTEMPT;
    options.attempts = 1;
    // An answer is asked for anew when its time is over, and so there is nothing to remember.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.num_concurrent_reqs = 1;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.try_tcp_on_error = true;
    options
}

/// What one family came to.
enum Family {
    /// Addresses, and how long they hold.
    Told(Vec<IpAddr>, Duration),
    /// There are none; says in what way.
    Without(&'static str),
    /// Nobody knows.
    Silent(String),
}

/// One question, in a task of its own: whatever happens to it, the name gets its turn again.
async fn heard(client: Result<TokioResolver, String>, name: Interned) -> Heard {
    let question = tokio::spawn(ask(client, name.clone()));
    question.await.unwrap_or_else(|error| {
        error!(%name, %error, "a question to the name servers was cut short");
        let silent = || Family::Silent("asking for it was cut short".to_owned());
        combined(name, silent(), silent())
    })
}

async fn ask(client: Result<TokioResolver, String>, name: Interned) -> Heard {
    let (v4, v6) = match client {
        Ok(client) => tokio::join!(
            family(&client, &name, RecordType::A),
            family(&client, &name, RecordType::AAAA)
        ),
        Err(why) => (Family::Silent(why.clone()), Family::Silent(why)),
    };
    let heard = combined(name, v4, v6);
    debug!(name = %heard.answer.name, addresses = heard.answer.addresses.len(), failure = heard.answer.failure, "asked");
    heard
}

async fn family(client: &TokioResolver, name: &str, kind: RecordType) -> Family {
    let absolute = match Name::from_ascii(format!("{name}.")) {
        Ok(absolute) => absolute,
        Err(error) => return Family::Silent(error.to_string()),
    };
    match timeout(PATIENCE, client.lookup(absolute, kind)).await {
        Err(_) => Family::Silent("no name server answers in time".to_owned()),
        Ok(Err(error)) => without(&error),
        Ok(Ok(lookup)) => {
            let addresses: Vec<IpAddr> = lookup
                .answers()
                .iter()
                .filter_map(|record| record.data.ip_addr())
                .collect();
            let lives = lookup
                .valid_until()
                .saturating_duration_since(Instant::now());
            match addresses.is_empty() {
                true => Family::Without("it has no address"),
                false => Family::Told(addresses, lives),
            }
        }
    }
}

fn without(error: &NetError) -> Family {
    if error.is_nx_domain() {
        return Family::Without("there is no such name");
    }
    if error.is_no_records_found() {
        return Family::Without("it has no address");
    }
    Family::Silent(error.to_string())
}

/// What is known of a name by both of its families.
fn combined(name: Interned, v4: Family, v6: Family) -> Heard {
    let (mut addresses, mut lives, mut absent, mut silent) = (Vec::new(), None, None, None);
    for family in [v4, v6] {
        match family {
            Family::Told(told, holds) => {
                addresses.extend(told);
                lives = Some(lives.map_or(holds, |other: Duration| other.min(holds)));
            }
            Family::Without(why) => absent = Some(why),
            Family::Silent(why) => silent = Some(why),
        }
    }
    let is_silent = silent.is_some();
    let (answer, outcome) = match (silent, lives, absent) {
        (Some(why), ..) => (Answer::failed(name, addresses, why), Outcome::Failed),
        (None, Some(lives), _) => (Answer::whole(name, addresses), Outcome::Answered(lives)),
        (None, None, absent) => {
            let why = absent.unwrap_or("it has no address");
            (Answer::failed(name, addresses, why), Outcome::Failed)
        }
    };
    Heard {
        answer,
        outcome,
        is_silent,
    }
}
