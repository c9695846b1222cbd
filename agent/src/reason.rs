//! What others' errors say, as one text. Ours tell their reasons in their own texts (CONTRIBUTING.md, House rules); others keep
//! them in their sources, or tell them in both.

use std::error::Error;

/// An error with what caused it, each part once: the reason for a failed handshake is three levels down.
pub(crate) fn whole(error: &dyn Error) -> String {
    with_causes(error.to_string(), error)
}

/// The same, beginning with another text than the error's own.
pub(crate) fn with_causes(mut text: String, error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use std::io;

    use aya::EbpfError;
    use aya::maps::MapError;
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn what_is_kept_in_the_sources_is_told_and_what_is_told_already_is_not_told_again() {
        let refused = || {
            MapError::SyscallError(SyscallError {
                call: "bpf_map_create",
                io_error: io::Error::from_raw_os_error(libc::EPERM),
            })
        };
        let reason = io::Error::from_raw_os_error(libc::EPERM);
        assert_eq!(
            whole(&refused()),
            format!("`bpf_map_create` failed: {reason}")
        );
        assert_eq!(
            whole(&EbpfError::MapError(refused())),
            format!("map error: `bpf_map_create` failed: {reason}")
        );
        assert_eq!(whole(&reason), reason.to_string());
        assert_eq!(
            with_causes("the map".to_owned(), &refused()),
            format!("the map: {reason}")
        );
    }
}
