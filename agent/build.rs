//! Embeds the kernel programs that `cargo xtask build-ebpf` made, or nothing where they were not built: then the agent
//! still compiles, and says so when it is asked to load them.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let variable = |name: &str| PathBuf::from(env::var_os(name).expect("cargo sets it"));
    let object = variable("CARGO_MANIFEST_DIR").join("../target/bpf/bulkhead");
    let embedded = variable("OUT_DIR").join("bulkhead");
    // The folder too: an object that is not there yet cannot be watched by itself.
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rerun-if-changed=build.rs");
    let bytes = fs::read(&object).unwrap_or_default();
    fs::write(&embedded, bytes).expect("OUT_DIR is writable");
}
