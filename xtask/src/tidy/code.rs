//! Rust text without what is not code: comments and the contents of literals are blanked, lines stay
//! where they are. Words in prose and in messages are then no findings.

/// A Rust text of which only code is left.
pub(super) struct Code {
    text: String,
}

impl Code {
    pub(super) fn of(source: &str) -> Self {
        let mut scanner = Scanner {
            rest: source,
            code: String::with_capacity(source.len()),
        };
        while scanner.step() {}
        Self { text: scanner.code }
    }

    /// Lines with their numbers, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
}

impl Scanner<'_> {
    /// Takes one token that matters here; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.blank(end);
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment(self.rest));
        } else if let Some(length) = raw_string(self.rest) {
            self.blank(length);
        } else if first == '"' {
            self.blank(quoted(self.rest, '"'));
        } else if first == '\'' {
            self.quote_or_lifetime();
        } else if first.is_alphanumeric() || first == '_' {
            // A whole word at once, so that the r of `for"` opens no raw string.
            let end = self
                .rest
                .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .unwrap_or(self.rest.len());
            self.keep(end);
        } else {
            self.keep(first.len_utf8());
        }
        true
    }

    /// `'a'` is a literal, `'a` a lifetime.
    fn quote_or_lifetime(&mut self) {
        let mut letters = self.rest.char_indices().skip(1);
        let escaped = matches!(letters.next(), Some((_, '\\')));
        let closed = matches!(letters.next(), Some((_, '\'')));
        if escaped || closed {
            self.blank(quoted(self.rest, '\''));
        } else {
            self.keep(1);
        }
    }

    fn keep(&mut self, length: usize) {
        let (token, rest) = self.rest.split_at(length);
        self.code.push_str(token);
        self.rest = rest;
    }

    fn blank(&mut self, length: usize) {
        let (token, rest) = self.rest.split_at(length);
        self.code.extend(token.chars().map(|letter| match letter {
            '\n' => '\n',
            _ => ' ',
        }));
        self.rest = rest;
    }
}

/// Length of a literal that starts with its quote; a backslash takes the next letter with it.
fn quoted(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Length of `r"…"`, `br#"…"#` and the like, where the text starts with one.
fn raw_string(text: &str) -> Option<usize> {
    let behind = ["br", "cr", "r"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let body = behind[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len();
    Some(
        body.find(&end)
            .map_or(text.len(), |at| start + at + end.len()),
    )
}

/// Length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(Code::of(source).text.replace(' ', ""), expected);
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a(); // b()\nc();", "a();\nc();");
        check("a /* b /* c */ d */ e", "ae");
        check("f(\"x \\\" y()\") + g", "f()+g");
        check("f(r#\"a \" b\"#, 'c', '\\'', b'd')", "f(,,,b)");
    }

    #[test]
    fn lifetimes_and_words_stay() {
        check("fn f<'a>(x: &'a str)", "fnf<'a>(x:&'astr)");
        check("for x in number\"s\"", "forxinnumber");
    }

    #[test]
    fn lines_stay_where_they_are() {
        let code = Code::of("/* one\ntwo */\nthree");
        assert_eq!(code.lines().last(), Some((3, "three")));
    }
}
