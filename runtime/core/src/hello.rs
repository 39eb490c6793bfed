//! `Hello`, the first request on a socket, and `Welcome`, its answer.

use crate::environment::Environment;
use crate::ids::{self, SessionError};
use crate::outputs::{Close, Outputs};
use crate::places::{Place, Users};
use driftless_chunk::world::World;
use driftless_schemas::access::Claims;
use driftless_schemas::proto::{RefusalCode, event};
use driftless_schemas::time::UnixMs;
use driftless_schemas::{SessionId, WriterId, close, limits, proto};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The client at the other end of a socket.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The claims of the verified token.
    pub claims: Claims,
    /// The id of the client's session.
    pub session: SessionId,
    /// The writer id, derived from the session and the user's name.
    pub writer: WriterId,
    /// The names of the families that `Welcome` offered to the client; `None` means all families.
    pub offered: Option<BTreeSet<String>>,
    /// The features that the client understands, as its Hello says; see
    /// [`driftless_schemas::features`].
    pub features: u32,
}

/// Returns the limits that every service announces in `Welcome`. Each service adds its own limits.
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

/// Answers the `Hello` of the clients of one world.
#[derive(Clone, Debug)]
pub struct Greeter {
    /// The world that clients are welcomed to.
    pub world: Arc<World>,
    /// The greatest age of a session that a client may continue, milliseconds.
    pub session_age_max_ms: u64,
    /// How long after the end of its token a socket stays open for a renewal, milliseconds.
    pub renewal_grace_ms: u32,
    /// Counts and limits the connections of each user.
    pub users: Users,
    /// The limits that `Welcome` announces.
    pub limits: proto::Limits,
}

impl Greeter {
    /// Creates a greeter with the default limits and no limit on connections.
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

    /// Checks the token, the session, the models and the number of connections, in this order.
    /// Returns the client's identity, the answer to send, and the connection's place in the user's
    /// count. The caller must keep the place as long as the connection lives.
    ///
    /// # Errors
    /// The code and the reason with which the socket is to be closed.
    pub fn greet(
        &self,
        hello: &proto::Hello,
        now: UnixMs,
        environment: &dyn Environment,
    ) -> Result<(Identity, proto::Welcome, Place<String>), Close> {
        let claims = environment.verify(&hello.token, now).map_err(|e| Close::new(close::TOKEN, e.to_string()))?;
        let session = self.session_of(hello, now, environment)?;
        let (families, offered) = self.offer(&hello.models)?;
        let place = self.users.take(&claims).map_err(|e| Close::new(close::TOO_MANY, e.to_string()))?;
        let writer = session.writer(&claims.sub);
        let welcome = self.welcome(session, &claims, families, now);
        Ok((Identity { claims, session, writer, offered, features: hello.features }, welcome, place))
    }

    fn session_of(&self, hello: &proto::Hello, now: UnixMs, environment: &dyn Environment) -> Result<SessionId, Close> {
        let session = if hello.session.is_empty() {
            ids::issue(hello.session_after_ms, now, environment.random())
        } else {
            ids::accept(&hello.session, now, self.session_age_max_ms)
        };
        session.map_err(|e| match e {
            // The clock will catch up and a later attempt will succeed. The code `INTERNAL` makes
            // the client retry by itself.
            SessionError::NotYet { .. } => Close::new(close::INTERNAL, e.to_string()),
            _ => Close::new(close::SESSION, e.to_string()),
        })
    }

    /// Returns the families whose model revision the client has, and their names. A client that
    /// names no models is offered all families, with `None` in place of the names.
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
            world_id: self.world.id_field(),
        }
    }
}

impl Identity {
    /// Returns true if the token has expired.
    #[must_use]
    pub fn is_expired(&self, now: UnixMs) -> bool {
        now >= UnixMs::from_seconds(self.claims.expires_at)
    }

    /// Replaces the token by a new token of the same user. Refuses a token that is invalid or
    /// belongs to another user.
    pub(crate) fn renew(&mut self, token: &str, now: UnixMs, environment: &dyn Environment, out: &mut Outputs) {
        match environment.verify(token, now) {
            Ok(claims) if claims.sub == self.claims.sub => {
                self.claims = claims;
                out.is_renewed = true;
                out.event(event::Body::Renewed(proto::Renewed { token_expires_at: self.claims.expires_at }));
            }
            Ok(claims) => {
                let (new, old) = (&claims.sub, &self.claims.sub);
                let message = format!("the token belongs to {new:?}, but this socket to {old:?}; open another socket");
                out.refuse(RefusalCode::Token, message);
            }
            Err(e) => out.refuse(RefusalCode::Token, e.to_string()),
        }
    }
}
