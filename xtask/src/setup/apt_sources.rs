//! Where this machine gets Debian's packages from, read from apt's own configuration.
//!
//! Only the address is of interest: a package of another Debian suite is fetched from the same
//! server, without that suite ever becoming part of the machine's configuration.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// A server of Debian's packages, and how its signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    address: String,
    /// The value of `Signed-By`, with its continuation lines where it is a key and not a path.
    signed_by: Option<String>,
}

impl Archive {
    /// The first archive of the `main` component below `/etc/apt` (argument: that folder).
    pub(crate) fn find(folder: &Path) -> Result<Self> {
        let mut files = vec![folder.join("sources.list")];
        if let Ok(entries) = fs::read_dir(folder.join("sources.list.d")) {
            let mut parts: Vec<_> = entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .collect();
            parts.sort();
            files.extend(parts);
        }
        files
            .iter()
            .find_map(|file| {
                let text = fs::read_to_string(file).ok()?;
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("list") => from_lines(&text),
                    Some("sources") => from_stanzas(&text),
                    _ => None,
                }
            })
            .with_context(|| {
                format!(
                    "no source of Debian's packages in {}: is this a Debian?",
                    folder.display()
                )
            })
    }

    /// A `.sources` file for one other suite of the same archive.
    pub(crate) fn stanza_for(&self, suite: &str) -> String {
        let mut stanza = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n",
            self.address
        );
        if let Some(signed_by) = &self.signed_by {
            stanza.push_str(&format!("Signed-By: {signed_by}\n"));
        }
        stanza
    }
}

/// Security updates and other distributions live beside it on the same servers.
fn is_debian(address: &str) -> bool {
    address.trim_end_matches('/').ends_with("/debian")
}

/// The one-line form: `deb [option=value …] address suite component…`.
fn from_lines(text: &str) -> Option<Archive> {
    text.lines().find_map(|line| {
        let mut rest = line.split('#').next()?.trim().strip_prefix("deb ")?.trim();
        let mut signed_by = None;
        if let Some(opened) = rest.strip_prefix('[') {
            let (options, behind) = opened.split_once(']')?;
            signed_by = options
                .split_whitespace()
                .find_map(|option| option.strip_prefix("signed-by="))
                .map(str::to_owned);
            rest = behind.trim();
        }
        let mut words = rest.split_whitespace();
        let address = words.next()?;
        let has_main = words.skip(1).any(|component| component == "main");
        (is_debian(address) && has_main).then(|| Archive {
            address: address.to_owned(),
            signed_by,
        })
    })
}

/// The stanza form, with `Field: value` lines and indented continuations.
fn from_stanzas(text: &str) -> Option<Archive> {
    let without_comments: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::trim_end)
        .collect();
    without_comments
        .split(|line| line.is_empty())
        .find_map(from_stanza)
}

fn from_stanza(lines: &[&str]) -> Option<Archive> {
    let field = |wanted: &str| -> Option<String> {
        let first = lines.iter().position(|line| {
            line.split_once(':')
                .is_some_and(|(name, _)| name.eq_ignore_ascii_case(wanted))
        })?;
        let mut value = lines[first].split_once(':')?.1.trim().to_owned();
        for line in lines[first + 1..]
            .iter()
            .take_while(|line| line.starts_with([' ', '\t']))
        {
            value.push('\n');
            value.push_str(line);
        }
        Some(value)
    };
    if field("Enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("no")) {
        return None;
    }
    let words = |name: &str| -> Vec<String> {
        field(name)
            .map(|value| value.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let binary = words("Types").iter().any(|kind| kind == "deb");
    let main = words("Components").iter().any(|name| name == "main");
    let address = words("URIs")
        .into_iter()
        .find(|address| is_debian(address))?;
    (binary && main).then(|| Archive {
        address,
        signed_by: field("Signed-By"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_is_read_and_its_security_and_disabled_neighbours_are_not() {
        let text = "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: s\n\
                    Components: main\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: s\n\
                    Components: main\n\n\
                    # http://comment.example/debian\nTypes: deb\n\
                    URIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
                    Components: main contrib\nSigned-By: /usr/share/keyrings/k.gpg\n";
        let archive = from_stanzas(text).expect("the third stanza fits");
        assert_eq!(
            archive.stanza_for("trixie-backports"),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie-backports\n\
             Components: main\nSigned-By: /usr/share/keyrings/k.gpg\n"
        );
    }

    #[test]
    fn a_key_written_into_the_stanza_is_kept_whole() {
        let text = "Types: deb\nURIs: http://mirror.example/debian/\nSuites: s\n\
                    Components: main\nSigned-By:\n BEGIN\n .\n END\n";
        let archive = from_stanzas(text).expect("fits");
        assert_eq!(archive.signed_by.as_deref(), Some("\n BEGIN\n .\n END"));
    }

    #[test]
    fn a_line_is_read_with_its_options() {
        let text = "# deb http://comment.example/debian s main\n\
                    deb-src http://mirror.example/debian s main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian s main\n";
        assert_eq!(
            from_lines(text),
            Some(Archive {
                address: "http://mirror.example/debian".to_owned(),
                signed_by: Some("/k.gpg".to_owned()),
            })
        );
    }

    #[test]
    fn another_distribution_is_no_archive() {
        assert_eq!(from_lines("deb http://mirror.example/other s main"), None);
    }
}
