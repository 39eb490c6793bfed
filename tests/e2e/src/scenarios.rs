//! Scenarios that run on every kind of stack. Each scenario starts with a fresh stack, and ends
//! with a check of the log.

use crate::edits::{chunk, set, set_if, value_of};
use crate::process::{Env, arguments, run};
use crate::proxy::{Passing, Proxy, Verdict};
use crate::stack::{Entrance, Stack};
use crate::wait::{eventually, soon};
use driftless_client::{Chunk, Client, Event, Outcome, Pending};
use driftless_schemas::ChunkId;
use driftless_schemas::proto::{ClientFrame, DiscardReason, RejectCode, Rejected, Retry, ServerFrame, event, request};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{broadcast, mpsc};

/// Two clients edit one chunk at the same time. All replicas must get the same bytes.
pub async fn edits_reach_everybody(mut stack: impl Stack) {
    let id = chunk("canvas/0/-1");
    let entrance = stack.entrance();
    let (_ann, a) = entrance.follower("ann", &id).await;
    let (_bob, b) = entrance.follower("bob", &id).await;
    let committed = soon("ann's edit", submit(&a, set(0, 7))).await;
    assert_eq!(committed, Outcome::Committed { version: Some(driftless_schemas::Version(1)) });
    let seen = entrance.converge(1, &[&a, &b]).await;

    let many: Vec<Pending> =
        (0..40u32).map(|i| if i % 2 == 0 { &a } else { &b }.submit(set(i, i)).expect("it is taken")).collect();
    for pending in many {
        assert!(matches!(soon("an edit", pending).await, Outcome::Committed { .. }));
    }
    let end = entrance.converge(41, &[&a, &b]).await;
    assert_ne!(seen.1, end.1);
    let late = entrance.follower("late", &id).await;
    assert_eq!(entrance.converge(41, &[&a, &b, &late.1]).await, end);
    drop((a, b, late));
    let history = stack.history().await;
    assert_eq!(history.end(&id), Some(end), "the log folds to what everybody has");
    assert_eq!((history.commits(&id, "ann").len(), history.commits(&id, "bob").len()), (21, 20));
}

async fn submit(chunk: &Chunk, command: Vec<u8>) -> Outcome {
    chunk.submit(command).expect("it is taken").await
}

/// Returns the outcomes in the events that a client has reported so far.
fn outcomes(events: &mut broadcast::Receiver<Event>) -> Vec<Outcome> {
    let mut told = Vec::new();
    loop {
        match events.try_recv() {
            Ok(Event::Outcome { outcome, .. }) => told.push(outcome),
            Ok(_) => {}
            Err(broadcast::error::TryRecvError::Lagged(n)) => panic!("{n} events were missed"),
            Err(_) => return told,
        }
    }
}

/// The author of a command must get its outcome exactly once, and as the log has it.
pub async fn every_outcome_is_told_as_it_is(mut stack: impl Stack) {
    let id = chunk("canvas/1/1");
    let entrance = stack.entrance();
    let (ann, a) = entrance.follower("ann", &id).await;
    let mut events = ann.events();

    let committed = soon("a commit", submit(&a, set(0, 7))).await;
    assert!(matches!(committed, Outcome::Committed { version: Some(_) }), "{committed:?}");
    let discarded = soon("a discard", submit(&a, set_if(0, 9, 8))).await;
    assert!(matches!(discarded, Outcome::Discarded { reason: DiscardReason::Conflict, .. }), "{discarded:?}");
    let rejected = soon("a rejection", submit(&a, set(0, 256))).await;
    assert!(matches!(rejected, Outcome::Rejected { code: RejectCode::BadCommand, .. }), "{rejected:?}");

    // Ann takes back a command before it is sent, so no other client ever hears of it.
    entrance.ingests.iter().for_each(Proxy::close);
    eventually("ingest to be away", || async { (!ann.status().is_ingest_up).then_some(()).ok_or(ann.status()) }).await;
    let unsent = a.submit(set(0, 10)).expect("it is taken");
    unsent.cancel();
    assert_eq!(soon("a withdrawal", unsent).await, Outcome::Withdrawn);
    entrance.ingests.iter().for_each(Proxy::open);

    // Bob takes back a command that was sent and lost on its way. A Settle then proves that the
    // command never will be committed.
    let (bob, b) = entrance.follower("bob", &id).await;
    let mut bobs = bob.events();
    let mut sent = hold_submits(&entrance.ingests);
    let lost = b.submit(set(0, 11)).expect("it is taken");
    soon("the command to be under way", sent.recv()).await.expect("the rule lives");
    lost.cancel();
    entrance.ingests.iter().for_each(|proxy| proxy.rule(|_| Verdict::CutBefore));
    eventually("the connection to break", || async { (!bob.status().is_ingest_up).then_some(()).ok_or(bob.status()) })
        .await;
    entrance.pass_all();
    assert_eq!(soon("a withdrawal", lost).await, Outcome::Withdrawn);

    // A command is taken back too late, because it was decided already. The decision overrides the
    // cancellation.
    Entrance::rule_all(&entrance.gateways, |passing| match passing {
        Passing::Down(frame) if has_updates(frame) => Verdict::Hold,
        _ => Verdict::Pass,
    });
    let (receipted, mut receipts) = mpsc::unbounded_channel();
    Entrance::rule_all(&entrance.ingests, move |passing| {
        if receipts_in(passing).next().is_some() {
            let _ = receipted.send(());
        }
        Verdict::Pass
    });
    let decided = b.submit(set(0, 12)).expect("it is taken");
    soon("a receipt", receipts.recv()).await.expect("the rule lives");
    decided.cancel();
    entrance.pass_all();
    let decided = soon("a decision", decided).await;
    assert!(matches!(decided, Outcome::Committed { .. }), "{decided:?}");

    entrance.converge(2, &[&b]).await;
    let (anns, bobs) = (outcomes(&mut events), outcomes(&mut bobs));
    assert_eq!(anns, [committed, discarded, rejected, Outcome::Withdrawn], "each is told once");
    assert_eq!(bobs, [Outcome::Withdrawn, decided]);
    drop((ann, a, bob, b));
    let history = stack.history().await;
    let values = |user| history.commits(&id, user).iter().map(|effect| value_of(effect)).collect::<Vec<_>>();
    assert_eq!((values("ann"), values("bob")), (vec![7], vec![12]));
}

/// Holds all commands at these proxies, and sends to the channel each time that one is held.
fn hold_submits(proxies: &[Proxy]) -> mpsc::UnboundedReceiver<()> {
    let (held, told) = mpsc::unbounded_channel();
    Entrance::rule_all(proxies, move |passing| match passing {
        Passing::Up(frame) if has_submits(frame) => {
            let _ = held.send(());
            Verdict::Hold
        }
        _ => Verdict::Pass,
    });
    told
}

fn has_submits(frame: &ClientFrame) -> bool {
    frame.requests.iter().any(|request| matches!(request.body, Some(request::Body::Submit(_))))
}

fn has_updates(frame: &ServerFrame) -> bool {
    frame.events.iter().any(|event| matches!(event.body, Some(event::Body::Updates(_))))
}

fn has_tracked(passing: &Passing) -> bool {
    let Passing::Down(frame) = passing else { return false };
    frame.events.iter().any(|event| matches!(event.body, Some(event::Body::Tracked(_))))
}

/// The receipts in a message, each as chunk and seq.
pub fn receipts_in(passing: &Passing) -> impl Iterator<Item = (String, u64)> {
    let events = match passing {
        Passing::Down(frame) => &frame.events[..],
        Passing::Up(_) => &[],
    };
    events.iter().filter_map(|event| match &event.body {
        Some(event::Body::Receipt(receipt)) => Some((receipt.chunk_id.clone(), receipt.seq)),
        _ => None,
    })
}

/// The point at which the connection to ingest breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum IngestCut {
    Never,
    BeforeSubmit,
    WithinSubmit,
    AfterSubmit,
    BeforeReceipt,
    WithinReceipt,
    AfterReceipt,
}

/// The point at which the connection to the gateway breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum GatewayCut {
    Never,
    BeforeUpdates,
    WithinUpdates,
    AfterUpdates,
    /// The connection breaks a second time: before the `Tracked` in which the new connection
    /// reports the fate of the commands.
    BeforeUpdatesThenTracked,
}

/// Both sockets break at every point between send, receipt and update. No outcome may change.
pub async fn cuts_change_no_outcome(mut stack: impl Stack) {
    use GatewayCut::{AfterUpdates, BeforeUpdates, BeforeUpdatesThenTracked, WithinUpdates};
    use IngestCut::{AfterReceipt, AfterSubmit, BeforeReceipt, BeforeSubmit, WithinReceipt, WithinSubmit};
    let id = chunk("canvas/2/-3");
    let entrance = stack.entrance();
    let mut cell = 0;
    for ingest in
        [IngestCut::Never, BeforeSubmit, WithinSubmit, AfterSubmit, BeforeReceipt, WithinReceipt, AfterReceipt]
    {
        for gateway in [GatewayCut::Never, BeforeUpdates, WithinUpdates, AfterUpdates, BeforeUpdatesThenTracked] {
            cell += 1;
            cut_once(entrance, &id, cell, ingest, gateway).await;
        }
    }
    for proxy in entrance.ingests.iter().chain(&entrance.gateways) {
        // There are two proxies for each kind of service. A client that was cut off reconnects at
        // the other one, so each proxy carries many websockets.
        assert!(proxy.websockets() >= 10, "only {} websockets came this way", proxy.websockets());
    }
    let (_client, replica) = entrance.follower("reader", &id).await;
    let end = entrance.converge(u64::from(cell) * 2, &[&replica]).await;
    drop((_client, replica));
    let history = stack.history().await;
    assert_eq!(history.end(&id), Some(end));
    assert_eq!(end.0.0, u64::from(cell) * 2, "two commits of each client, and nothing else");
    for cell in 1..=cell {
        let author = format!("user-{cell}");
        let values: Vec<u32> = history.commits(&id, &author).iter().map(|effect| value_of(effect)).collect();
        assert_eq!(values, [1, 3], "{author}");
        assert_eq!(history.of(&id, &author).len(), 3, "{author}");
    }
}

async fn cut_once(entrance: &Entrance, id: &ChunkId, cell: u32, ingest: IngestCut, gateway: GatewayCut) {
    let case = format!("{ingest:?} and {gateway:?}");
    let (client, replica) = entrance.follower(&format!("user-{cell}"), id).await;
    let cuts = usize::from(ingest != IngestCut::Never);
    let at_ingest = rule_some(&entrance.ingests, cuts, move |passing, _| {
        let is_submit = matches!(passing, Passing::Up(frame) if has_submits(frame));
        let is_receipt = receipts_in(passing).next().is_some();
        match ingest {
            IngestCut::BeforeSubmit if is_submit => Some(Verdict::CutBefore),
            IngestCut::WithinSubmit if is_submit => Some(Verdict::CutWithin),
            IngestCut::AfterSubmit if is_submit => Some(Verdict::CutAfter),
            IngestCut::BeforeReceipt if is_receipt => Some(Verdict::CutBefore),
            IngestCut::WithinReceipt if is_receipt => Some(Verdict::CutWithin),
            IngestCut::AfterReceipt if is_receipt => Some(Verdict::CutAfter),
            _ => None,
        }
    });
    let cuts = match gateway {
        GatewayCut::Never => 0,
        GatewayCut::BeforeUpdatesThenTracked => 2,
        _ => 1,
    };
    let at_gateway = rule_some(&entrance.gateways, cuts, move |passing, left| {
        let is_updates = matches!(passing, Passing::Down(frame) if has_updates(frame));
        match gateway {
            GatewayCut::BeforeUpdatesThenTracked if left == 2 && is_updates => Some(Verdict::CutBefore),
            GatewayCut::BeforeUpdatesThenTracked if left == 1 && has_tracked(passing) => Some(Verdict::CutBefore),
            GatewayCut::BeforeUpdates if is_updates => Some(Verdict::CutBefore),
            GatewayCut::WithinUpdates if is_updates => Some(Verdict::CutWithin),
            GatewayCut::AfterUpdates if is_updates => Some(Verdict::CutAfter),
            _ => None,
        }
    });
    // The second command must be discarded. The third commits only if exactly one copy of the first
    // was committed before it.
    let commands = [set(cell, 1), set_if(cell, 2, 9), set_if(cell, 3, 1)];
    let pending = commands.map(|command| replica.submit(command).expect("it is taken"));
    let [first, second, third] = pending;
    for (pending, wanted) in [(first, "Committed"), (second, "Discarded"), (third, "Committed")] {
        let outcome = soon(&format!("an outcome with a cut {case}"), pending).await;
        assert!(format!("{outcome:?}").starts_with(wanted), "{case}: {outcome:?} instead of {wanted}");
    }
    for cut in [at_ingest, at_gateway] {
        eventually(&format!("the cuts {case}"), || async {
            let left = cut.load(Ordering::SeqCst);
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
    }
    entrance.pass_all();
    client.close();
}

/// Sets a rule that acts on at most `times` messages. `judge` is told how many are left. Returns
/// the counter of those left, so that a test can see whether the rule was used up.
fn rule_some(
    proxies: &[Proxy],
    times: usize,
    mut judge: impl FnMut(&Passing, usize) -> Option<Verdict> + Send + 'static,
) -> Arc<AtomicUsize> {
    let left = Arc::new(AtomicUsize::new(times));
    let count = Arc::clone(&left);
    Entrance::rule_all(proxies, move |passing| {
        let left = count.load(Ordering::SeqCst);
        let verdict = if left == 0 { None } else { judge(passing, left) };
        // Only one rule is judged at a time, so no other task changes the counter meanwhile.
        count.store(left - usize::from(verdict.is_some()), Ordering::SeqCst);
        verdict.unwrap_or(Verdict::Pass)
    });
    left
}

/// Sends fifty edits without waiting for outcomes. Each depends on the previous edit, so all commit
/// only if they keep their order.
pub async fn burst_commits_in_order(entrance: &Entrance, id: &ChunkId, user: &str) {
    let (client, replica) = entrance.follower(user, id).await;
    let burst: Vec<Pending> = (1..=50).map(|i| replica.submit(set_if(5, i, i - 1)).expect("it is taken")).collect();
    for (i, pending) in burst.into_iter().enumerate() {
        let outcome = soon(&format!("outcome {i}"), pending).await;
        assert!(matches!(outcome, Outcome::Committed { .. }), "{i}: {outcome:?}");
    }
    entrance.converge(50, &[&replica]).await;
    client.close();
}

/// Checks that the log has all edits of [`burst_commits_in_order`], in order.
pub async fn burst_is_in_the_log(stack: &mut impl Stack, id: &ChunkId, user: &str) {
    let history = stack.history().await;
    let values: Vec<u32> = history.commits(id, user).iter().map(|effect| value_of(effect)).collect();
    assert_eq!(values, (1..=50).collect::<Vec<u32>>());
}

/// Ingest rejects some commands in the middle of a burst, with a reason that allows a retry. No
/// command may be lost.
pub async fn a_rejection_in_the_middle_loses_nothing(mut stack: impl Stack) {
    let id = chunk("canvas/-4/4");
    let entrance = stack.entrance();
    let rejected = Arc::new(Mutex::new(BTreeSet::new()));
    let numbers = Arc::clone(&rejected);
    Entrance::rule_all(&entrance.ingests, move |passing| {
        let Passing::Up(frame) = passing else { return Verdict::Pass };
        let mut refused = numbers.lock().expect("nobody panics");
        let (mut up, mut down) = (ClientFrame::default(), ServerFrame::default());
        for request in &frame.requests {
            match &request.body {
                // Rejects each of these three commands once, whichever message carries it.
                Some(request::Body::Submit(s)) if [17, 25, 26].contains(&s.seq) && refused.insert(s.seq) => {
                    let body = event::Body::Rejected(Rejected {
                        chunk_id: s.chunk_id.clone(),
                        seq: s.seq,
                        code: RejectCode::RateLimited.into(),
                        retry: Retry::After.into(),
                        retry_after_ms: 50,
                        message: "later".into(),
                    });
                    down.events.push(driftless_schemas::proto::Event { body: Some(body) });
                }
                _ => up.requests.push(request.clone()),
            }
        }
        if down.events.is_empty() { Verdict::Pass } else { Verdict::Answer { up, down } }
    });
    burst_commits_in_order(entrance, &id, "ann").await;
    assert_eq!(rejected.lock().expect("nobody panics").len(), 3, "all three were rejected once");
    burst_is_in_the_log(&mut stack, &id, "ann").await;
}

/// Every command reaches ingest twice. Each must be committed once.
pub async fn doubled_commands_commit_once(mut stack: impl Stack) {
    let id = chunk("canvas/6/-6");
    let entrance = stack.entrance();
    Entrance::rule_all(&entrance.ingests, |passing| match passing {
        Passing::Up(frame) if has_submits(frame) => {
            let requests = frame.requests.iter().flat_map(|request| [request.clone(), request.clone()]).collect();
            Verdict::Answer { up: ClientFrame { requests }, down: ServerFrame::default() }
        }
        _ => Verdict::Pass,
    });
    burst_commits_in_order(entrance, &id, "ann").await;
    let history = stack.history().await;
    assert!(history.commands >= 100, "only {} commands reached the log", history.commands);
    let values: Vec<u32> = history.commits(&id, "ann").iter().map(|effect| value_of(effect)).collect();
    assert_eq!(values, (1..=50).collect::<Vec<u32>>());
}

/// Edits a chunk until `end` says so, and returns the number of commits. Every outcome must be a
/// commit.
pub async fn keep_editing(replica: Chunk, mut end: tokio::sync::watch::Receiver<bool>) -> usize {
    let mut count = 0;
    while !*end.borrow_and_update() {
        let batch: Vec<Pending> =
            (0..20).map(|i| replica.submit(set(i, (count as u32 + i) % 256)).expect("it is taken")).collect();
        for pending in batch {
            let outcome = soon("an outcome", pending).await;
            assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
            count += 1;
        }
    }
    count
}

/// The path of the photograph in `fixtures/`.
#[must_use]
pub fn photo() -> String {
    crate::python::folder().join("fixtures/astronaut.jpg").display().to_string()
}

/// Runs `driftless paint`, in which eight writers paint a photograph on 16 chunks. The command then
/// reads every cell back, once through the SDK and once over HTTP, and compares it with the
/// photograph.
pub async fn paint_photo(ingest_http: &str, gateway_http: &str, token: &str) {
    let flags = ["paint", &photo(), "--http", ingest_http, "--gateway-http", gateway_http, "--token", token];
    let mut all = arguments(&flags);
    all.extend(arguments(&["--writers", "8", "--at", "-2,-2", "--json"]));
    let painted = run(&all, &Env::new()).await;
    assert!(painted.status.success(), "{painted:?}");
    let line = painted.output.lines().last().expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("no {key} in {line}"));
    assert_eq!((number("differing_cells"), number("cells")), (0, 512 * 512), "{line}");
    assert_eq!((number("chunks"), number("writers")), (16, 8), "{line}");
}

/// A proper client, used to show that a misbehaving client harms no other.
pub struct Neighbour<'a> {
    entrance: &'a Entrance,
    client: Client,
    replica: Chunk,
    events: broadcast::Receiver<Event>,
}

impl<'a> Neighbour<'a> {
    /// Connects the client and tracks a chunk.
    pub async fn moves_in(entrance: &'a Entrance, id: &str) -> Self {
        let (client, replica) = entrance.follower("neighbour", &chunk(id)).await;
        let events = client.events();
        Self { entrance, client, replica, events }
    }

    /// Checks that the client's sockets never broke, and that it can still edit.
    ///
    /// # Panics
    /// If a socket broke or the edit fails.
    pub async fn is_unharmed(mut self) {
        let outcome = soon("the neighbour's edit", submit(&self.replica, set(100, 100))).await;
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        self.entrance.converge(1, &[&self.replica]).await;
        loop {
            match self.events.try_recv() {
                Ok(Event::Welcomed { socket, .. }) => panic!("the neighbour had to connect to {socket:?} again"),
                Ok(Event::Drift { version, .. }) => panic!("the neighbour drifted at {version}"),
                Ok(_) => {}
                Err(broadcast::error::TryRecvError::Lagged(n)) => panic!("{n} events were missed"),
                Err(_) => break,
            }
        }
        self.client.close();
    }
}
