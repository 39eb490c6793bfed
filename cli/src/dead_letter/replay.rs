//! Putting letters back into `commands`.
//!
//! R8 makes it safe. As it is, a record keeps its author's numbers: what is resolved already is a resend. A new command has
//! the number 1 of a writer that is made out of the chunk, writer and number of the record, so that the same record, and
//! every copy of it, gives the same command again: replaying it twice is a resend, too. The writer's session time is that of
//! the record's writer, because it must be the same every time; a chunk that more than 1,024 others have written to since
//! may answer that it has expired, which `--again` gets over.
//!
//! Author and roles stay those of the record: the model decides as if the author had asked now. The writer is nobody's: it
//! belongs to a session in the hands of a user without a name, which no token can be for. Who replayed what stands in
//! the headers `replayed-by` and `replayed-from`.

use super::fate::{self, Fate};
use super::letter::{Letter, Placed};
use super::{Place, ReplayArgs, records};
use anyhow::{Result, bail};
use bytes::Bytes;
use driftless_log::{Ack, Append, AppendError, Delivery, Producer};
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

/// Reasons that a replayer gives for a record whose numbers it could read: R8 was applied, and it was discarded. Asked only
/// where the log does not go back far enough. One that is missing here is replayed as it is, which does no harm.
const NUMBERED: [&str; 4] =
    ["the model failed on it", "it has no body that this version knows", "an author of ", "a command of "];

/// New commands for one chunk in one run. Each is a writer of its own, and the ledger's least recent ones make room for it:
/// more of them would make the chunk forget those who edit it now.
const NEW_WRITERS_MAX: usize = limits::LEDGER_WRITERS_MAX / 4;

/// How a letter is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The same bytes.
    AsItIs,
    /// The command of this writer, under a new number.
    NewCommand(WriterId),
    /// It would be of no use; why.
    Refused(String),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsItIs => f.write_str("as it is"),
            Self::NewCommand(_) => f.write_str("as a new command"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// How a letter is to be replayed.
pub(super) fn way(letter: &Letter, placed: &Result<Placed, String>, fate: Fate) -> Way {
    let placed = match placed {
        Ok(placed) => placed,
        Err(why) => return Way::Refused(why.clone()),
    };
    let Some((command, writer)) = placed.command() else { return Way::AsItIs };
    if let Some(why) = useless(placed, command) {
        return Way::Refused(format!("it would only be discarded: {why}"));
    }
    let is_numbered = || NUMBERED.iter().any(|reason| letter.reason.starts_with(reason));
    match (fate, &command.body) {
        (Fate::Committed, _) => Way::Refused("it was committed".into()),
        (Fate::SessionExpired, _) => {
            Way::Refused("its session had expired, and a client submits such a command again by itself".into())
        }
        (Fate::Discarded(_), Some(command::Body::Settle(_))) => Way::Refused("a settle asks for nothing".into()),
        (Fate::Discarded(_), _) => Way::NewCommand(writer),
        (Fate::Unknown, Some(command::Body::Command(_))) if is_numbered() => Way::NewCommand(writer),
        (Fate::Nothing | Fate::OutOfOrder | Fate::Unknown, _) => Way::AsItIs,
    }
}

/// What ingest or a replayer would say against it today.
fn useless(placed: &Placed, command: &proto::Command) -> Option<String> {
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

/// The writer of a new command: the same one for the same command, and nobody's.
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
    // A writer from the future, which nobody checks here, would make the chunk forget everybody else when it is evicted. And
    // a session of time 0 is expired everywhere.
    let put_aside_ms = u64::try_from(letter.timestamp_ms).unwrap_or_default();
    let time_ms = again_at_ms.and_then(|now| u64::try_from(now).ok());
    let time_ms = time_ms.unwrap_or_else(|| writer.time_ms().min(put_aside_ms)).max(1);
    // Tokens for the user "" are refused.
    SessionId::new(time_ms, random).writer("")
}

/// The record that goes into `commands`.
fn record(letter: &Letter, placed: &Placed, way: &Way, again_at_ms: Option<i64>) -> Option<(Bytes, Option<WriterId>)> {
    match (way, placed.command()) {
        (Way::AsItIs, _) => Some((letter.value.clone(), None)),
        (Way::NewCommand(writer), Some((old, _))) => {
            let writer = operators_writer(&placed.chunk, *writer, old.seq, letter, again_at_ms);
            let command = proto::Command {
                writer: writer.to_bytes(),
                seq: 1,
                after: 0,
                received_at_ms: driftless_runtime::clock::unix_now().0,
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

/// Appends one record after the other.
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
        // One at a time: the queue is empty.
        if !self.producer.append(vec![append]).is_empty() {
            bail!("the log takes no record at all");
        }
        match self.acks.recv().await.map(|ack| ack.result) {
            Some(Ok(offset)) => Ok(offset),
            Some(Err(AppendError::Refused(why))) => bail!("the log refuses it: {why}"),
            Some(Err(AppendError::Unknown(why))) => {
                bail!("not acknowledged, it may be in the log: {why}. Replaying it again does no harm (R8)")
            }
            None => bail!("the log has ended"),
        }
    }
}

/// Counts of what was done.
#[derive(Default)]
struct Done {
    replayed: usize,
    copies: usize,
    refused: usize,
}

pub(super) async fn run(args: ReplayArgs) -> Result<()> {
    let place = args.place.open().await?;
    let letters = chosen(&place, &args).await?;
    let fates = fate::of(&place, letters.iter().filter(|letter| letter.place(&place.world).is_ok())).await?;
    let again_at_ms = args.again.then(|| driftless_runtime::clock::unix_now().0);
    let bar = ProgressBar::new(letters.len() as u64);
    bar.set_style(
        ProgressStyle::with_template("replaying {bar:40} {pos}/{len}, {eta} left")
            .unwrap_or(ProgressStyle::default_bar()),
    );
    let say = |text: String, json: serde_json::Value| {
        let line = if args.json { json.to_string() } else { text };
        bar.suspend(|| writeln!(io::stdout().lock(), "{line}"))
    };
    let mut appender = Appender::new(&place)?;
    let mut seen = BTreeMap::new();
    let mut new_writers = BTreeMap::new();
    let mut done = Done::default();
    for letter in &letters {
        bar.inc(1);
        let offset = letter.offset;
        let first = letter.origin.as_ref().map_or(offset, |origin| *seen.entry(origin).or_insert(offset));
        if first != offset {
            done.copies += 1;
            say(format!("{offset}: a copy of {first}"), json!({"offset": offset.0, "copy_of": first.0}))?;
            continue;
        }
        let placed = letter.place(&place.world);
        let mut way = way(letter, &placed, fates.of(letter));
        if let (Way::NewCommand(_), Ok(placed)) = (&way, &placed) {
            let count: &mut usize = new_writers.entry(placed.chunk.clone()).or_default();
            *count += 1;
            if *count > NEW_WRITERS_MAX {
                let chunk = &placed.chunk;
                way = Way::Refused(format!(
                    "{NEW_WRITERS_MAX} new commands for {chunk} are enough for one run: more would make it forget the writers \
                     that edit it now. Replay this one later"
                ));
            }
        }
        let made = placed.as_ref().ok().and_then(|placed| Some((placed, record(letter, placed, &way, again_at_ms)?)));
        let Some((placed, (value, writer))) = made else {
            done.refused += 1;
            say(format!("{offset}: {way}"), json!({"offset": offset.0, "refused": way.to_string()}))?;
            continue;
        };
        let partition = placed.place.partition;
        let at = match args.dry_run {
            true => None,
            false => appender.append(append(&place, &args.operator, letter, placed, value)).await?,
        };
        done.replayed += 1;
        let where_to = format!("{}[{partition}]", place.world.topics().commands);
        let would = if args.dry_run { "would go " } else { "" };
        let at_text = at.map(|at| format!(" at {at}")).unwrap_or_default();
        let by = writer.map(|writer| format!(", writer {writer}")).unwrap_or_default();
        say(
            format!("{offset}: {would}{way}{by} → {where_to}{at_text}, {}", placed.chunk),
            json!({
                "offset": offset.0, "replayed": way.to_string(), "is_dry_run": args.dry_run, "chunk": placed.chunk.as_str(),
                "partition": partition.0, "at": at.map(|at| at.0), "writer": writer.map(|writer| writer.to_string()),
            }),
        )?;
    }
    bar.finish_and_clear();
    if !args.json {
        let Done { replayed, copies, refused } = done;
        let what = if args.dry_run { "to be replayed" } else { "replayed" };
        eprintln!("{replayed} {what}, {copies} copies, {refused} refused");
    }
    if done.refused > 0 && !args.all {
        bail!("{} of {} records cannot be replayed", done.refused, letters.len());
    }
    Ok(())
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
    const DISCARDED: Fate = Fate::Discarded(DiscardReason::ModelFault);

    fn way_of(value: impl Into<Bytes>, reason: &str, fate: Fate) -> Way {
        let letter = letter(reason, value);
        way(&letter, &letter.place(&world()), fate)
    }

    #[test]
    fn r8_a_resolved_number_needs_a_new_command_and_an_open_one_goes_as_it_is() {
        let placeable = || encoded("things/0/0", command());
        assert!(matches!(way_of(placeable(), FAULT, DISCARDED), Way::NewCommand(_)));
        for fate in [Fate::Nothing, Fate::OutOfOrder] {
            assert_eq!(way_of(placeable(), FAULT, fate), Way::AsItIs);
        }
        // Where the log does not go back so far, the reason tells.
        assert!(matches!(way_of(placeable(), FAULT, Fate::Unknown), Way::NewCommand(_)));
        assert_eq!(way_of(placeable(), "no family is called \"things\"", Fate::Unknown), Way::AsItIs);
        for fate in [Fate::Committed, Fate::SessionExpired] {
            assert!(matches!(way_of(placeable(), FAULT, fate), Way::Refused(_)));
        }
    }

    #[test]
    fn what_would_be_put_aside_or_discarded_again_is_refused_with_the_reason() {
        let refused = |value: Vec<u8>, says: &str| match way_of(value, FAULT, DISCARDED) {
            Way::Refused(why) => assert!(why.contains(says), "{why}"),
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
    fn r8_a_new_command_is_the_same_one_every_time_and_its_writer_is_nobodys() {
        let world = world();
        let made = |value: Vec<u8>, again| {
            let letter = letter(FAULT, value);
            let placed = letter.place(&world).unwrap();
            let way = way(&letter, &Ok(letter.place(&world).unwrap()), DISCARDED);
            let (value, writer) = record(&letter, &placed, &way, again).unwrap();
            let record = proto::CommandRecord::decode(value).unwrap();
            let Some(command_record::Body::Command(command)) = record.body else { panic!("no command") };
            assert_eq!(command.writer, writer.unwrap().to_bytes());
            command
        };
        let new = made(encoded("things/0/0", command()), None);
        assert_eq!((new.seq, new.after), (1, 0));
        assert_eq!((&new.author, &new.roles, &new.body), (&command().author, &command().roles, &command().body));
        // Ingest stamps each transmission anew; the command is the same.
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
        // "012345" is a time in the far future: not beyond the moment when it was put aside.
        assert_eq!(time(&new), 1_795_632_631_500);
        let ancient = made(encoded("things/0/0", proto::Command { writer: vec![0; 16].into(), ..command() }), None);
        assert_eq!(time(&ancient), 1, "0 is expired everywhere");
    }
}
