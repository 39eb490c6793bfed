//! Tests of what a client does when a chunk's history changes, or the world behind the servers.
//! Each test is a list of inputs and the expected outputs.

use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_client_core::{ChunkStatus, ClientCore, CommandId, Event, Outcome, ReconnectReason, Settings, Socket};
use driftless_scenes::client::{CHUNK, Server, chunk, frame, put, requests};
use driftless_schemas::proto::{self, TrackRejectCode, event, request, tracked};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{HistoryId, Version, WorldId, WriterId, close, features};

const SECOND: HistoryId = HistoryId([2; 16]);
const THIRD: HistoryId = HistoryId([3; 16]);
const ALPHA: WorldId = WorldId([0xa; 16]);
const BETA: WorldId = WorldId([0xb; 16]);

/// A client core, and the server that the test plays for it.
struct TestClient {
    core: ClientCore,
    server: Server,
    now: MonotonicMs,
    writer: WriterId,
    hellos: Vec<proto::Hello>,
    edits: usize,
}

impl TestClient {
    /// A client whose chunk is live, in a world that has an id.
    fn new() -> Self {
        Self::in_world(Some(ALPHA))
    }

    fn in_world(world: Option<WorldId>) -> Self {
        let settings = Settings { undo_max: 8, ..Settings::new(Models::builtin()) };
        let mut server = Server::new();
        server.world = world;
        let mut client = Self {
            core: ClientCore::new(settings),
            server,
            now: MonotonicMs(1_000),
            writer: WriterId([0; 16]),
            hellos: Vec::new(),
            edits: 0,
        };
        client.core.track(client.now, &chunk());
        client.connect(Socket::Ingest);
        client.connect(Socket::Gateway);
        client.answer_track();
        client.events();
        client
    }

    fn connect(&mut self, socket: Socket) {
        self.connect_to(socket, self.server.world);
    }

    /// Connects to a server that names this world.
    fn connect_to(&mut self, socket: Socket, world: Option<WorldId>) {
        self.core.connected(self.now, socket, "token".into());
        let sent = self.requests(socket);
        let [request::Body::Hello(hello)] = &sent[..] else { panic!("no Hello: {sent:?}") };
        let (mut welcome, writer) = self.server.hello(self.now.0, hello, "ann");
        welcome.world_id = world.map(WorldId::to_bytes).unwrap_or_default();
        self.hellos.push(hello.clone());
        self.writer = writer;
        self.say(socket, [event::Body::Welcome(welcome)]);
    }

    fn disconnect(&mut self, socket: Socket) {
        self.core.disconnected(self.now, socket, None);
    }

    fn requests(&mut self, socket: Socket) -> Vec<request::Body> {
        std::iter::from_fn(|| self.core.poll_send(socket)).flat_map(requests).collect()
    }

    /// Takes the Track that the client sent, and answers like a gateway that has read the whole
    /// log. Returns the `have` of the Track.
    fn answer_track(&mut self) -> Option<proto::Have> {
        let track = self.requests(Socket::Gateway).into_iter().find_map(|request| match request {
            request::Body::Track(track) => Some(track),
            _ => None,
        });
        let have = track.expect("the client must send Track").have;
        let at = self.server.records.len() - 1;
        let bodies = match &have {
            Some(have) if self.server.knows(have, at) => self.server.updates_above(have.version, 0, at),
            _ if self.server.newest().version == 0 => Vec::new(),
            _ => vec![self.server.chunk(at)],
        };
        let tracked = self.server.tracked(at, self.writer);
        self.say(Socket::Gateway, std::iter::once(tracked).chain(bodies));
        have
    }

    /// Sends Tracked and the content unasked, like a gateway after it has read a fence that begins
    /// a new history.
    fn tell_history(&mut self) {
        let at = self.server.records.len() - 1;
        let mut bodies = vec![self.server.tracked(at, self.writer)];
        if self.server.newest().version > 0 {
            bodies.push(self.server.chunk(at));
        }
        self.say(Socket::Gateway, bodies);
    }

    fn say(&mut self, socket: Socket, bodies: impl IntoIterator<Item = event::Body>) {
        self.core.received(self.now, socket, frame(bodies));
    }

    fn edit(&mut self, key: &str) -> CommandId {
        self.edits += 1;
        let value = format!("{key} {}", self.edits);
        self.core.submit(self.now, &chunk(), put(key, &value, false)).unwrap()
    }

    fn submits(&mut self) -> Vec<proto::Submit> {
        let sent = self.requests(Socket::Ingest).into_iter();
        sent.filter_map(|request| if let request::Body::Submit(submit) = request { Some(submit) } else { None })
            .collect()
    }

    /// Takes the client's submissions, each as (seq, after).
    fn numbers(&mut self) -> Vec<(u64, u64)> {
        self.submits().iter().map(|submit| (submit.seq, submit.after)).collect()
    }

    /// Appends the client's submissions to the log, decides them, and sends the outcomes.
    fn commit(&mut self) {
        for submit in self.submits() {
            self.server.append(self.writer, &submit);
            self.server.decide(1);
            let at = self.server.records.len() - 1;
            let bytes = self.server.live(at, self.writer, false).expect("a decision");
            self.core.received(self.now, Socket::Gateway, bytes);
        }
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    fn shows(&mut self, key: &str) -> bool {
        let Some((model, content, _)) = self.core.view(&chunk()) else { return false };
        model.content_to_json(content).to_string().contains(key)
    }

    fn status(&self) -> &ChunkStatus {
        self.core.status(&chunk()).unwrap()
    }
}

/// The changes of history among these events, each as (world, history).
fn changes(events: &[Event]) -> Vec<(Option<WorldId>, Option<HistoryId>)> {
    let change = |event: &Event| match event {
        Event::HistoryChanged { world, history, .. } => Some((*world, *history)),
        _ => None,
    };
    events.iter().filter_map(change).collect()
}

fn outcomes(events: Vec<Event>) -> Vec<(u64, Outcome)> {
    let outcome = |event| match event {
        Event::Outcome { command, outcome, .. } => Some((command.0, outcome)),
        _ => None,
    };
    events.into_iter().filter_map(outcome).collect()
}

fn committed(version: u64) -> Outcome {
    Outcome::Committed { version: Some(Version(version)) }
}

/// Whether a command ended as unknown because the history changed.
fn is_lost(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { reason } if reason.contains("history changed"))
}

#[test]
fn hello_says_that_the_client_knows_histories() {
    let client = TestClient::new();
    assert!(client.hellos.iter().all(|hello| hello.features & features::HISTORIES != 0));
}

#[test]
fn have_names_the_history_of_the_replica() {
    let mut client = TestClient::new();
    client.server.begin_history(SECOND, 1, 0);
    client.tell_history();
    client.edit("a");
    client.commit();
    client.disconnect(Socket::Gateway);
    client.connect(Socket::Gateway);
    let have = client.answer_track().expect("a healthy replica");
    assert_eq!((have.version, have.history), (1, SECOND.to_field()));
    assert_eq!(changes(&client.events()), [(Some(ALPHA), Some(SECOND))]);
}

#[test]
fn another_history_drops_the_replica_and_is_reported_once() {
    let mut client = TestClient::new();
    for key in ["a", "b"] {
        client.edit(key);
        client.commit();
    }
    client.events();
    client.server.begin_history(SECOND, 2, 0);
    let at = client.server.records.len() - 1;
    let tracked = client.server.tracked(at, client.writer);
    client.say(Socket::Gateway, [tracked.clone()]);
    assert_eq!(client.status(), &ChunkStatus::Loading);
    assert!(client.core.confirmed(&chunk()).is_none(), "the replica belongs to the old history");
    let events = client.events();
    assert_eq!(changes(&events), [(Some(ALPHA), Some(SECOND))]);
    assert!(events.contains(&Event::Changed { chunk: chunk(), version: Version(0) }), "the view is gone: {events:?}");
    let content = client.server.chunk(at);
    client.say(Socket::Gateway, [content]);
    assert_eq!(client.status(), &ChunkStatus::Live);
    assert!(client.shows("a 1") && !client.shows("b 2"), "the second commit was lost");
    // Another Tracked of the same history, and a new connection, are no news.
    client.say(Socket::Gateway, [tracked]);
    client.disconnect(Socket::Gateway);
    client.connect(Socket::Gateway);
    client.answer_track();
    assert_eq!(changes(&client.events()), []);
    assert_eq!(client.status(), &ChunkStatus::Live);
}

#[test]
fn a_lower_version_of_a_new_history_is_taken_and_not_held_against_r12() {
    let mut client = TestClient::new();
    for key in ["a", "b", "c"] {
        client.edit(key);
        client.commit();
    }
    client.server.begin_history(SECOND, 1, 0);
    // The gateway stops tracking the chunk until it has loaded the new history.
    let code = TrackRejectCode::Unavailable.into();
    let message = proto::TrackRejected { chunk_id: CHUNK.into(), code, message: "a new history".into() };
    client.say(Socket::Gateway, [event::Body::TrackRejected(message)]);
    client.now = client.now.plus_ms(1_000);
    client.core.tick(client.now);
    let have = client.answer_track().expect("the client does not know yet");
    assert_eq!((have.version, have.history), (3, HistoryId::FIRST.to_field()));
    assert_eq!(client.core.confirmed(&chunk()).unwrap().version(), Version(0));
    assert_eq!(client.status(), &ChunkStatus::Live);
    assert_eq!(changes(&client.events()), [(Some(ALPHA), Some(SECOND))]);
}

#[test]
fn a_history_with_a_lower_id_is_taken_too_because_the_server_decides() {
    let mut client = TestClient::new();
    client.server.begin_history(THIRD, 1, 0);
    client.tell_history();
    client.server.begin_history(SECOND, 1, 0);
    client.tell_history();
    assert_eq!(changes(&client.events()), [(Some(ALPHA), Some(THIRD)), (Some(ALPHA), Some(SECOND))]);
    assert_eq!(client.status(), &ChunkStatus::Live);
}

#[test]
fn what_was_sent_and_not_concluded_ends_as_unknown() {
    let mut client = TestClient::new();
    client.edit("a");
    client.edit("b");
    assert_eq!(client.numbers(), [(1, 0), (2, 1)]);
    client.server.begin_history(SECOND, 1, 0);
    client.tell_history();
    let events = client.events();
    let change = events.iter().position(|event| matches!(event, Event::HistoryChanged { .. }));
    let outcome = events.iter().position(|event| matches!(event, Event::Outcome { .. }));
    assert!(change < outcome, "the user must hear the reason first: {events:?}");
    let outcomes = outcomes(events);
    assert_eq!(outcomes.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
    assert!(outcomes.iter().all(|(_, outcome)| is_lost(outcome)), "{outcomes:?}");
    assert_eq!(client.core.pending(), 0);
    assert!(!client.shows("a 1"), "a command with an outcome is not predicted");
    client.now = client.now.plus_ms(60_000);
    client.core.tick(client.now);
    assert_eq!(client.numbers(), [], "a command that may be in the log is not sent again");
}

#[test]
fn a_commit_that_was_not_concluded_in_the_old_history_ends_as_unknown() {
    let mut client = TestClient::new();
    client.edit("a");
    let submits = client.submits();
    client.server.append(client.writer, &submits[0]);
    client.server.decide(1);
    // The commit and the new history, which has lost it, arrive in one frame.
    let at = client.server.records.len() - 1;
    let mut bodies = client.server.updates_above(0, 0, at);
    client.server.begin_history(SECOND, 1, 0);
    bodies.push(client.server.tracked(client.server.records.len() - 1, client.writer));
    client.say(Socket::Gateway, bodies);
    let outcomes = outcomes(client.events());
    assert!(matches!(&outcomes[..], [(1, outcome)] if is_lost(outcome)), "{outcomes:?}");
}

#[test]
fn a_conclusion_of_the_old_history_is_not_taken_back() {
    let mut client = TestClient::new();
    client.edit("a");
    client.commit();
    assert_eq!(outcomes(client.events()), [(1, committed(1))]);
    client.server.begin_history(SECOND, 1, 0);
    client.tell_history();
    assert_eq!(outcomes(client.events()), []);
}

#[test]
fn what_was_never_sent_commits_in_the_new_history() {
    let mut client = TestClient::new();
    client.edit("a");
    client.submits();
    client.disconnect(Socket::Ingest);
    client.edit("b");
    client.server.begin_history(SECOND, 1, 0);
    client.tell_history();
    assert!(client.shows("b 2"), "the new content predicts the kept command");
    assert!(matches!(&outcomes(client.events())[..], [(1, outcome)] if is_lost(outcome)));
    client.connect(Socket::Ingest);
    client.commit();
    assert_eq!(outcomes(client.events()), [(2, committed(1))]);
}

#[test]
fn r8_after_starts_from_the_ledger_of_the_new_history_and_no_number_is_used_again() {
    let mut client = TestClient::new();
    for key in ["a", "b", "c"] {
        client.edit(key);
        client.commit();
    }
    client.edit("d");
    assert_eq!(client.numbers(), [(4, 3)]);
    // The new history knows the first of the client's four numbers.
    client.server.begin_history(SECOND, 2, 0);
    client.tell_history();
    client.events();
    client.edit("e");
    let submits = client.submits();
    assert_eq!((submits[0].seq, submits[0].after), (5, 1));
    client.server.append(client.writer, &submits[0]);
    client.server.decide(1);
    let at = client.server.records.len() - 1;
    let bytes = client.server.live(at, client.writer, false).unwrap();
    client.core.received(client.now, Socket::Gateway, bytes);
    assert_eq!(outcomes(client.events()), [(5, committed(2))]);
}

#[test]
fn r8_a_late_transmission_of_the_old_history_takes_no_effect_away_from_a_new_command() {
    let mut client = TestClient::new();
    client.edit("late");
    let late = client.submits();
    client.server.begin_history(SECOND, 1, 0);
    client.tell_history();
    client.events();
    // The old command reaches the log of the new history, before the client's next one.
    client.server.append(client.writer, &late[0]);
    client.edit("next");
    let next = client.submits();
    assert_eq!(next[0].seq, 2);
    client.server.append(client.writer, &next[0]);
    client.server.decide(2);
    let at = client.server.records.len() - 1;
    let bytes = client.server.live(at, client.writer, false).unwrap();
    client.core.received(client.now, Socket::Gateway, bytes);
    assert_eq!(outcomes(client.events()), [(2, committed(2))], "the late command stays unknown");
}

#[test]
fn r8_a_new_history_that_has_forgotten_the_session_gets_a_new_session() {
    let mut client = TestClient::new();
    client.edit("a");
    client.submits();
    client.disconnect(Socket::Ingest);
    client.edit("kept");
    let session = client.core.session();
    client.server.begin_history(SECOND, 1, 0);
    client.server.fill_ledger(client.now.0);
    client.server.fill_ledger(client.now.0);
    client.server.decide(usize::MAX);
    let at = client.server.records.len() - 1;
    let event::Body::Tracked(told) = client.server.tracked(at, client.writer) else { panic!() };
    assert!(matches!(told.resolved, Some(tracked::Resolved::Expired(_))));
    client.say(Socket::Gateway, [event::Body::Tracked(told)]);
    assert!(matches!(&outcomes(client.events())[..], [(1, outcome)] if is_lost(outcome)));
    // The stream proves that the kept command was not decided, so a new session sends it again.
    client.connect(Socket::Ingest);
    let submits = client.submits();
    assert_eq!((submits[0].seq, submits[0].after), (2, 0));
    client.server.append(client.writer, &submits[0]);
    client.server.decide(1);
    let at = client.server.records.len() - 1;
    let bytes = client.server.live(at, client.writer, false).unwrap();
    client.core.received(client.now, Socket::Gateway, bytes);
    client.connect(Socket::Gateway);
    client.connect(Socket::Ingest);
    assert_ne!(client.core.session(), session);
    client.answer_track();
    client.commit();
    assert_eq!(outcomes(client.events()), [(2, committed(1))]);
}

#[test]
fn commits_of_the_old_history_cannot_be_taken_back() {
    let mut client = TestClient::new();
    let id = client.edit("a");
    client.commit();
    client.server.begin_history(SECOND, 1, 0);
    client.tell_history();
    assert!(client.core.take_back(client.now, &chunk(), id).unwrap().is_empty());
}

#[test]
fn a_chunk_that_is_tracked_again_has_its_numbers_and_meets_the_new_history() {
    let mut client = TestClient::new();
    for key in ["a", "b"] {
        client.edit(key);
        client.commit();
    }
    client.core.untrack(client.now, &chunk());
    client.requests(Socket::Gateway);
    client.events();
    client.server.begin_history(SECOND, 1, 0);
    client.core.track(client.now, &chunk());
    assert_eq!(client.answer_track(), None);
    assert_eq!(changes(&client.events()), [(Some(ALPHA), Some(SECOND))]);
    client.edit("c");
    assert_eq!(client.numbers(), [(3, 0)], "`after` 2 would never be decided in the new history");
}

#[test]
fn a_malformed_history_reloads_the_chunk() {
    let mut client = TestClient::new();
    let event::Body::Tracked(mut tracked) = client.server.tracked(0, client.writer) else { panic!() };
    tracked.history = Bytes::from_static(b"short");
    client.say(Socket::Gateway, [event::Body::Tracked(tracked)]);
    assert!(matches!(client.status(), ChunkStatus::Reloading { .. }));
    assert_eq!(changes(&client.events()), []);
}

#[test]
fn another_world_begins_every_chunk_anew_and_is_reported_once_for_each() {
    let mut client = TestClient::new();
    let other: driftless_schemas::ChunkId = "things/1/0".parse().unwrap();
    client.core.track(client.now, &other);
    client.requests(Socket::Gateway);
    let event::Body::Tracked(mut tracked) = client.server.tracked(0, client.writer) else { panic!() };
    tracked.chunk_id = other.to_string();
    client.say(Socket::Gateway, [event::Body::Tracked(tracked)]);
    // The gateway has answered no Track of the third chunk, so nothing of it can be lost.
    client.core.track(client.now, &"things/2/0".parse().unwrap());
    client.edit("a");
    client.commit();
    client.edit("sent");
    client.submits();
    client.events();

    client.disconnect(Socket::Ingest);
    client.disconnect(Socket::Gateway);
    client.edit("unsent");
    client.server.begin_world(BETA, HistoryId::FIRST);
    client.connect(Socket::Gateway);
    let events = client.events();
    assert_eq!(changes(&events), [(Some(BETA), None), (Some(BETA), None)]);
    assert_eq!(client.status(), &ChunkStatus::Loading);
    let outcomes_now = outcomes(events);
    assert!(matches!(&outcomes_now[..], [(2, outcome)] if is_lost(outcome)), "{outcomes_now:?}");
    assert_eq!(client.answer_track(), None, "the replica is of the old world");
    assert_eq!(changes(&client.events()), [], "the first Tracked of the new world is no second change");
    assert_eq!(client.status(), &ChunkStatus::Live);
    client.connect(Socket::Ingest);
    let submits = client.submits();
    assert_eq!((submits[0].seq, submits[0].after), (3, 0));
    client.server.append(client.writer, &submits[0]);
    client.server.decide(1);
    let bytes = client.server.live(1, client.writer, false).unwrap();
    client.core.received(client.now, Socket::Gateway, bytes);
    assert_eq!(outcomes(client.events()), [(3, committed(1))]);
}

#[test]
fn nothing_is_sent_to_another_world_before_its_gateway_has_served_the_chunk() {
    let mut client = TestClient::new();
    client.disconnect(Socket::Gateway);
    client.disconnect(Socket::Ingest);
    client.edit("a");
    client.server.begin_world(BETA, HistoryId::FIRST);
    client.connect(Socket::Ingest);
    assert_eq!(client.numbers(), [], "`after` and number belong to the world that the gateway named");
    client.connect(Socket::Gateway);
    assert_eq!(client.numbers(), [], "the ledger of the new world is not known yet");
    client.answer_track();
    assert_eq!(client.numbers(), [(1, 0)]);
}

#[test]
fn an_ingest_of_another_world_than_the_gateway_gets_nothing_and_is_left() {
    let mut client = TestClient::new();
    client.disconnect(Socket::Ingest);
    client.edit("a");
    client.connect_to(Socket::Ingest, Some(BETA));
    assert_eq!(client.requests(Socket::Ingest), []);
    let left = Event::Reconnect { socket: Socket::Ingest, reason: ReconnectReason::OtherWorld };
    assert!(client.events().contains(&left));
    client.connect(Socket::Ingest);
    assert_eq!(client.numbers(), [(1, 0)]);
    // The gateway's world changes while the client is connected to an ingest of the old world.
    client.disconnect(Socket::Gateway);
    client.events();
    client.server.begin_world(BETA, HistoryId::FIRST);
    client.connect(Socket::Gateway);
    assert!(client.events().contains(&left));
    client.edit("b");
    client.answer_track();
    client.connect(Socket::Ingest);
    assert_eq!(client.numbers(), [(2, 0)]);
}

#[test]
fn a_world_that_gets_an_id_stays_the_same_world() {
    let mut client = TestClient::in_world(None);
    client.edit("a");
    client.commit();
    client.edit("sent");
    client.submits();
    client.events();
    // An operator raises the world's format, and the servers are restarted one after the other.
    client.server.world = Some(ALPHA);
    for world in [Some(ALPHA), None, Some(ALPHA)] {
        client.disconnect(Socket::Gateway);
        client.connect_to(Socket::Gateway, world);
        assert_eq!(client.answer_track().map(|have| have.version), Some(1));
    }
    assert_eq!(client.numbers(), [], "the connection to ingest still stands");
    client.disconnect(Socket::Ingest);
    client.connect_to(Socket::Ingest, Some(ALPHA));
    client.commit();
    let events = client.events();
    assert_eq!(changes(&events), []);
    assert_eq!(outcomes(events), [(2, committed(2))]);
}

#[test]
fn a_malformed_world_id_is_a_message_that_cannot_be_decoded() {
    let mut client = TestClient::new();
    client.disconnect(Socket::Gateway);
    client.core.connected(client.now, Socket::Gateway, "token".into());
    let sent = client.requests(Socket::Gateway);
    let [request::Body::Hello(hello)] = &sent[..] else { panic!("no Hello") };
    let (mut welcome, _) = client.server.hello(client.now.0, hello, "ann");
    welcome.world_id = Bytes::from_static(b"short");
    client.say(Socket::Gateway, [event::Body::Welcome(welcome)]);
    let undecodable = Event::Reconnect { socket: Socket::Gateway, reason: ReconnectReason::Undecodable };
    assert!(client.events().contains(&undecodable));
}

#[test]
fn a_close_for_the_history_ends_the_client_and_says_what_to_do() {
    let mut client = TestClient::new();
    client.core.disconnected(client.now, Socket::Gateway, Some(close::HISTORY));
    let events = client.events();
    let is_clear = |event: &Event| matches!(event, Event::Fatal { message } if message.contains("4505 (history)") && message.contains("start the client again"));
    assert!(events.iter().any(is_clear), "{events:?}");
}
