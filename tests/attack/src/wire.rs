//! The attacker's raw bytes: HTTP and websocket frames made by hand.

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, Response};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// The deadline of every answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A client for well-formed HTTP requests.
#[derive(Clone)]
pub struct Http {
    base: String,
    client: reqwest::Client,
}

impl Http {
    /// A client for the services at this address.
    #[must_use]
    pub fn new(base: String) -> Self {
        Self { base, client: reqwest::Client::new() }
    }

    /// A client that sends from this address of the machine.
    #[must_use]
    pub fn from(own: Ipv4Addr, base: String) -> Self {
        let client = reqwest::Client::builder().local_address(IpAddr::from(own)).build();
        Self { base, client: client.unwrap_or_default() }
    }

    /// Sends a request with these additional headers.
    ///
    /// # Errors
    /// If no answer arrives.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Response> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).timeout(ANSWER_WITHIN).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// Sends a GET and returns the status.
    ///
    /// # Errors
    /// If no answer arrives.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Result<u16> {
        Ok(self.ask(Method::GET, path, token, &[], Vec::new()).await?.status().as_u16())
    }

    /// Sends a POST with JSON, and returns the status and the text of the answer.
    ///
    /// # Errors
    /// If no answer arrives.
    pub async fn post(&self, path: &str, token: Option<&str>, body: Vec<u8>) -> Result<(u16, String)> {
        let answer = self.ask(Method::POST, path, token, &[("content-type", "application/json")], body).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}

/// Opens a TCP connection.
///
/// # Errors
/// If the connection cannot be opened.
pub async fn connect(address: SocketAddr) -> Result<TcpStream> {
    Ok(tokio::time::timeout(ANSWER_WITHIN, TcpStream::connect(address)).await.context("a connection")??)
}

/// Opens a TCP connection from this address of the machine.
///
/// # Errors
/// If the connection cannot be opened, or the system has no such address.
pub async fn connect_from(own: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((own, 0).into()).with_context(|| format!("this system has no {own}"))?;
    Ok(tokio::time::timeout(ANSWER_WITHIN, socket.connect(to)).await.context("a connection")??)
}

/// Sends raw bytes. Returns the answer up to the end of the connection, or up to a silence of the
/// length `quiet`.
///
/// # Errors
/// If the connection broke before any answer.
pub async fn exchange(address: SocketAddr, bytes: &[u8], quiet: Duration) -> Result<String> {
    let mut stream = connect(address).await?;
    // A service that refuses early may close the connection during this write. Its answer can still
    // be read.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match tokio::time::timeout(quiet, stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => answer.extend_from_slice(&buffer[..count]),
            _ => return Ok(String::from_utf8_lossy(&answer).into_owned()),
        }
    }
}

/// Sends bytes one by one with a pause after each. Returns the peer's answer, and the time at which
/// the peer ended the connection.
///
/// # Errors
/// If the peer never ends the connection.
pub async fn drip(
    stream: &mut TcpStream,
    bytes: &[u8],
    pause: Duration,
    within: Duration,
) -> Result<(Vec<u8>, Duration)> {
    let started = tokio::time::Instant::now();
    let (mut reading, mut writing) = stream.split();
    let mut said = Vec::new();
    let sending = async {
        for byte in bytes {
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        // The attacker stays silent from here on.
        std::future::pending::<()>().await;
    };
    let mut buffer = [0; 4096];
    let hearing = async {
        loop {
            match reading.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => said.extend_from_slice(&buffer[..count]),
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = hearing => return Ok((said, started.elapsed())),
        () = tokio::time::sleep(within) => {}
    }
    bail!("after {within:?} the connection is still open")
}

/// A websocket with frames made by hand.
pub struct Socket {
    /// The TCP connection under the websocket.
    pub stream: TcpStream,
    /// The service's answer to the handshake.
    pub head: String,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a websocket. `headers` are additional header lines, each with its line end.
    ///
    /// # Errors
    /// If no answer arrives. An answer other than 101 is no error; it is in [`Socket::head`].
    pub async fn open(address: SocketAddr, service: &str, headers: &str) -> Result<Self> {
        Self::open_on(connect(address).await?, address, service, headers).await
    }

    /// Opens a websocket from this address of the machine.
    ///
    /// # Errors
    /// If no answer arrives, or the system has no such address.
    pub async fn open_from(own: Ipv4Addr, address: SocketAddr, service: &str, headers: &str) -> Result<Self> {
        Self::open_on(connect_from(own, address).await?, address, service, headers).await
    }

    async fn open_on(mut stream: TcpStream, address: SocketAddr, service: &str, headers: &str) -> Result<Self> {
        let request = format!(
            "GET /v1/{service} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: driftless.{service}.v1\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte =
                tokio::time::timeout(ANSWER_WITHIN, stream.read_u8()).await.context("an answer to the handshake")??;
            head.push(byte);
        }
        Ok(Self { stream, head: String::from_utf8_lossy(&head).into_owned(), buffer: Vec::new() })
    }

    /// Sends raw bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        // If the peer has closed, the next read reports it.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Returns the close code that the server sends. Messages before it are skipped.
    ///
    /// # Errors
    /// If the server does not send a close code in time.
    pub async fn close_code(&mut self, within: Duration) -> Result<u16> {
        tokio::time::timeout(within, self.until_closed())
            .await
            .with_context(|| format!("no close frame within {within:?}"))?
    }

    async fn until_closed(&mut self) -> Result<u16> {
        loop {
            let head = self.take(2).await?;
            let length = match head[1] & 0x7f {
                126 => usize::from(u16::from_be_bytes(self.take(2).await?.try_into().unwrap_or_default())),
                127 => usize::try_from(u64::from_be_bytes(self.take(8).await?.try_into().unwrap_or_default()))?,
                short => usize::from(short),
            };
            let payload = self.take(length).await?;
            if head[0] & 0x0f == 8 {
                let code = payload.first_chunk::<2>().context("a close frame without a code")?;
                return Ok(u16::from_be_bytes(*code));
            }
        }
    }

    async fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut buffer = [0; 4096];
        while self.buffer.len() < count {
            match self.stream.read(&mut buffer).await? {
                0 => bail!("the connection ended without a close frame"),
                read => self.buffer.extend_from_slice(&buffer[..read]),
            }
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }
}

/// Makes a masked frame. `first` is its first byte (FIN, reserved bits, opcode). `claimed` is the
/// length that the frame claims to have, if this differs from the payload's length.
#[must_use]
pub fn frame(first: u8, payload: &[u8], claimed: Option<u64>) -> Vec<u8> {
    let length = claimed.unwrap_or(payload.len() as u64);
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 250];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
