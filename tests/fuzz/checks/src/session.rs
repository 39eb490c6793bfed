//! Checks a socket's session that gets arbitrary messages of an untrusted client.
//!
//! The check: every request has at most one answer, the service gets no request before Hello,
//! answers are not much longer than requests, and the session asks for no timer in the past.

use crate::reader::Reader;
use crate::untrusted::{self, START, TestEnvironment};
use driftless_runtime_core::requests::take_apart;
use driftless_runtime_core::{Greeter, Outputs, Session};
use driftless_schemas::proto::{self, event};
use prost::Message;

/// The limit on the length of an answer, in bytes: a text of at most 256 bytes and a few numbers.
/// The limit on a Welcome is higher, because a Welcome also announces the families.
const ANSWER_BYTES_MAX: usize = 400;
const WELCOME_BYTES_MAX: usize = 4096;

pub fn check(data: &[u8]) {
    let mut script = Reader::new(data);
    let mut now = START;
    let mut session = Session::new(Greeter::new(untrusted::world()), now.monotonic);
    while !script.is_empty() {
        let mut out = Outputs::default();
        match script.below(4) {
            0 => {
                now = match script.rarely(2) {
                    true => untrusted::after(now, session.wake_at(now).ms_since(now.monotonic)),
                    false => untrusted::later(&mut script, now),
                };
                session.tick(now, &TestEnvironment, &mut out);
                let (wake_at, now) = (session.wake_at(now), now.monotonic);
                assert!(
                    out.close.is_some() || wake_at > now,
                    "after a tick at {now:?} the session waits for {wake_at:?}"
                );
            }
            1 => session.heard(now.monotonic),
            _ => {
                let frame = untrusted::frame(&mut script);
                let was_greeted = session.identity().is_some();
                let asked = take_apart(frame.clone());
                let mut own = 0;
                session.frame(frame, now, &TestEnvironment, &mut out, &mut |who, _, _| {
                    assert!(!who.claims.sub.contains('!'));
                    own += 1;
                });
                assert!(own == 0 || was_greeted || out.is_greeted, "the service got a request before Hello");
                let asked = asked.map_or(1, |asked| asked.len());
                let frame = proto::ServerFrame::decode(&out.frame[..]).unwrap();
                assert!(frame.events.len() + own <= asked, "{asked} requests got more answers than that");
                let refused = frame.events.iter().filter(|e| matches!(e.body, Some(event::Body::Refused(_)))).count();
                assert!(refused <= out.refused.len() && (refused > 0 || out.refused.is_empty()));
                assert!(out.frame.len() <= asked * ANSWER_BYTES_MAX + WELCOME_BYTES_MAX);
            }
        }
        if let Some(close) = out.close {
            assert!(!close.reason.is_empty());
            return;
        }
    }
}
