//! A websocket of a gateway: its session, the requests that it passes to the hub, and its user's
//! request rate.
//!
//! [`Connection::handle`] takes one input and appends to [`Outputs`]: events for the client, inputs
//! for the hub, or the end of the socket. The inputs for the hub are in the order of the client's
//! requests. The hub therefore judges a request before `Renew` by the old token, and a request
//! after `Renew` by the renewed token.
//!
//! `Track` and `Refresh` read content. The connection refuses both once the token has expired, even
//! while the session waits for a renewal (docs/design.md#access). Time, randomness and verified
//! tokens are arguments (R11).

use crate::messages::Input as HubInput;
use crate::socket::{Joined, SocketId};
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_runtime_core::admission::Admission;
use driftless_runtime_core::rate::{Bucket, Rates};
use driftless_runtime_core::{Environment, Greeter, Identity, Outputs as SessionOutputs, Session};
use driftless_schemas::proto::{RefusalCode, request};
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use driftless_schemas::{close, limits};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// State that all connections of a gateway share.
#[derive(Debug)]
pub struct Shared {
    /// Answers `Hello`.
    pub greeter: Greeter,
    /// Bounds how many sockets are accepted a second.
    pub admission: Admission,
    /// Bounds [requests, bytes of answers] of each user, over all of the user's sockets and HTTP
    /// requests.
    pub requests: Rates<2>,
}

/// An input of a connection.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A binary websocket message with this payload arrived.
    Frame(Bytes),
    /// A websocket message arrived that breaks the protocol; the text says how.
    Untrusted(&'a str),
    /// A long message cannot be held, because those of all connections together take too much
    /// memory. The string says so.
    NoRoom(&'a str),
    /// The client showed at this time that it is alive: a ping or pong arrived, or the client took
    /// bytes.
    Heard(MonotonicMs),
    /// Time has passed, or the keys or the deny list have changed.
    Tick,
}

/// The outputs of a connection.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Events for the client, and the code and reason if the socket must close. Send the events
    /// before passing `hub` to the hub, because the session's answers precede the hub's.
    pub session: SessionOutputs,
    /// Inputs for the hub, in order.
    pub hub: Vec<HubInput>,
    /// True if the user exceeded its request rate. The shell must then not read the socket while
    /// [`Connection::is_throttled`] returns true.
    pub was_throttled: bool,
}

/// A websocket.
#[derive(Debug)]
pub struct Connection {
    socket: SocketId,
    shared: Arc<Shared>,
    session: Session,
    /// The user's share of [`Shared::requests`]; `None` before the first request.
    bucket: Option<Bucket<2>>,
    /// The socket is not read before this time.
    throttled_until: MonotonicMs,
}

impl Connection {
    /// Creates the connection of a socket that was just opened. If too many sockets were opened at
    /// once, `out` closes the socket, and the close reason names the time after which the client
    /// may connect again. `peer` is the client's address, if it is known.
    #[must_use]
    pub fn open(socket: SocketId, shared: Arc<Shared>, peer: Option<IpAddr>, now: Now, out: &mut Outputs) -> Self {
        if let Err(after_ms) = shared.admission.admit(peer, now.monotonic) {
            out.session.end(close::OVERLOADED, close::come_again("too many sockets come at once", after_ms));
        }
        let session = Session::new(shared.greeter.clone(), now.monotonic);
        Self { socket, shared, session, bucket: None, throttled_until: MonotonicMs::default() }
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input<'_>, now: Now, environment: &dyn Environment, out: &mut Outputs) {
        match input {
            Input::Frame(bytes) => self.frame(bytes, now, environment, out),
            Input::Untrusted(why) => out.session.end(close::FRAME_UNTRUSTED, why),
            Input::NoRoom(why) => {
                out.session.end(close::OVERLOADED, close::come_again(why, limits::ROOM_WAIT_MS as u32));
            }
            Input::Heard(at) => self.session.heard(at),
            Input::Tick => {
                // A throttled socket is not read, so the client may have sent something. Count the
                // client as alive until the throttling ends.
                if self.throttled_until > MonotonicMs::default() {
                    self.session.heard(now.monotonic.min(self.throttled_until));
                }
                self.session.tick(now, environment, &mut out.session);
            }
        }
    }

    /// The client's verified identity; `None` before a valid Hello.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.session.identity()
    }

    /// Returns true while the socket must not be read, because its user exceeded the request rate.
    #[must_use]
    pub fn is_throttled(&self, now: MonotonicMs) -> bool {
        now < self.throttled_until
    }

    /// How long to wait before the next [`Input::Tick`], or before reading again, whichever is
    /// sooner. Zero: a tick is due.
    #[must_use]
    pub fn wake_in(&self, now: Now) -> Duration {
        let session_ms = self.session.wake_at(now).ms_since(now.monotonic);
        Duration::from_millis(match self.throttled_until.ms_since(now.monotonic) {
            0 => session_ms,
            throttled_ms => session_ms.min(throttled_ms),
        })
    }

    fn frame(&mut self, bytes: Bytes, now: Now, environment: &dyn Environment, out: &mut Outputs) {
        let Self { socket, session, shared, .. } = self;
        let Outputs { session: said, hub, .. } = out;
        let requests = session.frame(bytes, now, environment, said, &mut |who, request, said| {
            announce(*socket, who, said, hub, (shared, now.monotonic));
            match reads(&request).filter(|_| has_expired(who, now.unix)) {
                Some(chunk) => {
                    let expired = who.claims.expires_at;
                    let message = format!(
                        "{chunk:?} cannot be read: the token expired at {expired} (seconds since 1970); \
                         renew it, then ask again"
                    );
                    said.refuse(RefusalCode::Token, message);
                }
                None => hub.push(HubInput::Request(*socket, request)),
            }
        });
        if let Some(who) = session.identity() {
            announce(*socket, who, said, hub, (shared, now.monotonic));
        }
        self.charge(requests, now.monotonic, out);
    }

    /// Charges requests to the user's rates, also pings, renewals and requests that were refused,
    /// because each of them is work. The requests are served in any case. If the user has exceeded
    /// a rate, this socket is not read until the excess has drained. The hub has charged the
    /// answers.
    fn charge(&mut self, requests: usize, now: MonotonicMs, out: &mut Outputs) {
        let Some(who) = self.session.identity().filter(|_| requests > 0) else { return };
        let bucket = self.bucket.get_or_insert_with(|| self.shared.requests.of(&who.claims.sub, now));
        let wait_ms = bucket.owe([requests, 0], now);
        if wait_ms > 0 {
            out.was_throttled = true;
            self.throttled_until = now.plus_ms(wait_ms.into());
        }
    }
}

/// Passes a new identity or a renewed token to the hub, before the requests that follow it.
fn announce(
    socket: SocketId,
    who: &Identity,
    said: &mut SessionOutputs,
    hub: &mut Vec<HubInput>,
    (shared, now): (&Shared, MonotonicMs),
) {
    let is_renewed = std::mem::take(&mut said.is_renewed);
    let access = || Arc::new(who.claims.access.clone());
    if std::mem::take(&mut said.is_greeted) {
        let joined = Joined {
            user: who.claims.sub.as_str().into(),
            writer: who.writer,
            access: access(),
            families: who.offered.clone(),
            features: who.features,
            bucket: Some(shared.requests.of(&who.claims.sub, now)),
        };
        hub.push(HubInput::Joined(socket, joined));
    } else if is_renewed {
        hub.push(HubInput::Renewed(socket, access()));
    }
}

/// The id of the chunk whose content a request reads; `None` if the request reads no content.
fn reads(request: &request::Body) -> Option<&str> {
    match request {
        request::Body::Track(track) => Some(&track.chunk_id),
        request::Body::Refresh(refresh) => Some(&refresh.chunk_id),
        _ => None,
    }
}

fn has_expired(who: &Identity, now: UnixMs) -> bool {
    who.is_expired(now) && !Mutant::ReadWithExpiredToken.is_on()
}
