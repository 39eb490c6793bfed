//! Commands over HTTP, for services, scripts and `curl`.
//!
//! `POST /v1/sessions` issues a session. `POST /v1/chunks/{id}/commands` accepts commands and
//! answers once the log has acknowledged them. The checks are the same as on a websocket.

use crate::context::Context;
use crate::producer::Mailbox;
use driftless_auth::Claims;
use driftless_ingest_core::rate::Bucket;
use driftless_ingest_core::{Admitted, Produce, Rejection};
use driftless_log::AppendError;
use driftless_runtime_core::{Environment as _, Identity, ids};
use driftless_schemas::{ChunkId, Partition, Seq, SessionId, limits};
use driftless_web::http::{
    Body, ChunkPath, Credentials, Problem, Response, Routes, body_for, chunk_path, json, query_value,
};
use results::{Accepted, Outcome, answer, rejected, unacknowledged};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use submission::{Batch, Item};
use tokio::time::Instant;
use warp::Filter;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

mod results;
mod submission;

/// A request waits for the producer's time-out and this much longer. Within that time the producer
/// reports an outcome for each record, also for a record that it gives up.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

pub(crate) fn routes(context: &Arc<Context>) -> Routes {
    let with = |context: Arc<Context>| warp::any().map(move || Arc::clone(&context));
    let sessions = warp::path!("v1" / "sessions")
        .and(warp::post())
        .and(with(Arc::clone(context)))
        .and(body_for(limits::CLIENT_FRAME_BYTES_MAX, context.input.clone(), user(context)))
        .map(|context: Arc<Context>, claims, body: Body| {
            new_session(&context, &claims, &body).unwrap_or_else(Problem::response)
        });
    let commands = chunk_path()
        .and_then(|path: ChunkPath| async move {
            let is_ours = path.extension.is_empty() && path.suffix() == ["commands"];
            if is_ours { Ok(path.chunk) } else { Err(warp::reject::not_found()) }
        })
        .and(warp::post())
        .and(with(Arc::clone(context)))
        .and(warp::header::headers_cloned())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(body_for(limits::CLIENT_FRAME_BYTES_MAX, context.input.clone(), user(context)))
        .then(|chunk: ChunkId, context: Arc<Context>, headers, query: String, claims, body| async move {
            let request = Request { chunk, headers, query, body };
            commands(&context, claims, request).await.unwrap_or_else(Problem::response)
        });
    sessions.or(commands).unify().boxed()
}

/// Checks the token of a request, and whether its user's rate is used up.
fn user(context: &Arc<Context>) -> impl Fn(Credentials) -> Result<Claims, Problem> + Clone + use<> {
    let context = Arc::clone(context);
    move |credentials| {
        let now = context.clock.now();
        let claims = credentials.verify(&context.verifier, now.unix)?;
        let bucket = context.rates.of(&claims.sub, now.monotonic);
        bucket.check([1, 0, 0, 0], now.monotonic).map_err(|wait_ms| {
            let detail = format!("{:?} sends more than its rate allows; wait {wait_ms} ms", claims.sub);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).with_retry_after_ms(wait_ms)
        })?;
        Ok(claims)
    }
}

/// The body of `POST /v1/sessions`, which may be empty.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SessionRequest {
    /// The time of the new session will be above this, in milliseconds since the Unix epoch.
    session_after_ms: u64,
}

#[derive(Serialize)]
struct NewSession {
    session: SessionId,
    writer: driftless_schemas::WriterId,
    /// Milliseconds since the Unix epoch; no server accepts the session after this time.
    expires_at_ms: u64,
    /// The token's expiry, in seconds since the Unix epoch.
    token_expires_at: i64,
}

fn new_session(context: &Context, claims: &Claims, body: &[u8]) -> Result<Response, Problem> {
    let wanted: SessionRequest = match body {
        [] => SessionRequest::default(),
        json => serde_json::from_slice(json).map_err(|e| {
            let detail = format!("{e}; the body may be empty, or {{\"session_after_ms\": <milliseconds>}}");
            Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail)
        })?,
    };
    let now = context.clock.now().unix;
    let session = ids::issue(wanted.session_after_ms, now, context.verifier.at(None).random()).map_err(|e| {
        // A wait above `SESSION_WAIT_MS_MAX` is not caused by servers whose clocks differ, but by a
        // wrong `session_after_ms`. A retry would not help, so the request is refused for good.
        let wait_ms = wanted.session_after_ms.saturating_sub(u64::try_from(now.0).unwrap_or(0));
        if wait_ms > limits::SESSION_WAIT_MS_MAX {
            let detail =
                format!("{e}; session_after_ms must be the largest `floor_ms` that the client has seen, and no floor is so far ahead");
            return Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail);
        }
        let wait_ms = u32::try_from(wait_ms.saturating_sub(limits::SESSION_AHEAD_MAX_MS)).unwrap_or(u32::MAX).max(1000);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "session_not_yet", e.to_string()).with_retry_after_ms(wait_ms)
    })?;
    let new = NewSession {
        session,
        writer: session.writer(&claims.sub),
        expires_at_ms: session.time_ms().saturating_add(context.settings.policy.session_age_max_ms),
        token_expires_at: claims.expires_at,
    };
    Ok(no_store(json(StatusCode::CREATED, &new)))
}

struct Request {
    chunk: ChunkId,
    headers: HeaderMap,
    query: String,
    body: Body,
}

impl Request {
    fn batch(&self) -> Result<Batch, Problem> {
        let text = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let session = text("driftless-session").or_else(|| query_value(&self.query, "session"));
        let session = session
            .map(|hex| hex.parse::<SessionId>())
            .transpose()
            .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "bad_session", e))?;
        let content_type = text(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        Batch::read(&self.chunk, &content_type, &self.body, session)
    }
}

async fn commands(context: &Context, claims: Claims, request: Request) -> Result<Response, Problem> {
    context.metrics.received_bytes.increment(request.body.len() as u64);
    let submitting = Submitting::new(context, &request.chunk, claims);
    let bucket = submitting.bucket.clone();
    let answered = async {
        let batch = request.batch()?;
        Ok(no_store(answer(submitting.submit(&batch.items).await?, batch.is_array)))
    };
    let answered: Result<Response, Problem> = answered.await;
    if answered.is_err() {
        // A body that was read in vain was work, too. Each command of a good body counts by itself.
        let _ = bucket.owe([1, request.body.len(), 1, 0], context.clock.monotonic());
    }
    answered
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The commands of one request on their way through the log.
struct Submitting<'a> {
    context: &'a Context,
    chunk: &'a ChunkId,
    claims: Claims,
    bucket: Bucket,
    outcomes: Vec<Option<Outcome>>,
    /// The records without an acknowledgement, by token. The token is the index of the command in
    /// the request.
    in_flight: BTreeMap<u32, (Seq, Partition)>,
}

impl<'a> Submitting<'a> {
    fn new(context: &'a Context, chunk: &'a ChunkId, claims: Claims) -> Self {
        let bucket = context.rates.of(&claims.sub, context.clock.monotonic());
        Self { context, chunk, claims, bucket, outcomes: Vec::new(), in_flight: BTreeMap::new() }
    }

    async fn submit(mut self, items: &[Item]) -> Result<Vec<Outcome>, Problem> {
        let mut mailbox = self.context.producer.open_mailbox();
        let records = self.admit_all(items)?;
        let count = records.len();
        let unsent = self.context.producer.append(&mailbox, records);
        self.context.metrics.produced.increment((count - unsent.len()) as u64);
        for record in unsent {
            let rejection = self.context.admission.unavailable();
            self.not_in_log(record.token, &rejection);
        }
        self.await_answers(&mut mailbox).await;
        // Every command has an outcome by now. A missing one would be a bug, which the answer
        // `internal` makes visible.
        Ok(self.outcomes.into_iter().map(|o| o.unwrap_or_else(|| Outcome::Failed(Problem::internal()))).collect())
    }

    fn admit_all(&mut self, items: &[Item]) -> Result<Vec<Produce>, Problem> {
        let mut records = Vec::new();
        // The fingerprint of the first body under each number. Comparing each command with all
        // earlier ones would take time in the square of their number.
        let mut bodies = BTreeMap::new();
        for (i, item) in items.iter().enumerate() {
            let identity = self.identity(item.session)?;
            let fingerprint = item.fingerprint();
            let is_reused = *bodies.entry((item.session.0, item.seq)).or_insert(fingerprint) != fingerprint;
            let submission = item.submission(self.chunk);
            let admission = &self.context.admission;
            match admission.admit(&identity, submission, &self.bucket, self.context.clock.now(), |_| is_reused) {
                Ok(Admitted { seq, partition, key, record, .. }) => {
                    // A request has at most HTTP_COMMANDS_MAX commands, so the index fits into a
                    // u32.
                    let token = i as u32;
                    self.in_flight.insert(token, (seq, partition));
                    self.outcomes.push(None);
                    records.push(Produce { token, partition, key, record });
                }
                Err(rejection) => {
                    let outcome = self.rejected(item.seq, &rejection);
                    self.outcomes.push(Some(outcome));
                }
            }
        }
        Ok(records)
    }

    fn identity(&self, session: SessionId) -> Result<Identity, Problem> {
        let age_max_ms = self.context.settings.policy.session_age_max_ms;
        let session = ids::accept(&session.0, self.context.clock.now().unix, age_max_ms).map_err(|e| {
            let detail = format!("{e} (POST /v1/sessions)");
            Problem::new(StatusCode::BAD_REQUEST, "bad_session", detail)
        })?;
        let writer = session.writer(&self.claims.sub);
        Ok(Identity { claims: self.claims.clone(), session, writer, offered: None, features: 0 })
    }

    async fn await_answers(&mut self, mailbox: &mut Mailbox) {
        let deadline = Instant::now() + self.context.settings.waits.acknowledgement() + ANSWER_GRACE;
        while !self.in_flight.is_empty() {
            match tokio::time::timeout_at(deadline, mailbox.next()).await {
                Ok(answers) => {
                    for answer in answers {
                        match answer.result {
                            Ok(offset) => self.accepted(answer.token, offset),
                            Err(AppendError::Refused(reason)) => {
                                let rejection = self.context.admission.refused_by_log(&reason);
                                self.not_in_log(answer.token, &rejection);
                            }
                            Err(error) => self.not_acknowledged(answer.token, &error),
                        }
                    }
                }
                Err(_) => {
                    let error = AppendError::Unknown("no acknowledgement came in time".into());
                    let tokens: Vec<u32> = self.in_flight.keys().copied().collect();
                    tokens.into_iter().for_each(|token| self.not_acknowledged(token, &error));
                }
            }
        }
    }

    fn accepted(&mut self, token: u32, offset: Option<driftless_schemas::Offset>) {
        if let Some((seq, partition)) = self.in_flight.remove(&token) {
            self.context.metrics.receipts.increment(1);
            let accepted = Accepted { chunk_id: self.chunk.to_string(), seq: seq.0, partition, offset };
            self.settle(token, Outcome::Accepted(accepted));
        }
    }

    fn not_in_log(&mut self, token: u32, rejection: &Rejection) {
        if let Some((seq, _)) = self.in_flight.remove(&token) {
            let outcome = self.rejected(seq.0, rejection);
            self.settle(token, outcome);
        }
    }

    fn not_acknowledged(&mut self, token: u32, error: &AppendError) {
        if let Some((seq, _)) = self.in_flight.remove(&token) {
            self.context.metrics.unacknowledged.increment(1);
            self.settle(token, Outcome::Failed(unacknowledged(self.chunk, seq.0, error)));
        }
    }

    fn rejected(&self, seq: u64, rejection: &Rejection) -> Outcome {
        self.context.metrics.rejected(rejection.code);
        Outcome::Failed(rejected(self.chunk, seq, rejection))
    }

    fn settle(&mut self, token: u32, outcome: Outcome) {
        if let Some(slot) = self.outcomes.get_mut(token as usize) {
            *slot = Some(outcome);
        }
    }
}
