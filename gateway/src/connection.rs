//! The reading half of a websocket: its session, and its requests to the hub.
//!
//! What the hub and the session have for it is written by its shard. Nothing is read while the hub has not looked at the
//! last requests, nor while much waits to be written: nobody can fill a queue of the server's. Nor is anything read for a while
//! from a user who asks for more than its rate: TCP tells it, and no request is lost.

use crate::hub::{HubHandle, Seat};
use crate::line::Line;
use crate::metrics;
use crate::shard::ToShard;
use bytes::Bytes;
use driftless_gateway_core::Joined;
use driftless_runtime::auth::Verifier;
use driftless_runtime::http::ConnectionPermit;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::socket::{FAREWELL, Inbound, InboundError, Reader};
use driftless_runtime::stream::Stream;
use driftless_runtime_core::admission::Admission;
use driftless_runtime_core::rate::{Bucket, Rates};
use driftless_runtime_core::{Greeter, Outputs, Outside, Session};
use driftless_schemas::access::Claims;
use driftless_schemas::close;
use driftless_schemas::proto::{RefusalCode, request};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// Bytes that are read at a time.
const READ_BYTES: usize = 16 * 1024;

thread_local! {
    /// Ready bytes go through it: a socket that says nothing has no buffer.
    static READ: RefCell<Box<[u8; READ_BYTES]>> = RefCell::new(Box::new([0; READ_BYTES]));
}

/// What every connection needs.
pub(crate) struct Context {
    pub hub: HubHandle,
    pub verifier: Verifier,
    pub greeter: Greeter,
    pub admission: Admission,
    /// Requests of users.
    pub requests: Rates<1>,
    pub shutdown: Shutdown,
    /// Places for streams of events.
    pub streams: Arc<Semaphore>,
}

impl Outside for Context {
    fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, String> {
        self.verifier.verify(token, now_ms).map_err(|e| e.to_string())
    }

    fn denied(&self, claims: &Claims) -> Option<String> {
        self.verifier.check_again(claims).err().map(|e| e.to_string())
    }

    fn random(&self) -> [u8; 10] {
        rand::random()
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Serves a socket until its end. `begun`: bytes that were read from it already.
pub(crate) async fn serve(stream: Stream, begun: Bytes, permit: Option<ConnectionPermit>, context: Arc<Context>) {
    let line = Arc::new(Line::new(stream));
    let seat = context.hub.open(&line);
    let session = Session::new(context.greeter.clone(), now_ms());
    let mut connection = Connection {
        line,
        session,
        reader: Reader::default(),
        seat,
        context,
        permit,
        bucket: None,
        silent_until_ms: 0,
    };
    let admitted = connection.context.admission.admit(now_ms()).map_err(|after_ms| {
        let reason = "too many sockets come at once";
        Ended::With(close::OVERLOADED, close::come_again(reason, after_ms))
    });
    let taken = admitted.and_then(|()| connection.take(&begun));
    // They stand in the buffer of the HTTP connection, which is larger than all else that a quiet socket has.
    drop(begun);
    if let Err(ended) = match taken {
        Ok(()) => connection.run().await,
        ended => ended,
    } {
        connection.finish(ended).await;
    }
}

struct Connection {
    line: Arc<Line>,
    session: Session,
    reader: Reader,
    /// Its place among the hub's and its shard's sockets.
    seat: Seat,
    context: Arc<Context>,
    /// Until it has said who it is.
    permit: Option<ConnectionPermit>,
    /// Its user's, once it has asked for something.
    bucket: Option<Bucket<1>>,
    /// It asked for more than its user may, and is not heard before this.
    silent_until_ms: i64,
}

/// How a socket ends.
enum Ended {
    /// With our code and reason.
    With(u16, String),
    /// With the peer's close frame.
    Closed(Bytes),
    /// The shard has ended it, or the peer is gone.
    Gone,
}

impl Connection {
    async fn run(&mut self) -> Result<(), Ended> {
        let mut changes = self.context.verifier.changes();
        loop {
            // Time is looked at also where there is always something to read.
            let now = now_ms();
            let wait = self.session.wake_at_ms() - now;
            if wait <= 0 {
                self.tick()?;
            }
            let silence = self.silent_until_ms - now;
            let wait = if silence > 0 { wait.min(silence) } else { wait };
            let pause = u64::try_from(wait).unwrap_or(0).max(10);
            let done = tokio::select! {
                ready = self.line.stream.readable(), if silence <= 0 && self.line.is_heard() => match ready {
                    Ok(()) => self.read(),
                    Err(_) => Err(Ended::Gone),
                },
                () = self.line.changed() => match self.line.is_ended() {
                    true => Err(Ended::Gone),
                    false => Ok(()),
                },
                // The verifier lives as long as this.
                _ = changes.changed() => self.tick(),
                () = tokio::time::sleep(Duration::from_millis(pause)) => self.tick(),
            };
            done?;
        }
    }

    fn tick(&mut self) -> Result<(), Ended> {
        // Who takes what is sent lives, also if there is no room to hear it.
        self.session.heard(self.line.taken_ms());
        // The silence of a socket that we do not read is not the client's.
        if self.silent_until_ms > 0 {
            self.session.heard(now_ms().min(self.silent_until_ms));
        }
        let mut outputs = Outputs::default();
        self.session.tick(now_ms(), &*self.context, &mut outputs);
        self.carry_out(outputs)
    }

    fn read(&mut self) -> Result<(), Ended> {
        READ.with_borrow_mut(|buffer| match self.line.stream.try_read(&mut buffer[..]) {
            Ok(0) => Err(Ended::Gone),
            Ok(count) => self.take(&buffer[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(_) => Err(Ended::Gone),
        })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let mut messages = Vec::new();
        let read = self.reader.feed(bytes, &mut |message| messages.push(message));
        let mut requests = Vec::new();
        let mut done = Ok(());
        for message in messages {
            done = self.take_message(message, &mut requests);
            if done.is_err() {
                break;
            }
        }
        if !requests.is_empty() {
            self.seat.requests(requests, &self.line);
        }
        done?;
        read.map_err(|e: InboundError| Ended::With(close::FRAME_UNTRUSTED, e.to_string()))
    }

    fn take_message(&mut self, message: Inbound, requests: &mut Vec<request::Body>) -> Result<(), Ended> {
        let now = now_ms();
        let bytes = match message {
            Inbound::Binary(bytes) => bytes,
            Inbound::Ping(payload) => {
                self.session.heard(now);
                self.seat.shard(ToShard::Pong(self.seat.id, payload));
                return Ok(());
            }
            Inbound::Pong => {
                self.session.heard(now);
                return Ok(());
            }
            Inbound::Text => {
                let reason = "messages are binary protobuf, not text";
                return Err(Ended::With(close::FRAME_UNTRUSTED, reason.into()));
            }
            Inbound::Close(payload) => return Err(Ended::Closed(payload)),
        };
        let mut outputs = Outputs::default();
        let context = Arc::clone(&self.context);
        let before = requests.len();
        self.session.frame(bytes, now, &*context, &mut outputs, &mut |who, request, out| {
            let reads = matches!(request, request::Body::Track(_) | request::Body::Refresh(_));
            if reads && now >= who.claims.expires_at.saturating_mul(1000) {
                let expired = who.claims.expires_at;
                out.refuse(
                    RefusalCode::Token,
                    format!("the token expired at {expired} (seconds since 1970): renew it"),
                );
            } else {
                requests.push(request);
            }
        });
        self.pay(requests.len() - before, now);
        let (is_greeted, is_renewed) = (outputs.is_greeted, outputs.is_renewed);
        // What the session says comes before what the hub says to the same requests.
        let done = self.carry_out(outputs);
        if let Some(identity) = self.session.identity() {
            let access = || Arc::new(identity.claims.access.clone());
            if is_greeted {
                self.permit.take().iter().for_each(ConnectionPermit::is_known);
                let families = identity.offered.clone();
                self.seat.join(Joined { writer: identity.writer, access: access(), families });
            } else if is_renewed {
                // Requests before it were made with the old token.
                if !requests.is_empty() {
                    self.seat.requests(std::mem::take(requests), &self.line);
                }
                self.seat.renewed(access());
            }
        }
        done
    }

    /// Requests are taken in any case; who asked for too many is silent for as long as they are worth.
    fn pay(&mut self, requests: usize, now_ms: i64) {
        let Some(identity) = self.session.identity().filter(|_| requests > 0) else { return };
        let bucket = self.bucket.get_or_insert_with(|| self.context.requests.of(&identity.claims.sub, now_ms));
        let wait_ms = bucket.owe([requests], now_ms);
        if wait_ms > 0 {
            metrics::silenced();
            self.silent_until_ms = now_ms + i64::from(wait_ms);
        }
    }

    fn carry_out(&mut self, outputs: Outputs) -> Result<(), Ended> {
        if !outputs.frame.is_empty() {
            self.seat.shard(ToShard::Own(self.seat.id, outputs.frame.freeze()));
        }
        match outputs.close {
            Some(end) => Err(Ended::With(end.code, end.reason)),
            None => Ok(()),
        }
    }

    /// A TCP connection that is closed while bytes are still coming in is reset, and the reset overtakes the close frame. So
    /// what comes is read and dropped until the peer has closed too, or its time is up.
    async fn finish(self, ended: Ended) {
        let Self { line, mut seat, .. } = self;
        match ended {
            Ended::With(code, reason) => seat.shard(ToShard::Close(seat.id, code, reason)),
            Ended::Closed(payload) => seat.shard(ToShard::Echo(seat.id, payload)),
            Ended::Gone => {}
        }
        // The hub need not wait for the farewell.
        seat.leave();
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
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        drop(seat);
    }
}
