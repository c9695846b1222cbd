//! Where `unsafe` may be written: the layout of the kernel's tables, the kernel programs, and one
//! module of the agent that calls the kernel. Everywhere else the compiler forbids it.

use super::{Finding, SourceFile, code::Code};

/// Places that need it. A crate with such a place cannot forbid it as a whole.
const PLACES: &[&str] = &[
    "datapath/src/abi",
    "agent-ebpf/src/",
    "agent/src/kernel/sys.rs",
];
const CRATES: &[&str] = &["datapath/", "agent-ebpf/", "agent/"];

pub(super) fn check(file: &SourceFile, code: &Code) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !PLACES.iter().any(|place| file.path.starts_with(place)) {
        for (number, line) in code.lines() {
            if has_word(line, "unsafe") {
                findings.push(Finding::at_line(
                    file,
                    number,
                    format!("`unsafe` is for {} only", PLACES.join(", ")),
                ));
            }
        }
    }
    let exempt = CRATES.iter().any(|folder| file.path.starts_with(folder));
    if is_library_root(&file.path)
        && !exempt
        && !code
            .lines()
            .any(|(_, line)| line.contains("#![forbid(unsafe_code)]"))
    {
        findings.push(Finding::new(
            &file.path,
            "the crate does not forbid unsafe code: add `#![forbid(unsafe_code)]`",
        ));
    }
    findings
}

/// Roots of programs beside a library hold little more than `main`; the workspace's lints deny
/// unsafe code in them, and the rule above finds it.
fn is_library_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts.as_slice(), [_, "src", "lib.rs"])
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::{super::example, *};

    fn count(path: &str, text: &str) -> usize {
        check(&example(path, text), &Code::of(text)).len()
    }

    #[test]
    fn unsafe_outside_its_places_is_found() {
        let text = "fn f() { unsafe { g() } }\n";
        assert_eq!(count("agent/src/lanes.rs", text), 1);
        assert_eq!(count("policy/src/model.rs", text), 1);
        assert_eq!(count("agent/src/kernel/sys.rs", text), 0);
        assert_eq!(count("datapath/src/abi/lane.rs", text), 0);
        assert_eq!(count("datapath/src/parse.rs", text), 1);
    }

    #[test]
    fn a_library_that_does_not_forbid_it_is_found() {
        assert_eq!(count("graph/src/lib.rs", "//! Role.\n"), 1);
        assert_eq!(count("graph/src/lib.rs", "#![forbid(unsafe_code)]\n"), 0);
        assert_eq!(count("graph/src/lib.rs", "// #![forbid(unsafe_code)]\n"), 1);
        assert_eq!(count("agent/src/lib.rs", "//! Role.\n"), 0);
    }
}
