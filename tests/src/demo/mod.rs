//! The demo: a shop in network namespaces, with the product's own controller, agents and kernel programs, told step by step. Every
//! step checks what it tells.

pub mod application;
mod follow;
pub mod oracle;
mod paper;
mod rules;
mod scene;
mod story;

pub use follow::follow;
pub use paper::Paper;
pub use scene::{Conversation, Scene};
pub use story::{Ending, tell};
