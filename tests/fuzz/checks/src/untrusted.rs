//! Untrusted clients for the checks of sockets: an environment with simple tokens, and arbitrary
//! frames.

use crate::reader::Reader;
use bytes::{Bytes, BytesMut};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_runtime_core::{Environment, TokenRefused};
use driftless_schemas::access::{Access, Claims};
use driftless_schemas::proto::{self, request, submit};
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use driftless_schemas::world::WorldSpec;
use driftless_schemas::{SessionId, format};
use std::sync::{Arc, LazyLock};

const NOW: i64 = 1_800_000_000_000;
const EXPIRES_S: i64 = NOW / 1000 + 60;

/// Both clocks when a script begins.
pub const START: Now = Now { unix: UnixMs(NOW), monotonic: MonotonicMs(0) };

static WORLD: LazyLock<Arc<World>> =
    LazyLock::new(|| Arc::new(World::new("dev", WorldSpec::dev(), &Models::builtin()).unwrap()));

pub fn world() -> Arc<World> {
    Arc::clone(&WORLD)
}

/// Verifies the tokens of the checks. A token is `<sub>` or `<sub>@<expires_at>`. A token that is
/// empty or contains a `!` is refused.
pub struct TestEnvironment;

impl Environment for TestEnvironment {
    fn verify(&self, token: &str, _now: UnixMs) -> Result<Claims, TokenRefused> {
        if token.contains('!') || token.is_empty() {
            return Err(TokenRefused(format!("the token {token:?} is forged")));
        }
        let (sub, expires_at) = token.split_once('@').unwrap_or((token, ""));
        let access = Access {
            read: vec!["canvas/".into()],
            write: vec!["canvas/0/".into(), "things/1/1".into()],
            roles: vec!["r".into()],
        };
        Ok(Claims {
            sub: sub.into(),
            expires_at: expires_at.parse().unwrap_or(EXPIRES_S),
            access,
            jti: None,
            key: Default::default(),
        })
    }

    fn recheck(&self, claims: &Claims) -> Result<(), TokenRefused> {
        match claims.sub == "eve" {
            true => Err(TokenRefused("eve is denied".into())),
            false => Ok(()),
        }
    }

    fn random(&self) -> [u8; 10] {
        [9; 10]
    }
}

/// Draws a later time. The difference is mostly near one of the session's time-outs.
pub fn later(script: &mut Reader<'_>, now: Now) -> Now {
    let ms = match script.below(8) {
        7 => script.number(),
        by => [0, 1, 1_000, 10_000, 25_000, 59_000, 61_000][by],
    };
    after(now, ms)
}

/// Both clocks, advanced by `ms` milliseconds.
pub fn after(now: Now, ms: u64) -> Now {
    Now { unix: now.unix.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX)), monotonic: now.monotonic.plus_ms(ms) }
}

/// Draws a frame: requests, arbitrary bytes, or requests with one byte changed.
pub fn frame(script: &mut Reader<'_>) -> Bytes {
    let mut frame = BytesMut::new();
    match script.below(8) {
        0 => frame.extend_from_slice(&script.long()),
        1 => {
            // A frame with many copies of one request, which has only a few bytes.
            let request = script.short();
            for _ in 0..script.below(256) * 40 {
                frame.extend_from_slice(&[0x0a, request.len() as u8]);
                frame.extend_from_slice(request);
            }
        }
        kind => {
            for _ in 0..=script.below(6) {
                format::push_request(&mut frame, request(script));
            }
            if kind == 2 && !frame.is_empty() {
                let at = usize::from(u16::from_le_bytes(script.array())) % frame.len();
                frame[at] = script.u8();
            }
        }
    }
    frame.freeze()
}

fn request(script: &mut Reader<'_>) -> request::Body {
    let chunk_id = |script: &mut Reader<'_>| match script.below(8) {
        0..3 => "canvas/0/1".to_owned(),
        3 => "canvas/1/1".to_owned(),
        4 => "things/1/1".to_owned(),
        5 => "canvas/99999/0".to_owned(),
        6 => "nowhere/1".to_owned(),
        _ => script.text(),
    };
    match script.below(12) {
        0 => request::Body::Hello(proto::Hello {
            token: token(script),
            session: match script.below(4) {
                0 => Bytes::new(),
                1 => Bytes::copy_from_slice(script.short()),
                2 => SessionId::new(script.number(), [1; 10]).to_bytes(),
                _ => SessionId::new(NOW as u64, [1; 10]).to_bytes(),
            },
            models: (0..script.below(4))
                .map(|_| proto::ModelRevision {
                    id: script.pick(&["grid", "map", "", "tape"]).into(),
                    revision: script.below(3) as u32,
                })
                .collect(),
            session_after_ms: script.number(),
            features: script.below(3) as u32,
        }),
        1 => request::Body::Renew(proto::Renew { token: token(script) }),
        2 => request::Body::Ping(proto::Ping { nonce: script.number() }),
        3 => request::Body::Pong(proto::Pong { nonce: 0 }),
        4 => request::Body::Track(proto::Track { chunk_id: chunk_id(script), have: None }),
        _ => request::Body::Submit(proto::Submit {
            chunk_id: chunk_id(script),
            seq: script.number(),
            after: script.number(),
            body: match script.below(6) {
                0 => None,
                1 => Some(submit::Body::Settle(proto::Settle {})),
                2 => Some(submit::Body::Command(script.long())),
                _ => Some(submit::Body::Command(Bytes::from_static(b"\x0a\x06\x0a\x01\x01\x12\x01\x01"))),
            },
        }),
    }
}

fn token(script: &mut Reader<'_>) -> String {
    match script.below(8) {
        0..4 => "ann".into(),
        4 => script.pick(&["bob", "eve"]).into(),
        5 => format!("ann@{}", script.number().cast_signed()),
        6 => "!".into(),
        _ => script.text(),
    }
}
