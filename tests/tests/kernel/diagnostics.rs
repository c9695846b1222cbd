//! What the programs say of themselves reaches the agent's log with its level, at most once a second.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bulkhead_agent::kernel::{Kernel, Options, Skb};

use crate::node;

/// Only in the object for this test: no packet leads to what cannot be.
const PROGRAM: &str = "test_diagnose";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_is_said_with_its_level_and_not_a_thousand_times() {
    let options = Options {
        pins: None,
        capacity: node::CAPACITY,
    };
    let mut kernel = Kernel::open_with(&options, &[PROGRAM])
        .unwrap_or_else(|error| panic!("kernel tests need root, and the programs built: {error}"));
    let skb = Skb {
        ifindex: 1,
        ingress_ifindex: 0,
    };
    kernel.run_named(PROGRAM, &[0; 64], skb, 1_000).unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || kernel.diagnostics.drain());
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said: Vec<&str> = text.lines().collect();
    // A thousand runs take less than a second, unless the machine stops in between.
    assert!((1..=2).contains(&said.len()), "{text}");
    assert!(said[0].contains("ERROR"), "{text}");
    assert!(
        said[0].contains("what cannot be on interface 1 (hook 1)"),
        "{text}"
    );
}
