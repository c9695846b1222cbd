//! Every Rust file opens with its role.

use super::{Finding, SourceFile};

pub(super) fn check(file: &SourceFile) -> Option<Finding> {
    if file.text.starts_with("//! ") {
        return None;
    }
    Some(Finding::new(
        &file.path,
        "does not open with `//!`: say its role and its invariant in the first lines",
    ))
}

#[cfg(test)]
mod tests {
    use super::{super::example, *};

    #[test]
    fn a_file_without_a_role_is_found() {
        assert!(check(&example("a.rs", "use std::fs;\n//! late\n")).is_some());
        assert!(check(&example("a.rs", "")).is_some());
        assert_eq!(check(&example("a.rs", "//! Its role.\n")), None);
    }
}
