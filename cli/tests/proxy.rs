//! How the command reaches a controller where its environment names a proxy.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its input has failed"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

const VARIABLES: [&str; 6] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// Who listens on a port of its own, answers one request, and tells its first line.
fn answering(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<String> = head
            .map(Result::unwrap)
            .take_while(|line| !line.is_empty())
            .collect();
        stream.write_all(answer.as_bytes()).unwrap();
        head[0].clone()
    });
    (address, asked)
}

/// `bulkhead status`, and nothing in its environment but a proxy.
fn status(controller: &str, proxy: SocketAddr) -> Output {
    let proxy = format!("http://{proxy}");
    Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["status", "-o", "json", "--controller", controller])
        .env_clear()
        .envs(VARIABLES.map(|variable| (variable, &proxy)))
        .output()
        .unwrap()
}

#[test]
fn a_controller_on_loopback_is_asked_directly_whatever_proxy_the_environment_names() {
    let (controller, asked) = answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
    );
    // Port 9 is "discard": nobody has listened there for decades.
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let output = status(&format!("http://{controller}"), nobody);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{}\n");
    assert_eq!(asked.join().unwrap(), "GET /status HTTP/1.1");
}

#[test]
fn a_controller_elsewhere_is_asked_through_the_proxy_that_the_environment_names() {
    let (proxy, asked) = answering(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let output = status("http://192.0.2.1:9480", proxy);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = "http://192.0.2.1:9480/status: the controller does not answer";
    assert!(said.contains(expected) && said.contains("503"), "{said}");
    assert_eq!(asked.join().unwrap(), "CONNECT 192.0.2.1:9480 HTTP/1.1");
}
