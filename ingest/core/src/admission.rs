//! The checks of one command, in order (docs/design.md#ingest): token, chunk id, known family,
//! write access, numbers, whether the user's rate is used up, shape by the model, reuse of a
//! number, rate. Rights come first, then the rate, then work. A command to a chunk that has had
//! none for a while costs the size of the content that it wakes.
//!
//! A rejected command counts for its user's rate as a command with its bytes, unless the rate is
//! the reason: rejections are work, too. The first check that fails determines the rejection. The
//! caller has decoded the command and checked the size of its message before. A rejection does not
//! hold back the writer's later commands, because the replayer enforces their order (R8).

use crate::policy::Policy;
use crate::rate::Bucket;
use crate::rejection::Rejection;
use crate::wakes::Wakes;
use bytes::Bytes;
use driftless_chunk::world::{Family, Place, World};
use driftless_runtime_core::places::Users;
use driftless_runtime_core::{Greeter, Identity, announced};
use driftless_schemas::proto::{self, RejectCode};
use driftless_schemas::time::{Now, UnixMs};
use driftless_schemas::world::Unplaced;
use driftless_schemas::{ChunkId, Partition, Seq, limits};
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A command as the client sent it, before any check.
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    /// The chunk id as the client wrote it; it may be invalid.
    pub chunk_id: &'a str,
    /// The number that the writer gave the command.
    pub seq: u64,
    /// The number of the writer's previous command to the chunk, or 0.
    pub after: u64,
    /// `None` if the request has no body, which is rejected.
    pub body: Option<Body<'a>>,
}

/// The request of a [`Submission`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// A command in the binary encoding of its model.
    Command(Bytes),
    /// A command in JSON, which the model converts.
    Json(&'a serde_json::Value),
    /// Resolve this number and all lower numbers, and commit nothing.
    Settle,
}

impl Body<'_> {
    /// The size of a command in bytes; of a command in JSON, the size that its text has at least.
    fn bytes(&self) -> usize {
        match self {
            Self::Command(bytes) => bytes.len(),
            Self::Json(json) => json_bytes(json),
            Self::Settle => 0,
        }
    }
}

fn json_bytes(json: &serde_json::Value) -> usize {
    use serde_json::Value;
    match json {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => values.iter().map(|value| json_bytes(value) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + json_bytes(value) + 4).sum::<usize>() + 2
        }
    }
}

/// A command that passed all checks, ready for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The chunk that the command is for.
    pub chunk: ChunkId,
    /// The number that the writer gave the command.
    pub seq: Seq,
    /// The partition of the chunk (R1).
    pub partition: Partition,
    /// The record's key in Kafka.
    pub key: Bytes,
    /// The record's value: an encoded `CommandRecord`.
    pub record: Bytes,
}

/// The checks for the commands of one world.
#[derive(Clone, Debug)]
pub struct Admission {
    world: Arc<World>,
    policy: Policy,
    users: Users,
    wakes: Arc<Wakes>,
    /// The size of the first content of each family's chunks, by the family's name.
    content_bytes: Arc<BTreeMap<String, usize>>,
}

impl Admission {
    /// Creates the checks for this world, with the limits of this policy.
    #[must_use]
    pub fn new(world: Arc<World>, policy: Policy) -> Self {
        let users = Users::new(policy.connections_per_user, policy.connections_of_role.clone());
        let sizes = world.families().iter().map(|family| (family.spec.name.clone(), content_bytes(family)));
        let content_bytes = Arc::new(sizes.collect());
        Self { world, policy, users, wakes: Arc::default(), content_bytes }
    }

    /// The world whose commands are checked.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The policy with the limits.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns a greeter that answers each `Hello` with the limits of the policy.
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

    /// Checks one command and encodes its record. `is_reused` returns true if the writer has used
    /// the command's number for another command to this chunk.
    ///
    /// # Errors
    /// A [`Rejection`] that names the first check that failed.
    pub fn admit(
        &self,
        who: &Identity,
        submission: Submission<'_>,
        bucket: &Bucket,
        now: Now,
        is_reused: impl FnOnce(&ChunkId) -> bool,
    ) -> Result<Admitted, Rejection> {
        let bytes = submission.body.as_ref().map_or(0, Body::bytes);
        let admitted = self.check(who, submission, (bucket, bytes), now, is_reused);
        if admitted.as_ref().is_err_and(|rejection| rejection.code != RejectCode::RateLimited) {
            // Commands are not delayed by a debt, but rejected.
            let _ = bucket.owe([1, bytes, 1, 0], now.monotonic);
        }
        admitted
    }

    fn check(
        &self,
        who: &Identity,
        submission: Submission<'_>,
        (bucket, bytes): (&Bucket, usize),
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
        bucket.check([1, bytes, 0, 0], now.monotonic).map_err(|wait_ms| self.too_fast(who, (1, 0), wait_ms))?;
        let (body, cost) = check_shape(&place, submission.body)?;
        if is_reused(&chunk) {
            let message = format!(
                "number {} for {chunk} was used for another command on this socket; number each command anew",
                submission.seq
            );
            return Err(Rejection::never(RejectCode::SeqReused, message));
        }
        let bytes = if let proto::command::Body::Command(bytes) = &body { bytes.len() } else { 0 };
        let woken = match self.wakes.wakes(&chunk, now.monotonic) {
            true => self.content_bytes.get(&place.family.spec.name).copied().unwrap_or(limits::WAKE_BYTES_MIN),
            false => 0,
        };
        let taken = bucket.take([1, bytes, cost, woken], now.monotonic);
        taken.map_err(|wait_ms| self.too_fast(who, (cost, woken), wait_ms))?;
        self.wakes.note(&chunk, now.monotonic);
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

    fn too_fast(&self, who: &Identity, (cost, woken): (usize, usize), wait_ms: u32) -> Rejection {
        let Policy { commands_per_second, bytes_per_second, cost_per_second, wake_bytes_per_second, .. } = self.policy;
        let message = format!(
            "{:?} submits more than {commands_per_second} commands, {bytes_per_second} bytes or {cost_per_second} units of cost a second, or wakes more than {wake_bytes_per_second} bytes of content (this one costs {cost} and wakes {woken} bytes); wait {wait_ms} ms",
            who.claims.sub
        );
        Rejection::later(RejectCode::RateLimited, wait_ms, message)
    }

    /// Returns the rejection for a command that the log's queue had no room for. The client may
    /// send the command again.
    #[must_use]
    pub fn unavailable(&self) -> Rejection {
        let wait_ms = self.policy.unavailable_retry_ms;
        let message = format!("the log accepts no records at the moment; send the command again in {wait_ms} ms");
        Rejection::later(RejectCode::Unavailable, wait_ms, message)
    }

    /// Returns the rejection for a command that the log will never accept.
    #[must_use]
    pub fn refused_by_log(&self, reason: &str) -> Rejection {
        Rejection::never(RejectCode::Unavailable, format!("the log refuses this command: {reason}"))
    }
}

/// The size of the first content of a family's chunks, in bytes.
fn content_bytes(family: &Family) -> usize {
    let id = format!("{}{}", family.spec.name, "/0".repeat(family.spec.coordinates as usize));
    let bytes = id.parse().map_or(0, |id: ChunkId| family.model.encode(&family.model.initial(&id)).len());
    bytes.max(limits::WAKE_BYTES_MIN)
}

fn check_numbers(seq: u64, after: u64) -> Result<(), Rejection> {
    let refuse = |message| Err(Rejection::never(RejectCode::BadSeq, message));
    if seq == 0 {
        return refuse("seq is 0; the numbers of a writer for a chunk begin with 1".to_owned());
    }
    if after >= seq {
        return refuse(format!("after is {after}, but must be below seq {seq}: it names an earlier command"));
    }
    Ok(())
}

/// Checks the body with the model. Returns the body for the record, and the command's cost in the
/// model's units.
fn check_shape(place: &Place, body: Option<Body<'_>>) -> Result<(proto::command::Body, usize), Rejection> {
    let bad = |message: String| Rejection::never(RejectCode::BadCommand, message);
    let bytes = match body {
        None => return Err(bad("the request has neither a command nor a settle".to_owned())),
        Some(Body::Settle) => return Ok((proto::command::Body::Settle(proto::Settle {}), 1)),
        Some(Body::Command(bytes)) => bytes,
        Some(Body::Json(json)) => place.family.model.command_from_json(json).map_err(|e| bad(e.0))?.into(),
    };
    if bytes.len() > limits::COMMAND_BYTES_MAX {
        let message = format!(
            "the command has {} bytes; the limit is {}. Split it into several commands",
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

/// Lists entries for a message. Of more than five, only the first four are named.
fn listed(entries: &[String]) -> String {
    match entries {
        [] => "nothing".to_owned(),
        [first @ .., _] if entries.len() > 5 => format!("{} and {} more", first[..4].join(", "), entries.len() - 4),
        _ => entries.join(", "),
    }
}
