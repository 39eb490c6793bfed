//! A client that speaks the bare protocol over one websocket, for messages that no proper client
//! would send.

use crate::wait::soon;
use bytes::Bytes;
use driftless_schemas::proto::{
    ClientFrame, Hello, Pong, Request, ServerFrame, Submit, Welcome, event, request, submit,
};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, IntoClientRequest as _};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A websocket to one service, with the events that have arrived and were not read.
pub struct Raw {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    gathered: VecDeque<event::Body>,
}

/// How a connection ended: the close code, or `None` if there was none.
pub type Closed = Option<u16>;

impl Raw {
    /// Opens a websocket to a service; `service` is `ingest` or `gateway`.
    ///
    /// # Panics
    /// If the service refuses the connection.
    pub async fn connect(url: &str, service: &str) -> Self {
        let request = ClientRequestBuilder::new(url.parse().expect("a URL"));
        let request = request.with_sub_protocol(format!("driftless.{service}.v1"));
        let request = request.into_client_request().expect("a request");
        let connected = soon("a websocket", tokio_tungstenite::connect_async(request)).await;
        Self { socket: connected.expect("a websocket").0, gathered: VecDeque::new() }
    }

    /// Opens a websocket and sends Hello. Returns the connection and the service's Welcome.
    ///
    /// # Panics
    /// If the answer is no Welcome.
    pub async fn welcomed(url: &str, service: &str, token: &str, session: &[u8]) -> (Self, Welcome) {
        let mut raw = Self::connect(url, service).await;
        raw.send(hello(token, session)).await;
        let welcome = raw.expect("Welcome", |body| match body {
            event::Body::Welcome(welcome) => Some(welcome.clone()),
            _ => None,
        });
        let welcome = welcome.await;
        (raw, welcome)
    }

    /// Sends one request.
    pub async fn send(&mut self, body: request::Body) {
        self.send_all(vec![body]).await;
    }

    /// Sends several requests in one message.
    pub async fn send_all(&mut self, bodies: Vec<request::Body>) {
        let requests = bodies.into_iter().map(|body| Request { body: Some(body) }).collect();
        self.send_message(Message::Binary(ClientFrame { requests }.encode_to_vec().into())).await;
    }

    /// Sends any websocket message.
    pub async fn send_message(&mut self, message: Message) {
        // If the peer has closed, the next read reports it.
        let _ = self.socket.send(message).await;
    }

    /// Waits for the next event. Answers pings, and skips pings and beacons.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn next(&mut self) -> Result<event::Body, Closed> {
        loop {
            match self.gathered.pop_front() {
                Some(event::Body::Ping(ping)) => self.send(request::Body::Pong(Pong { nonce: ping.nonce })).await,
                Some(event::Body::Beacons(_)) => {}
                Some(body) => return Ok(body),
                None => match soon("a message", self.socket.next()).await {
                    Some(Ok(Message::Binary(bytes))) => {
                        let frame = ServerFrame::decode(bytes).expect("servers send frames");
                        self.gathered.extend(frame.events.into_iter().filter_map(|event| event.body));
                    }
                    Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(None),
                },
            }
        }
    }

    /// Skips events until `find` returns something for one, and returns that.
    ///
    /// # Panics
    /// If the connection ends earlier.
    pub async fn expect<T>(&mut self, what: &str, find: impl Fn(&event::Body) -> Option<T>) -> T {
        let mut skipped = Vec::new();
        let search = async {
            loop {
                match self.next().await {
                    Ok(body) => match find(&body) {
                        Some(found) => return found,
                        None => skipped.push(body),
                    },
                    Err(closed) => panic!("closed with {closed:?} before {what}; these came: {skipped:?}"),
                }
            }
        };
        soon(what, search).await
    }

    /// Waits for the next event, for which `find` must return something.
    ///
    /// # Panics
    /// If `find` returns nothing for the event, or the connection ends.
    pub async fn expect_next<T>(&mut self, what: &str, find: impl Fn(&event::Body) -> Option<T>) -> T {
        match self.next().await {
            Ok(body) => find(&body).unwrap_or_else(|| panic!("{what} was expected, but {body:?} came")),
            Err(closed) => panic!("closed with {closed:?} before {what}"),
        }
    }

    /// Waits until the connection ends, and skips events before that.
    pub async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.next().await {
                return closed;
            }
        }
    }
}

/// Makes a Hello that asks for all families.
#[must_use]
pub fn hello(token: &str, session: &[u8]) -> request::Body {
    let session = Bytes::copy_from_slice(session);
    request::Body::Hello(Hello { token: token.to_owned(), session, ..Hello::default() })
}

/// Makes a Submit of a command for a chunk.
#[must_use]
pub fn submit(chunk: &str, seq: u64, after: u64, command: Vec<u8>) -> request::Body {
    let body = Some(submit::Body::Command(command.into()));
    request::Body::Submit(Submit { chunk_id: chunk.to_owned(), seq, after, body })
}
