//! The task that asks, against a name server on loopback: what it says is in the segments that name it, and follows it.
#![cfg(feature = "resolver")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulkhead_policy::model::{Event, Membership, Mode, Object, Segment};
use bulkhead_source::BootTime;
use bulkhead_source::names::{Answer, Lookups, NameServers, Table, line, start};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long anything may take before the test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the server says of a name and a kind of record.
#[derive(Clone)]
enum Reply {
    Addresses(Vec<IpAddr>),
    NoSuchName,
    Refused,
}

type Zone = Arc<Mutex<BTreeMap<(String, RecordType), Reply>>>;

/// A name server that knows a zone. What is not in it has no record.
async fn name_server(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let answer = reply(asked, &zone).to_vec().unwrap();
            socket.send_to(&answer, client).await.unwrap();
        }
    });
    address
}

fn reply(asked: Message, zone: &Zone) -> Message {
    let question = asked.queries[0].clone();
    let key = (question.name().to_ascii(), question.query_type());
    let reply = zone.lock().unwrap().get(&key).cloned();
    let mut answer = asked.into_response();
    match reply {
        None => {}
        Some(Reply::NoSuchName) => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(Reply::Refused) => answer.metadata.response_code = ResponseCode::Refused,
        Some(Reply::Addresses(addresses)) => {
            for address in addresses {
                let name = question.name().clone();
                answer.add_answer(Record::from_rdata(name, 1, RData::from(address)));
            }
        }
    }
    answer
}

fn set(zone: &Zone, name: &str, kind: RecordType, reply: Reply) {
    zone.lock()
        .unwrap()
        .insert((format!("{name}."), kind), reply);
}

fn addresses(texts: &[&str]) -> Reply {
    Reply::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn asking(server: SocketAddr) -> Lookups {
    let (lookups, asker) = line();
    start(NameServers::These(vec![server]), asker);
    lookups
}

async fn answer(lookups: &mut Lookups) -> Answer {
    timeout(DEADLINE, lookups.answers.recv())
        .await
        .expect("in time")
        .expect("the task goes on")
}

async fn ask(server: SocketAddr, name: &str) -> Answer {
    let mut lookups = asking(server);
    lookups.want([name.into()].into());
    answer(&mut lookups).await
}

#[tokio::test]
async fn what_a_name_server_says_is_in_the_segment_and_follows_when_it_changes() {
    let zone = Zone::default();
    set(
        &zone,
        "api.example.org",
        RecordType::A,
        addresses(&["203.0.113.1"]),
    );
    set(
        &zone,
        "api.example.org",
        RecordType::AAAA,
        addresses(&["2001:db8::1"]),
    );
    let mut lookups = asking(name_server(zone.clone()).await);
    let mut table = Table::new([]);
    let partner = Segment {
        name: "partner".into(),
        members: Membership {
            selectors: Vec::new(),
            networks: Vec::new(),
            partial: true,
            domains: vec!["api.example.org".into()],
            unread: false,
        },
        isolation: None,
        mode: Mode::Enforce,
    };
    table.handle(vec![Event::Apply(partner.into())]);
    lookups.want(table.wanted());
    let mut next = async |table: &mut Table| {
        loop {
            let events = table.answer(answer(&mut lookups).await, BootTime::now());
            if let Some(Event::Apply(Object::Segment(segment))) = events.into_iter().next() {
                let networks = segment.members.networks.iter();
                let networks: Vec<String> = networks.map(|it| it.cidr.to_string()).collect();
                return (segment.members.partial, networks.join(" "));
            }
        }
    };
    assert_eq!(
        next(&mut table).await,
        (false, "203.0.113.1/32 2001:db8::1/128".to_owned())
    );
    set(
        &zone,
        "api.example.org",
        RecordType::A,
        addresses(&["203.0.113.2"]),
    );
    // The earlier one stays for the grace time.
    assert_eq!(
        next(&mut table).await,
        (
            false,
            "203.0.113.1/32 203.0.113.2/32 2001:db8::1/128".to_owned()
        )
    );
}

#[tokio::test]
async fn one_family_without_an_address_is_no_failure_and_one_without_an_answer_is() {
    let zone = Zone::default();
    let server = name_server(zone.clone()).await;
    set(&zone, "v4.b", RecordType::A, addresses(&["203.0.113.1"]));
    let told = ask(server, "v4.b").await;
    assert_eq!((told.addresses.len(), told.failure), (1, None));
    set(&zone, "v4.b", RecordType::AAAA, Reply::Refused);
    let told = ask(server, "v4.b").await;
    assert_eq!(told.addresses.len(), 1);
    assert!(told.failure.is_some());
}

#[tokio::test]
async fn what_is_not_there_says_why() {
    let zone = Zone::default();
    let server = name_server(zone.clone()).await;
    for kind in [RecordType::A, RecordType::AAAA] {
        set(&zone, "gone.b", kind, Reply::NoSuchName);
    }
    let why = async |server, name| ask(server, name).await.failure.unwrap();
    assert_eq!(why(server, "gone.b").await, "there is no such name");
    assert_eq!(why(server, "empty.b").await, "it has no address");
    // Taken and never read from: nobody answers there.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let told = ask(silent.local_addr().unwrap(), "a.b").await;
    assert!(told.addresses.is_empty() && told.failure.is_some());
}
