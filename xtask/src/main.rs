//! Set-up, build, demo, test and checks.
fn main() {}
