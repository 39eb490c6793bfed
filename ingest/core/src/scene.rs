//! Support for the tests of this crate: a world, a fake token verifier, and a socket to drive.

use crate::connection::{Connection, Input, Outputs};
use crate::rate::rates;
use crate::{Admission, Policy};
use bytes::{Bytes, BytesMut};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_runtime_core::{Environment, TokenRefused};
use driftless_schemas::access::{Access, Claims};
use driftless_schemas::proto::{self, event, request, submit};
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use driftless_schemas::world::WorldSpec;
use driftless_schemas::{SessionId, WriterId, format};
use prost::Message as _;
use std::sync::Arc;

pub const NOW: i64 = 1_800_000_000_000;
pub const EXPIRES_S: i64 = NOW / 1000 + 3600;
const START: Now = Now { unix: UnixMs(NOW), monotonic: MonotonicMs(5_000) };
pub const SESSION: SessionId = SessionId([1, 0xa3, 0x18, 0x5c, 0x50, 0, 0x70, 1, 0x80, 1, 1, 1, 1, 1, 1, 1]);

/// A fake verifier. A token is `<sub>` or `<sub>@<expires_at>`. A token with a `!` and the empty
/// token are refused.
pub struct Verifier;

impl Environment for Verifier {
    fn verify(&self, token: &str, _now: UnixMs) -> Result<Claims, TokenRefused> {
        if token.contains('!') || token.is_empty() {
            return Err(TokenRefused(format!("the token {token:?} is forged")));
        }
        let (sub, expires_at) = token.split_once('@').unwrap_or((token, ""));
        let access =
            Access { read: vec![], write: vec!["canvas/0/".into(), "things/".into()], roles: vec!["r".into()] };
        Ok(Claims {
            sub: sub.into(),
            jti: None,
            expires_at: expires_at.parse().unwrap_or(EXPIRES_S),
            access,
            key: Default::default(),
        })
    }

    fn recheck(&self, _claims: &Claims) -> Result<(), TokenRefused> {
        Ok(())
    }

    fn random(&self) -> [u8; 10] {
        [9; 10]
    }
}

pub fn admission(policy: Policy) -> Arc<Admission> {
    let world = World::new("dev", WorldSpec::dev(), &Models::builtin()).unwrap();
    Arc::new(Admission::new(Arc::new(world), policy))
}

/// A socket under test, its clocks, and its outputs that the test has not taken yet.
pub struct Scene {
    pub connection: Connection,
    pub now: Now,
    pub out: Outputs,
}

impl Scene {
    pub fn with(policy: Policy) -> Self {
        let rates = Arc::new(rates(&policy));
        Self {
            connection: Connection::new(admission(policy), rates, START.monotonic),
            now: START,
            out: Outputs::default(),
        }
    }

    /// Returns a socket whose Hello was accepted, with the session [`SESSION`].
    pub fn greeted(policy: Policy) -> Self {
        let mut scene = Self::with(policy);
        scene.send([hello("ann")]);
        assert!(matches!(scene.events()[..], [event::Body::Welcome(_)]));
        scene
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.connection.handle(input, self.now, &Verifier, &mut self.out);
    }

    pub fn send(&mut self, requests: impl IntoIterator<Item = request::Body>) {
        let mut frame = BytesMut::new();
        requests.into_iter().for_each(|body| format::push_request(&mut frame, body));
        self.input(Input::Frame(frame.freeze()));
    }

    /// Advances the wall clock and the monotonic clock by `ms` milliseconds.
    pub fn pass(&mut self, ms: u64) {
        self.now.unix = self.now.unix.plus_ms(ms as i64);
        self.now.monotonic = self.now.monotonic.plus_ms(ms);
    }

    /// Advances both clocks until the wall clock reads `unix_ms`, and then inputs a tick.
    pub fn tick_at(&mut self, unix_ms: i64) {
        self.pass(UnixMs(unix_ms).ms_since(self.now.unix) as u64);
        self.input(Input::Tick);
    }

    /// The events since the last call.
    pub fn events(&mut self) -> Vec<event::Body> {
        let frame = proto::ServerFrame::decode(self.out.session.frame.split().freeze()).unwrap();
        frame.events.into_iter().map(|event| event.body.unwrap()).collect()
    }

    /// The records for the log since the last call: (token, record).
    pub fn produced(&mut self) -> Vec<(u32, proto::CommandRecord)> {
        self.out.produce.drain(..).map(|p| (p.token, proto::CommandRecord::decode(p.record).unwrap())).collect()
    }

    /// The single rejection since the last call.
    pub fn rejection(&mut self) -> proto::Rejected {
        match &self.events()[..] {
            [event::Body::Rejected(rejected)] => rejected.clone(),
            other => panic!("no single rejection: {other:?}"),
        }
    }

    pub fn closed(&self) -> u16 {
        self.out.session.close.as_ref().expect("the socket is to be closed").code
    }
}

pub fn writer() -> WriterId {
    SESSION.writer("ann")
}

pub fn hello(token: &str) -> request::Body {
    request::Body::Hello(proto::Hello { token: token.into(), session: SESSION.to_bytes(), ..Default::default() })
}

pub fn submit(chunk: &str, seq: u64, after: u64, body: Option<submit::Body>) -> request::Body {
    request::Body::Submit(proto::Submit { chunk_id: chunk.into(), seq, after, body })
}

pub fn settle() -> Option<submit::Body> {
    Some(submit::Body::Settle(proto::Settle {}))
}

/// Sets one cell of the canvas.
pub fn cell(cell: u32, value: u32) -> Option<submit::Body> {
    let set = proto::SetCells { cells: vec![cell], values: vec![value], guards: vec![] };
    let command = proto::GridCommand { body: Some(proto::grid_command::Body::Set(set)) };
    Some(submit::Body::Command(command.encode_to_vec().into()))
}

pub fn bytes(bytes: impl Into<Bytes>) -> Option<submit::Body> {
    Some(submit::Body::Command(bytes.into()))
}
