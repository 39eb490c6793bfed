//! The whole client. Its inputs are the user's calls, the messages of two connections, and time.
//! Its outputs are requests to servers and events for the shell.
//!
//! A shell calls one input method at a time and then takes all events ([`ClientCore::poll_event`]).
//! Whenever a socket is writable, the shell takes the next message for it
//! ([`ClientCore::poll_send`]). `now` comes from a monotonic clock.
//!
//! Both sockets share one session. The server of the socket that opens first creates the session,
//! and the other socket names the session in its Hello. If a chunk's ledger has forgotten the
//! session, the client begins a new session as soon as every number of the old session is resolved.
//!
//! The gateway says in which world the client is. Commands are numbered for one history of that
//! world, so the client sends none to an ingest that names another world.

mod inbox;
mod session;

use crate::chunk::{Chunk, Turn};
use crate::connection::{Connection, Phase};
use crate::event::{ChunkStatus, CommandId, Event, Outcome, ReconnectReason, Socket, SubmitError};
use crate::families::Families;
use crate::history::is_other_world;
use crate::outbox::{Outbox, SendPermit, never_sent};
use crate::settings::Settings;
use bytes::Bytes;
use driftless_chunk::model::{AnyModel, Content};
use driftless_chunk::sorted::SortedMap;
use driftless_schemas::proto::{self, Renew, request};
use driftless_schemas::time::{MonotonicMs, UnixMs};
use driftless_schemas::{ChunkId, Hash, SessionId, Version, WorldId, WriterId, close, limits, wire};
use std::collections::VecDeque;
use std::sync::Arc;

/// The number of tokens in a row that servers may refuse. The client ends when servers refuse one
/// more.
const TOKENS_REFUSED_MAX: u32 = 3;

/// The client's core; see the module's documentation.
pub struct ClientCore {
    settings: Settings,
    families: Families,
    ingest: Connection,
    gateway: Connection,
    session: Option<SessionId>,
    writer: Option<WriterId>,
    /// The world that the last gateway named; `None` if none named one.
    world: Option<WorldId>,
    /// A lower limit for the time of the next session, which must be later. The limit is the
    /// highest floor of all ledgers that forgot a session of this client.
    session_after: UnixMs,
    /// Whether the session is ending. The client then numbers no more commands, and begins a new
    /// session as soon as every number of this session is resolved.
    is_ending_session: bool,
    chunks: SortedMap<ChunkId, Box<Chunk>>,
    /// The outboxes of chunks that are no longer tracked. They are kept because this session must
    /// not use their numbers again.
    untracked_outboxes: SortedMap<ChunkId, Outbox>,
    /// Chunks that the current input touched, in the order in which it touched them
    /// ([`Chunk::is_touched`]).
    touched: VecDeque<ChunkId>,
    /// No chunk has a deadline before this time. The time may be earlier than the earliest
    /// deadline, because it is not raised when a chunk drops its deadline. A tick that comes too
    /// early does no harm: it computes the time anew.
    due: MonotonicMs,
    events: VecDeque<Event>,
    next_command: u64,
    /// The number of submitted commands whose outcome event the shell has not taken yet.
    pending: usize,
    /// The largest command that ingest accepts, in bytes.
    command_bytes_max: usize,
    /// The time at which the client asks the shell for a fresh token; [`MonotonicMs::NEVER`] if it
    /// need not ask.
    renew_at: MonotonicMs,
    /// The lifetime that the present token had left when it was announced, in milliseconds.
    token_life_ms: u64,
    /// The number of tokens that servers have refused since the last Welcome.
    tokens_refused: u32,
    /// Why the client ended, for people; `None` while it runs.
    stopped: Option<String>,
}

impl ClientCore {
    /// A client without connections and without chunks.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            families: Families::default(),
            ingest: Connection::new(),
            gateway: Connection::new(),
            session: None,
            writer: None,
            world: None,
            session_after: UnixMs(0),
            is_ending_session: false,
            chunks: SortedMap::new(),
            untracked_outboxes: SortedMap::new(),
            touched: VecDeque::new(),
            due: MonotonicMs::NEVER,
            events: VecDeque::new(),
            next_command: 1,
            pending: 0,
            command_bytes_max: limits::COMMAND_BYTES_MAX,
            renew_at: MonotonicMs::NEVER,
            token_life_ms: 0,
            tokens_refused: 0,
            stopped: None,
        }
    }

    // ---- the user ----

    /// Tracks a chunk. Tracks it again if it was rejected or has failed.
    pub fn track(&mut self, now: MonotonicMs, chunk: &ChunkId) {
        if self.stopped.is_some() {
            return;
        }
        if !self.chunks.contains_key(chunk) {
            let outbox = self.untracked_outboxes.remove(chunk).unwrap_or_else(|| Outbox::new(&self.settings));
            self.chunks.insert(chunk.clone(), Box::new(Chunk::new(chunk.clone(), outbox)));
            self.with(now, chunk, |chunk, turn| chunk.send_track(turn));
        }
        self.with(now, chunk, |chunk, turn| chunk.want(turn));
        self.finish(now);
    }

    /// Stops tracking a chunk. If commands of this client to the chunk are pending, the client
    /// stops when the last of them has its outcome.
    pub fn untrack(&mut self, now: MonotonicMs, chunk: &ChunkId) {
        self.with(now, chunk, |chunk, _| chunk.is_wanted = false);
        self.finish(now);
    }

    /// Submits a command. The view shows it at once; its outcome follows as an event.
    ///
    /// # Errors
    /// [`SubmitError`]: the command was not accepted, and has no outcome.
    pub fn submit(&mut self, now: MonotonicMs, chunk: &ChunkId, command: Bytes) -> Result<CommandId, SubmitError> {
        if let Some(reason) = &self.stopped {
            return Err(SubmitError::Closed { reason: reason.clone() });
        }
        if command.len() > self.command_bytes_max {
            return Err(SubmitError::TooLarge { bytes: command.len(), bytes_max: self.command_bytes_max });
        }
        let id = CommandId(self.next_command);
        self.with(now, chunk, |chunk, turn| chunk.submit(id, command, turn))
            .unwrap_or_else(|| Err(SubmitError::NotTracked { chunk: chunk.clone() }))?;
        self.next_command += 1;
        self.pending += 1;
        self.finish(now);
        Ok(id)
    }

    /// Cancels a command. The command leaves the view at once. Its outcome is
    /// [`Outcome::Withdrawn`], unless the log contains a decision of the command.
    pub fn cancel(&mut self, now: MonotonicMs, chunk: &ChunkId, command: CommandId) {
        self.with(now, chunk, |chunk, turn| chunk.cancel(command, turn));
        self.finish(now);
    }

    /// Takes one of this client's commits back: submits its inverse, which is one or more new
    /// commands with outcomes of their own. If another client has changed the same content since,
    /// the decider keeps that change and discards the inverse.
    ///
    /// Each commit can be taken back once. Returns no commands if the model has no inverses, if
    /// more than [`Settings::undo_max`] newer commits exist, or if the client did not receive the
    /// commit as an update.
    ///
    /// # Errors
    /// [`SubmitError`] of the first new command that was not accepted. The new commands before that
    /// one were accepted, and each of them has an outcome.
    pub fn take_back(
        &mut self,
        now: MonotonicMs,
        chunk: &ChunkId,
        command: CommandId,
    ) -> Result<Vec<CommandId>, SubmitError> {
        let inverse = self.chunks.get_mut(chunk).and_then(|chunk| chunk.undo.take(command)).unwrap_or_default();
        inverse.into_iter().map(|command| self.submit(now, chunk, command)).collect()
    }

    /// Adopts a fresh token of the same user, and sends it to the servers that have welcomed the
    /// client.
    pub fn renew(&mut self, now: MonotonicMs, token: String) {
        for socket in [Socket::Ingest, Socket::Gateway] {
            let connection = self.connection(socket);
            connection.token.clone_from(&token);
            if connection.is_welcomed() {
                connection.push(request::Body::Renew(Renew { token: token.clone() }));
            }
        }
        // `Renewed` will say when the token expires. Until then, assume the lifetime of the last
        // one.
        self.renew_at = if self.token_life_ms > 0 { self.renewal_time(now) } else { MonotonicMs::NEVER };
    }

    /// Ends the client. Commands that were never sent end as [`Outcome::Withdrawn`]. Commands that
    /// were sent and are unresolved end as [`Outcome::Unknown`].
    pub fn close(&mut self, now: MonotonicMs) {
        self.stop(now, "the client was closed", &Outcome::Withdrawn);
    }

    // ---- the connections ----

    /// Handles a socket that has opened. The Hello on this socket will carry `token`.
    pub fn connected(&mut self, now: MonotonicMs, socket: Socket, token: String) {
        if self.stopped.is_some() {
            return;
        }
        if self.connection(socket).phase != Phase::Down {
            self.connection_lost(now, socket);
        }
        self.connection(socket).open(now, token);
        self.send_hello(now);
        self.finish(now);
    }

    /// Handles a socket that has closed. `code` is the server's close code; `None` if the socket
    /// closed without one.
    pub fn disconnected(&mut self, now: MonotonicMs, socket: Socket, code: Option<u16>) {
        self.connection_lost(now, socket);
        match code {
            Some(close::SESSION) => self.begin_session(now),
            // The server closed this socket because it got no Hello in time. The client sent none,
            // because the other socket had not got the session yet. This is no fault, so the client
            // just connects again.
            Some(close::NO_HELLO) => {}
            Some(close::TOKEN) => {
                self.tokens_refused += 1;
                if !self.settings.can_renew || self.tokens_refused > TOKENS_REFUSED_MAX {
                    self.fatal(now, "the server refused the token: connect with another one".into());
                }
            }
            Some(code) if !close::may_reconnect(code) => {
                let name = close::name(code);
                // This client knows histories and says so, so only a faulty gateway sends the code.
                let remedy = match code {
                    close::HISTORY => "; a chunk has another history than the client's replica: start the client again",
                    _ => "",
                };
                self.fatal(now, format!("the {socket} server closed the connection for good: {code} ({name}){remedy}"));
            }
            _ => {}
        }
        self.send_hello(now);
        self.finish(now);
    }

    /// Handles a binary message of a server. First all events in the message take effect. Then the
    /// core reports the outcomes of the commands that they have resolved.
    pub fn received(&mut self, now: MonotonicMs, socket: Socket, message: Bytes) {
        if self.connection(socket).phase == Phase::Down {
            return;
        }
        self.connection(socket).received(now);
        match wire::decode_shared::<proto::ServerFrame>(&message) {
            Err(_) => self.reconnect(now, socket, ReconnectReason::Undecodable),
            Ok(frame) => {
                for body in frame.events.into_iter().filter_map(|event| event.body) {
                    // An event may end the connection. Later events of the frame must not count for
                    // the next connection.
                    if self.connection(socket).phase == Phase::Down {
                        break;
                    }
                    self.handle(now, socket, body);
                }
            }
        }
        self.finish(now);
    }

    /// Handles the timers that have expired. The shell calls this method at
    /// [`Self::next_deadline`]. A call at any other time is harmless.
    pub fn tick(&mut self, now: MonotonicMs) {
        for socket in [Socket::Ingest, Socket::Gateway] {
            let Settings { ping_interval_ms, dead_after_ms, .. } = self.settings;
            if self.connection(socket).is_dead(now, dead_after_ms) {
                self.reconnect(now, socket, ReconnectReason::Dead);
                self.send_hello(now);
            }
            self.connection(socket).ping(now, ping_interval_ms);
        }
        if now >= self.renew_at {
            self.request_token(now);
        }
        if self.due > now {
            return self.finish(now);
        }
        let due: Vec<ChunkId> = self.tracked().filter(|chunk| chunk.due <= now).map(|chunk| chunk.id.clone()).collect();
        for chunk in due {
            self.with(now, &chunk, |chunk, turn| chunk.tick(turn));
        }
        self.finish(now);
        self.due = self.earliest_due();
    }

    // ---- output ----

    /// The time at which the shell should call [`Self::tick`] next, because a timer may expire
    /// then. `None` if no timer is set.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonotonicMs> {
        let Settings { ping_interval_ms, dead_after_ms, .. } = self.settings;
        let ingest = self.ingest.deadline(ping_interval_ms, dead_after_ms);
        let gateway = self.gateway.deadline(ping_interval_ms, dead_after_ms);
        let next = self.due.min(ingest).min(gateway).min(self.renew_at);
        (next != MonotonicMs::NEVER).then_some(next)
    }

    /// Takes the next message for a socket. The message is a frame with the queued requests, as
    /// many as the server's limit of a frame allows. `None` if no request is queued.
    pub fn poll_send(&mut self, socket: Socket) -> Option<Bytes> {
        self.connection(socket).take_frame()
    }

    /// Whether [`Self::poll_send`] would return a message.
    #[must_use]
    pub fn has_output(&self, socket: Socket) -> bool {
        match socket {
            Socket::Ingest => self.ingest.has_output(),
            Socket::Gateway => self.gateway.has_output(),
        }
    }

    /// Takes the next event; `None` if no event is queued.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let Some(Event::Outcome { .. }) = event {
            self.pending = self.pending.saturating_sub(1);
        }
        event
    }

    // ---- reading ----

    /// The view of a chunk: the model, the content with the pending commands applied, and the
    /// version of the confirmed replica. `None` until a replica is loaded.
    pub fn view(&mut self, chunk: &ChunkId) -> Option<(&Arc<dyn AnyModel>, &Content, Version)> {
        self.chunks.get_mut(chunk)?.view(&self.settings)
    }

    /// The confirmed replica of a chunk, which no pending command changes. `None` until a replica
    /// is loaded.
    pub fn confirmed(&mut self, chunk: &ChunkId) -> Option<&mut driftless_chunk::replica::Replica> {
        self.chunks.get_mut(chunk)?.replica()
    }

    /// Flips a bit of the confirmed replica, to show that the client finds and heals drift. The
    /// view shows the wrong content until then. Returns false if no replica is loaded, or if no
    /// flipped bit gives a valid content.
    pub fn damage(&mut self, now: MonotonicMs, chunk: &ChunkId) -> bool {
        let is_damaged = self.with(now, chunk, |chunk, _| chunk.damage()).unwrap_or(false);
        self.finish(now);
        is_damaged
    }

    /// The confirmed replica's hash; `None` until a replica is loaded.
    pub fn hash(&mut self, chunk: &ChunkId) -> Option<Hash> {
        self.confirmed(chunk).map(|replica| replica.hash())
    }

    /// A chunk's status; `None` if the chunk is not tracked.
    #[must_use]
    pub fn status(&self, chunk: &ChunkId) -> Option<&ChunkStatus> {
        self.chunks.get(chunk).map(|chunk| chunk.status())
    }

    /// The families that the gateways announced, in the order of their names.
    pub fn families(&self) -> impl Iterator<Item = &proto::Family> {
        self.families.announced()
    }

    /// A family's model, or why this client cannot make it; `None` if no gateway has announced the
    /// family.
    #[must_use]
    pub fn model(&self, family: &str) -> Option<Result<&Arc<dyn AnyModel>, &str>> {
        self.families.model(family)
    }

    /// The number of submitted commands whose outcome the shell has not yet taken with
    /// [`Self::poll_event`].
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// The session; `None` until a server has created one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Whether a server has welcomed this socket.
    #[must_use]
    pub fn is_welcomed(&self, socket: Socket) -> bool {
        match socket {
            Socket::Ingest => self.ingest.is_welcomed(),
            Socket::Gateway => self.gateway.is_welcomed(),
        }
    }

    // ---- ends ----

    /// Closes a socket in the core, and tells the shell to connect it again.
    fn reconnect(&mut self, now: MonotonicMs, socket: Socket, reason: ReconnectReason) {
        self.connection_lost(now, socket);
        self.events.push_back(Event::Reconnect { socket, reason });
    }

    fn connection_lost(&mut self, now: MonotonicMs, socket: Socket) {
        self.connection(socket).close();
        if socket == Socket::Gateway {
            self.with_all(now, |chunk, turn| chunk.gateway_lost(turn));
        }
    }

    /// Ends the client for good because of a fault. `message` is for the user.
    fn fatal(&mut self, now: MonotonicMs, message: String) {
        if self.stopped.is_none() {
            self.stop(now, &message, &never_sent(&message));
            self.events.push_back(Event::Fatal { message });
        }
    }

    fn stop(&mut self, now: MonotonicMs, reason: &str, unsent: &Outcome) {
        self.stopped = Some(reason.to_owned());
        self.ingest.close();
        self.gateway.close();
        self.with_all(now, |chunk, turn| {
            let concluded = chunk.outbox.abandon(reason, unsent);
            chunk.push_outcomes(concluded, turn);
            chunk.fail(reason.to_owned(), turn);
        });
        self.renew_at = MonotonicMs::NEVER;
        self.finish(now);
        self.due = self.earliest_due();
    }

    /// The earliest deadline of all tracked chunks; [`MonotonicMs::NEVER`] if no chunk has one.
    fn earliest_due(&self) -> MonotonicMs {
        self.tracked().fold(MonotonicMs::NEVER, |first, chunk| first.min(chunk.due))
    }

    // ---- turns ----

    fn connection(&mut self, socket: Socket) -> &mut Connection {
        match socket {
            Socket::Ingest => &mut self.ingest,
            Socket::Gateway => &mut self.gateway,
        }
    }

    fn with_named(&mut self, now: MonotonicMs, chunk: &str, f: impl FnOnce(&mut Chunk, &mut Turn<'_>)) {
        if let Ok(chunk) = chunk.parse() {
            self.with(now, &chunk, f);
        }
    }

    /// All tracked chunks, in the order of their ids.
    fn tracked(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.values().map(|chunk| chunk.as_ref())
    }

    fn with_all(&mut self, now: MonotonicMs, mut f: impl FnMut(&mut Chunk, &mut Turn<'_>)) {
        let ids: Vec<ChunkId> = self.tracked().map(|chunk| chunk.id.clone()).collect();
        for id in ids {
            self.with(now, &id, &mut f);
        }
    }

    /// Lets a tracked chunk handle an input with `f`. The caller must then call [`Self::finish`],
    /// which reports the outcomes of the chunk's resolved commands. Returns the result of `f`;
    /// `None` if the chunk is not tracked.
    fn with<R>(&mut self, now: MonotonicMs, id: &ChunkId, f: impl FnOnce(&mut Chunk, &mut Turn<'_>) -> R) -> Option<R> {
        let (mut f, mut result) = (Some(f), None);
        self.turn(now, id, &mut |chunk, turn| result = f.take().map(|f| f(chunk, turn)));
        result
    }

    /// Runs `f` on a chunk. The method is not generic, so that the browser's core contains its code
    /// once and not once per kind of input.
    fn turn(&mut self, now: MonotonicMs, id: &ChunkId, f: &mut dyn FnMut(&mut Chunk, &mut Turn<'_>)) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let is_connected = self.gateway.is_welcomed();
        let mut requests = Vec::new();
        let mut turn = Turn {
            now,
            settings: &self.settings,
            families: &self.families,
            writer: self.writer,
            world: self.world,
            is_connected,
            requests: &mut requests,
            events: &mut self.events,
        };
        f(chunk, &mut turn);
        if !std::mem::replace(&mut chunk.is_touched, true) {
            self.touched.push_back(id.clone());
        }
        if is_connected {
            requests.into_iter().for_each(|body| self.gateway.push(body));
        }
    }

    /// Ends an input. Every chunk that the input touched reports the outcomes of its resolved
    /// commands, and sends the commands that are due.
    fn finish(&mut self, now: MonotonicMs) {
        let can_send = self.ingest.is_welcomed() && !is_other_world(self.ingest.world, self.world);
        while let Some(id) = self.touched.pop_front() {
            let permit = SendPermit { can_send, can_number: !self.is_ending_session };
            let (mut submits, mut floor) = (Vec::new(), None);
            // The chunk is still marked as touched, so `turn` does not enqueue it again.
            self.turn(now, &id, &mut |chunk, turn| floor = chunk.finish(turn, permit, &mut submits));
            submits.into_iter().for_each(|submit| self.ingest.push(request::Body::Submit(submit)));
            if let Some(floor) = floor {
                self.session_after = self.session_after.max(floor);
                self.is_ending_session = true;
            }
            let Some(chunk) = self.chunks.get_mut(&id) else { continue };
            chunk.is_touched = false;
            chunk.due = chunk.deadline(now, permit);
            self.due = self.due.min(chunk.due);
            if chunk.is_removable() {
                self.remove_chunk(&id);
            }
        }
        if self.is_ending_session && !self.has_open_numbers() {
            self.begin_session(now);
            self.finish(now);
        }
    }

    /// Stops tracking a chunk. Keeps the outbox, so that this session does not use its numbers
    /// again.
    fn remove_chunk(&mut self, id: &ChunkId) {
        let Some(chunk) = self.chunks.remove(id) else { return };
        debug_assert!(!chunk.is_touched, "a removed chunk must not be in the list of touched chunks");
        if let Some(untrack) = chunk.untrack_request().filter(|_| self.gateway.is_welcomed()) {
            self.gateway.push(untrack);
        }
        self.untracked_outboxes.insert(id.clone(), chunk.outbox);
    }
}
