//! The rules one by one: a list of inputs, and what must come out.

mod server;

use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_client_core::{ChunkStatus, ClientCore, CommandId, Event, Number, Outcome, Settings, Socket};
use driftless_schemas::proto::{self, Receipt, RejectCode, Rejected, Retry, TrackRejectCode, event, request, tracked};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Hash, Seq, Version, WriterId, close};
use server::{CHUNK, Server, chunk, frame, put, requests};

struct Desk {
    core: ClientCore,
    server: Server,
    now: MonotonicMs,
    writer: WriterId,
    /// The next record for the gateway's stream.
    sent: usize,
    count: usize,
}

impl Desk {
    /// A client that follows the chunk.
    fn new() -> Self {
        Self::with(Settings::new(Models::builtin()))
    }

    fn with(settings: Settings) -> Self {
        let mut core = ClientCore::new(settings);
        core.track(MonotonicMs(1_000), &chunk());
        let mut desk =
            Self { core, server: Server::new(), now: MonotonicMs(1_000), writer: WriterId([0; 16]), sent: 0, count: 0 };
        desk.connect(Socket::Ingest);
        desk.connect(Socket::Gateway);
        assert_eq!(desk.tracks().len(), 1);
        desk.tracked();
        desk.events();
        desk
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

    /// (seq, after, whether it is a Settle) of what goes to ingest.
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

    /// Appends, decides and sends the outcomes.
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

    /// (command, seq, receipted) of what ended.
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
    let mut desk = Desk::new();
    assert_eq!(desk.status(), &ChunkStatus::Live);
    desk.submit("a");
    assert!(desk.shows("\"a\""));
    let submits = desk.take_submits();
    desk.decide(&submits);
    assert_eq!(desk.outcomes(), [(1, committed(1))]);
    assert!(desk.shows("\"a\""));
}

#[test]
fn r8_a_receipt_is_no_decision_and_receipted_commands_are_sent_again() {
    let mut desk = Desk::new();
    desk.submit("a");
    assert_eq!(desk.submits(), [(1, 0, false)]);
    desk.say(Socket::Ingest, [receipt(1)]);
    desk.wait(2_999);
    assert_eq!(desk.submits(), []);
    desk.wait(1);
    assert_eq!(desk.submits(), [(1, 0, false)]);
    desk.wait(3_000);
    assert_eq!(desk.submits(), [], "the wait grows");
    desk.wait(3_000);
    assert_eq!(desk.submits(), [(1, 0, false)]);
    assert_eq!(desk.outcomes(), []);
}

#[test]
fn an_outcome_names_the_number_and_says_whether_it_was_receipted() {
    let mut desk = Desk::new();
    desk.submit_many(2);
    let submits = desk.take_submits();
    desk.say(Socket::Ingest, [receipt(2), receipt(77)]);
    desk.decide(&submits);
    assert_eq!(desk.numbers(), [(1, Some(1), false), (2, Some(2), true)]);
    // Never sent, so without a number.
    desk.core.disconnected(desk.now, Socket::Ingest, None);
    let id = desk.submit("a");
    desk.core.cancel(desk.now, &chunk(), id);
    assert_eq!(desk.numbers(), [(3, None, false)]);
    // What ends with its session ends under its number.
    desk.connect(Socket::Ingest);
    desk.submit("a");
    desk.submits();
    desk.core.disconnected(desk.now, Socket::Ingest, Some(close::SESSION));
    assert_eq!(desk.numbers(), [(4, Some(3), false)]);
}

#[test]
fn r8_a_new_ingest_connection_gets_everything_unresolved() {
    let mut desk = Desk::new();
    desk.submit_many(3);
    assert_eq!(desk.submits().len(), 3);
    desk.say(Socket::Ingest, [receipt(1), receipt(2)]);
    desk.core.disconnected(desk.now, Socket::Ingest, None);
    desk.connect(Socket::Ingest);
    assert_eq!(desk.submits(), [(1, 0, false), (2, 1, false), (3, 2, false)]);
}

#[test]
fn r8_63_numbers_are_out_and_the_64th_is_for_settle() {
    let mut desk = Desk::new();
    let ids: Vec<_> = (0..70).map(|_| desk.submit("a")).collect();
    assert_eq!(desk.submits().len(), 63);
    // All of them were lost. The waiting ones never had a number.
    for id in ids {
        desk.core.cancel(desk.now, &chunk(), id);
    }
    assert_eq!(desk.outcomes().len(), 7);
    let settle = desk.take_submits();
    assert_eq!((settle.len(), settle[0].seq, settle[0].after), (1, 64, 0));
    desk.decide(&settle);
    let outcomes = desk.outcomes();
    assert_eq!(outcomes.len(), 63);
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Withdrawn));
}

#[test]
fn r8_a_command_that_was_refused_for_good_is_skipped_and_not_sent_again() {
    let mut desk = Desk::new();
    desk.submit_many(3);
    desk.submits();
    desk.refuse(2);
    let refused = Outcome::Rejected { code: RejectCode::NoWriteAccess, message: "no".into() };
    assert_eq!(desk.outcomes(), [(2, refused)]);
    assert_eq!(desk.submits(), [(1, 0, false), (3, 1, false)], "3 pointed at 2");
}

#[test]
fn r8_a_refused_resend_is_not_final_and_a_decision_beats_it() {
    let mut desk = Desk::new();
    desk.submit("a");
    let first = desk.take_submits();
    desk.wait(3_000);
    assert_eq!(desk.submits().len(), 1);
    desk.refuse(1);
    assert_eq!(desk.outcomes(), [], "the first transmission may be in the log");
    assert!(!desk.shows("\"a\""), "it left the view");
    assert_eq!(desk.submits(), [(2, 0, true)], "nothing else would tell what became of it");
    desk.decide(&first);
    assert_eq!(desk.outcomes(), [(1, committed(1))]);
    assert!(desk.shows("\"a\""));
}

#[test]
fn r8_a_refused_resend_whose_first_transmission_was_lost_ends_as_rejected() {
    let mut desk = Desk::new();
    desk.submit("a");
    desk.submits();
    desk.wait(3_000);
    desk.submits();
    desk.refuse(1);
    let settle = desk.take_submits();
    desk.decide(&settle);
    assert!(matches!(desk.outcomes()[..], [(1, Outcome::Rejected { .. })]));
}

#[test]
fn r8_a_cancelled_command_is_withdrawn_only_when_its_bit_is_known() {
    let mut desk = Desk::new();
    let id = desk.submit("a");
    desk.submits();
    desk.core.cancel(desk.now, &chunk(), id);
    assert_eq!(desk.submits(), [(2, 0, true)]);
    assert!(!desk.shows("\"a\""));
    assert_eq!(desk.outcomes(), []);
    desk.submit("b");
    let next = desk.take_submits();
    assert_eq!((next[0].seq, next[0].after), (3, 2));
    desk.wait(3_000);
    let again = desk.take_submits();
    assert_eq!(again.iter().map(|s| (s.seq, s.after)).collect::<Vec<_>>(), [(2, 0), (3, 2)]);
    desk.decide(&again);
    assert_eq!(desk.outcomes(), [(1, Outcome::Withdrawn), (2, committed(1))]);
}

#[test]
fn r8_a_cancelled_command_that_was_decided_is_committed() {
    let mut desk = Desk::new();
    let id = desk.submit("a");
    let first = desk.take_submits();
    desk.core.cancel(desk.now, &chunk(), id);
    let settle = desk.take_submits();
    desk.decide(&[first, settle].concat());
    assert_eq!(desk.outcomes(), [(1, committed(1))]);
}

#[test]
fn r8_a_retryable_rejection_within_a_burst_is_waited_for_and_all_is_sent_again_once() {
    let mut desk = Desk::new();
    desk.submit_many(50);
    let burst = desk.take_submits();
    assert_eq!(burst.len(), 50);
    desk.rejected(20, RejectCode::RateLimited, Retry::After, 400);
    // The others are in the log: 1 to 19 are decided, 21 to 50 are out of order.
    let others: Vec<_> = burst.into_iter().filter(|s| s.seq != 20).collect();
    desk.decide(&others);
    assert_eq!(desk.outcomes().len(), 19);
    desk.submit("b");
    desk.wait(399);
    assert_eq!(desk.submits(), []);
    desk.wait(1);
    let again = desk.take_submits();
    assert_eq!(again.iter().map(|s| s.seq).collect::<Vec<_>>(), (20..=51).collect::<Vec<_>>());
    desk.decide(&again);
    assert_eq!(desk.outcomes().len(), 32);
    assert_eq!(desk.core.pending(), 0);
    desk.wait(60_000);
    assert_eq!(desk.submits(), []);
}

#[test]
fn r8_out_of_order_outcomes_make_no_storm() {
    let mut desk = Desk::new();
    desk.submit_many(40);
    let lost = desk.take_submits();
    let mut sent = 0;
    for _ in 0..200 {
        desk.server.append(desk.writer, &lost[30]);
        desk.decide(&[]);
        sent += desk.submits().len() / 40;
        desk.wait(10);
    }
    assert!((2..=5).contains(&sent), "{sent} resends in 2 s");
}

#[test]
fn r8_tracked_tells_what_became_of_commands_while_nobody_listened() {
    let mut desk = Desk::new();
    desk.submit_many(3);
    let submits = desk.take_submits();
    desk.core.disconnected(desk.now, Socket::Gateway, None);
    submits[..2].iter().for_each(|submit| desk.server.append(desk.writer, submit));
    desk.server.decide(9);
    desk.connect(Socket::Gateway);
    let tracks = desk.tracks();
    assert_eq!(tracks[0].have.as_ref().map(|have| have.version), Some(0));
    let at = desk.server.records.len() - 1;
    // First the bits: the view keeps both until the replica has them.
    let tracked = desk.server.tracked(at, desk.writer);
    desk.say(Socket::Gateway, [tracked]);
    assert_eq!(desk.outcomes(), []);
    let snapshot = desk.server.chunk(at);
    desk.say(Socket::Gateway, [snapshot]);
    let unversioned = Outcome::Committed { version: None };
    assert_eq!(desk.outcomes(), [(1, unversioned.clone()), (2, unversioned)]);
    assert_eq!(desk.core.pending(), 1);
}

#[test]
fn r8_expired_in_tracked_is_unknown_but_in_the_stream_it_is_submitted_again_under_a_new_session() {
    let mut desk = Desk::new();
    desk.submit("a");
    let first = desk.take_submits();
    let session = desk.core.session();
    desk.server.crowd(desk.now.0);
    desk.server.crowd(desk.now.0);
    desk.decide(&first);
    let is_reconnect = |event: &Event| matches!(event, Event::Reconnect { .. });
    assert_eq!(desk.events().iter().filter(|event| is_reconnect(event)).count(), 2);
    assert_eq!(desk.core.pending(), 1);
    // The server's clock is slow; the client names the floor.
    desk.now.0 -= 500;
    desk.connect(Socket::Gateway);
    desk.connect(Socket::Ingest);
    desk.now.0 += 500;
    assert_ne!(desk.core.session(), session);
    desk.tracked();
    let again = desk.take_submits();
    assert_eq!((again[0].seq, again[0].after), (1, 0));
    desk.decide(&again);
    assert_eq!(desk.outcomes(), [(1, committed(1))]);

    desk.submit("b");
    desk.submits();
    let tracked = proto::Tracked {
        chunk_id: CHUNK.into(),
        version: 1,
        hash: desk.server.newest().hash.to_bytes(),
        resolved: Some(tracked::Resolved::Expired(proto::ResolvedExpired {})),
    };
    desk.say(Socket::Gateway, [event::Body::Tracked(tracked)]);
    assert!(matches!(desk.outcomes()[..], [(2, Outcome::Unknown { .. })]));
    desk.wait(60_000);
    assert_eq!(desk.submits(), []);
}

#[test]
fn r9_a_gap_is_asked_for_once_and_lost_outcomes_are_asked_for_too() {
    let mut desk = Desk::new();
    desk.submit("a");
    let submits = desk.take_submits();
    desk.server.append(desk.writer, &submits[0]);
    desk.server.decide(1);
    desk.sent = desk.server.records.len();
    for key in ["b", "c"] {
        desk.submit(key);
        let next = desk.take_submits();
        desk.decide(&next);
    }
    let refreshes = desk.requests(Socket::Gateway);
    assert!(matches!(&refreshes[..], [request::Body::Refresh(refresh)] if refresh.version == 0), "{refreshes:?}");
    assert_eq!(desk.outcomes(), [], "nobody shows them yet");
    let missing = desk.server.updates_above(0, 0, desk.server.records.len() - 1);
    desk.say(Socket::Gateway, missing);
    assert_eq!(desk.outcomes(), [(1, committed(1)), (2, committed(2)), (3, committed(3))]);
    assert_eq!(desk.status(), &ChunkStatus::Live);

    // A discard that never comes: after some resends the gateway is asked.
    let absent = put("a", "x", true);
    desk.core.submit(desk.now, &chunk(), absent).unwrap();
    let submits = desk.take_submits();
    desk.server.append(desk.writer, &submits[0]);
    desk.server.decide(1);
    (0..22).for_each(|_| desk.wait(1_000));
    assert!(!desk.tracks().is_empty());
    desk.tracked();
    assert!(matches!(desk.outcomes()[..], [(4, Outcome::Discarded { .. })]));
}

#[test]
fn r10_drift_is_reported_and_reloaded_but_not_for_ever() {
    let mut desk = Desk::new();
    desk.submit("a");
    let submits = desk.take_submits();
    desk.decide(&submits);
    let wrong = |version| {
        let beacon = proto::Beacon { chunk_id: CHUNK.into(), version, hash: Hash([7; 32]).to_bytes() };
        event::Body::Beacons(proto::Beacons { beacons: vec![beacon] })
    };
    desk.say(Socket::Gateway, [wrong(0)]);
    assert!(desk.requests(Socket::Gateway).is_empty(), "a beacon of another version says nothing");
    for _ in 0..3 {
        desk.say(Socket::Gateway, [wrong(1)]);
        let requests = desk.requests(Socket::Gateway);
        assert!(
            matches!(&requests[..], [request::Body::DriftReport(_), request::Body::Untrack(_), request::Body::Track(track)] if track.have.is_none()),
            "{requests:?}"
        );
        assert!(matches!(desk.status(), ChunkStatus::Reloading { .. }));
        let at = desk.server.records.len() - 1;
        let bodies = [desk.server.tracked(at, desk.writer), desk.server.chunk(at)];
        desk.say(Socket::Gateway, bodies);
        assert_eq!(desk.status(), &ChunkStatus::Live);
    }
    desk.submit("b");
    desk.submits();
    desk.say(Socket::Gateway, [wrong(1)]);
    assert!(matches!(desk.status(), ChunkStatus::Failed { .. }));
    assert!(matches!(desk.outcomes()[..], [_, (2, Outcome::Unknown { .. })]));
    assert!(desk.core.view(&chunk()).is_none());
}

#[test]
fn r12_a_healthy_replica_is_never_replaced_by_an_older_one() {
    let mut desk = Desk::new();
    for key in ["a", "b"] {
        desk.submit(key);
        let submits = desk.take_submits();
        desk.decide(&submits);
    }
    let old = desk.server.chunk(1);
    desk.say(Socket::Gateway, [old]);
    assert_eq!(desk.core.confirmed(&chunk()).unwrap().version(), Version(2));
}

#[test]
fn r7_a_chunk_that_is_too_large_or_has_another_hash_is_not_used() {
    let mut desk = Desk::new();
    desk.submit("a");
    let submits = desk.take_submits();
    submits.iter().for_each(|submit| desk.server.append(desk.writer, submit));
    desk.server.decide(1);
    let bomb = zstd::encode_all(&vec![0; 2 << 20][..], 1).unwrap();
    for data in [bomb, zstd::encode_all(&b"other"[..], 1).unwrap(), b"no zstd".to_vec()] {
        let event::Body::Chunk(mut message) = desk.server.chunk(1) else { panic!() };
        message.data = data.into();
        desk.say(Socket::Gateway, [event::Body::Chunk(message)]);
        assert!(matches!(desk.status(), ChunkStatus::Reloading { .. }));
        let tracked = desk.server.tracked(1, desk.writer);
        desk.say(Socket::Gateway, [tracked]);
    }
    let good = desk.server.chunk(1);
    desk.say(Socket::Gateway, [good]);
    assert_eq!(desk.status(), &ChunkStatus::Live);
}

#[test]
fn a_rejected_track_drops_everything_and_says_so() {
    let mut desk = Desk::new();
    desk.submit("a");
    desk.submits();
    let code = TrackRejectCode::NoReadAccess;
    let message = proto::TrackRejected { chunk_id: CHUNK.into(), code: code.into(), message: "no".into() };
    desk.say(Socket::Gateway, [event::Body::TrackRejected(message)]);
    assert!(matches!(desk.outcomes()[..], [(1, Outcome::Unknown { .. })]));
    assert_eq!(desk.status(), &ChunkStatus::Rejected { code, message: "no".into() });
    assert!(desk.core.view(&chunk()).is_none());
    assert!(desk.core.submit(desk.now, &chunk(), Bytes::new()).is_err());
    // Asked again, numbers go on where they were.
    desk.core.track(desk.now, &chunk());
    assert_eq!(desk.tracks().len(), 1);
    desk.tracked();
    desk.submit("b");
    assert_eq!(desk.submits(), [(2, 0, false)]);
}

#[test]
fn untrack_waits_for_the_own_commands_and_numbers_are_never_used_again() {
    let mut desk = Desk::new();
    desk.submit("a");
    let submits = desk.take_submits();
    desk.core.untrack(desk.now, &chunk());
    assert!(desk.requests(Socket::Gateway).is_empty());
    desk.decide(&submits);
    assert_eq!(desk.outcomes(), [(1, committed(1))]);
    assert!(matches!(desk.requests(Socket::Gateway)[..], [request::Body::Untrack(_)]));
    assert!(desk.core.status(&chunk()).is_none());
    desk.core.track(desk.now, &chunk());
    desk.tracked();
    desk.submit("b");
    assert_eq!(desk.submits(), [(2, 1, false)]);
}

#[test]
fn a_final_close_ends_every_command() {
    let mut desk = Desk::new();
    desk.submit("a");
    desk.core.disconnected(desk.now, Socket::Ingest, None);
    desk.submit("b");
    desk.core.disconnected(desk.now, Socket::Gateway, Some(close::UPGRADE_NEEDED));
    let outcomes = desk.outcomes();
    assert!(matches!(outcomes[..], [(1, Outcome::Unknown { .. }), (2, Outcome::Rejected { .. })]), "{outcomes:?}");
    assert_eq!(desk.core.next_deadline(), None);
}

#[test]
fn a_silent_socket_is_given_up_and_pings_go_out() {
    let mut desk = Desk::new();
    desk.wait(10_000);
    for socket in [Socket::Ingest, Socket::Gateway] {
        assert!(matches!(desk.requests(socket)[..], [request::Body::Ping(_)]));
    }
    desk.wait(15_000);
    assert_eq!(desk.events().iter().filter(|event| matches!(event, Event::Reconnect { .. })).count(), 2);
}

/// A server that lies about numbers must not make commands that ingest refuses for good.
#[test]
fn r8_numbers_that_were_never_given_do_not_move_after() {
    let mut desk = Desk::new();
    let resolved = Some(tracked::Resolved::Ledger(proto::Resolved { seq: 87, committed_bits: 0 }));
    let hash = desk.core.hash(&chunk()).unwrap().to_bytes();
    let tracked = proto::Tracked { chunk_id: CHUNK.into(), version: 0, hash, resolved };
    desk.say(Socket::Gateway, [event::Body::Tracked(tracked)]);
    desk.submit("a");
    assert_eq!(desk.submits(), [(1, 0, false)]);
}

#[test]
fn what_stands_behind_the_end_of_a_connection_or_before_its_welcome_is_not_heard() {
    let mut desk = Desk::new();
    let drifted = || beacon_of(&[9; 32]);
    desk.say(Socket::Gateway, [event::Body::Updates(Bytes::from_static(b"\xff")), drifted()]);
    let is_drift = |event: &Event| matches!(event, Event::Drift { .. });
    assert!(!desk.events().iter().any(is_drift), "the first ended the connection");
    desk.core.connected(desk.now, Socket::Gateway, "token".into());
    desk.say(Socket::Gateway, [drifted()]);
    assert!(!desk.events().iter().any(is_drift));
    // So nothing is due that only a connection could bring about.
    let at = desk.core.next_deadline().unwrap();
    desk.core.tick(at);
    assert!(desk.core.next_deadline().is_none_or(|next| next > at));
}

fn beacon_of(hash: &[u8; 32]) -> event::Body {
    let beacon = proto::Beacon { chunk_id: CHUNK.into(), version: 0, hash: Bytes::copy_from_slice(hash) };
    event::Body::Beacons(proto::Beacons { beacons: vec![beacon] })
}

#[test]
fn a_token_that_never_ends_may_be_renewed() {
    let mut desk = Desk::with(Settings { can_renew: true, ..Settings::new(Models::builtin()) });
    desk.say(Socket::Gateway, [event::Body::Renewed(proto::Renewed { token_expires_at: i64::MAX })]);
    desk.now.0 += 1_000;
    desk.core.renew(desk.now, "another".into());
    assert!(desk.core.next_deadline().is_some_and(|at| at > desk.now));
}

fn undoing() -> Desk {
    Desk::with(Settings { undo_max: 2, ..Settings::new(Models::builtin()) })
}

#[test]
fn an_own_commit_is_taken_back_once() {
    let mut desk = undoing();
    let id = desk.submit("a");
    let submits = desk.take_submits();
    assert!(desk.core.take_back(desk.now, &chunk(), id).unwrap().is_empty(), "it is not committed yet");
    desk.decide(&submits);
    assert_eq!(desk.outcomes(), [(1, committed(1))]);
    assert_eq!(desk.core.take_back(desk.now, &chunk(), id).unwrap(), [CommandId(2)]);
    assert!(!desk.shows("\"a\""), "it has left the view");
    assert!(desk.core.take_back(desk.now, &chunk(), id).unwrap().is_empty(), "it was taken back already");
    let submits = desk.take_submits();
    desk.decide(&submits);
    assert_eq!(desk.outcomes(), [(2, committed(2))]);
    // What takes back is a commit like any other.
    assert_eq!(desk.core.take_back(desk.now, &chunk(), CommandId(2)).unwrap(), [CommandId(3)]);
    assert!(desk.shows("\"a\""));
}

#[test]
fn what_takes_back_is_made_of_what_was_there_at_the_commit_and_not_at_the_prediction() {
    let mut desk = undoing();
    let id = desk.submit("a");
    let mine = desk.take_submits();
    // Somebody else puts the same key, in the log before it.
    let other = WriterId([9; 16]);
    let theirs =
        proto::Submit { body: Some(proto::submit::Body::Command(put("a", "theirs", false))), ..mine[0].clone() };
    desk.server.append(other, &theirs);
    desk.decide(&mine);
    assert_eq!(desk.outcomes(), [(1, committed(2))]);
    desk.core.take_back(desk.now, &chunk(), id).unwrap();
    assert!(desk.shows("theirs"));
}

#[test]
fn only_the_newest_commits_can_be_taken_back() {
    let mut desk = undoing();
    let ids: Vec<CommandId> = ["a", "b", "c"].map(|key| desk.submit(key)).into();
    let submits = desk.take_submits();
    desk.decide(&submits);
    let taken = ids.iter().map(|id| desk.core.take_back(desk.now, &chunk(), *id).unwrap().len());
    assert_eq!(taken.collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn r10_of_many_updates_in_a_frame_the_last_hash_counts_and_a_wrong_one_is_told_before_any_conclusion() {
    let mut desk = Desk::new();
    for key in ["a", "b", "c"] {
        desk.submit(key);
    }
    let submits = desk.take_submits();
    submits.iter().for_each(|submit| desk.server.append(desk.writer, submit));
    desk.server.decide(usize::MAX);
    let at = desk.server.records.len() - 1;
    let bodies = desk.server.updates_above(0, 0, at);
    let with_hash = |body: &event::Body, hash: [u8; 32]| {
        let event::Body::Updates(bytes) = body else { panic!("no updates") };
        let mut updates: proto::Updates = prost::Message::decode(bytes.clone()).unwrap();
        updates.state_hash = Hash(hash).to_bytes();
        server::updates(&updates)
    };
    let (last, before) = bodies.split_last().unwrap();
    let mut frame: Vec<_> = before.iter().map(|body| with_hash(body, [7; 32])).collect();
    frame.push(with_hash(last, [8; 32]));
    desk.say(Socket::Gateway, frame);
    let events = desk.events();
    let drift = events.iter().position(
        |event| matches!(event, Event::Drift { version: Version(3), expected: Some(hash), .. } if hash.0 == [8; 32]),
    );
    let first_outcome = events.iter().position(|event| matches!(event, Event::Outcome { .. }));
    assert!(drift.is_some(), "{events:?}");
    assert!(
        first_outcome.is_none_or(|at| Some(at) > drift),
        "nothing is concluded from a replica that has drifted: {events:?}"
    );
    assert!(matches!(desk.status(), ChunkStatus::Reloading { .. }));
}

#[test]
fn r10_a_beacon_that_agrees_is_told_and_damage_is_found_by_the_next_one() {
    let mut desk = Desk::new();
    desk.submit("a");
    let submits = desk.take_submits();
    desk.decide(&submits);
    desk.events();
    let beacon = desk.server.beacon(desk.server.records.len() - 1);
    desk.say(Socket::Gateway, [beacon.clone()]);
    assert!(matches!(desk.events()[..], [Event::Verified { version: Version(1), .. }]));
    assert!(desk.core.damage(desk.now, &chunk()));
    assert!(matches!(desk.events()[..], [Event::Changed { .. }]), "what is shown is what is in memory");
    desk.say(Socket::Gateway, [beacon]);
    assert!(desk.events().iter().any(|event| matches!(event, Event::Drift { .. })));
    assert!(matches!(desk.status(), ChunkStatus::Reloading { .. }));
}
