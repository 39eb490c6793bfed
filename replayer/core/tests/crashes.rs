//! R2–R6, R8 and R9 under any interleaving of one partition's life: commands come doubled, too early and broken;
//! records land late, acknowledgements get lost, loads and puts fail, checkpoints are written and not heard of; owners
//! crash, are replaced without noticing, and go on writing. The oracles are the scene's.

mod scene;

use driftless_replayer_core::Input;
use driftless_schemas::WriterId;
use proptest::prelude::*;
use scene::{Scene, Wish, command};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
enum Action {
    Submit {
        chunk: u8,
        writer: u8,
        numbering: Numbering,
        wish: Wish,
    },
    Rubbish(u8),
    /// Honest service for the newest owner.
    Serve,
    Land(u8, u8),
    Ack(u8, u8, bool),
    Fail(u8, bool),
    Load(u8, bool),
    Put(u8, bool),
    Bury(u8),
    Write(u8, bool),
    TellWritten(u8),
    ReadUpdates(u8, u8),
    ReadCommands(u8, u8),
    Tick(u8, u16),
    Drain(u8),
    Kill(u8),
    Claim,
}

#[derive(Clone, Copy, Debug)]
enum Numbering {
    Next,
    /// Sent before.
    Again(u8),
    /// The one before it is on its way still.
    TooEarly,
    /// The one before it is withdrawn.
    Skip,
}

fn action() -> impl Strategy<Value = Action> {
    use Action as A;
    let who = || prop_oneof![5 => Just(255u8), 1 => 0..4u8];
    let mostly = || prop_oneof![5 => Just(true), 1 => Just(false)];
    let numbering = prop_oneof![
        6 => Just(Numbering::Next),
        2 => (0..6u8).prop_map(Numbering::Again),
        1 => Just(Numbering::TooEarly),
        1 => Just(Numbering::Skip),
    ];
    let wish = prop_oneof![
        4 => (0..5u8).prop_map(Wish::Put),
        2 => (0..5u8).prop_map(Wish::Claim),
        2 => (0..5u8).prop_map(Wish::Delete),
        1 => Just(Wish::Nonsense),
        1 => Just(Wish::NoBody),
        1 => Just(Wish::Settle),
    ];
    prop_oneof![
        16 => (0..4u8, 0..3u8, numbering, wish)
            .prop_map(|(chunk, writer, numbering, wish)| A::Submit { chunk, writer, numbering, wish }),
        1 => any::<u8>().prop_map(A::Rubbish),
        4 => Just(A::Serve),
        8 => (who(), 1..5u8).prop_map(|(o, k)| A::Land(o, k)),
        8 => (who(), 1..5u8, mostly()).prop_map(|(o, k, knows)| A::Ack(o, k, knows)),
        1 => (who(), any::<bool>()).prop_map(|(o, lost)| A::Fail(o, lost)),
        6 => (who(), mostly()).prop_map(|(o, ok)| A::Load(o, ok)),
        5 => (who(), mostly()).prop_map(|(o, ok)| A::Put(o, ok)),
        2 => who().prop_map(A::Bury),
        5 => (who(), prop_oneof![12 => Just(true), 1 => Just(false)]).prop_map(|(o, ok)| A::Write(o, ok)),
        5 => who().prop_map(A::TellWritten),
        5 => (who(), 1..9u8).prop_map(|(o, k)| A::ReadUpdates(o, k)),
        9 => (who(), 1..9u8).prop_map(|(o, k)| A::ReadCommands(o, k)),
        8 => (who(), 20..400u16).prop_map(|(o, ms)| A::Tick(o, ms)),
        1 => who().prop_map(A::Drain),
        1 => who().prop_map(A::Kill),
        2 => Just(A::Claim),
    ]
}

/// What each writer has sent to each chunk: (seq, after, wish).
type Sent = BTreeMap<(u8, u8), Vec<(u64, u64, Wish)>>;

fn submit(scene: &mut Scene, sent: &mut Sent, (chunk, writer): (u8, u8), numbering: Numbering, wish: Wish) {
    let list = sent.entry((chunk, writer)).or_default();
    let last = list.iter().map(|s| s.0).max().unwrap_or(0);
    let next = match numbering {
        Numbering::Again(back) if !list.is_empty() => list[list.len() - 1 - usize::from(back) % list.len()],
        Numbering::Next | Numbering::Again(_) => (last + 1, last, wish),
        Numbering::TooEarly => (last + 2, last + 1, wish),
        Numbering::Skip => (last + 2, last, wish),
    };
    list.push(next);
    let (seq, after, wish) = next;
    scene.submit(usize::from(chunk), command(WriterId([writer + 1; 16]), seq, after, wish));
}

fn run(actions: &[Action]) {
    let mut scene = Scene::new();
    let mut sent = Sent::new();
    scene.claim();
    for action in actions {
        let count = scene.owners.len();
        let who = |o: u8| if usize::from(o) < count { usize::from(o) } else { count - 1 };
        match *action {
            Action::Submit { chunk, writer, numbering, wish } => {
                submit(&mut scene, &mut sent, (chunk, writer), numbering, wish);
            }
            Action::Rubbish(kind) => {
                scene.submit_rubbish(kind);
            }
            Action::Serve => scene.serve(count - 1),
            Action::Land(o, k) => (0..k).for_each(|_| {
                scene.land(who(o));
            }),
            Action::Ack(o, k, knows) => (0..k).for_each(|_| {
                scene.ack(who(o), knows);
            }),
            Action::Fail(o, lost) => {
                scene.fail(who(o), lost);
            }
            Action::Load(o, ok) => {
                scene.load(who(o), ok);
            }
            Action::Put(o, ok) => {
                scene.put(who(o), ok);
            }
            Action::Bury(o) => {
                scene.bury(who(o));
            }
            Action::Write(o, ok) => {
                scene.write(who(o), ok);
            }
            Action::TellWritten(o) => {
                scene.tell_written(who(o));
            }
            Action::ReadUpdates(o, k) => {
                scene.read_updates(who(o), usize::from(k));
            }
            Action::ReadCommands(o, k) => {
                scene.read_commands(who(o), usize::from(k));
            }
            Action::Tick(o, ms) => scene.tick(who(o), u64::from(ms)),
            Action::Drain(o) => scene.give(who(o), Input::Drain),
            Action::Kill(o) => scene.kill(who(o)),
            Action::Claim if count < 8 => {
                scene.claim();
            }
            Action::Claim => {}
        }
    }
    scene.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r2_to_r6_hold_whatever_crashes_and_whoever_goes_on(actions in prop::collection::vec(action(), 1..220)) {
        run(&actions);
    }
}
