//! The first request on a socket, and its answer.

use crate::admission::{Admission, Identity};
use crate::connection::{Close, Outside};
use crate::session;
use driftless_schemas::access::Claims;
use driftless_schemas::{SessionId, close, limits, proto};
use std::collections::BTreeSet;

/// Greets: checks token, session and models in this order.
///
/// # Errors
/// How the socket is to be closed.
pub(crate) fn greet(
    admission: &Admission,
    hello: &proto::Hello,
    now_ms: i64,
    outside: &dyn Outside,
) -> Result<(Identity, proto::Welcome), Close> {
    let claims = outside.verify(&hello.token, now_ms).map_err(|message| Close::new(close::TOKEN, message))?;
    let session = session_of(admission, hello, now_ms, outside)?;
    let (families, offered) = offer(admission, &hello.models)?;
    let writer = session.writer(&claims.sub);
    let welcome = welcome(admission, session, &claims, families, now_ms);
    Ok((Identity { claims, writer, offered }, welcome))
}

fn session_of(
    admission: &Admission,
    hello: &proto::Hello,
    now_ms: i64,
    outside: &dyn Outside,
) -> Result<SessionId, Close> {
    let given = if hello.session.is_empty() {
        session::give_out(hello.session_after_ms, now_ms, outside.random())
    } else {
        session::take_back(&hello.session, now_ms, admission.policy().session_age_max_ms)
    };
    given.map_err(|e| match e {
        // Time mends it: the client may come again by itself.
        session::SessionError::NotYet { .. } => Close::new(close::INTERNAL, e.to_string()),
        _ => Close::new(close::SESSION, e.to_string()),
    })
}

/// The families whose model the client has. A client that names no models takes all.
fn offer(
    admission: &Admission,
    models: &[proto::ModelRevision],
) -> Result<(Vec<proto::Family>, Option<BTreeSet<String>>), Close> {
    let mut families = admission.world().announced();
    if models.is_empty() {
        return Ok((families, None));
    }
    let wanted: BTreeSet<_> = families.iter().map(|f| format!("{} revision {}", f.model, f.model_revision)).collect();
    families.retain(|f| models.iter().any(|m| m.id == f.model && m.revision == f.model_revision));
    if families.is_empty() {
        let wanted: Vec<_> = wanted.into_iter().collect();
        let message = format!("upgrade the client: this world needs {}", wanted.join(" or "));
        return Err(Close::new(close::UPGRADE_NEEDED, message));
    }
    let offered = families.iter().map(|f| f.name.clone()).collect();
    Ok((families, Some(offered)))
}

fn welcome(
    admission: &Admission,
    session: SessionId,
    claims: &Claims,
    families: Vec<proto::Family>,
    now_ms: i64,
) -> proto::Welcome {
    let spec = admission.world().spec();
    proto::Welcome {
        session: session.to_bytes(),
        writer: session.writer(&claims.sub).to_bytes(),
        limits: Some(proto::Limits {
            frame_bytes_max: limits::CLIENT_FRAME_BYTES_MAX as u32,
            command_bytes_max: limits::COMMAND_BYTES_MAX as u32,
            commands_per_second: admission.policy().commands_per_second,
            tracked_chunks_max: limits::TRACKED_CHUNKS_MAX as u32,
            ping_interval_ms: limits::PING_INTERVAL_MS as u32,
            dead_after_ms: limits::DEAD_AFTER_MS as u32,
        }),
        families,
        token_expires_at: claims.expires_at,
        world: spec.name.clone(),
        generation: spec.generation,
        server_time_ms: now_ms,
    }
}
