//! A run of arbitrary actions on one partition. The property test `crashes.rs` and the fuzz target
//! in `tests/fuzz` choose the actions at random. The scene checks the rules after each action.

use super::{Scene, Wish, command};
use driftless_replayer_core::Input;
use driftless_schemas::WriterId;
use std::collections::BTreeMap;

/// An action on the scene. In most actions the first `u8` selects the owner; a number above the
/// last owner selects the newest one. Most actions call the method of [`Scene`] with the same name.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Submit {
        chunk: u8,
        writer: u8,
        numbering: Numbering,
        wish: Wish,
    },
    Rubbish(u8),
    /// Answers all requests of the newest owner.
    Serve,
    Land(u8, u8),
    Ack(u8, u8, bool),
    WriteAgain(u8),
    Fail(u8, bool),
    Load(u8, bool),
    Put(u8, bool),
    Bury(u8),
    Write(u8, bool),
    TellWritten(u8),
    ReadUpdates(u8, u8),
    ReadBack(u8, u8),
    ReadCommands(u8, u8),
    Tick(u8, u16),
    Drain(u8),
    Kill(u8),
    Claim,
}

/// How the number of a submitted command follows the writer's earlier numbers.
#[derive(Clone, Copy, Debug)]
pub enum Numbering {
    Next,
    /// The command is one that the writer has sent before.
    Again(u8),
    /// The command names a predecessor that the writer has not sent yet.
    TooEarly,
    /// The command leaves one number out, because the writer has withdrawn that number.
    Skip,
}

/// The commands that each writer has sent to each chunk, each with its number, its predecessor's
/// number and its kind.
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

/// Runs the whole life of a partition. The first owner claims the partition, the actions happen,
/// and a last owner decides all commands without failures.
pub fn run(actions: &[Action]) {
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
            Action::WriteAgain(o) => {
                scene.write_again(who(o));
            }
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
            Action::ReadBack(o, k) => {
                scene.read_back(who(o), usize::from(k));
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
