//! `driftless dead-letter`: an operator inspects and replays the records of the topic
//! `dead-letter`. These are records of `commands` that a replayer could not read or decide (R9).
//!
//! A dead letter holds the bytes of a record of `commands`. Its headers hold the reason and the
//! original position ([`letter`]). How the letter can be replayed ([`replay`]) depends on what a
//! replayer decided about the original record under R8 ([`decision`]):
//!
//! * The record's sequence number was resolved as discarded. Appending the same bytes again would
//!   be a resend without effect, so the command is submitted as a *new command* of a new writer.
//! * No decision was made, because the replayer could not find the record's place in the world. The
//!   record is appended *as it is* to the partition to which its chunk belongs now. The writer's
//!   sequence numbers keep it in order (R8), and a client that sends the command again does no
//!   harm.
//!
//! Both actions are safe to repeat. The new writer's id is derived from the original writer, number
//! and chunk, and is the same in each replay, so that a second replay of the same letter applies
//! nothing again.

mod decision;
mod letter;
mod records;
mod replay;

use crate::location::{LocationArgs, Place};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use driftless_schemas::{Offset, Partition};
use letter::Letter;
use replay::Action;
use std::io::{self, Write as _};
use std::sync::Arc;

/// Arguments of `driftless dead-letter`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless dead-letter list --data .driftless
  driftless dead-letter list --brokers kafka:9092 --store s3://my-bucket --json | jq .reason
  driftless dead-letter show 12 --brokers kafka:9092 --store s3://my-bucket
  driftless dead-letter replay --all --dry-run --brokers kafka:9092 --store s3://my-bucket
  driftless dead-letter replay 12 13 --brokers kafka:9092 --store s3://my-bucket")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print one line for each dead letter.
    #[command(after_help = "Examples:
  driftless dead-letter list --data .driftless    the embedded log, while `driftless dev` is not running
  driftless dead-letter list --brokers kafka:9092 --store s3://my-bucket --json")]
    List(ListArgs),
    /// Print everything about one dead letter.
    #[command(after_help = "Examples:
  driftless dead-letter show 12 --brokers kafka:9092 --store s3://my-bucket
  driftless dead-letter show 12 --data .driftless --json")]
    Show(ShowArgs),
    /// Put records back into `commands`.
    #[command(after_help = "Examples:
  driftless dead-letter replay 12 --brokers kafka:9092 --store s3://my-bucket
  driftless dead-letter replay --all --dry-run --data .driftless

A record whose number was resolved as discarded is submitted as a new command. Author, roles and
command are those of the record. The number is 1, of a writer that is derived from the record's chunk,
writer and number, and that no token can have. A record that could not be placed is appended as it is,
if it can be placed now. A record that still cannot be read is refused with the reason.

A second replay changes nothing (R8); --again applies new commands once more. A chunk remembers 1,024
writers, and each new command adds one, so a run makes at most 256 new commands for one chunk.")]
    Replay(ReplayArgs),
}

#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    place: LocationArgs,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ShowArgs {
    /// Offset in `dead-letter`, as `list` shows it.
    offset: i64,
    #[command(flatten)]
    place: LocationArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ReplayArgs {
    /// Offsets in `dead-letter`, as `list` shows them.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "OFFSET")]
    offsets: Vec<i64>,
    /// Replay all records; those that cannot be replayed stay as they are.
    #[arg(long)]
    all: bool,
    /// Print the plan, and append nothing.
    #[arg(long)]
    dry_run: bool,
    /// Derive the new writers from the present time as well as from the original writers, so that
    /// each replay has writers of its own. Its commands then apply even if they were replayed
    /// before, or if the chunk no longer remembers writers of the record's time.
    #[arg(long)]
    again: bool,
    /// Name of the operator, for a header of the new record.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown", hide_env_values = true)]
    operator: String,
    #[command(flatten)]
    place: LocationArgs,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Place {
    fn topic(&self) -> &Arc<str> {
        &self.world.topics().dead_letter
    }

    /// Returns the first offset of `dead-letter` and the offset after its last record.
    async fn bounds(&self) -> Result<(Offset, Offset)> {
        let bounds = self.log.watermarks(self.topic(), Partition(0)).await;
        bounds.with_context(|| format!("cannot look into {} in {}", self.topic(), self.log.describe()))
    }

    async fn letter(&self, offset: Offset) -> Result<Letter> {
        let (low, high) = self.bounds().await?;
        if !(low..high).contains(&offset) {
            bail!("{} has no offset {offset}: it holds the offsets from {low} to below {high}", self.topic());
        }
        let mut found = None;
        records::each(&*self.log, self.topic(), Partition(0), offset..offset.next(), |record| {
            found = Some(Letter::read(record));
            Ok(())
        })
        .await?;
        found.with_context(|| format!("{} has no record at offset {offset}", self.topic()))
    }
}

/// Lists, shows or replays. A closed pipe (`… | head`) ends the command without an error.
pub(crate) async fn run(args: Args) -> Result<()> {
    let done = match args.what {
        What::List(args) => list(args).await,
        What::Show(args) => show(args).await,
        What::Replay(args) => replay::run(args).await,
    };
    match done {
        Err(e) if crate::signals::is_broken_pipe(&e) => Ok(()),
        done => done,
    }
}

async fn list(args: ListArgs) -> Result<()> {
    let place = args.place.open().await?;
    let (low, high) = place.bounds().await?;
    let mut out = io::stdout().lock();
    if low == high && !args.json {
        eprintln!("there are no dead letters: {} is empty", place.topic());
    }
    records::each(&*place.log, place.topic(), Partition(0), low..high, |record| {
        let letter = Letter::read(record);
        if args.json {
            writeln!(out, "{}", letter.to_json())?;
        } else {
            writeln!(out, "{letter}")?;
        }
        Ok(())
    })
    .await
}

async fn show(args: ShowArgs) -> Result<()> {
    let place = args.place.open().await?;
    let letter = place.letter(Offset(args.offset)).await?;
    let decisions = decision::of(&place, [&letter]).await?;
    let decision = decisions.of(&letter);
    let placed = letter.place(&place.world);
    let action = replay::action(&letter, &placed, decision);
    let mut out = io::stdout().lock();
    if args.json {
        let mut json = letter.to_json();
        json["record"] = letter.record_json(&place.world);
        json["hex"] = hex::encode(&letter.value).into();
        json["decided"] = decision.to_string().into();
        json["replay"] = action.to_string().into();
        writeln!(out, "{json}")?;
        return Ok(());
    }
    writeln!(out, "offset    {}", letter.offset)?;
    writeln!(out, "put aside {}", letter::utc(letter.timestamp_ms))?;
    writeln!(out, "reason    {}", letter.reason)?;
    writeln!(out, "from      {}", letter.origin_text())?;
    writeln!(out, "decided   {decision}")?;
    writeln!(out, "replay    {action}")?;
    if let (Action::NewCommand(_), true) = (&action, decision.is_resolved()) {
        writeln!(
            out,
            "          its own number is resolved: the same bytes again would be a resend without effect (R8)"
        )?;
    }
    writeln!(out, "record    {:#}", letter.record_json(&place.world))?;
    writeln!(out, "bytes     {}", letter.value.len())?;
    for line in letter.value.chunks(32) {
        writeln!(out, "          {}", hex::encode(line))?;
    }
    Ok(())
}
