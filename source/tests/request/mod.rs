//! What a client asks for.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Reads a request, and returns its path with what it is asked with.
pub(crate) async fn path(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(count) => request.extend_from_slice(&part[..count]),
        }
    }
    let text = String::from_utf8_lossy(&request);
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}
