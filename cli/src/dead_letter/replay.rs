//! Appends dead letters to `commands` again.
//!
//! Rule R8 makes a second replay of the same letter safe. A record that is appended as it is keeps
//! its writer and sequence number. Once the number is resolved, another copy of the record counts
//! as a resend without effect. A new command has the sequence number 1 of a derived writer, whose
//! id is computed from chunk, writer and number of the original record. The same record, and every
//! copy of it, therefore gives the same new command, and a second replay is a resend, too.
//!
//! The derived writer's id contains the session time of the original writer, because the id must be
//! the same on every replay. If more than 1,024 other writers have written to the chunk since that
//! time, the chunk may decide that the session has expired. `--again` uses the present time
//! instead.
//!
//! Author and roles stay those of the original record, so the model decides as if the author had
//! asked now. The derived writer belongs to a session of the user with the empty name. No token for
//! that user is valid, so no client can have this writer. The headers `replayed-by` and
//! `replayed-from` name the operator and the dead letter.

use super::decision::{self, Decision};
use super::letter::{Letter, Origin, Placed};
use super::{Place, ReplayArgs, records};
use anyhow::{Result, bail};
use bytes::Bytes;
use driftless_log::{Ack, Append, AppendError, Delivery, Producer};
use driftless_runtime::clock::unix_now;
use driftless_schemas::proto::{self, command, command_record};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, SessionId, WriterId, limits};
use indicatif::{ProgressBar, ProgressStyle};
use prost::Message as _;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Beginnings of the reasons that a replayer gives for a record whose sequence number it could
/// read. The replayer applied R8 to such a record and discarded it. The reasons matter only if
/// `updates` does not go back far enough to show the decision. A record with any other reason is
/// then replayed as it is, which does no harm.
const NUMBERED: [&str; 4] =
    ["the model failed on it", "it has no body that this version knows", "an author of ", "a command of "];

/// Limit of new commands for one chunk in one run. Each new command adds a writer to the chunk's
/// ledger, and a full ledger evicts the least recent writer. More new commands would make the chunk
/// forget the writers that are active now.
const NEW_WRITERS_MAX: usize = limits::LEDGER_WRITERS_MAX / 4;

/// The way in which a replay treats a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Append the original bytes again.
    AsItIs,
    /// Submit the original command as a new command of a derived writer. The field is the original
    /// writer.
    NewCommand(WriterId),
    /// Append nothing, because a replay would have no effect. The field is the reason.
    Refused(String),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsItIs => f.write_str("as it is"),
            Self::NewCommand(_) => f.write_str("as a new command"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// Chooses what a replay does with a letter.
pub(super) fn action(letter: &Letter, placed: &Result<Placed, String>, decision: Decision) -> Action {
    let placed = match placed {
        Ok(placed) => placed,
        Err(why) => return Action::Refused(why.clone()),
    };
    let Some((command, writer)) = placed.command() else { return Action::AsItIs };
    if let Some(why) = rejection(placed, command) {
        return Action::Refused(format!("the command would only be discarded: {why}"));
    }
    let is_numbered = || NUMBERED.iter().any(|reason| letter.reason.starts_with(reason));
    match (decision, &command.body) {
        (Decision::Committed, _) => Action::Refused("the command was committed".into()),
        (Decision::SessionExpired, _) => {
            Action::Refused("the session had expired, and a client submits such a command again by itself".into())
        }
        (Decision::Discarded(_), Some(command::Body::Settle(_))) => {
            Action::Refused("a settle has no effect of its own".into())
        }
        (Decision::Discarded(_), _) => Action::NewCommand(writer),
        (Decision::Unknown, Some(command::Body::Command(_))) if is_numbered() => Action::NewCommand(writer),
        (Decision::Nothing | Decision::OutOfOrder | Decision::Unknown, _) => Action::AsItIs,
    }
}

/// Returns the reason for which ingest or a replayer would reject the command today; `None` if they
/// would accept it.
fn rejection(placed: &Placed, command: &proto::Command) -> Option<String> {
    if command.author.len() > limits::AUTHOR_BYTES_MAX {
        return Some(format!("an author of {} bytes: at most {}", command.author.len(), limits::AUTHOR_BYTES_MAX));
    }
    match &command.body {
        None => Some("it has no body that this version knows".into()),
        Some(command::Body::Settle(_)) => None,
        Some(command::Body::Command(bytes)) if bytes.len() > limits::COMMAND_BYTES_MAX => {
            Some(format!("a command of {} bytes: at most {}", bytes.len(), limits::COMMAND_BYTES_MAX))
        }
        Some(command::Body::Command(bytes)) => placed.place.family.model.check(bytes).err().map(|refusal| refusal.0),
    }
}

/// Derives the writer of a new command. The same original command gives the same writer every time,
/// unless `again_at_ms` adds the present time. No user can have this writer.
fn operators_writer(
    chunk: &ChunkId,
    writer: WriterId,
    seq: u64,
    letter: &Letter,
    again_at_ms: Option<i64>,
) -> WriterId {
    let mut identity = b"driftless dead letter".to_vec();
    identity.extend_from_slice(&writer.0);
    identity.extend_from_slice(&seq.to_be_bytes());
    identity.extend_from_slice(chunk.as_str().as_bytes());
    if let Some(now) = again_at_ms {
        identity.extend_from_slice(&now.to_be_bytes());
    }
    let mut random = [0; 10];
    random.copy_from_slice(&Hash::of(&identity).0[..10]);
    // No service has checked the session time of the original writer. If the derived writer had a
    // time in the future, its later eviction would raise the chunk's floor of session times to that
    // time, and all other writers would count as expired. The time of the dead letter therefore
    // limits it. The minimum is 1, because the session time 0 counts as expired everywhere.
    let put_aside_ms = u64::try_from(letter.timestamp_ms).unwrap_or_default();
    let time_ms = again_at_ms.and_then(|now| u64::try_from(now).ok());
    let time_ms = time_ms.unwrap_or_else(|| writer.time_ms().min(put_aside_ms)).max(1);
    // The services refuse tokens for the user "", so no client can have this writer.
    SessionId::new(time_ms, random).writer("")
}

/// Returns the record to append to `commands` and, for a new command, its derived writer. Returns
/// `None` for a refused letter.
fn record(
    letter: &Letter,
    placed: &Placed,
    action: &Action,
    again_at_ms: Option<i64>,
) -> Option<(Bytes, Option<WriterId>)> {
    match (action, placed.command()) {
        (Action::AsItIs, _) => Some((letter.value.clone(), None)),
        (Action::NewCommand(writer), Some((old, _))) => {
            let writer = operators_writer(&placed.chunk, *writer, old.seq, letter, again_at_ms);
            let command = proto::Command {
                writer: writer.to_bytes(),
                seq: 1,
                after: 0,
                received_at_ms: unix_now().0,
                author: old.author.clone(),
                roles: old.roles.clone(),
                body: old.body.clone(),
            };
            let body = Some(command_record::Body::Command(command));
            let record = proto::CommandRecord { chunk_id: placed.chunk.to_string(), body };
            Some((record.encode_to_vec().into(), Some(writer)))
        }
        _ => None,
    }
}

/// Appends one record at a time, and waits for its acknowledgement.
struct Appender {
    producer: Arc<dyn Producer>,
    acks: mpsc::UnboundedReceiver<Ack>,
}

impl Appender {
    fn new(place: &Place) -> Result<Self> {
        let (to, acks) = mpsc::unbounded_channel();
        let sink = Arc::new(move |batch: Vec<Ack>| batch.into_iter().for_each(|ack| drop(to.send(ack))));
        Ok(Self { producer: place.log.producer(Delivery::Bounded(Duration::from_secs(30)), sink)?, acks })
    }

    async fn append(&mut self, append: Append) -> Result<Option<Offset>> {
        // The queue is empty, because each append waits for its acknowledgement.
        if !self.producer.append(vec![append]).is_empty() {
            bail!("the log takes no record at all");
        }
        match self.acks.recv().await.map(|ack| ack.result) {
            Some(Ok(offset)) => Ok(offset),
            Some(Err(AppendError::Refused(why))) => bail!("the log refuses the record: {why}"),
            Some(Err(AppendError::Unknown(why))) => {
                bail!("the record is not acknowledged, and may be in the log: {why}. Another replay does no harm (R8)")
            }
            None => bail!("the log has ended"),
        }
    }
}

/// Numbers of letters in a run, by what became of them.
#[derive(Default)]
struct Done {
    replayed: usize,
    copies: usize,
    refused: usize,
}

pub(super) async fn run(args: ReplayArgs) -> Result<()> {
    let place = args.place.open().await?;
    let letters = chosen(&place, &args).await?;
    let decisions = decision::of(&place, letters.iter().filter(|letter| letter.place(&place.world).is_ok())).await?;
    let mut run = Run::new(&place, &args, letters.len())?;
    for letter in &letters {
        run.letter(letter, decisions.of(letter)).await?;
    }
    run.finish(letters.len())
}

/// A run of `dead-letter replay`.
struct Run<'a> {
    place: &'a Place,
    args: &'a ReplayArgs,
    /// The session time that `--again` gives to the writers of new commands, in milliseconds since
    /// the Unix epoch; `None` without `--again`.
    again_at_ms: Option<i64>,
    appender: Appender,
    bar: ProgressBar,
    /// Offset of the first letter for each original record. A later letter with the same origin is
    /// a copy.
    first_of: BTreeMap<Origin, Offset>,
    /// Number of new commands for each chunk in this run.
    new_writers: BTreeMap<ChunkId, usize>,
    done: Done,
}

impl<'a> Run<'a> {
    fn new(place: &'a Place, args: &'a ReplayArgs, letters: usize) -> Result<Self> {
        let bar = ProgressBar::new(letters as u64);
        bar.set_style(
            ProgressStyle::with_template("replaying {bar:40} {pos}/{len}, {eta} left")
                .unwrap_or(ProgressStyle::default_bar()),
        );
        Ok(Self {
            place,
            args,
            again_at_ms: args.again.then(|| unix_now().0),
            appender: Appender::new(place)?,
            bar,
            first_of: BTreeMap::new(),
            new_writers: BTreeMap::new(),
            done: Done::default(),
        })
    }

    /// Replays a letter, or refuses it, and prints a line about it.
    async fn letter(&mut self, letter: &Letter, decision: Decision) -> Result<()> {
        self.bar.inc(1);
        let offset = letter.offset;
        let first = letter.origin.clone().map_or(offset, |origin| *self.first_of.entry(origin).or_insert(offset));
        if first != offset {
            self.done.copies += 1;
            return self.say(format!("{offset}: a copy of {first}"), json!({"offset": offset.0, "copy_of": first.0}));
        }
        let placed = letter.place(&self.place.world);
        let action = self.within_limits(action(letter, &placed, decision), &placed);
        let made =
            placed.as_ref().ok().and_then(|placed| Some((placed, record(letter, placed, &action, self.again_at_ms)?)));
        let Some((placed, (value, writer))) = made else {
            self.done.refused += 1;
            return self.say(format!("{offset}: {action}"), json!({"offset": offset.0, "refused": action.to_string()}));
        };
        let partition = placed.place.partition;
        let at = match self.args.dry_run {
            true => None,
            false => self.appender.append(append(self.place, &self.args.operator, letter, placed, value)).await?,
        };
        self.done.replayed += 1;
        let where_to = format!("{}[{partition}]", self.place.world.topics().commands);
        let would = if self.args.dry_run { "would go " } else { "" };
        let at_text = at.map(|at| format!(" at {at}")).unwrap_or_default();
        let by = writer.map(|writer| format!(", writer {writer}")).unwrap_or_default();
        self.say(
            format!("{offset}: {would}{action}{by} → {where_to}{at_text}, {}", placed.chunk),
            json!({
                "offset": offset.0, "replayed": action.to_string(), "is_dry_run": self.args.dry_run,
                "chunk": placed.chunk.as_str(), "partition": partition.0, "at": at.map(|at| at.0),
                "writer": writer.map(|writer| writer.to_string()),
            }),
        )
    }

    /// Refuses a new command that exceeds the chunk's limit [`NEW_WRITERS_MAX`]. Returns any other
    /// action unchanged.
    fn within_limits(&mut self, action: Action, placed: &Result<Placed, String>) -> Action {
        let (Action::NewCommand(_), Ok(placed)) = (&action, placed) else { return action };
        let count = self.new_writers.entry(placed.chunk.clone()).or_default();
        *count += 1;
        if *count <= NEW_WRITERS_MAX {
            return action;
        }
        let chunk = &placed.chunk;
        Action::Refused(format!(
            "{NEW_WRITERS_MAX} new commands for {chunk} are the most for one run: more would make the chunk forget its \
             present writers. Replay this one later"
        ))
    }

    fn say(&self, text: String, json: serde_json::Value) -> Result<()> {
        let line = if self.args.json { json.to_string() } else { text };
        Ok(self.bar.suspend(|| writeln!(io::stdout().lock(), "{line}"))?)
    }

    fn finish(self, letters: usize) -> Result<()> {
        self.bar.finish_and_clear();
        let Done { replayed, copies, refused } = self.done;
        if !self.args.json {
            let what = if self.args.dry_run { "to be replayed" } else { "replayed" };
            eprintln!("{replayed} {what}, {copies} copies, {refused} refused");
        }
        if refused > 0 && !self.args.all {
            bail!("{refused} of {letters} records cannot be replayed");
        }
        Ok(())
    }
}

async fn chosen(place: &Place, args: &ReplayArgs) -> Result<Vec<Letter>> {
    let mut letters = Vec::new();
    if args.all {
        let (low, high) = place.bounds().await?;
        records::each(&*place.log, place.topic(), Partition(0), low..high, |record| {
            letters.push(Letter::read(record));
            Ok(())
        })
        .await?;
    }
    for offset in &args.offsets {
        letters.push(place.letter(Offset(*offset)).await?);
    }
    Ok(letters)
}

fn append(place: &Place, operator: &str, letter: &Letter, placed: &Placed, value: Bytes) -> Append {
    let header = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
    Append {
        topic: Arc::clone(&place.world.topics().commands),
        partition: placed.place.partition,
        key: placed.place.key.clone().into(),
        value,
        headers: vec![
            header("replayed-from", format!("{} at {}", place.topic(), letter.offset)),
            header("replayed-by", operator.to_owned()),
        ],
        token: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::{command, letter, record as encoded, world};
    use super::*;
    use driftless_schemas::proto::DiscardReason;

    const FAULT: &str = "the model failed on it";
    const DISCARDED: Decision = Decision::Discarded(DiscardReason::ModelFault);

    fn way_of(value: impl Into<Bytes>, reason: &str, decision: Decision) -> Action {
        let letter = letter(reason, value);
        action(&letter, &letter.place(&world()), decision)
    }

    #[test]
    fn r8_a_resolved_number_needs_a_new_command_and_an_open_one_goes_as_it_is() {
        let placeable = || encoded("things/0/0", command());
        assert!(matches!(way_of(placeable(), FAULT, DISCARDED), Action::NewCommand(_)));
        for decision in [Decision::Nothing, Decision::OutOfOrder] {
            assert_eq!(way_of(placeable(), FAULT, decision), Action::AsItIs);
        }
        // If `updates` does not go back far enough, the letter's reason decides.
        assert!(matches!(way_of(placeable(), FAULT, Decision::Unknown), Action::NewCommand(_)));
        assert_eq!(way_of(placeable(), "no family is called \"things\"", Decision::Unknown), Action::AsItIs);
        for decision in [Decision::Committed, Decision::SessionExpired] {
            assert!(matches!(way_of(placeable(), FAULT, decision), Action::Refused(_)));
        }
    }

    #[test]
    fn a_letter_that_would_fail_again_is_refused_with_the_reason() {
        let refused = |value: Vec<u8>, says: &str| match way_of(value, FAULT, DISCARDED) {
            Action::Refused(why) => assert!(why.contains(says), "{why}"),
            other => panic!("{other}"),
        };
        refused(b"\xff\xff\xff".to_vec(), "CommandRecord");
        refused(encoded("boards/0/0", command()), "boards");
        refused(encoded("things/0/0", proto::Command { body: None, ..command() }), "no body");
        refused(encoded("things/0/0", proto::Command { author: "a".repeat(300), ..command() }), "300 bytes");
        let command_of =
            |bytes: Vec<u8>| proto::Command { body: Some(command::Body::Command(bytes.into())), ..command() };
        refused(encoded("things/0/0", command_of(vec![0; 20_000])), "20000 bytes");
        refused(encoded("things/0/0", command_of(b"\xff\xff".to_vec())), "only be discarded");
    }

    #[test]
    fn r8_a_new_command_is_the_same_every_time_and_no_user_has_its_writer() {
        let world = world();
        let made = |value: Vec<u8>, again| {
            let letter = letter(FAULT, value);
            let placed = letter.place(&world).unwrap();
            let action = action(&letter, &Ok(letter.place(&world).unwrap()), DISCARDED);
            let (value, writer) = record(&letter, &placed, &action, again).unwrap();
            let record = proto::CommandRecord::decode(value).unwrap();
            let Some(command_record::Body::Command(command)) = record.body else { panic!("no command") };
            assert_eq!(command.writer, writer.unwrap().to_bytes());
            command
        };
        let new = made(encoded("things/0/0", command()), None);
        assert_eq!((new.seq, new.after), (1, 0));
        assert_eq!((&new.author, &new.roles, &new.body), (&command().author, &command().roles, &command().body));
        // Ingest stamps each transmission with a new time, but the command is the same.
        let copy = made(encoded("things/0/0", proto::Command { received_at_ms: 5, after: 3, ..command() }), None);
        assert_eq!(copy.writer, new.writer);
        let others = [
            made(encoded("things/0/1", command()), None),
            made(encoded("things/0/0", proto::Command { seq: 8, ..command() }), None),
            made(encoded("things/0/0", command()), Some(1_800_000_000_000)),
        ];
        assert!(others.iter().all(|other| other.writer != new.writer));
        assert_ne!(new.writer, command().writer);
        let time = |command: &proto::Command| WriterId::from_slice(&command.writer).unwrap().time_ms();
        assert_eq!(time(&others[2]), 1_800_000_000_000);
        // The writer's id begins with "012345". As a session time these bytes lie in the far
        // future, so the time of the dead letter limits it.
        assert_eq!(time(&new), 1_795_632_631_500);
        let ancient = made(encoded("things/0/0", proto::Command { writer: vec![0; 16].into(), ..command() }), None);
        assert_eq!(time(&ancient), 1, "0 is expired everywhere");
    }
}
