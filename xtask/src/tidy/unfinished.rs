//! What pretends to be done: tests that do not run, code that is to come, tests that hope a moment
//! is long enough.

use super::{Finding, SourceFile, code::Code};

/// Where the test harness may sleep: between two looks at a condition, between two packets of a
/// program that sends at a rate, and before the demo asks an agent again that was killed.
const MAY_PAUSE: &[&str] = &["/wait.rs", "/endpoint/", "/demo/follow.rs"];

pub(super) fn check(file: &SourceFile, code: &Code) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_tests = file.is_test();
    let harness = file.path.starts_with("tests/src/");
    let may_pause = harness && MAY_PAUSE.iter().any(|place| file.path.contains(place));
    for (number, line) in code.lines() {
        let mut found = |message: &str| findings.push(Finding::at_line(file, number, message));
        if line.trim_start().starts_with("#[cfg(test)]") {
            in_tests = true;
        }
        if line.contains("#[ignore") {
            found("an ignored test is no test: run it, or delete it");
        }
        if calls(line, "todo!") || calls(line, "unimplemented!") {
            found("write it, or return an error that says what is not supported");
        }
        if calls(line, "sleep") && (in_tests || harness) && !may_pause {
            found("a test waits for a condition with a deadline and never sleeps");
        }
    }
    findings
}

/// Whether the line calls exactly this name: `sleep(`, not `asleep(`.
fn calls(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let named = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        !named && line[at + name.len()..].trim_start().starts_with('(')
    })
}

#[cfg(test)]
mod tests {
    use super::{super::example, *};

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&example(path, text), &Code::of(text))
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    }

    #[test]
    fn an_ignored_test_is_found() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n";
        assert_eq!(findings("a/src/b.rs", text), ["a/src/b.rs:2"]);
    }

    #[test]
    fn code_to_come_is_found() {
        let text = "fn f() {\n    todo!()\n}\nfn g() { unimplemented!(\"x\") }\n";
        assert_eq!(
            findings("a/src/b.rs", text),
            ["a/src/b.rs:2", "a/src/b.rs:4"]
        );
    }

    #[test]
    fn a_sleeping_test_is_found_and_a_waiting_shell_is_not() {
        let text = "fn f() { sleep(x) }\n#[cfg(test)]\nmod tests { fn g() { thread::sleep(x) } }\n";
        assert_eq!(findings("a/src/b.rs", text), ["a/src/b.rs:3"]);
        assert_eq!(findings("tests/tests/b.rs", text).len(), 2);
        assert_eq!(findings("tests/src/lab/b.rs", text).len(), 2);
        assert_eq!(findings("tests/src/lab/wait.rs", text).len(), 0);
        assert_eq!(findings("tests/src/lab/endpoint/b.rs", text).len(), 0);
    }

    #[test]
    fn prose_and_other_names_are_no_findings() {
        let text = "// todo!() and #[ignore]\nfn f() { asleep(\"sleep()\") }\n";
        assert_eq!(findings("tests/tests/b.rs", text), Vec::<String>::new());
    }
}
