//! The core behind its lock, and the signals and channels that its events trigger.
//!
//! Every input to the core goes through [`Shared::update`], which calls the core, takes the events,
//! and wakes the tasks that wait for them. A task holds the lock only for such a call, and never
//! across an await.

use crate::conclusion::Conclusion;
use crate::settings::Settings;
use bytes::Bytes;
use driftless_client_core::{ClientCore, CommandId, Event, Socket};
use driftless_schemas::ChunkId;
use driftless_schemas::time::{MonotonicMs, UnixMs};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, broadcast, oneshot, watch};

/// The number of events that a listener may be behind. A slower listener misses the oldest events.
const EVENTS_MAX: usize = 1_024;

/// The client's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// True while ingest has welcomed the client.
    pub is_ingest_up: bool,
    /// True while a gateway has welcomed the client.
    pub is_gateway_up: bool,
    /// The number of commands without an outcome.
    pub pending: usize,
    /// Why the client ended for good; `None` while it runs.
    pub ended: Option<String>,
}

/// The state behind the lock.
pub(crate) struct State {
    pub core: ClientCore,
    /// The channels through which the futures of pending commands get their outcomes.
    pub outcome_senders: HashMap<CommandId, oneshot::Sender<Conclusion>>,
    /// A counter of each tracked chunk's changes, for tasks that wait for a change.
    pub chunks: HashMap<ChunkId, watch::Sender<u64>>,
}

/// Signals for the task that drives a socket.
#[derive(Default)]
pub(crate) struct SocketSignals {
    /// Notified when the core has messages to send.
    pub output: Notify,
    /// Notified when the connection must be dropped.
    pub drop: Notify,
}

/// The parts of a client that its handles and its background task share.
pub(crate) struct Shared {
    pub settings: Settings,
    state: Mutex<State>,
    started: Instant,
    pub ingest: SocketSignals,
    pub gateway: SocketSignals,
    /// Notified when the next deadline of the core has become earlier.
    pub timer: Notify,
    /// Notified when the core needs a fresh token.
    pub token_needed: Notify,
    pub events: broadcast::Sender<Event>,
    pub status: watch::Sender<Status>,
}

impl Shared {
    pub fn new(settings: Settings) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock_start = UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or_default());
        let core = ClientCore::new(settings.core(clock_start));
        Self {
            settings,
            state: Mutex::new(State { core, outcome_senders: HashMap::new(), chunks: HashMap::new() }),
            started: Instant::now(),
            ingest: SocketSignals::default(),
            gateway: SocketSignals::default(),
            timer: Notify::new(),
            token_needed: Notify::new(),
            events: broadcast::Sender::new(EVENTS_MAX),
            status: watch::Sender::new(Status::default()),
        }
    }

    /// The time of the core's monotonic clock, which starts with the client.
    fn now(&self) -> MonotonicMs {
        MonotonicMs(u64::try_from(self.started.elapsed().as_millis()).unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Ignore poisoning. A panic in a user's model or closure does not leave the core in the
        // middle of an input.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn signals(&self, socket: Socket) -> &SocketSignals {
        match socket {
            Socket::Ingest => &self.ingest,
            Socket::Gateway => &self.gateway,
        }
    }

    /// Hands one input to the core, and dispatches all events that follow from it. Returns the
    /// result of `input`.
    pub fn update<R>(&self, input: impl FnOnce(&mut State, MonotonicMs) -> R) -> R {
        let mut state = self.lock();
        let before = state.core.next_deadline();
        let result = input(&mut state, self.now());
        let mut ended = None;
        while let Some(event) = state.core.poll_event() {
            if let Event::Fatal { message } = &event {
                ended = Some(message.clone());
            }
            self.dispatch(&mut state, event);
        }
        let is_sooner = state.core.next_deadline() < before || before.is_none();
        let status = |socket| state.core.is_welcomed(socket);
        let (is_ingest_up, is_gateway_up) = (status(Socket::Ingest), status(Socket::Gateway));
        let pending = state.core.pending();
        let outputs = [Socket::Ingest, Socket::Gateway].map(|socket| (socket, state.core.has_output(socket)));
        // Under the lock, so that an older status cannot overwrite a newer one.
        self.status.send_if_modified(|status| {
            let ended = ended.or_else(|| status.ended.clone());
            let next = Status { is_ingest_up, is_gateway_up, pending, ended };
            let is_modified = *status != next;
            *status = next;
            is_modified
        });
        drop(state);
        for (socket, _) in outputs.into_iter().filter(|(_, has_output)| *has_output) {
            self.signals(socket).output.notify_one();
        }
        if is_sooner {
            self.timer.notify_one();
        }
        result
    }

    fn dispatch(&self, state: &mut State, event: Event) {
        match &event {
            Event::Outcome { command, outcome, number, is_receipted, .. } => {
                if let Some(waiting) = state.outcome_senders.remove(command) {
                    let conclusion =
                        Conclusion { outcome: outcome.clone(), number: *number, is_receipted: *is_receipted };
                    // The user may have dropped the future of the outcome.
                    let _ = waiting.send(conclusion);
                }
            }
            Event::Changed { chunk, .. } | Event::Status { chunk, .. } => {
                if let Some(changes) = state.chunks.get(chunk) {
                    changes.send_modify(|count| *count += 1);
                }
            }
            Event::Reconnect { socket, reason } => {
                tracing::debug!(?socket, ?reason, "connecting again");
                self.signals(*socket).drop.notify_one();
            }
            Event::TokenNeeded => self.token_needed.notify_one(),
            Event::Drift { chunk, version, .. } => {
                tracing::warn!(%chunk, %version, "the replica differs from the log; loading the chunk again");
            }
            Event::HistoryChanged { chunk, world, history, message } => {
                let (world, history) = (world.map(tracing::field::display), history.map(tracing::field::display));
                tracing::warn!(%chunk, world, history, "{message}; loading the chunk; commands in flight end as unknown");
            }
            Event::Refused { socket, code, message } => {
                tracing::warn!(?socket, ?code, message, "the server refused a request")
            }
            Event::Fatal { message } => tracing::error!(message, "the client ended for good"),
            Event::Welcomed { .. } | Event::Session { .. } | Event::Verified { .. } => {}
        }
        // `send` fails if there are no listeners, and then nothing is lost.
        let _ = self.events.send(event);
    }

    /// Reads from the core. `f` must not call an input method of the core, because this method
    /// dispatches no events.
    pub fn read<R>(&self, f: impl FnOnce(&mut ClientCore) -> R) -> R {
        f(&mut self.lock().core)
    }

    /// The time until the core's next deadline; `None` if no timer of the core is set.
    pub fn next_deadline_in(&self) -> Option<Duration> {
        let deadline = self.lock().core.next_deadline()?;
        Some(self.now().until(deadline))
    }

    /// Takes the next message for a socket; `None` if no request waits.
    pub fn poll_send(&self, socket: Socket) -> Option<Bytes> {
        self.lock().core.poll_send(socket)
    }

    pub fn is_ended(&self) -> bool {
        self.status.borrow().ended.is_some()
    }

    /// Ends the client at the user's request.
    pub fn close(&self) {
        self.update(|state, now| state.core.close(now));
        self.status.send_modify(|status| {
            status.ended.get_or_insert_with(|| "the client was closed".into());
        });
    }
}
