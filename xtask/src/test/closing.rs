//! The line a test program ends with, and sums of such lines.

/// Tests by their outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
}

impl Count {
    /// From `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    pub(super) fn from_closing_line(line: &str) -> Option<Self> {
        let outcome = line.strip_prefix("test result: ")?;
        let number = |word: &str| -> Option<u64> {
            outcome.split([';', '.']).find_map(|part| {
                let (number, name) = part.trim().split_once(' ')?;
                (name == word).then(|| number.parse().ok())?
            })
        };
        Some(Self {
            passed: number("passed")?,
            failed: number("failed")?,
            ignored: number("ignored")?,
        })
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    pub(super) fn executed(&self) -> u64 {
        self.passed + self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; \
                    4 filtered out; finished in 0.01s";
        assert_eq!(
            Count::from_closing_line(line),
            Some(Count {
                passed: 12,
                failed: 3,
                ignored: 1
            })
        );
    }

    #[test]
    fn another_line_is_not() {
        assert_eq!(Count::from_closing_line("test a::b ... ok"), None);
        assert_eq!(Count::from_closing_line("test result: ok."), None);
    }
}
