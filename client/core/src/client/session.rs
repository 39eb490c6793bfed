//! The session that the client's two sockets (to ingest and to a gateway) share: Hello and Welcome,
//! tokens, and the change to a new session.
//!
//! The server of the socket that opens first creates the session, and the other socket names the
//! session in its Hello. If a chunk's ledger has forgotten the session, the client numbers no more
//! commands. It begins a new session when every command of the old one has its outcome. The client
//! must wait, because each session has its own writer id, and a gateway sends the outcomes of the
//! current session's writer only.

use super::ClientCore;
use crate::chunk::{Chunk, Turn};
use crate::connection::Phase;
use crate::event::{Event, ReconnectReason, Socket};
use crate::families::Families;
use crate::history::is_other_world;
use driftless_schemas::proto::{self, Hello, ModelRevision, request};
use driftless_schemas::time::{MonotonicMs, UnixMs};
use driftless_schemas::{SessionId, WorldId, WriterId, features, limits};

/// The age in milliseconds after which the client replaces its session when it connects again and
/// no number is unresolved. Servers refuse a session that is older than
/// `limits::SESSION_AGE_MAX_MS`, which is longer.
const SESSION_AGE_MS: i64 = limits::SESSION_AGE_MAX_MS as i64 / 7 * 6;
/// Milliseconds after which the core asks the shell again for a token that it did not get.
const TOKEN_RETRY_MS: u64 = 15_000;

impl ClientCore {
    /// Handles a Welcome: adopts its session, its limits and the expiry of the token; from a
    /// gateway also the families and the world.
    pub(super) fn welcome(&mut self, now: MonotonicMs, socket: Socket, welcome: proto::Welcome) {
        let (Some(session), Some(writer)) =
            (SessionId::from_slice(&welcome.session), WriterId::from_slice(&welcome.writer))
        else {
            return self.reconnect(now, socket, ReconnectReason::Undecodable);
        };
        let world = WorldId::from_slice(&welcome.world_id);
        if world.is_none() && !welcome.world_id.is_empty() {
            return self.reconnect(now, socket, ReconnectReason::Undecodable);
        }
        if socket == Socket::Ingest && self.gateway.is_welcomed() && is_other_world(world, self.world) {
            return self.reconnect(now, socket, ReconnectReason::OtherWorld);
        }
        let was_welcomed = self.is_welcomed(socket);
        if self.session.is_some_and(|known| known != session) || self.writer.is_some_and(|known| known != writer) {
            self.forget_session(now);
            let other = if socket == Socket::Ingest { Socket::Gateway } else { Socket::Ingest };
            if self.is_welcomed(other) {
                self.reconnect(now, other, ReconnectReason::NewSession);
            }
        }
        if self.session.is_none() {
            self.events.push_back(Event::Session { session, writer });
        }
        self.session = Some(session);
        self.writer = Some(writer);
        self.tokens_refused = 0;
        self.connection(socket).phase = Phase::Welcomed;
        self.connection(socket).world = world;
        if let Some(limits) = &welcome.limits {
            self.connection(socket).limits(limits);
            if socket == Socket::Ingest && limits.command_bytes_max > 0 {
                self.command_bytes_max = usize::try_from(limits.command_bytes_max).unwrap_or(usize::MAX);
            }
        }
        let token_expires_at = welcome.token_expires_at;
        self.renewed(now, token_expires_at);
        self.events.push_back(Event::Welcomed { socket, world: welcome.world, token_expires_at });
        match socket {
            Socket::Gateway => {
                let is_new = self.enter_world(now, world);
                self.gateway_welcomed(now, welcome.families, was_welcomed && !is_new);
                if self.ingest.is_welcomed() && is_other_world(self.ingest.world, self.world) {
                    self.reconnect(now, Socket::Ingest, ReconnectReason::OtherWorld);
                }
            }
            Socket::Ingest if !was_welcomed => {
                let reconnect =
                    |chunk: &mut Chunk, turn: &mut Turn<'_>| chunk.outbox.reconnected(turn.now, turn.settings);
                self.with_all(now, reconnect);
            }
            Socket::Ingest => {}
        }
        self.send_hello(now);
    }

    /// Adopts the world that a gateway named. Returns true if it is another world than before. Then
    /// every chunk has another history, and the families of the old world are forgotten. The
    /// session stays, because its numbers only rise. A gateway that names no world changes nothing,
    /// and neither does the first one that names a world.
    fn enter_world(&mut self, now: MonotonicMs, world: Option<WorldId>) -> bool {
        let Some(world) = world else { return false };
        if self.world.replace(world).is_none_or(|known| known == world) {
            return false;
        }
        self.families = Families::default();
        self.with_all(now, |chunk, turn| chunk.enter_world(turn));
        true
    }

    /// Sets the timer for the next token. `token_expires_at` is the expiry of the present token in
    /// seconds since 1970; 0 if the token never expires.
    pub(super) fn renewed(&mut self, now: MonotonicMs, token_expires_at: i64) {
        let life_ms = UnixMs::from_seconds(token_expires_at).ms_since(self.settings.wall_time(now));
        self.token_life_ms = u64::try_from(life_ms).unwrap_or_default();
        let is_renewed = self.settings.can_renew && token_expires_at > 0;
        self.renew_at = if is_renewed { self.renewal_time(now) } else { MonotonicMs::NEVER };
    }

    fn gateway_welcomed(&mut self, now: MonotonicMs, families: Vec<proto::Family>, was_welcomed: bool) {
        let changed = self.families.welcome(&self.settings, families);
        self.with_all(now, |chunk, turn| {
            let is_changed = changed.iter().any(|family| family == chunk.id.family());
            if is_changed {
                chunk.remodel(turn);
            }
            if is_changed || !was_welcomed {
                chunk.send_track(turn);
            }
        });
    }

    /// Sends Hello on each open socket. While there is no session, only one socket sends Hello. The
    /// other socket waits for the Welcome of the first one, which names the session.
    pub(super) fn send_hello(&mut self, now: MonotonicMs) {
        let is_idle = !self.ingest.is_welcomed() && !self.gateway.is_welcomed();
        let is_old = self.session.is_some_and(|session| self.age_ms(now, session) > SESSION_AGE_MS);
        if is_idle && is_old && !self.has_open_numbers() {
            self.forget_session(now);
        }
        for (socket, other) in [(Socket::Ingest, Socket::Gateway), (Socket::Gateway, Socket::Ingest)] {
            let is_first = self.connection(other).phase != Phase::HelloSent;
            if self.connection(socket).phase != Phase::Open || (self.session.is_none() && !is_first) {
                continue;
            }
            let hello = Hello {
                token: self.connection(socket).token.clone(),
                session: self.session.map(SessionId::to_bytes).unwrap_or_default(),
                models: self
                    .settings
                    .models
                    .list()
                    .map(|(id, revision)| ModelRevision { id: id.into(), revision })
                    .collect(),
                session_after_ms: u64::try_from(self.session_after.0).unwrap_or_default(),
                features: features::HISTORIES,
            };
            let connection = self.connection(socket);
            connection.phase = Phase::HelloSent;
            connection.push(request::Body::Hello(hello));
        }
    }

    /// Whether a tracked chunk has unresolved numbers of this session.
    pub(super) fn has_open_numbers(&self) -> bool {
        self.tracked().any(|chunk| chunk.outbox.has_open_numbers())
    }

    /// Forgets the session. Unresolved commands end as unknown, and the next command to each chunk
    /// gets number 1.
    pub(super) fn forget_session(&mut self, now: MonotonicMs) {
        self.session = None;
        self.is_ending_session = false;
        self.untracked_outboxes.clear();
        self.with_all(now, |chunk, turn| {
            let concluded = chunk.outbox.renumber(turn.settings);
            if !concluded.is_empty() {
                chunk.invalidate();
            }
            chunk.push_outcomes(concluded, turn);
        });
        // Clear the writer last, because the outcomes above name the writer of the old session.
        self.writer = None;
    }

    /// Begins a new session on new sockets.
    pub(super) fn begin_session(&mut self, now: MonotonicMs) {
        self.forget_session(now);
        for socket in [Socket::Ingest, Socket::Gateway] {
            if self.connection(socket).phase != Phase::Down {
                self.reconnect(now, socket, ReconnectReason::NewSession);
            }
        }
    }

    /// The age of a session in milliseconds.
    fn age_ms(&self, now: MonotonicMs, session: SessionId) -> i64 {
        // A session's time has 48 bits, so the conversion always succeeds.
        let began = UnixMs(i64::try_from(session.time_ms()).unwrap_or(i64::MAX));
        self.settings.wall_time(now).ms_since(began)
    }

    /// When to ask for another token: `renew_before_ms` before the present token expires. For a
    /// token with a lifetime below twice that, halfway through its lifetime.
    pub(super) fn renewal_time(&self, now: MonotonicMs) -> MonotonicMs {
        let life_ms = self.token_life_ms;
        now.plus_ms(life_ms - self.settings.renew_before_ms.min(life_ms / 2))
    }

    /// Asks the shell for a fresh token, if `Settings::can_renew` says that the shell can get
    /// one.
    pub(super) fn request_token(&mut self, now: MonotonicMs) {
        if self.settings.can_renew {
            self.events.push_back(Event::TokenNeeded);
            self.renew_at = now.plus_ms(TOKEN_RETRY_MS);
        } else {
            self.renew_at = MonotonicMs::NEVER;
        }
    }
}
