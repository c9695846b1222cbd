//! Files and folders are named by what they hold. A name that fits anything holds anything.

use super::Finding;

const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "manager",
];

pub(super) fn check(path: &str) -> Option<Finding> {
    path.split('/').find_map(|part| {
        let stem = part.split('.').next().unwrap_or(part);
        // `pod_manager` says no more than `pod`.
        let last_word = stem.rsplit(['_', '-']).next().unwrap_or(stem);
        EMPTY_NAMES.contains(&last_word).then(|| {
            Finding::new(
                path,
                format!("`{part}` says nothing about what is in it: name it by the field's term"),
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_are_found() {
        for path in [
            "agent/src/utils.rs",
            "agent/src/helpers/flow.rs",
            "policy/src/pod_manager.rs",
            "tests/common/mod.rs",
        ] {
            assert!(check(path).is_some(), "{path}");
        }
    }

    #[test]
    fn names_that_say_something_are_not() {
        for path in ["agent/src/lanes.rs", "wire/src/common_name.rs"] {
            assert_eq!(check(path), None, "{path}");
        }
    }
}
