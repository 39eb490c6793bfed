//! The first request on a socket, and its answer.

use crate::ids::{self, SessionError};
use crate::places::{Place, Users};
use crate::session::{Close, Identity};
use driftless_chunk::world::World;
use driftless_schemas::access::Claims;
use driftless_schemas::time::UnixMs;
use driftless_schemas::{SessionId, close, limits, proto};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a session asks of the world around it.
pub trait Environment {
    /// Checks a token.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, String>;
    /// Why a token that was good may be used no more, for people; `None` where it may. Asked with every message.
    fn denied(&self, claims: &Claims) -> Option<String>;
    /// Randomness for a new session.
    fn random(&self) -> [u8; 10];
}

/// The limits that every service has; each adds its own.
#[must_use]
pub fn announced() -> proto::Limits {
    proto::Limits {
        frame_bytes_max: limits::CLIENT_FRAME_BYTES_MAX as u32,
        command_bytes_max: limits::COMMAND_BYTES_MAX as u32,
        commands_per_second: limits::COMMANDS_PER_SECOND,
        tracked_chunks_max: limits::TRACKED_CHUNKS_MAX as u32,
        ping_interval_ms: limits::PING_INTERVAL_MS as u32,
        dead_after_ms: limits::DEAD_AFTER_MS as u32,
        ..proto::Limits::default()
    }
}

/// Greets clients of one world.
#[derive(Clone, Debug)]
pub struct Greeter {
    /// The world.
    pub world: Arc<World>,
    /// How much older than now a session may be, milliseconds.
    pub session_age_max_ms: u64,
    /// How long after its end a token may still be renewed before the socket is closed, milliseconds.
    pub renewal_grace_ms: u32,
    /// How many connections users have, and may have.
    pub users: Users,
    /// Announced in `Welcome`.
    pub limits: proto::Limits,
}

impl Greeter {
    /// With the default limits, and without one of connections.
    #[must_use]
    pub fn new(world: Arc<World>) -> Self {
        Self {
            world,
            session_age_max_ms: limits::SESSION_AGE_MAX_MS,
            renewal_grace_ms: 10_000,
            users: Users::default(),
            limits: announced(),
        }
    }

    /// Checks token, session, models and the number of connections, in this order. The place is to be kept as long as the
    /// connection lives.
    ///
    /// # Errors
    /// How the socket is to be closed.
    pub fn greet(
        &self,
        hello: &proto::Hello,
        now: UnixMs,
        environment: &dyn Environment,
    ) -> Result<(Identity, proto::Welcome, Place<String>), Close> {
        let claims = environment.verify(&hello.token, now).map_err(|message| Close::new(close::TOKEN, message))?;
        let session = self.session_of(hello, now, environment)?;
        let (families, offered) = self.offer(&hello.models)?;
        let place = self.users.take(&claims).map_err(|e| Close::new(close::TOO_MANY, e.to_string()))?;
        let writer = session.writer(&claims.sub);
        let welcome = self.welcome(session, &claims, families, now);
        Ok((Identity { claims, session, writer, offered }, welcome, place))
    }

    fn session_of(&self, hello: &proto::Hello, now: UnixMs, environment: &dyn Environment) -> Result<SessionId, Close> {
        let given = if hello.session.is_empty() {
            ids::give_out(hello.session_after_ms, now, environment.random())
        } else {
            ids::take_back(&hello.session, now, self.session_age_max_ms)
        };
        given.map_err(|e| match e {
            // Time mends it: the client may come again by itself.
            SessionError::NotYet { .. } => Close::new(close::INTERNAL, e.to_string()),
            _ => Close::new(close::SESSION, e.to_string()),
        })
    }

    /// The families whose model the client has. A client that names no models takes all.
    fn offer(&self, models: &[proto::ModelRevision]) -> Result<(Vec<proto::Family>, Option<BTreeSet<String>>), Close> {
        let mut families = self.world.announced();
        if models.is_empty() {
            return Ok((families, None));
        }
        let needed: BTreeSet<_> =
            families.iter().map(|f| format!("{} revision {}", f.model, f.model_revision)).collect();
        families.retain(|f| models.iter().any(|m| m.id == f.model && m.revision == f.model_revision));
        if families.is_empty() {
            let needed: Vec<_> = needed.into_iter().collect();
            let message = format!("upgrade the client: this world needs {}", needed.join(" or "));
            return Err(Close::new(close::UPGRADE_NEEDED, message));
        }
        let offered = families.iter().map(|f| f.name.clone()).collect();
        Ok((families, Some(offered)))
    }

    fn welcome(
        &self,
        session: SessionId,
        claims: &Claims,
        families: Vec<proto::Family>,
        now: UnixMs,
    ) -> proto::Welcome {
        let spec = self.world.spec();
        proto::Welcome {
            session: session.to_bytes(),
            writer: session.writer(&claims.sub).to_bytes(),
            limits: Some(proto::Limits {
                connections_max: u32::try_from(self.users.max_of(claims)).unwrap_or(u32::MAX),
                ..self.limits
            }),
            families,
            token_expires_at: claims.expires_at,
            world: spec.name.clone(),
            generation: spec.generation,
            server_time_ms: now.0,
        }
    }
}
