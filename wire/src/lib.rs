//! The stream between controller and agents.
