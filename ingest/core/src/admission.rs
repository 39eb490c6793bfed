//! One command's checks, in order (DESIGN.md section 8): chunk id, family known, write access, command shape by the
//! model, rate. The first that fails names the rejection. Frame size and decoding come before; nothing is held back
//! after a rejection, because R8 keeps the order.

use crate::policy::Policy;
use crate::rate::Bucket;
use crate::rejection::Rejection;
use bytes::Bytes;
use driftless_chunk::world::{Place, World};
use driftless_runtime_core::places::Users;
use driftless_runtime_core::{Greeter, Identity, announced};
use driftless_schemas::proto::{self, RejectCode};
use driftless_schemas::time::{Now, UnixMs};
use driftless_schemas::world::Unplaced;
use driftless_schemas::{ChunkId, Partition, Seq, limits};
use prost::Message as _;
use std::sync::Arc;

/// One command, as it came in.
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    /// The chunk's id, unchecked.
    pub chunk_id: &'a str,
    /// The writer's number.
    pub seq: u64,
    /// The writer's number before it.
    pub after: u64,
    /// `None` where the client sent none.
    pub body: Option<Body<'a>>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// A command as its model understands it.
    Command(Bytes),
    /// The same as JSON, to be read by the model.
    Json(&'a serde_json::Value),
    /// Resolve all numbers below.
    Settle,
}

/// A command that may go to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The chunk.
    pub chunk: ChunkId,
    /// The writer's number.
    pub seq: Seq,
    /// Where it goes (R1).
    pub partition: Partition,
    /// The Kafka key.
    pub key: Bytes,
    /// An encoded `CommandRecord`.
    pub record: Bytes,
}

/// The checks of one world.
#[derive(Clone, Debug)]
pub struct Admission {
    world: Arc<World>,
    policy: Policy,
    users: Users,
}

impl Admission {
    /// Checks for this world.
    #[must_use]
    pub fn new(world: Arc<World>, policy: Policy) -> Self {
        let users = Users::new(policy.connections_per_user, policy.connections_of_role.clone());
        Self { world, policy, users }
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Greets clients by this policy.
    #[must_use]
    pub fn greeter(&self) -> Greeter {
        Greeter {
            world: Arc::clone(&self.world),
            session_age_max_ms: self.policy.session_age_max_ms,
            renewal_grace_ms: self.policy.renewal_grace_ms,
            users: self.users.clone(),
            limits: proto::Limits {
                commands_per_second: self.policy.commands_per_second,
                commands_burst: self.policy.commands_burst,
                bytes_per_second: self.policy.bytes_per_second,
                bytes_burst: self.policy.bytes_burst,
                cost_per_second: self.policy.cost_per_second,
                cost_burst: self.policy.cost_burst,
                ..announced()
            },
        }
    }

    /// Checks one command and makes its record. `is_reused` says whether the number belongs to another command already.
    ///
    /// # Errors
    /// [`Rejection`] with the first reason.
    pub fn admit(
        &self,
        who: &Identity,
        submission: Submission<'_>,
        bucket: &Bucket,
        now: Now,
        is_reused: impl FnOnce(&ChunkId) -> bool,
    ) -> Result<Admitted, Rejection> {
        if who.is_expired(now.unix) {
            return Err(Rejection::token_expired(who.claims.expires_at));
        }
        let chunk: ChunkId = submission
            .chunk_id
            .parse()
            .map_err(|e: driftless_schemas::ChunkIdError| Rejection::never(RejectCode::BadChunkId, e.to_string()))?;
        let place = self.place(who, &chunk)?;
        if !who.claims.access.may_write(&chunk) {
            let message = format!(
                "{:?} may not write {chunk}; the token's write list allows {}",
                who.claims.sub,
                listed(&who.claims.access.write)
            );
            return Err(Rejection::never(RejectCode::NoWriteAccess, message));
        }
        check_numbers(submission.seq, submission.after)?;
        let (body, cost) = check_shape(&place, submission.body)?;
        if is_reused(&chunk) {
            let message = format!(
                "number {} for {chunk} was used for another command on this socket; a number is never used twice",
                submission.seq
            );
            return Err(Rejection::never(RejectCode::SeqReused, message));
        }
        let bytes = if let proto::command::Body::Command(bytes) = &body { bytes.len() } else { 0 };
        bucket.take([1, bytes, cost], now.monotonic).map_err(|wait_ms| self.too_fast(who, cost, wait_ms))?;
        let record = record(who, &chunk, submission.seq, submission.after, now.unix, body);
        Ok(Admitted { chunk, seq: Seq(submission.seq), partition: place.partition, key: place.key.into(), record })
    }

    fn place(&self, who: &Identity, chunk: &ChunkId) -> Result<Place, Rejection> {
        let place = self.world.place(chunk).map_err(|e| {
            let code = match e {
                Unplaced::UnknownFamily { .. } => RejectCode::UnknownFamily,
                Unplaced::OutOfBounds { .. } => RejectCode::OutOfBounds,
            };
            Rejection::never(code, e.to_string())
        })?;
        let family = &place.family;
        if who.offered.as_ref().is_some_and(|offered| !offered.contains(&family.spec.name)) {
            let message = format!(
                "{:?} has model {} revision {}, which the client did not name in its Hello; upgrade the client",
                family.spec.name, family.spec.model, family.revision
            );
            return Err(Rejection::never(RejectCode::UnknownFamily, message));
        }
        Ok(place)
    }

    fn too_fast(&self, who: &Identity, cost: usize, wait_ms: u32) -> Rejection {
        let Policy { commands_per_second, bytes_per_second, cost_per_second, .. } = self.policy;
        let message = format!(
            "{:?} submits more than {commands_per_second} commands, {bytes_per_second} bytes or {cost_per_second} units of cost a second (this one costs {cost}); wait {wait_ms} ms",
            who.claims.sub
        );
        Rejection::later(RejectCode::RateLimited, wait_ms, message)
    }

    /// The log takes nothing: certainly not in it.
    #[must_use]
    pub fn unavailable(&self) -> Rejection {
        let wait_ms = self.policy.unavailable_retry_ms;
        let message = format!("the log takes nothing at the moment; send again in {wait_ms} ms");
        Rejection::later(RejectCode::Unavailable, wait_ms, message)
    }

    /// The log says that it will never take this record.
    #[must_use]
    pub fn refused_by_log(&self, reason: &str) -> Rejection {
        Rejection::never(RejectCode::Unavailable, format!("the log does not take this command: {reason}"))
    }
}

fn check_numbers(seq: u64, after: u64) -> Result<(), Rejection> {
    let refuse = |message| Err(Rejection::never(RejectCode::BadSeq, message));
    if seq == 0 {
        return refuse("seq is 0; a writer's numbers for a chunk begin with 1".to_owned());
    }
    if after >= seq {
        return refuse(format!("after is {after}, but must be below seq {seq}: it names an earlier command"));
    }
    Ok(())
}

/// The command, and what it costs.
fn check_shape(place: &Place, body: Option<Body<'_>>) -> Result<(proto::command::Body, usize), Rejection> {
    let bad = |message: String| Rejection::never(RejectCode::BadCommand, message);
    let bytes = match body {
        None => return Err(bad("it has neither a command nor a settle".to_owned())),
        Some(Body::Settle) => return Ok((proto::command::Body::Settle(proto::Settle {}), 1)),
        Some(Body::Command(bytes)) => bytes,
        Some(Body::Json(json)) => place.family.model.command_from_json(json).map_err(|e| bad(e.0))?.into(),
    };
    if bytes.len() > limits::COMMAND_BYTES_MAX {
        let message = format!(
            "the command has {} bytes; {} are the most. Split it into several",
            bytes.len(),
            limits::COMMAND_BYTES_MAX
        );
        return Err(Rejection::never(RejectCode::CommandTooLarge, message));
    }
    place.family.model.check(&bytes).map_err(|e| bad(e.0))?;
    let cost = place.family.model.cost(&bytes).max(1) as usize;
    Ok((proto::command::Body::Command(bytes), cost))
}

fn record(who: &Identity, chunk: &ChunkId, seq: u64, after: u64, now: UnixMs, body: proto::command::Body) -> Bytes {
    let command = proto::Command {
        writer: who.writer.to_bytes(),
        author: who.claims.sub.clone(),
        seq,
        after,
        received_at_ms: now.0,
        roles: who.claims.access.roles.clone(),
        body: Some(body),
    };
    let record =
        proto::CommandRecord { chunk_id: chunk.to_string(), body: Some(proto::command_record::Body::Command(command)) };
    record.encode_to_vec().into()
}

/// A list for a message, cut to a readable length.
fn listed(entries: &[String]) -> String {
    match entries {
        [] => "nothing".to_owned(),
        [first @ .., _] if entries.len() > 5 => format!("{} and {} more", first[..4].join(", "), entries.len() - 4),
        _ => entries.join(", "),
    }
}
