//! Deltas as bytes. Base and target travel in the header; the rest is here, each graph type with its message.

mod decode;
mod encode;
mod names;
#[cfg(test)]
mod round_trip;

pub use decode::decode_delta;
pub use encode::encode_delta;
