//! A property test of R2–R6, R8 and R9 under any interleaving of events in one partition. Commands
//! arrive twice, too early, or broken. Records land late, acknowledgements get lost, loads and puts
//! fail, and owners do not hear of checkpoints that are durable. Owners crash, are replaced without
//! noticing, and go on writing. The scene checks the rules after each event.

use driftless_scenes::replayer::Wish;
use driftless_scenes::replayer::actions::{Action, Numbering, run};
use proptest::prelude::*;

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
        1 => who().prop_map(A::WriteAgain),
        1 => (who(), any::<bool>()).prop_map(|(o, lost)| A::Fail(o, lost)),
        6 => (who(), mostly()).prop_map(|(o, ok)| A::Load(o, ok)),
        5 => (who(), mostly()).prop_map(|(o, ok)| A::Put(o, ok)),
        2 => who().prop_map(A::Bury),
        5 => (who(), prop_oneof![12 => Just(true), 1 => Just(false)]).prop_map(|(o, ok)| A::Write(o, ok)),
        5 => who().prop_map(A::TellWritten),
        5 => (who(), 1..9u8).prop_map(|(o, k)| A::ReadUpdates(o, k)),
        5 => (who(), 1..9u8).prop_map(|(o, k)| A::ReadBack(o, k)),
        9 => (who(), 1..9u8).prop_map(|(o, k)| A::ReadCommands(o, k)),
        8 => (who(), 20..400u16).prop_map(|(o, ms)| A::Tick(o, ms)),
        1 => who().prop_map(A::Drain),
        1 => who().prop_map(A::Kill),
        2 => Just(A::Claim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r2_to_r6_hold_for_any_crashes_and_any_owner_that_goes_on(actions in prop::collection::vec(action(), 1..220)) {
        run(&actions);
    }
}
