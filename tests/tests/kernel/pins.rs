//! What outlives the agent: maps, programs and links under their pins, taken up again, replaced in place, removed.

use bulkhead_agent::checks;
use bulkhead_agent::kernel::{Kernel, Opened, Options, object};
use bulkhead_agent::settings::Places;
use bulkhead_datapath::abi::{
    ABI_VERSION, CAPACITIES, Capacity, CounterIndex, Generation, Hook, NodeValue, Reason,
};
use nix::mount::{MsFlags, mount};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::place::Place;

pub(crate) const SIZES: Capacity = Capacity {
    peers: 64,
    networks: 64,
    decisions: 64,
    flows: 64,
    fragments: 64,
    talks: 64,
    event_bytes: 4_096,
    ..CAPACITIES
};

/// Whether a datagram to oneself arrives. The loopback delivers at once or never.
pub(crate) fn arrives() -> bool {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let _ = sender.send_to(b"x", receiver.local_addr().unwrap());
    receiver.recv(&mut [0; 8]).is_ok()
}

/// The kernel lets go of a link some time after its pin is gone.
fn arrives_soon() -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if arrives() {
            return true;
        }
    }
    false
}

fn dropped(kernel: &Kernel, hook: Hook, reason: Reason) -> u64 {
    kernel
        .maps
        .counters
        .get(CounterIndex::new(hook, reason).0)
        .unwrap()
        .iter()
        .map(|value| value.packets)
        .sum()
}

#[test]
fn everything_outlives_its_agent() {
    std::thread::spawn(|| {
        let place = Place::new("outlives");
        assert!(arrives());
        let mut kernel = Kernel::open(&place.options(SIZES)).unwrap();
        assert_eq!(kernel.opened, Opened::New);
        let limits = NodeValue {
            fragments: 77,
            ..NodeValue::DEFAULT
        };
        kernel.maps.node.write_limits(&limits);
        kernel.maps.node.flip(Generation(41));
        kernel.attach("lo", 1).unwrap();
        for hook in Hook::ALL {
            assert_eq!(
                kernel.attached("lo", hook).unwrap().position,
                Some(0),
                "{hook:?}"
            );
        }
        drop(kernel);
        assert!(!arrives(), "the programs guard without an agent");

        let mut kernel = Kernel::open(&place.options(SIZES)).unwrap();
        assert_eq!(
            (kernel.opened, kernel.load_time),
            (Opened::Again, Duration::ZERO)
        );
        assert_eq!(
            kernel.maps.node.read(0).unwrap(),
            NodeValue {
                generation: Generation(41),
                ..limits
            }
        );
        assert_eq!(
            kernel.pinned_links().unwrap(),
            [(1, Hook::FromWorkload), (1, Hook::ToWorkload)]
        );
        assert!(dropped(&kernel, Hook::ToWorkload, Reason::NoInterface) > 0);
        let before = kernel.attached("lo", Hook::FromWorkload).unwrap();
        assert_eq!(before.position, Some(0));

        kernel.detach(1).unwrap();
        drop(kernel);
        assert!(arrives_soon());
        Kernel::remove(place.pins()).unwrap();
        assert!(!place.pins().join(format!("v{ABI_VERSION}")).exists());
    })
    .join()
    .unwrap();
}

#[test]
fn an_upgrade_replaces_programs_in_place() {
    std::thread::spawn(|| {
        let place = Place::new("upgrade");
        let mut kernel = Kernel::open(&place.options(SIZES)).unwrap();
        kernel.maps.node.flip(Generation(5));
        kernel.attach("lo", 1).unwrap();
        let old = kernel.attached("lo", Hook::FromWorkload).unwrap();
        drop(kernel);
        // Another object by its digest, the same by what it does.
        let mut object = object().to_vec();
        object.extend([0; 8]);
        let mut kernel = Kernel::open_object(&object, &place.options(SIZES)).unwrap();
        assert_eq!(kernel.opened, Opened::Again);
        assert_eq!(
            kernel.maps.node.generation(),
            Generation(5),
            "the tables stay"
        );
        assert_eq!(
            kernel.attached("lo", Hook::FromWorkload).unwrap().position,
            None
        );
        assert_eq!(kernel.update_links().unwrap(), 2);
        let new = kernel.attached("lo", Hook::FromWorkload).unwrap();
        assert_eq!((new.position, new.programs.len()), (Some(0), 1));
        assert_ne!(new.programs, old.programs);
        drop(kernel);
        assert!(!arrives());
        Kernel::remove(place.pins()).unwrap();
        assert!(arrives_soon());
    })
    .join()
    .unwrap();
}

#[test]
fn pins_of_other_sizes_are_refused() {
    std::thread::spawn(|| {
        let place = Place::new("sizes");
        drop(Kernel::open(&place.options(SIZES)).unwrap());
        let other = Options {
            capacity: Capacity {
                flows: 128,
                ..SIZES
            },
            ..place.options(SIZES)
        };
        let message = match Kernel::open(&other) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        };
        assert!(
            message.contains("FLOWS has size 64, expected 128"),
            "{message}"
        );
        assert!(message.contains("bulkhead-agent remove"), "{message}");
    })
    .join()
    .unwrap();
}

#[test]
fn pins_are_led_by_one_agent() {
    std::thread::spawn(|| {
        let place = Place::new("led");
        let pins = place.pins().join("bulkhead");
        let first = checks::pins(&pins).unwrap();
        let error = checks::pins(&pins).unwrap_err().to_string();
        let expected = format!(
            "another agent runs on this node (it holds {}): end that one first",
            pins.display()
        );
        assert_eq!(error, expected);
        drop(first);
        drop(checks::pins(&pins).unwrap());
    })
    .join()
    .unwrap();
}

#[test]
fn without_a_bpf_file_system_to_mount_the_agent_says_what_to_do() {
    std::thread::spawn(|| {
        let place = Place::new("hidden");
        // A machine without /sys/fs/bpf, and nobody can make it.
        let flags = MsFlags::MS_RDONLY;
        mount(Some("tmpfs"), "/sys/fs", Some("tmpfs"), flags, None::<&str>).unwrap();
        let places = |pins: &std::path::Path| Places {
            pins: pins.to_owned(),
            state: PathBuf::new(),
        };
        let error = checks::kernel(&places("/sys/fs/bpf/bulkhead".as_ref())).unwrap_err();
        let error = error.to_string();
        let said = "/sys/fs/bpf/bulkhead is on no bpf file system, and `/sys/fs/bpf` cannot be mounted: No such file";
        assert!(error.starts_with(said), "{error}");
        assert!(error.ends_with("do `mount -t bpf bpf /sys/fs/bpf` or set --pins"), "{error}");
        checks::kernel(&places(place.pins())).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn without_a_bpf_file_system_the_error_says_so() {
    let folder = std::env::temp_dir().join(format!("bulkhead-plain-{}", std::process::id()));
    let options = Options {
        pins: Some(folder.clone()),
        capacity: SIZES,
    };
    let message = match Kernel::open(&options) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(message.contains("bpf file system"), "{message}");
}
