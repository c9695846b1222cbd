//! An error of ours tells its reason in its own text, and no cause behind it tells the reason again: whoever prints the text alone
//! says everything, and whoever prints the causes, too, says nothing twice.

use super::{Finding, SourceFile, code::Code};

const REMEDY: &str = "this cause is told after a text that tells it already: call the field `reason`, and write `#[from]` beside \
                      `#[error(transparent)]` only";

pub(super) fn check(file: &SourceFile, code: &Code) -> Vec<Finding> {
    let mut findings = Vec::new();
    // How far the attribute is indented whose text the lines belong to.
    let mut text_at = None;
    for (number, line) in code.lines() {
        let words = line.trim();
        let indent = line.len() - line.trim_start().len();
        if words.starts_with("#[error(") {
            text_at = (!words.starts_with("#[error(transparent)")).then_some(indent);
        } else if is_end(words) && text_at.is_some_and(|at| indent <= at) {
            text_at = None;
        }
        let is_within = text_at.is_some() && (words.contains("#[from]") || has_source(words));
        if is_within || words.contains("#[source]") {
            findings.push(Finding::at_line(file, number, REMEDY));
        }
    }
    findings
}

/// Whether a type ends there: `}`, or a `;` behind one without names.
fn is_end(words: &str) -> bool {
    words == "}" || words.ends_with(';')
}

/// Whether a field is called so: `source: E`, not `resource: E` or `source::E`.
fn has_source(line: &str) -> bool {
    line.match_indices("source:").any(|(at, found)| {
        let before = line[..at].chars().next_back();
        let is_longer = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        !is_longer && !line[at + found.len()..].starts_with(':')
    })
}

#[cfg(test)]
mod tests {
    use super::{super::example, *};

    fn findings(text: &str) -> Vec<String> {
        check(&example("a/src/b.rs", text), &Code::of(text))
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    }

    #[test]
    fn causes_beside_a_text_are_found() {
        let text = "\
enum E {
    #[error(\"{path}: {source}\")]
    Read {
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        \"making: {0}\"
    )]
    Making(#[from] F),
    #[error(\"waiting: {0}\")]
    Waiting(#[source] F),
}
#[error(\"{source}\")]
struct S { pub source: E }
";
        assert_eq!(
            findings(text),
            [
                "a/src/b.rs:5",
                "a/src/b.rs:10",
                "a/src/b.rs:12",
                "a/src/b.rs:15"
            ]
        );
    }

    #[test]
    fn what_only_hands_on_and_what_is_no_error_is_not_found() {
        let text = "\
enum E {
    #[error(transparent)]
    Other(#[from] F),
    #[error(\"{resource}: {reason}\")]
    Read { resource: source::Name, reason: io::Error },
}
struct Flow {
    source: IpAddr,
}
mod tests {
    #[error(\"stopped\")]
    struct Stopped {
        at: u8,
    }
    #[error(\"over\")]
    struct Over;
    struct Flow { source: IpAddr }
    fn f() -> Flow {
        Flow {
            source: address(),
        }
    }
}
";
        assert_eq!(findings(text), Vec::<String>::new());
    }
}
