//! The reading half of a websocket: moves bytes between the socket, its [`Connection`], the hub and
//! the socket's shard.
//!
//! The shard writes everything that the hub and the session have for the client. The socket is not
//! read while the hub has not handled its last requests, nor while many bytes wait to be written,
//! nor while its user is throttled. TCP backpressure then reaches the client, no queue of the
//! gateway grows, and no request is lost. After each read, other tasks run, so that a client which
//! sends as fast as it can keeps no worker.

use crate::context::Context;
use crate::hub::SocketHandle;
use crate::hub::shard::ToShard;
use crate::metrics;
use crate::socket_state::SocketState;
use bytes::Bytes;
use driftless_gateway_core::connection::{Connection, Input, Outputs};
use driftless_runtime_core::Close;
use driftless_runtime_core::pings::Pings;
use driftless_web::http::ConnectionPermit;
use driftless_web::socket::{Inbound, InboundError, Reader, discard};
use driftless_web::stream::{CLOSE_TIMEOUT, Stream};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time that a socket without input sleeps before its next tick.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Serves a socket until its end. `begun` has the bytes that were read from the socket during the
/// upgrade from HTTP. `peer` is the client's address, if it is known.
pub(crate) async fn serve(
    stream: Stream,
    begun: Bytes,
    permit: Option<ConnectionPermit>,
    peer: Option<IpAddr>,
    context: Arc<Context>,
) {
    let state = Arc::new(SocketState::new(stream));
    let handle = context.hub.open(&state);
    let mut out = Outputs::default();
    let connection = Connection::open(handle.id, Arc::clone(&context.shared), peer, context.clock.now(), &mut out);
    let reader = Reader::new(&context.input);
    let mut socket = Socket { state, connection, reader, pings: Pings::default(), handle, context, permit, peer };
    let opened = socket.carry_out(&mut out).and_then(|()| {
        let (messages, end) = feed(&mut socket.reader, &begun);
        socket.take(messages, end)
    });
    // Frees the buffer of the HTTP connection: a quiet socket holds nothing else of that size.
    drop(begun);
    if let Err(ended) = match opened {
        Ok(()) => socket.run().await,
        ended => ended,
    } {
        socket.finish(ended).await;
    }
}

struct Socket {
    state: Arc<SocketState>,
    connection: Connection,
    reader: Reader,
    pings: Pings,
    handle: SocketHandle,
    context: Arc<Context>,
    /// Counts the connection among those of its address until the client has said Hello; then it
    /// counts for its user.
    permit: Option<ConnectionPermit>,
    /// The client's address, for the log.
    peer: Option<IpAddr>,
}

/// How a socket ends.
enum Ended {
    /// The gateway closes the socket with this code and reason.
    With(Close),
    /// The peer sent a close frame with this payload.
    Closed(Bytes),
    /// The shard has ended the socket, or the peer is gone.
    Gone,
}

impl Socket {
    async fn run(&mut self) -> Result<(), Ended> {
        let mut changes = self.context.verifier.changes();
        loop {
            // The clock is read in each round, so that a socket that always has bytes to read ticks
            // too.
            let now = self.context.clock.now();
            let wait = self.connection.wake_in(now);
            if wait.is_zero() {
                self.tick()?;
            }
            let is_read = !self.connection.is_throttled(now.monotonic) && self.state.is_readable();
            let done = tokio::select! {
                ready = self.state.stream.readable(), if is_read => match ready {
                    Ok(()) => {
                        let read = self.read();
                        // A socket that always has bytes is always ready, so that this loop would
                        // never wait.
                        tokio::task::yield_now().await;
                        read
                    }
                    Err(_) => Err(Ended::Gone),
                },
                () = self.state.changed() => match self.state.is_ended() {
                    true => Err(Ended::Gone),
                    false => Ok(()),
                },
                // The result is never an error, because the sender lives as long as the context.
                _ = changes.changed() => self.tick(),
                () = tokio::time::sleep(wait.max(PAUSE_MIN)) => self.tick(),
            };
            done?;
        }
    }

    fn tick(&mut self) -> Result<(), Ended> {
        let mut out = Outputs::default();
        // A client that takes bytes is alive, even while the socket is not read.
        let took_bytes = self.state.last_took_bytes();
        self.handle(Input::Heard(took_bytes), &mut out);
        self.handle(Input::Tick, &mut out);
        self.carry_out(&mut out)
    }

    fn read(&mut self) -> Result<(), Ended> {
        let Self { state, reader, .. } = self;
        match state.stream.read_ready(|bytes| feed(reader, bytes)) {
            Ok(Some((messages, end))) => self.take(messages, end),
            Ok(None) => Ok(()),
            Err(_) => Err(Ended::Gone),
        }
    }

    /// Handles all messages of one read, and then the fault that the read ended with, if any. The
    /// hub gets their requests in one message.
    fn take(&mut self, messages: Vec<Inbound>, end: Result<(), InboundError>) -> Result<(), Ended> {
        let mut out = Outputs::default();
        let mut done = messages.into_iter().try_for_each(|message| self.take_message(message, &mut out));
        if let (Ok(()), Err(error)) = (&done, end) {
            let why = error.to_string();
            let input = if error == InboundError::NoRoom { Input::NoRoom(&why) } else { Input::Untrusted(&why) };
            self.handle(input, &mut out);
            done = self.carry_out(&mut out);
        }
        if !out.hub.is_empty() {
            self.handle.tell_hub(out.hub, &self.state);
        }
        done
    }

    fn take_message(&mut self, message: Inbound, out: &mut Outputs) -> Result<(), Ended> {
        match message {
            Inbound::Binary(bytes) => self.handle(Input::Frame(bytes), out),
            Inbound::Ping(payload) => {
                self.heard(out);
                if let Err(why) = self.pings.take(self.context.clock.monotonic()) {
                    self.handle(Input::Untrusted(&why), out);
                    return self.carry_out(out);
                }
                if self.state.pinged(payload) {
                    self.handle.shard(ToShard::Pinged(self.handle.id));
                }
            }
            Inbound::Pong => self.heard(out),
            Inbound::Text => self.handle(Input::Untrusted("messages are binary protobuf, not text"), out),
            Inbound::Close(payload) => return Err(Ended::Closed(payload)),
        }
        self.carry_out(out)
    }

    fn heard(&mut self, out: &mut Outputs) {
        self.handle(Input::Heard(self.context.clock.monotonic()), out);
    }

    fn handle(&mut self, input: Input<'_>, out: &mut Outputs) {
        let verifier = self.context.verifier.at(self.peer);
        self.connection.handle(input, self.context.clock.now(), &verifier, out);
    }

    /// Sends the session's events to the client, before the hub's answers to the same requests.
    /// Returns [`Ended::With`] if the connection closes the socket.
    fn carry_out(&mut self, out: &mut Outputs) -> Result<(), Ended> {
        if !out.session.frame.is_empty() {
            let frame = out.session.frame.split().freeze();
            self.state.owes(frame.len());
            self.handle.shard(ToShard::SessionEvents(self.handle.id, frame));
        }
        if std::mem::take(&mut out.was_throttled) {
            metrics::silenced();
        }
        if self.permit.is_some() && self.connection.identity().is_some() {
            self.permit.take().iter().for_each(ConnectionPermit::release_address);
        }
        if self.connection.identity().is_some() {
            self.reader.greeted();
        }
        match out.session.close.take() {
            Some(end) => Err(Ended::With(end)),
            None => Ok(()),
        }
    }

    /// Asks the shard to write the close frame. Then reads and drops incoming bytes until the peer
    /// has closed too or `CLOSE_TIMEOUT` has passed. If the gateway closed a TCP connection while
    /// bytes are coming in, the kernel would reset the connection, and the reset would overtake the
    /// close frame.
    async fn finish(self, ended: Ended) {
        let is_greeted = self.connection.identity().is_some();
        let Self { state, mut handle, .. } = self;
        match ended {
            Ended::With(end) => handle.shard(ToShard::Close(handle.id, end.code, end.reason)),
            Ended::Closed(payload) => handle.shard(ToShard::CloseReply(handle.id, payload)),
            Ended::Gone => {}
        }
        // Leave the hub now, because the hub does not wait until the peer has closed.
        handle.leave();
        let farewell = async {
            discard(&state.stream, is_greeted).await;
            while !state.is_ended() {
                state.changed().await;
            }
        };
        // After a time-out the socket is dropped, because its peer does not close the connection.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
        drop(handle);
    }
}

/// Returns the messages that end in these bytes, and the fault of the bytes after them, if any.
fn feed(reader: &mut Reader, bytes: &[u8]) -> (Vec<Inbound>, Result<(), InboundError>) {
    let mut messages = Vec::new();
    let end = reader.feed(bytes, &mut |message| messages.push(message));
    (messages, end)
}
