//! A small HTTP client for the demo. It sends GET requests, and returns status and headers of the
//! answer.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    head: String,
}

/// Sends a GET request. `url` has the form `http://host:port/path`. An empty `token` means no
/// authorization.
pub fn get(url: &str, token: &str) -> Result<Answer> {
    let (host, path) = split(url).with_context(|| format!("{url} is no URL of the form http://host:port/path"))?;
    let mut socket = TcpStream::connect(host).with_context(|| format!("{host} does not answer"))?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Accept: application/octet-stream\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).with_context(|| format!("{url} does not answer"))?;
    parse(&answer).with_context(|| format!("{url} does not speak HTTP"))
}

fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    rest.find('/').map(|slash| rest.split_at(slash))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head })
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_headers_are_read() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nETag: \"ab\"\r\ncontent-length: 4\r\n\r\n\xff\r\n\r\n").unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("etag"), Some("\"ab\""));
        assert_eq!(answer.header("server"), None);
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n\r\n"), None);
    }

    #[test]
    fn a_url_is_host_and_path() {
        assert_eq!(split("http://127.0.0.1:80/readyz"), Some(("127.0.0.1:80", "/readyz")));
        assert_eq!(split("https://127.0.0.1/"), None);
        assert_eq!(split("http://127.0.0.1"), None);
    }
}
