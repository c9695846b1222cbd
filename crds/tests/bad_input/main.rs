//! What people get wrong, and what they are told. The lines of `docs/bad-input.md` that concern manifests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod documents;
mod expect;
mod fields;
mod kinds;
mod selectors;
mod stand_in;
mod upstream;
