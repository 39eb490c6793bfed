//! Tests of the client's rules one by one. Each test is a list of inputs and the expected outputs.

use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_client_core::{ChunkStatus, ClientCore, CommandId, Event, Number, Outcome, Settings, Socket};
use driftless_scenes::client::{CHUNK, Server, chunk, frame, put, requests};
use driftless_schemas::proto::{self, Receipt, RejectCode, Rejected, Retry, TrackRejectCode, event, request, tracked};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Hash, Seq, Version, WriterId, close};

/// A client core, and the server that the test plays for it.
struct TestClient {
    core: ClientCore,
    server: Server,
    now: MonotonicMs,
    writer: WriterId,
    /// The index of the next record to send on the gateway's stream.
    sent: usize,
    count: usize,
}

impl TestClient {
    /// A connected client whose chunk is live.
    fn new() -> Self {
        Self::with(Settings::new(Models::builtin()))
    }

    fn with(settings: Settings) -> Self {
        let mut core = ClientCore::new(settings);
        core.track(MonotonicMs(1_000), &chunk());
        let mut client =
            Self { core, server: Server::new(), now: MonotonicMs(1_000), writer: WriterId([0; 16]), sent: 0, count: 0 };
        client.connect(Socket::Ingest);
        client.connect(Socket::Gateway);
        assert_eq!(client.tracks().len(), 1);
        client.tracked();
        client.events();
        client
    }

    fn connect(&mut self, socket: Socket) {
        self.core.connected(self.now, socket, "token".into());
        let [request::Body::Hello(hello)] = &self.requests(socket)[..] else { panic!("no Hello") };
        let (welcome, writer) = self.server.hello(self.now.0, hello, "ann");
        self.writer = writer;
        self.say(socket, [event::Body::Welcome(welcome)]);
    }

    fn requests(&mut self, socket: Socket) -> Vec<request::Body> {
        std::iter::from_fn(|| self.core.poll_send(socket)).flat_map(requests).collect()
    }

    fn tracks(&mut self) -> Vec<proto::Track> {
        let requests = self.requests(Socket::Gateway);
        requests
            .into_iter()
            .filter_map(|r| if let request::Body::Track(track) = r { Some(track) } else { None })
            .collect()
    }

    /// Takes the client's submissions to ingest, each as (seq, after, true if it is a Settle).
    fn submits(&mut self) -> Vec<(u64, u64, bool)> {
        self.take_submits()
            .iter()
            .map(|s| (s.seq, s.after, matches!(s.body, Some(proto::submit::Body::Settle(_)))))
            .collect()
    }

    fn take_submits(&mut self) -> Vec<proto::Submit> {
        let requests = self.requests(Socket::Ingest);
        requests.into_iter().filter_map(|r| if let request::Body::Submit(s) = r { Some(s) } else { None }).collect()
    }

    fn say(&mut self, socket: Socket, bodies: impl IntoIterator<Item = event::Body>) {
        self.core.received(self.now, socket, frame(bodies));
    }

    fn tracked(&mut self) {
        let at = self.server.records.len() - 1;
        let version = self.core.confirmed(&chunk()).map_or(0, |replica| replica.version().0);
        let mut bodies = vec![self.server.tracked(at, self.writer)];
        bodies.extend(self.server.updates_above(version, 0, at));
        self.say(Socket::Gateway, bodies);
        self.sent = at + 1;
    }

    /// Appends the submissions to the log, decides them, and sends the outcomes.
    fn decide(&mut self, submits: &[proto::Submit]) {
        submits.iter().for_each(|submit| self.server.append(self.writer, submit));
        self.server.decide(usize::MAX);
        while self.sent < self.server.records.len() {
            let live = self.server.live(self.sent, self.writer, false).into_iter();
            live.for_each(|bytes| self.core.received(self.now, Socket::Gateway, bytes));
            self.sent += 1;
        }
    }

    fn submit(&mut self, key: &str) -> CommandId {
        self.count += 1;
        let name = format!("{key} {}", self.count);
        self.core.submit(self.now, &chunk(), put(key, &name, false)).unwrap()
    }

    fn submit_many(&mut self, count: usize) {
        for _ in 0..count {
            self.submit("a");
        }
    }

    fn rejected(&mut self, seq: u64, code: RejectCode, retry: Retry, retry_after_ms: u32) {
        let (code, retry) = (code.into(), retry.into());
        let rejected = Rejected { chunk_id: CHUNK.into(), seq, code, retry, retry_after_ms, message: "no".into() };
        self.say(Socket::Ingest, [event::Body::Rejected(rejected)]);
    }

    fn refuse(&mut self, seq: u64) {
        self.rejected(seq, RejectCode::NoWriteAccess, Retry::Final, 0);
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.core.tick(self.now);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
        let outcome = |event| match event {
            Event::Outcome { command, outcome, .. } => Some((command.0, outcome)),
            _ => None,
        };
        self.events().into_iter().filter_map(outcome).collect()
    }

    /// Takes the client's outcome events, each as (command, seq, `is_receipted`).
    fn numbers(&mut self) -> Vec<(u64, Option<u64>, bool)> {
        let writer = self.writer;
        let number = |event| match event {
            Event::Outcome { command, number, is_receipted, .. } => {
                assert!(number.is_none_or(|number| number == Number { writer, ..number }));
                Some((command.0, number.map(|Number { seq: Seq(seq), .. }| seq), is_receipted))
            }
            _ => None,
        };
        self.events().into_iter().filter_map(number).collect()
    }

    fn status(&self) -> &ChunkStatus {
        self.core.status(&chunk()).unwrap()
    }

    fn shows(&mut self, key: &str) -> bool {
        let (model, content, _) = self.core.view(&chunk()).unwrap();
        model.content_to_json(content).to_string().contains(key)
    }
}

fn committed(version: u64) -> Outcome {
    Outcome::Committed { version: Some(Version(version)) }
}

fn receipt(seq: u64) -> event::Body {
    event::Body::Receipt(Receipt { chunk_id: CHUNK.into(), seq })
}

#[test]
fn an_edit_is_shown_at_once_and_committed_at_its_version() {
    let mut client = TestClient::new();
    assert_eq!(client.status(), &ChunkStatus::Live);
    client.submit("a");
    assert!(client.shows("\"a\""));
    let submits = client.take_submits();
    client.decide(&submits);
    assert_eq!(client.outcomes(), [(1, committed(1))]);
    assert!(client.shows("\"a\""));
}

#[test]
fn r8_a_receipt_is_no_decision_and_receipted_commands_are_sent_again() {
    let mut client = TestClient::new();
    client.submit("a");
    assert_eq!(client.submits(), [(1, 0, false)]);
    client.say(Socket::Ingest, [receipt(1)]);
    client.wait(2_999);
    assert_eq!(client.submits(), []);
    client.wait(1);
    assert_eq!(client.submits(), [(1, 0, false)]);
    client.wait(3_000);
    assert_eq!(client.submits(), [], "the delay did not grow");
    client.wait(3_000);
    assert_eq!(client.submits(), [(1, 0, false)]);
    assert_eq!(client.outcomes(), []);
}

#[test]
fn an_outcome_names_the_number_and_says_whether_it_was_receipted() {
    let mut client = TestClient::new();
    client.submit_many(2);
    let submits = client.take_submits();
    client.say(Socket::Ingest, [receipt(2), receipt(77)]);
    client.decide(&submits);
    assert_eq!(client.numbers(), [(1, Some(1), false), (2, Some(2), true)]);
    // A command that was never sent has no number.
    client.core.disconnected(client.now, Socket::Ingest, None);
    let id = client.submit("a");
    client.core.cancel(client.now, &chunk(), id);
    assert_eq!(client.numbers(), [(3, None, false)]);
    // A command that ends with its session ends under its number.
    client.connect(Socket::Ingest);
    client.submit("a");
    client.submits();
    client.core.disconnected(client.now, Socket::Ingest, Some(close::SESSION));
    assert_eq!(client.numbers(), [(4, Some(3), false)]);
}

#[test]
fn r8_a_new_ingest_connection_gets_everything_unresolved() {
    let mut client = TestClient::new();
    client.submit_many(3);
    assert_eq!(client.submits().len(), 3);
    client.say(Socket::Ingest, [receipt(1), receipt(2)]);
    client.core.disconnected(client.now, Socket::Ingest, None);
    client.connect(Socket::Ingest);
    assert_eq!(client.submits(), [(1, 0, false), (2, 1, false), (3, 2, false)]);
}

#[test]
fn r8_63_numbers_are_out_and_the_64th_is_for_settle() {
    let mut client = TestClient::new();
    let ids: Vec<_> = (0..70).map(|_| client.submit("a")).collect();
    assert_eq!(client.submits().len(), 63);
    // All 63 were lost. The other 7 never had a number.
    for id in ids {
        client.core.cancel(client.now, &chunk(), id);
    }
    assert_eq!(client.outcomes().len(), 7);
    let settle = client.take_submits();
    assert_eq!((settle.len(), settle[0].seq, settle[0].after), (1, 64, 0));
    client.decide(&settle);
    let outcomes = client.outcomes();
    assert_eq!(outcomes.len(), 63);
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Withdrawn));
}

#[test]
fn r8_a_finally_rejected_command_is_skipped_and_not_sent_again() {
    let mut client = TestClient::new();
    client.submit_many(3);
    client.submits();
    client.refuse(2);
    let refused = Outcome::Rejected { code: RejectCode::NoWriteAccess, message: "no".into() };
    assert_eq!(client.outcomes(), [(2, refused)]);
    assert_eq!(client.submits(), [(1, 0, false), (3, 1, false)], "`after` of 3 named 2, so 3 is sent again");
}

#[test]
fn r8_a_refused_resend_is_not_final_and_a_decision_beats_it() {
    let mut client = TestClient::new();
    client.submit("a");
    let first = client.take_submits();
    client.wait(3_000);
    assert_eq!(client.submits().len(), 1);
    client.refuse(1);
    assert_eq!(client.outcomes(), [], "the first transmission may be in the log");
    assert!(!client.shows("\"a\""), "the refused command must leave the view");
    assert_eq!(client.submits(), [(2, 0, true)], "without a Settle its outcome would never be known");
    client.decide(&first);
    assert_eq!(client.outcomes(), [(1, committed(1))]);
    assert!(client.shows("\"a\""));
}

#[test]
fn r8_a_refused_resend_whose_first_transmission_was_lost_ends_as_rejected() {
    let mut client = TestClient::new();
    client.submit("a");
    client.submits();
    client.wait(3_000);
    client.submits();
    client.refuse(1);
    let settle = client.take_submits();
    client.decide(&settle);
    assert!(matches!(client.outcomes()[..], [(1, Outcome::Rejected { .. })]));
}

#[test]
fn r8_a_cancelled_command_is_withdrawn_only_when_its_bit_is_known() {
    let mut client = TestClient::new();
    let id = client.submit("a");
    client.submits();
    client.core.cancel(client.now, &chunk(), id);
    assert_eq!(client.submits(), [(2, 0, true)]);
    assert!(!client.shows("\"a\""));
    assert_eq!(client.outcomes(), []);
    client.submit("b");
    let next = client.take_submits();
    assert_eq!((next[0].seq, next[0].after), (3, 2));
    client.wait(3_000);
    let again = client.take_submits();
    assert_eq!(again.iter().map(|s| (s.seq, s.after)).collect::<Vec<_>>(), [(2, 0), (3, 2)]);
    client.decide(&again);
    assert_eq!(client.outcomes(), [(1, Outcome::Withdrawn), (2, committed(1))]);
}

#[test]
fn r8_a_cancelled_command_that_was_decided_is_committed() {
    let mut client = TestClient::new();
    let id = client.submit("a");
    let first = client.take_submits();
    client.core.cancel(client.now, &chunk(), id);
    let settle = client.take_submits();
    client.decide(&[first, settle].concat());
    assert_eq!(client.outcomes(), [(1, committed(1))]);
}

#[test]
fn r8_after_a_retryable_rejection_within_a_burst_the_rest_is_sent_again_once() {
    let mut client = TestClient::new();
    client.submit_many(50);
    let burst = client.take_submits();
    assert_eq!(burst.len(), 50);
    client.rejected(20, RejectCode::RateLimited, Retry::After, 400);
    // All others are in the log: 1 to 19 are decided, 21 to 50 are out of order.
    let others: Vec<_> = burst.into_iter().filter(|s| s.seq != 20).collect();
    client.decide(&others);
    assert_eq!(client.outcomes().len(), 19);
    client.submit("b");
    client.wait(399);
    assert_eq!(client.submits(), []);
    client.wait(1);
    let again = client.take_submits();
    assert_eq!(again.iter().map(|s| s.seq).collect::<Vec<_>>(), (20..=51).collect::<Vec<_>>());
    client.decide(&again);
    assert_eq!(client.outcomes().len(), 32);
    assert_eq!(client.core.pending(), 0);
    client.wait(60_000);
    assert_eq!(client.submits(), []);
}

#[test]
fn r8_out_of_order_outcomes_do_not_cause_a_storm_of_resends() {
    let mut client = TestClient::new();
    client.submit_many(40);
    let lost = client.take_submits();
    let mut sent = 0;
    for _ in 0..200 {
        client.server.append(client.writer, &lost[30]);
        client.decide(&[]);
        sent += client.submits().len() / 40;
        client.wait(10);
    }
    assert!((2..=5).contains(&sent), "{sent} resends in 2 s");
}

#[test]
fn r8_tracked_tells_the_outcomes_of_commands_decided_while_disconnected() {
    let mut client = TestClient::new();
    client.submit_many(3);
    let submits = client.take_submits();
    client.core.disconnected(client.now, Socket::Gateway, None);
    submits[..2].iter().for_each(|submit| client.server.append(client.writer, submit));
    client.server.decide(9);
    client.connect(Socket::Gateway);
    let tracks = client.tracks();
    assert_eq!(tracks[0].have.as_ref().map(|have| have.version), Some(0));
    let at = client.server.records.len() - 1;
    // Tracked has the ledger's bits. The view keeps both commands until the replica contains them.
    let tracked = client.server.tracked(at, client.writer);
    client.say(Socket::Gateway, [tracked]);
    assert_eq!(client.outcomes(), []);
    let snapshot = client.server.chunk(at);
    client.say(Socket::Gateway, [snapshot]);
    let unversioned = Outcome::Committed { version: None };
    assert_eq!(client.outcomes(), [(1, unversioned.clone()), (2, unversioned)]);
    assert_eq!(client.core.pending(), 1);
}

#[test]
fn r8_expired_in_tracked_means_unknown_but_in_the_stream_it_means_a_resend_under_a_new_session() {
    let mut client = TestClient::new();
    client.submit("a");
    let first = client.take_submits();
    let session = client.core.session();
    client.server.fill_ledger(client.now.0);
    client.server.fill_ledger(client.now.0);
    client.decide(&first);
    let is_reconnect = |event: &Event| matches!(event, Event::Reconnect { .. });
    assert_eq!(client.events().iter().filter(|event| is_reconnect(event)).count(), 2);
    assert_eq!(client.core.pending(), 1);
    // The server's clock is slow: the client's Hello names the floor that the session must exceed.
    client.now.0 -= 500;
    client.connect(Socket::Gateway);
    client.connect(Socket::Ingest);
    client.now.0 += 500;
    assert_ne!(client.core.session(), session);
    client.tracked();
    let again = client.take_submits();
    assert_eq!((again[0].seq, again[0].after), (1, 0));
    client.decide(&again);
    assert_eq!(client.outcomes(), [(1, committed(1))]);

    client.submit("b");
    client.submits();
    let tracked = proto::Tracked {
        chunk_id: CHUNK.into(),
        version: 1,
        hash: client.server.newest().hash.to_bytes(),
        resolved: Some(tracked::Resolved::Expired(proto::ResolvedExpired {})),
        ..proto::Tracked::default()
    };
    client.say(Socket::Gateway, [event::Body::Tracked(tracked)]);
    assert!(matches!(client.outcomes()[..], [(2, Outcome::Unknown { .. })]));
    client.wait(60_000);
    assert_eq!(client.submits(), []);
}

#[test]
fn r9_missing_updates_are_requested_once_and_lost_outcomes_are_requested_too() {
    let mut client = TestClient::new();
    client.submit("a");
    let submits = client.take_submits();
    client.server.append(client.writer, &submits[0]);
    client.server.decide(1);
    client.sent = client.server.records.len();
    for key in ["b", "c"] {
        client.submit(key);
        let next = client.take_submits();
        client.decide(&next);
    }
    let refreshes = client.requests(Socket::Gateway);
    assert!(matches!(&refreshes[..], [request::Body::Refresh(refresh)] if refresh.version == 0), "{refreshes:?}");
    assert_eq!(client.outcomes(), [], "the replica does not show them yet");
    let missing = client.server.updates_above(0, 0, client.server.records.len() - 1);
    client.say(Socket::Gateway, missing);
    assert_eq!(client.outcomes(), [(1, committed(1)), (2, committed(2)), (3, committed(3))]);
    assert_eq!(client.status(), &ChunkStatus::Live);

    // If a discard never arrives, the client tracks the chunk again after some resends.
    let absent = put("a", "x", true);
    client.core.submit(client.now, &chunk(), absent).unwrap();
    let submits = client.take_submits();
    client.server.append(client.writer, &submits[0]);
    client.server.decide(1);
    (0..22).for_each(|_| client.wait(1_000));
    assert!(!client.tracks().is_empty());
    client.tracked();
    assert!(matches!(client.outcomes()[..], [(4, Outcome::Discarded { .. })]));
}

#[test]
fn r10_drift_is_reported_and_reloaded_a_limited_number_of_times() {
    let mut client = TestClient::new();
    client.submit("a");
    let submits = client.take_submits();
    client.decide(&submits);
    let wrong = |version| {
        let beacon = proto::Beacon { chunk_id: CHUNK.into(), version, hash: Hash([7; 32]).to_bytes() };
        event::Body::Beacons(proto::Beacons { beacons: vec![beacon] })
    };
    client.say(Socket::Gateway, [wrong(0)]);
    assert!(client.requests(Socket::Gateway).is_empty(), "a beacon of another version proves no drift");
    for _ in 0..3 {
        client.say(Socket::Gateway, [wrong(1)]);
        let requests = client.requests(Socket::Gateway);
        assert!(
            matches!(&requests[..], [request::Body::DriftReport(_), request::Body::Untrack(_), request::Body::Track(track)] if track.have.is_none()),
            "{requests:?}"
        );
        assert!(matches!(client.status(), ChunkStatus::Reloading { .. }));
        let at = client.server.records.len() - 1;
        let bodies = [client.server.tracked(at, client.writer), client.server.chunk(at)];
        client.say(Socket::Gateway, bodies);
        assert_eq!(client.status(), &ChunkStatus::Live);
    }
    client.submit("b");
    client.submits();
    client.say(Socket::Gateway, [wrong(1)]);
    assert!(matches!(client.status(), ChunkStatus::Failed { .. }));
    assert!(matches!(client.outcomes()[..], [_, (2, Outcome::Unknown { .. })]));
    assert!(client.core.view(&chunk()).is_none());
}

#[test]
fn r12_a_healthy_replica_is_never_replaced_by_an_older_one() {
    let mut client = TestClient::new();
    for key in ["a", "b"] {
        client.submit(key);
        let submits = client.take_submits();
        client.decide(&submits);
    }
    let old = client.server.chunk(1);
    client.say(Socket::Gateway, [old]);
    assert_eq!(client.core.confirmed(&chunk()).unwrap().version(), Version(2));
}

#[test]
fn r7_a_chunk_that_is_too_large_or_has_another_hash_is_rejected() {
    let mut client = TestClient::new();
    client.submit("a");
    let submits = client.take_submits();
    submits.iter().for_each(|submit| client.server.append(client.writer, submit));
    client.server.decide(1);
    let bomb = zstd::encode_all(&vec![0; 2 << 20][..], 1).unwrap();
    for data in [bomb, zstd::encode_all(&b"other"[..], 1).unwrap(), b"no zstd".to_vec()] {
        let event::Body::Chunk(mut message) = client.server.chunk(1) else { panic!() };
        message.data = data.into();
        client.say(Socket::Gateway, [event::Body::Chunk(message)]);
        assert!(matches!(client.status(), ChunkStatus::Reloading { .. }));
        let tracked = client.server.tracked(1, client.writer);
        client.say(Socket::Gateway, [tracked]);
    }
    let good = client.server.chunk(1);
    client.say(Socket::Gateway, [good]);
    assert_eq!(client.status(), &ChunkStatus::Live);
}

#[test]
fn r12_a_chunk_that_is_unavailable_keeps_its_replica_and_is_tracked_again() {
    let mut client = TestClient::new();
    let unavailable = |message: &str| {
        let code = TrackRejectCode::Unavailable.into();
        [event::Body::TrackRejected(proto::TrackRejected { chunk_id: CHUNK.into(), code, message: message.into() })]
    };
    for wait_ms in [1_000, 2_000, 4_000] {
        client.say(Socket::Gateway, unavailable("partition 3"));
        assert_eq!(client.status(), &ChunkStatus::Unavailable { message: "partition 3".into() });
        assert!(client.core.view(&chunk()).is_some());
        client.wait(wait_ms - 1);
        assert!(client.tracks().is_empty());
        client.wait(1);
        let [proto::Track { have: Some(_), .. }] = &client.tracks()[..] else { panic!("no Track with `have`") };
    }
    client.tracked();
    assert_eq!(client.status(), &ChunkStatus::Live);
    // A new connection may lead to a gateway that serves the chunk, so the reason is not shown any
    // more.
    client.say(Socket::Gateway, unavailable("partition 3"));
    client.core.disconnected(client.now, Socket::Gateway, Some(close::DEAD_PEER));
    assert_eq!(client.status(), &ChunkStatus::Lagging);
}

#[test]
fn a_rejected_track_drops_replica_and_commands_and_reports_it() {
    let mut client = TestClient::new();
    client.submit("a");
    client.submits();
    let code = TrackRejectCode::NoReadAccess;
    let message = proto::TrackRejected { chunk_id: CHUNK.into(), code: code.into(), message: "no".into() };
    client.say(Socket::Gateway, [event::Body::TrackRejected(message)]);
    assert!(matches!(client.outcomes()[..], [(1, Outcome::Unknown { .. })]));
    assert_eq!(client.status(), &ChunkStatus::Rejected { code, message: "no".into() });
    assert!(client.core.view(&chunk()).is_none());
    assert!(client.core.submit(client.now, &chunk(), Bytes::new()).is_err());
    // If the user tracks the chunk again, numbers continue where they stopped.
    client.core.track(client.now, &chunk());
    assert_eq!(client.tracks().len(), 1);
    client.tracked();
    client.submit("b");
    assert_eq!(client.submits(), [(2, 0, false)]);
}

#[test]
fn untrack_waits_for_pending_commands_and_numbers_are_never_used_again() {
    let mut client = TestClient::new();
    client.submit("a");
    let submits = client.take_submits();
    client.core.untrack(client.now, &chunk());
    assert!(client.requests(Socket::Gateway).is_empty());
    client.decide(&submits);
    assert_eq!(client.outcomes(), [(1, committed(1))]);
    assert!(matches!(client.requests(Socket::Gateway)[..], [request::Body::Untrack(_)]));
    assert!(client.core.status(&chunk()).is_none());
    client.core.track(client.now, &chunk());
    client.tracked();
    client.submit("b");
    assert_eq!(client.submits(), [(2, 1, false)]);
}

#[test]
fn a_final_close_ends_every_command() {
    let mut client = TestClient::new();
    client.submit("a");
    client.core.disconnected(client.now, Socket::Ingest, None);
    client.submit("b");
    client.core.disconnected(client.now, Socket::Gateway, Some(close::UPGRADE_NEEDED));
    let outcomes = client.outcomes();
    assert!(matches!(outcomes[..], [(1, Outcome::Unknown { .. }), (2, Outcome::Rejected { .. })]), "{outcomes:?}");
    assert_eq!(client.core.next_deadline(), None);
}

#[test]
fn the_client_sends_pings_and_drops_a_silent_socket() {
    let mut client = TestClient::new();
    client.wait(10_000);
    for socket in [Socket::Ingest, Socket::Gateway] {
        assert!(matches!(client.requests(socket)[..], [request::Body::Ping(_)]));
    }
    client.wait(15_000);
    assert_eq!(client.events().iter().filter(|event| matches!(event, Event::Reconnect { .. })).count(), 2);
}

/// A faulty server names numbers that the client never gave out. The client must not send commands
/// that ingest would then refuse for good.
#[test]
fn r8_numbers_that_were_never_given_out_do_not_change_after() {
    let mut client = TestClient::new();
    let resolved = Some(tracked::Resolved::Ledger(proto::Resolved { seq: 87, committed_bits: 0 }));
    let hash = client.core.hash(&chunk()).unwrap().to_bytes();
    let tracked = proto::Tracked { chunk_id: CHUNK.into(), version: 0, hash, resolved, ..proto::Tracked::default() };
    client.say(Socket::Gateway, [event::Body::Tracked(tracked)]);
    client.submit("a");
    assert_eq!(client.submits(), [(1, 0, false)]);
}

#[test]
fn events_after_the_end_of_a_connection_or_before_its_welcome_are_ignored() {
    let mut client = TestClient::new();
    let drifted = || beacon_of(&[9; 32]);
    client.say(Socket::Gateway, [event::Body::Updates(Bytes::from_static(b"\xff")), drifted()]);
    let is_drift = |event: &Event| matches!(event, Event::Drift { .. });
    assert!(!client.events().iter().any(is_drift), "the first event ended the connection");
    client.core.connected(client.now, Socket::Gateway, "token".into());
    client.say(Socket::Gateway, [drifted()]);
    assert!(!client.events().iter().any(is_drift));
    // No timer may be due for work that needs a connection.
    let at = client.core.next_deadline().unwrap();
    client.core.tick(at);
    assert!(client.core.next_deadline().is_none_or(|next| next > at));
}

fn beacon_of(hash: &[u8; 32]) -> event::Body {
    let beacon = proto::Beacon { chunk_id: CHUNK.into(), version: 0, hash: Bytes::copy_from_slice(hash) };
    event::Body::Beacons(proto::Beacons { beacons: vec![beacon] })
}

#[test]
fn a_token_that_never_expires_can_be_renewed() {
    let mut client = TestClient::with(Settings { can_renew: true, ..Settings::new(Models::builtin()) });
    client.say(Socket::Gateway, [event::Body::Renewed(proto::Renewed { token_expires_at: i64::MAX })]);
    client.now.0 += 1_000;
    client.core.renew(client.now, "another".into());
    assert!(client.core.next_deadline().is_some_and(|at| at > client.now));
}

/// A client that can take its two newest commits back.
fn undoing() -> TestClient {
    TestClient::with(Settings { undo_max: 2, ..Settings::new(Models::builtin()) })
}

#[test]
fn a_commit_is_taken_back_once() {
    let mut client = undoing();
    let id = client.submit("a");
    let submits = client.take_submits();
    assert!(client.core.take_back(client.now, &chunk(), id).unwrap().is_empty(), "the command is not committed yet");
    client.decide(&submits);
    assert_eq!(client.outcomes(), [(1, committed(1))]);
    assert_eq!(client.core.take_back(client.now, &chunk(), id).unwrap(), [CommandId(2)]);
    assert!(!client.shows("\"a\""), "the view must not show the key any more");
    assert!(client.core.take_back(client.now, &chunk(), id).unwrap().is_empty(), "the commit was taken back already");
    let submits = client.take_submits();
    client.decide(&submits);
    assert_eq!(client.outcomes(), [(2, committed(2))]);
    // The inverse is a commit like any other, and can be taken back too.
    assert_eq!(client.core.take_back(client.now, &chunk(), CommandId(2)).unwrap(), [CommandId(3)]);
    assert!(client.shows("\"a\""));
}

#[test]
fn an_inverse_restores_the_content_at_the_commit_and_not_at_the_prediction() {
    let mut client = undoing();
    let id = client.submit("a");
    let mine = client.take_submits();
    // Another client puts the same key; its command comes first in the log.
    let other = WriterId([9; 16]);
    let theirs =
        proto::Submit { body: Some(proto::submit::Body::Command(put("a", "theirs", false))), ..mine[0].clone() };
    client.server.append(other, &theirs);
    client.decide(&mine);
    assert_eq!(client.outcomes(), [(1, committed(2))]);
    client.core.take_back(client.now, &chunk(), id).unwrap();
    assert!(client.shows("theirs"));
}

#[test]
fn only_the_newest_commits_can_be_taken_back() {
    let mut client = undoing();
    let ids: Vec<CommandId> = ["a", "b", "c"].map(|key| client.submit(key)).into();
    let submits = client.take_submits();
    client.decide(&submits);
    let taken = ids.iter().map(|id| client.core.take_back(client.now, &chunk(), *id).unwrap().len());
    assert_eq!(taken.collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn r10_the_last_hash_of_a_frame_counts_and_drift_is_reported_before_any_outcome() {
    let mut client = TestClient::new();
    for key in ["a", "b", "c"] {
        client.submit(key);
    }
    let submits = client.take_submits();
    submits.iter().for_each(|submit| client.server.append(client.writer, submit));
    client.server.decide(usize::MAX);
    let at = client.server.records.len() - 1;
    let bodies = client.server.updates_above(0, 0, at);
    let with_hash = |body: &event::Body, hash: [u8; 32]| {
        let event::Body::Updates(bytes) = body else { panic!("no updates") };
        let mut updates: proto::Updates = prost::Message::decode(bytes.clone()).unwrap();
        updates.state_hash = Hash(hash).to_bytes();
        driftless_scenes::client::updates(&updates)
    };
    let (last, before) = bodies.split_last().unwrap();
    let mut frame: Vec<_> = before.iter().map(|body| with_hash(body, [7; 32])).collect();
    frame.push(with_hash(last, [8; 32]));
    client.say(Socket::Gateway, frame);
    let events = client.events();
    let drift = events.iter().position(
        |event| matches!(event, Event::Drift { version: Version(3), expected: Some(hash), .. } if hash.0 == [8; 32]),
    );
    let first_outcome = events.iter().position(|event| matches!(event, Event::Outcome { .. }));
    assert!(drift.is_some(), "{events:?}");
    assert!(
        first_outcome.is_none_or(|at| Some(at) > drift),
        "a drifted replica must not conclude commands: {events:?}"
    );
    assert!(matches!(client.status(), ChunkStatus::Reloading { .. }));
}

#[test]
fn r10_a_matching_beacon_is_reported_and_the_next_one_finds_damage() {
    let mut client = TestClient::new();
    client.submit("a");
    let submits = client.take_submits();
    client.decide(&submits);
    client.events();
    let beacon = client.server.beacon(client.server.records.len() - 1);
    client.say(Socket::Gateway, [beacon.clone()]);
    assert!(matches!(client.events()[..], [Event::Verified { version: Version(1), .. }]));
    assert!(client.core.damage(client.now, &chunk()));
    assert!(matches!(client.events()[..], [Event::Changed { .. }]), "the view shows the damaged content");
    client.say(Socket::Gateway, [beacon]);
    assert!(client.events().iter().any(|event| matches!(event, Event::Drift { .. })));
    assert!(matches!(client.status(), ChunkStatus::Reloading { .. }));
}
