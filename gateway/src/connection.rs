//! The reading half of a websocket: moves bytes between the socket, its
//! [`Connection`](driftless_gateway_core::connection::Connection), the hub and the socket's shard.
//!
//! The shard writes everything that the hub and the session have for the client. The socket is not
//! read while the hub has not handled its last requests, nor while many bytes wait to be written, nor
//! while its user is throttled. TCP backpressure then reaches the client, no queue of the gateway
//! grows, and no request is lost.

use crate::hub::{HubHandle, SocketHandle};
use crate::metrics;
use crate::shard::ToShard;
use crate::socket_state::SocketState;
use bytes::Bytes;
use driftless_auth::Verifier;
use driftless_gateway_core::connection::{Connection, Input, Outputs, Shared};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::{Close, Environment};
use driftless_schemas::access::Claims;
use driftless_schemas::time::UnixMs;
use driftless_web::http::ConnectionPermit;
use driftless_web::socket::{Inbound, Reader};
use driftless_web::stream::{CLOSE_TIMEOUT, Stream};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// The shortest pause between two looks at the clock.
const PAUSE_MIN: Duration = Duration::from_millis(10);

thread_local! {
    /// One read buffer for all sockets of a thread, so that a quiet socket holds no buffer.
    static READ: RefCell<Box<[u8; READ_BYTES]>> = RefCell::new(Box::new([0; READ_BYTES]));
}

/// What every connection needs.
pub(crate) struct Context {
    pub hub: HubHandle,
    pub verifier: Verifier,
    /// What websockets and HTTP requests share.
    pub shared: Arc<Shared>,
    pub shutdown: Shutdown,
    /// Permits for event streams.
    pub streams: Arc<Semaphore>,
    pub clock: Clock,
}

impl Environment for Context {
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, String> {
        self.verifier.verify(token, now).map_err(|e| e.to_string())
    }

    fn denied(&self, claims: &Claims) -> Option<String> {
        self.verifier.check_again(claims).err().map(|e| e.to_string())
    }

    fn random(&self) -> [u8; 10] {
        rand::random()
    }
}

/// Serves a socket until its end. `begun`: bytes that were read from the socket already.
pub(crate) async fn serve(stream: Stream, begun: Bytes, permit: Option<ConnectionPermit>, context: Arc<Context>) {
    let line = Arc::new(SocketState::new(stream));
    let handle = context.hub.open(&line);
    let mut out = Outputs::default();
    let connection = Connection::open(handle.id, Arc::clone(&context.shared), context.clock.now(), &mut out);
    let mut socket = Socket { line, connection, reader: Reader::default(), handle, context, permit };
    let opened = socket.carry_out(&mut out).and_then(|()| socket.take(&begun));
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
    line: Arc<SocketState>,
    connection: Connection,
    reader: Reader,
    handle: SocketHandle,
    context: Arc<Context>,
    /// Limits connections without an identity; released once the client has said Hello.
    permit: Option<ConnectionPermit>,
}

/// How a socket ends.
enum Ended {
    /// With our code and reason.
    With(Close),
    /// With the peer's close frame.
    Closed(Bytes),
    /// The shard has ended the socket, or the peer is gone.
    Gone,
}

impl Socket {
    async fn run(&mut self) -> Result<(), Ended> {
        let mut changes = self.context.verifier.changes();
        loop {
            // The clock is read in each round, so that a socket that always has bytes to read ticks too.
            let now = self.context.clock.now();
            let wait = self.connection.wake_in(now);
            if wait.is_zero() {
                self.tick()?;
            }
            let is_read = !self.connection.is_throttled(now.monotonic) && self.line.is_readable();
            let done = tokio::select! {
                ready = self.line.stream.readable(), if is_read => match ready {
                    Ok(()) => self.read(),
                    Err(_) => Err(Ended::Gone),
                },
                () = self.line.changed() => match self.line.is_ended() {
                    true => Err(Ended::Gone),
                    false => Ok(()),
                },
                // The verifier lives as long as the context.
                _ = changes.changed() => self.tick(),
                () = tokio::time::sleep(wait.max(PAUSE_MIN)) => self.tick(),
            };
            done?;
        }
    }

    fn tick(&mut self) -> Result<(), Ended> {
        let mut out = Outputs::default();
        // A client that takes bytes is alive, even while there is no room to read from it.
        let taken = self.line.last_took_bytes();
        self.handle(Input::Heard(taken), &mut out);
        self.handle(Input::Tick, &mut out);
        self.carry_out(&mut out)
    }

    fn read(&mut self) -> Result<(), Ended> {
        READ.with_borrow_mut(|buffer| match self.line.stream.try_read(&mut buffer[..]) {
            Ok(0) => Err(Ended::Gone),
            Ok(count) => self.take(&buffer[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(_) => Err(Ended::Gone),
        })
    }

    /// Handles all messages that end in these bytes. The hub gets their requests in one message.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let mut messages = Vec::new();
        let read = self.reader.feed(bytes, &mut |message| messages.push(message));
        let mut out = Outputs::default();
        let mut done = messages.into_iter().try_for_each(|message| self.take_message(message, &mut out));
        if let (Ok(()), Err(error)) = (&done, read) {
            self.handle(Input::Untrusted(&error.to_string()), &mut out);
            done = self.carry_out(&mut out);
        }
        if !out.hub.is_empty() {
            self.handle.tell_hub(out.hub, &self.line);
        }
        done
    }

    fn take_message(&mut self, message: Inbound, out: &mut Outputs) -> Result<(), Ended> {
        match message {
            Inbound::Binary(bytes) => self.handle(Input::Frame(bytes), out),
            Inbound::Ping(payload) => {
                self.heard(out);
                self.handle.shard(ToShard::Pong(self.handle.id, payload));
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
        self.connection.handle(input, self.context.clock.now(), &*self.context, out);
    }

    /// Sends what the session has for the client, which comes before the hub's answers to the same
    /// requests; and ends the socket if the connection says so.
    fn carry_out(&mut self, out: &mut Outputs) -> Result<(), Ended> {
        if !out.session.frame.is_empty() {
            self.handle.shard(ToShard::SessionEvents(self.handle.id, out.session.frame.split().freeze()));
        }
        if std::mem::take(&mut out.was_throttled) {
            metrics::silenced();
        }
        if self.permit.is_some() && self.connection.identity().is_some() {
            self.permit.take().iter().for_each(ConnectionPermit::release_address);
        }
        match out.session.close.take() {
            Some(end) => Err(Ended::With(end)),
            None => Ok(()),
        }
    }

    /// A TCP connection that is closed while bytes are still coming in is reset, and the reset overtakes the close frame. So
    /// what comes is read and dropped until the peer has closed too, or its time is up.
    async fn finish(self, ended: Ended) {
        let Self { line, mut handle, .. } = self;
        match ended {
            Ended::With(end) => handle.shard(ToShard::Close(handle.id, end.code, end.reason)),
            Ended::Closed(payload) => handle.shard(ToShard::CloseReply(handle.id, payload)),
            Ended::Gone => {}
        }
        // The hub need not wait for the farewell.
        handle.leave();
        let farewell = async {
            while line.stream.readable().await.is_ok() {
                let read = READ.with_borrow_mut(|buffer| line.stream.try_read(&mut buffer[..]));
                match read {
                    Ok(0) => break,
                    Err(e) if e.kind() != ErrorKind::WouldBlock => break,
                    _ => {}
                }
            }
            while !line.is_ended() {
                line.changed().await;
            }
        };
        // Nothing is lost if the peer does not play along.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
        drop(handle);
    }
}
