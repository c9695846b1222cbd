//! Asking the product's programs over HTTP, from within a network namespace or over a local socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Netns;

const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A document that a program serves inside a namespace.
pub(crate) fn get_in(netns: &Netns, from: SocketAddr, path: &str) -> Result<String> {
    // A socket stays in the namespace in which it was made, whoever uses it.
    let stream = netns.enter(|| {
        TcpStream::connect_timeout(&from, ANSWER_LIMIT)
            .with_context(|| format!("connect to {from}"))
    })?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    get(stream, path).with_context(|| format!("http://{from}{path} in {}", netns.name()))
}

/// A document that a program serves on a local socket.
pub(crate) fn get_local(socket: &Path, path: &str) -> Result<String> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    get(stream, path).with_context(|| format!("{path} on {}", socket.display()))
}

/// The lines of a document that a program goes on writing on a local socket, for as long as it lives.
pub(crate) fn lines_local(
    socket: &Path,
    path: &str,
) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n").as_bytes())?;
    let mut lines = BufReader::new(stream).lines();
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    Ok(lines)
}

/// HTTP/1.0 (RFC 1945): the answer ends where the connection ends.
fn get(mut stream: impl Read + Write, path: &str) -> Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("an answer without a body: {answer:?}")
    };
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{status}: {}", body.trim());
    }
    Ok(body.to_owned())
}
