//! Properties of a socket that hold for any bytes and for requests in any order.

use crate::connection::Input;
use crate::policy::Policy;
use crate::scene::*;
use driftless_schemas::format;
use driftless_schemas::proto::{event, submit};
use proptest::collection::vec;
use proptest::prelude::*;

/// A valid body, an invalid body, or none.
fn body() -> impl Strategy<Value = Option<submit::Body>> {
    prop_oneof![
        Just(None),
        Just(settle()),
        (0..20_000u32, 0..300u32).prop_map(|(at, value)| cell(at, value)),
        vec(any::<u8>(), 0..40).prop_map(bytes),
    ]
}

fn chunk() -> impl Strategy<Value = String> {
    prop_oneof![
        (-1..2i32, -1..3i32).prop_map(|(x, y)| format!("canvas/{x}/{y}")),
        Just("things/0/0".to_owned()),
        "[a-z/0-9-]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Changes one byte in the frame of a correct client. Either the whole frame is refused and the
    /// socket closes, or only requests of this frame are affected.
    #[test]
    fn a_changed_byte_affects_only_requests_of_its_frame(at in 0usize..200, to: u8) {
        let mut frame = bytes::BytesMut::new();
        for seq in 1..5 {
            format::push_request(&mut frame, submit("canvas/0/1", seq, seq - 1, cell(seq as u32, 1)));
        }
        let at = at % frame.len();
        frame[at] = to;
        let mut scene = Scene::greeted(Policy::default());
        scene.input(Input::Frame(frame.freeze()));
        let (answered, produced) = (scene.events().len(), scene.produced().len());
        prop_assert!(answered + produced <= 8);
        prop_assert!(scene.out.session.close.is_none() || answered + produced == 0);
    }

    #[test]
    fn every_submit_ends_as_produced_or_as_rejected_and_every_produced_one_gets_one_answer(
        submits in vec((chunk(), 0..6u64, 0..6u64, body()), 0..60),
        fates in vec(0..4u8, 60),
    ) {
        let mut scene = Scene::greeted(Policy { commands_burst: 40, commands_per_second: 1, ..Policy::default() });
        scene.send(submits.iter().map(|(chunk, seq, after, body)| submit(chunk, *seq, *after, body.clone())));
        let rejected = scene.events();
        prop_assert!(rejected.iter().all(|e| matches!(e, event::Body::Rejected(r) if !r.message.is_empty() && r.code != 0 && r.retry != 0)));
        let produced = scene.produced();
        prop_assert_eq!(rejected.len() + produced.len(), submits.len());
        prop_assert_eq!(scene.connection.in_flight(), produced.len());
        for ((token, _), fate) in produced.into_iter().zip(fates) {
            let (input, answers) = match fate {
                0 => (Input::Acknowledged(token), 1),
                1 => (Input::Refused(token, "no"), 1),
                2 => (Input::Unsent(token), 1),
                _ => (Input::Unknown(token), 0),
            };
            scene.input(input.clone());
            scene.input(input);
            prop_assert_eq!(scene.events().len(), answers);
        }
        prop_assert_eq!(scene.connection.in_flight(), 0);
    }
}
