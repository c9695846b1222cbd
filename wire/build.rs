//! Generates the messages and the service from `proto/`, without a protobuf compiler on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/bulkhead.proto"], ["proto"])?;
    println!("cargo:rerun-if-changed=proto");
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".bulkhead.wire.v1.Part")
        .compile_fds(descriptors)?;
    Ok(())
}
