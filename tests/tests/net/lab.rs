//! The lab itself: without the product everything reaches everything, and whatever is taken away shows.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::{Outcome, StreamPlan, Transport};
use bulkhead_tests::lab::frame::{self, End};
use bulkhead_tests::lab::{Expected, Family, Lab, Matrix, Plan};

const LIMIT: Duration = Duration::from_secs(3);

fn small() -> Lab {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[80])
        .and_then(|plan| plan.workload("shop/cart", 1, &[8080]))
        .and_then(|plan| plan.workload("data/db", 2, &[5432, 9100]))
        .unwrap()
        .outside("customer", 10, &[443]);
    Lab::start(plan).unwrap()
}

#[test]
fn without_the_product_everything_reaches_everything() {
    let started = Instant::now();
    let lab = small();
    println!("lab built in {:?}", started.elapsed());
    let cells = Matrix::questions(&lab);
    let started = Instant::now();
    let mut matrix = Matrix::measure(&lab, &cells).unwrap();
    println!("{} questions in {:?}", cells.len(), started.elapsed());
    let deviations = matrix.deviations(&lab, |_| Expected::Reached).unwrap();
    assert!(
        deviations.is_empty(),
        "{}",
        deviations
            .iter()
            .map(|d| format!("{d}\n"))
            .collect::<String>()
    );
    assert_eq!(matrix.reached(), cells.len());
}

#[test]
fn a_packet_filter_turns_exactly_its_cells_red() {
    let lab = small();
    let node = lab.plan().nodes()[1];
    let rules = "add table inet f; add chain inet f forward { type filter hook forward priority 0; }; \
                 add rule inet f forward tcp dport 5432 drop";
    lab.node(node).read("nft", &[rules]).unwrap();
    let mut matrix = Matrix::measure(&lab, &Matrix::questions(&lab)).unwrap();
    let deviations = matrix.deviations(&lab, |_| Expected::Reached).unwrap();
    // web, cart and customer, over two families.
    assert_eq!(deviations.len(), 6, "{deviations:?}");
    assert!(deviations.iter().all(|d| {
        d.cell.port == 5432 && d.cell.transport == Transport::Tcp && d.outcome == Outcome::Silence
    }));
}

#[test]
fn a_cut_stream_shows_when_the_last_byte_came() {
    let lab = small();
    let (web, db) = (
        lab.endpoint("shop/web").unwrap(),
        lab.endpoint("data/db").unwrap(),
    );
    let (from, to) = (
        lab.addresses("shop/web").unwrap(),
        lab.addresses("data/db").unwrap(),
    );
    for (family, transport) in [(Family::V4, Transport::Tcp), (Family::V6, Transport::Udp)] {
        let plan = StreamPlan {
            transport,
            to: SocketAddr::new(to.of(family), 5432),
            from_port: 0,
            records_per_second: 2000,
        };
        let stream = web.open(plan).unwrap();
        let flows = || Ok((web.stream(stream)?.echoed > 100).then_some(()));
        Deadline::after(LIMIT)
            .until("a hundred echoes", flows)
            .unwrap();
        lab.node(lab.plan().nodes()[1])
            .ip("link set db down\n")
            .unwrap();
        let after = bulkhead_tests::lab::endpoint::now();
        let cut = db.intake(transport, 5432, from.of(family)).unwrap();
        assert!(cut.bytes > 0 && cut.newest_record.unwrap() < after);
        let sent_on = || Ok((web.stream(stream)?.echoed * 16 <= cut.bytes).then_some(()));
        Deadline::after(LIMIT)
            .until("the end of echoes", sent_on)
            .unwrap();
        assert_eq!(
            db.intake(transport, 5432, from.of(family)).unwrap().bytes,
            cut.bytes
        );
        web.close(stream).unwrap();
        lab.node(lab.plan().nodes()[1]).ip("link set db up\nroute replace 10.71.2.10/32 dev db\nroute replace fd71:0:0:2::a/128 dev db\naddr replace fd71:0:0:2::1/128 dev db nodad\n").unwrap();
    }
}

#[test]
fn forged_frames_arrive_where_nothing_stops_them() {
    let lab = small();
    let (web, db) = (
        lab.endpoint("shop/web").unwrap(),
        lab.endpoint("data/db").unwrap(),
    );
    let attacker = lab.plan().find("shop/web").unwrap();
    let to = lab.addresses("data/db").unwrap();
    db.watch("eth0", &[b"forged over IPv4", b"forged over IPv6"])
        .unwrap();
    let victim = lab.addresses("shop/cart").unwrap();
    for family in Family::BOTH {
        let from = End {
            mac: attacker.mac,
            ip: victim.of(family),
            port: 4000,
        };
        let to = End {
            mac: attacker.gateway_mac,
            ip: to.of(family),
            port: 5432,
        };
        web.inject(
            "eth0",
            &frame::udp(from, to, format!("forged over {family}").as_bytes()),
        )
        .unwrap();
    }
    // Perhaps more than one each: the victim refuses the answers it did not ask for, quoting them.
    let arrived = || Ok(db.watched()?.iter().all(|count| *count > 0).then_some(()));
    let both = Deadline::after(LIMIT).until("both forged packets", arrived);
    both.unwrap_or_else(|error| panic!("{error:#}: {:?}", db.watched()));
    // The server took them for what they claimed to be.
    let intake = || {
        Ok((db
            .intake(Transport::Udp, 5432, victim.of(Family::V4))?
            .bytes
            == 16)
            .then_some(()))
    };
    Deadline::after(LIMIT)
        .until("the forged datagram in the server", intake)
        .unwrap();
}

#[test]
fn a_forged_neighbour_and_a_rogue_router_are_believed_where_nothing_stops_them() {
    let lab = small();
    let web = lab.endpoint("shop/web").unwrap();
    let attacker = lab.plan().find("shop/web").unwrap();
    let node = lab.node(attacker.node);
    let own = frame::link_local(attacker.mac);
    web.inject(
        "eth0",
        &frame::router_advertisement(attacker.mac, own, "fd00:bad::".parse().unwrap()),
    )
    .unwrap();
    let believed = || {
        Ok(node
            .read("ip", &["-6", "route"])?
            .contains("fd00:bad::")
            .then_some(()))
    };
    Deadline::after(LIMIT)
        .until("a route of the rogue router", believed)
        .unwrap();
    // A neighbour must be known for an unasked advertisement to change it.
    web.asks(
        Transport::Ping,
        SocketAddr::new(attacker.node.gateway().v4.into(), 0),
        LIMIT,
    )
    .unwrap();
    let foreign = bulkhead_tests::lab::Mac([2, 0xba, 0xd, 0, 0, 1]);
    let arp = frame::gratuitous_arp(
        attacker.mac,
        foreign,
        attacker.addresses.v4,
        attacker.addresses.v4,
    );
    web.inject("eth0", &arp).unwrap();
    let poisoned = || {
        Ok(node
            .read("ip", &["neigh"])?
            .contains(&foreign.to_string())
            .then_some(()))
    };
    Deadline::after(LIMIT)
        .until("a poisoned neighbour table", poisoned)
        .unwrap();
}

#[test]
fn a_crashed_lab_is_removed_by_the_next_one() {
    let mut crashing = Command::new(env!("CARGO_BIN_EXE_lab-hold"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let name = {
        use std::io::{BufRead, BufReader};
        let mut line = String::new();
        BufReader::new(crashing.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        line.trim().to_owned()
    };
    let namespaces = || {
        let all = fs::read_dir("/run/netns").unwrap();
        all.filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{name}-"))
        })
        .count()
    };
    assert!(namespaces() > 0, "lab {name:?} is there");
    crashing.kill().unwrap();
    crashing.wait().unwrap();
    assert!(namespaces() > 0, "nobody has cleaned up yet");
    bulkhead_tests::lab::remove_stale_labs().unwrap();
    assert_eq!(namespaces(), 0);
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(
        !mounts.contains(&format!("/{name}/")),
        "the bpffs is unmounted"
    );
}
