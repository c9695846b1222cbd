//! What the client of the API server says went wrong, as one text.

use std::error::Error as _;

/// An error with what caused it, each part once. The client tells the nearest cause in its own text and keeps the others, among
/// them why a connection did not come about.
pub fn reason_of(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}
