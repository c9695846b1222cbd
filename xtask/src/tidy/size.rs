//! A file is one thing, and one thing fits on a few screens.

use super::{Finding, SourceFile};

/// Beyond it a file deserves a look.
const SOFT_LINES: usize = 400;
/// Beyond it a file is two things.
const HARD_LINES: usize = 800;
/// Tests are lists, and may be longer.
const HARD_TEST_LINES: usize = 1000;

/// Languages that are written by hand here.
const LANGUAGES: &[&str] = &[".rs", ".go", ".ts", ".svelte", ".sh", ".py", ".proto"];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fits,
    Long(Finding),
    TooLong(Finding),
}

pub(super) fn check(file: &SourceFile) -> Verdict {
    if !LANGUAGES.iter().any(|suffix| file.path.ends_with(suffix)) {
        return Verdict::Fits;
    }
    let lines = file.text.lines().count();
    let hard = if file.is_test() {
        HARD_TEST_LINES
    } else {
        HARD_LINES
    };
    if lines > hard {
        Verdict::TooLong(Finding::new(
            &file.path,
            format!("{lines} lines, at most {hard}: split it by what it does"),
        ))
    } else if lines > SOFT_LINES {
        Verdict::Long(Finding::new(
            &file.path,
            format!("{lines} lines: is it one thing?"),
        ))
    } else {
        Verdict::Fits
    }
}

pub(super) fn median_rust_lines(files: &[SourceFile]) -> usize {
    let mut lines: Vec<usize> = files
        .iter()
        .filter(|file| file.is_rust())
        .map(|file| file.text.lines().count())
        .collect();
    lines.sort_unstable();
    lines.get(lines.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{super::example, *};

    fn check_lines(path: &str, lines: usize) -> Verdict {
        check(&example(path, &"x\n".repeat(lines)))
    }

    #[test]
    fn a_file_of_801_lines_is_too_long_and_one_of_401_gets_a_note() {
        assert!(matches!(
            check_lines("a/src/b.rs", 801),
            Verdict::TooLong(_)
        ));
        assert!(matches!(check_lines("a/src/b.rs", 401), Verdict::Long(_)));
        assert_eq!(check_lines("a/src/b.rs", 400), Verdict::Fits);
    }

    #[test]
    fn a_test_may_have_1000_lines_and_not_one_more() {
        assert!(matches!(
            check_lines("tests/tests/b.rs", 1000),
            Verdict::Long(_)
        ));
        assert!(matches!(
            check_lines("tests/tests/b.rs", 1001),
            Verdict::TooLong(_)
        ));
    }

    #[test]
    fn a_table_of_data_has_no_limit() {
        assert_eq!(check_lines("deploy/crds.yaml", 5000), Verdict::Fits);
    }
}
