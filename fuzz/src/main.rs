//! The targets under a coverage-guided engine. Which one, the environment says; `cargo xtask fuzz` sets it.
#![no_main]

use std::sync::OnceLock;

use bulkhead_fuzz::Target;
use libfuzzer_sys::fuzz_target;

/// Names the target.
const TARGET: &str = "BULKHEAD_FUZZ_TARGET";

fn target() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var(TARGET).unwrap_or_default();
        Target::named(&name).unwrap_or_else(|| panic!("{TARGET} names no target: {name:?}"))
    })
}

fuzz_target!(|bytes: &[u8]| target().run(bytes));
