//! Programs that take the place of others, of another object or another ABI version, while packets come.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bulkhead_agent::enforce::{Note, State};
use bulkhead_agent::kernel::{Kernel, object};
use bulkhead_datapath::abi::{ABI_VERSION, Generation, Hook, MapName};
use bulkhead_encode::Clock;
use bulkhead_graph::{Action, Timestamp};

use crate::pins::SIZES;
use crate::place::Place;
use crate::restart::{LIMIT, apart, frontier, graph, links, maps};

/// Sends datagrams to the loopback all the time; counts those that arrive.
struct Flood {
    end: Arc<std::sync::atomic::AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: std::net::UdpSocket,
}

impl Flood {
    fn start() -> Self {
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_nonblocking(true).unwrap();
        let to = receiver.local_addr().unwrap();
        let end = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = end.clone();
        let sender = std::thread::spawn(move || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut sent = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                // A drop at the hook may come back as an error.
                let _ = socket.send_to(b"x", to);
                sent += 1;
            }
            sent
        });
        Self {
            end,
            sender,
            receiver,
        }
    }

    fn end(self) -> (u64, u64) {
        self.end.store(true, std::sync::atomic::Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let mut arrived = 0;
        while self.receiver.recv(&mut [0; 8]).is_ok() {
            arrived += 1;
        }
        (sent, arrived)
    }
}

/// The hooks' start in an agent, up to the last graph.
fn take_up(kernel: Kernel) -> State {
    let mut state = State::open(kernel, links()).unwrap();
    let note = Note {
        digest: Some(graph(Action::Deny).digest()),
        frontier: frontier(1),
    };
    let clock = Clock {
        wall: Timestamp(0),
        monotonic_ns: 0,
        heard_ns: 0,
    };
    let done = state
        .commit(Arc::new(graph(Action::Deny)), &note, clock)
        .unwrap();
    state.settle(done).unwrap();
    state
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn programs_on(hook: Hook) -> usize {
    bulkhead_agent::kernel::attached("lo", hook, 0)
        .unwrap()
        .programs
        .len()
}

#[test]
fn cve_2023_27595_no_packet_passes_while_programs_are_replaced() {
    apart(|| {
        let place = Place::new("cve");
        drop(take_up(Kernel::open(&place.options(SIZES)).unwrap()));
        let flood = Flood::start();
        let root = place.pins().join(format!("v{ABI_VERSION}"));
        for round in 1..=5 {
            // Another object by its digest, the same by what it does.
            let mut other = object().to_vec();
            other.extend(vec![0; round * 8]);
            let before = entries(&root.join("programs"));
            // `dump` beside the running agent: it brings no programs of its own.
            assert!(maps(&place).node.generation() > Generation(0));
            assert_eq!(entries(&root.join("programs")), before);
            // Killed when the new programs were pinned and no link led to them yet.
            drop(Kernel::open_object(&other, &place.options(SIZES)).unwrap());
            let kernel = Kernel::open_object(&other, &place.options(SIZES)).unwrap();
            assert_eq!(kernel.load_time, Duration::ZERO);
            let own: Vec<usize> = Hook::ALL.iter().map(|hook| programs_on(*hook)).collect();
            assert_eq!(own, [1, 1]);
            let mut state = take_up(kernel);
            assert_eq!(state.check_hooks().unwrap(), 0, "they are this object's");
        }
        let (sent, arrived) = flood.end();
        assert!(sent > 1_000, "{sent} datagrams are no flood");
        assert_eq!(arrived, 0, "of {sent} datagrams some passed unjudged");
    });
}

#[test]
fn programs_of_another_abi_version_go_when_the_own_ones_guard() {
    apart(|| {
        let place = Place::new("abi");
        drop(take_up(Kernel::open(&place.options(SIZES)).unwrap()));
        let [own, other] =
            [ABI_VERSION, ABI_VERSION + 1].map(|n| place.pins().join(format!("v{n}")));
        std::fs::rename(&own, &other).unwrap();
        let flood = Flood::start();
        let kernel = Kernel::open(&place.options(SIZES)).unwrap();
        let state = State::open(kernel, links()).unwrap();
        assert!(other.join("maps").join(MapName::Node.name()).exists());
        drop(state);
        drop(take_up(Kernel::open(&place.options(SIZES)).unwrap()));
        assert!(!other.exists(), "nothing of the other version is left");
        let deadline = Instant::now() + LIMIT;
        // The kernel lets go of a link some time after its pin is gone.
        while Hook::ALL.iter().any(|hook| programs_on(*hook) != 1) {
            assert!(
                Instant::now() < deadline,
                "the other version's programs still run"
            );
        }
        let (sent, arrived) = flood.end();
        assert!(sent > 100, "{sent} datagrams are no flood");
        assert_eq!(arrived, 0, "of {sent} datagrams some passed unjudged");
    });
}
