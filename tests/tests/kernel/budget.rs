//! What the programs cost the verifier: every kernel that is supported has to walk them within its limit of a million.

use bulkhead_agent::kernel::Options;

/// Well below the kernel's limit, and close enough above the present figure to notice a change that multiplies it.
const VERIFIED_INSTRUCTIONS: u32 = 300_000;

#[test]
fn the_verifier_walks_few_instructions() {
    let kernel = super::kernel(&Options::default());
    println!("loaded in {:?}", kernel.load_time);
    for program in kernel.statistics().unwrap() {
        let verified = program.verified_instructions.unwrap();
        println!(
            "{:>14}: tag {:016x}, {verified} instructions verified, {} bytes",
            program.hook.name(),
            program.tag,
            program.translated_bytes.unwrap()
        );
        assert!(
            verified <= VERIFIED_INSTRUCTIONS,
            "{}: {verified}",
            program.hook.name()
        );
    }
}
