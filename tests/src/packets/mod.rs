//! Random nodes and random frames for them, from a seed: what host and kernel are compared on.

mod frames;
mod tables;

pub use frames::Frames;
pub use tables::{LOCAL_INTERFACE, World};
