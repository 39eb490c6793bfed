//! `driftless dead-letter`: what could not be read or decided was put aside (R9); here an operator looks at it and replays it.
//!
//! A letter is the raw record of `commands`, with reason and origin in its headers ([`letter`]). What may be done with it
//! depends on what R8 did with the record where it came from ([`fate`]), and [`replay`] follows from that:
//!
//! * Its number was resolved as discarded: its bytes again would be a resend without effect. It is submitted as a *new
//!   command*, by a writer of its own.
//! * Nothing was decided, because it could not be placed: it is appended *as it is*, to the partition where it belongs now.
//!   Its author's own numbers stand in it, so R8 keeps it in order, and a client that sends it again does no harm.
//!
//! Either way replaying twice applies nothing twice.

mod fate;
mod letter;
mod records;
mod replay;

use crate::config::{ConfigFile, file_url};
use crate::data_folder::{DataFolder, LogName};
use crate::deployment::DeploymentArgs;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use driftless_chunk::world::World;
use driftless_log::Log;
use driftless_log::sqlite::SqliteLog;
use driftless_schemas::{Offset, Partition};
use driftless_store::Store;
use letter::Letter;
use replay::Way;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
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
    /// One line for each record that was put aside.
    #[command(after_help = "Examples:
  driftless dead-letter list --data .driftless    the embedded log, while `driftless dev` is not running
  driftless dead-letter list --brokers kafka:9092 --store s3://my-bucket --json")]
    List(ListArgs),
    /// Everything about one of them.
    #[command(after_help = "Examples:
  driftless dead-letter show 12 --brokers kafka:9092 --store s3://my-bucket
  driftless dead-letter show 12 --data .driftless --json")]
    Show(ShowArgs),
    /// Put records back into `commands`.
    #[command(after_help = "Examples:
  driftless dead-letter replay 12 --brokers kafka:9092 --store s3://my-bucket
  driftless dead-letter replay --all --dry-run --data .driftless

A record whose number was resolved as discarded is submitted as a new command: author, roles
and command as in the record, under number 1 of a writer that is made out of the record's own
chunk, writer and number, and that no token can have. One that could not be placed is appended
as it is, if it can be placed now. What can still not be read is refused with the reason.

Replaying again changes nothing (R8); --again applies new commands once more. A chunk remembers
1,024 writers, and each new command is one of them: a run makes 256 for one chunk at most.")]
    Replay(ReplayArgs),
}

#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ShowArgs {
    /// Its offset in `dead-letter`, as `list` tells it.
    offset: i64,
    #[command(flatten)]
    place: PlaceArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ReplayArgs {
    /// Offsets in `dead-letter`, as `list` tells them.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "OFFSET")]
    offsets: Vec<i64>,
    /// All of them; those that cannot be replayed are left where they are.
    #[arg(long)]
    all: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// New commands get a writer of this moment: they apply also if they were replayed before, or if so many others have
    /// written since that the chunk remembers nobody of the record's time.
    #[arg(long)]
    again: bool,
    /// Who replays; stands in a header of the new record.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown", hide_env_values = true)]
    operator: String,
    #[command(flatten)]
    place: PlaceArgs,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Where the log is.
#[derive(clap::Args)]
struct PlaceArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    #[command(flatten)]
    config: ConfigFile,
    /// The data folder of `driftless dev` with its embedded log, instead of --brokers and --store. It must not be running.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The log with the world that it belongs to.
struct Place {
    log: Arc<dyn Log>,
    world: Arc<World>,
}

impl PlaceArgs {
    async fn open(&self) -> Result<Place> {
        if let Some(data) = &self.data {
            return open_data(data).await;
        }
        if !self.deployment.is_named() {
            bail!(
                "name the log: --data DIR for the embedded one of `driftless dev`, or --brokers LIST and --store URL (or \
                 DRIFTLESS_BROKERS and DRIFTLESS_STORE)"
            );
        }
        let deployment = self.deployment.open(&mut self.config.read()?).await?;
        Ok(Place { log: deployment.log, world: deployment.world })
    }
}

async fn open_data(data: &Path) -> Result<Place> {
    let (folder, name) = (DataFolder::new(data), data.display());
    match folder.log()? {
        Some(LogName::Embedded) => {}
        Some(other) => bail!(
            "the log of {name} is {other}: while it runs, give --brokers with its address and --store {}",
            file_url(&folder.store())?
        ),
        None => bail!("there is no world in {name}: give the data folder of a `driftless dev`"),
    }
    let path = folder.log_db();
    let log = tokio::task::spawn_blocking(move || SqliteLog::open(&path)).await?.with_context(|| {
        format!("cannot open the embedded log of {name}; if `driftless dev` runs over it, end that first (Ctrl-C)")
    })?;
    let store = Store::open(&file_url(&folder.store())?)?;
    let file = format!("world.json in {}", store.url());
    let stored = store.world().await?.with_context(|| format!("there is no {file}"))?;
    let world = World::new(&file, stored.spec, &crate::models())?;
    Ok(Place { log: Arc::new(log), world: Arc::new(world) })
}

impl Place {
    fn topic(&self) -> &Arc<str> {
        &self.world.topics().dead_letter
    }

    /// (low, high) of `dead-letter`.
    async fn bounds(&self) -> Result<(Offset, Offset)> {
        let bounds = self.log.watermarks(self.topic(), Partition(0)).await;
        bounds.with_context(|| format!("cannot look into {} in {}", self.topic(), self.log.describe()))
    }

    async fn letter(&self, offset: Offset) -> Result<Letter> {
        let (low, high) = self.bounds().await?;
        if !(low..high).contains(&offset) {
            bail!("{} holds the offsets {low} up to but not with {high}; there is no {offset}", self.topic());
        }
        let mut found = None;
        records::each(&*self.log, self.topic(), Partition(0), offset..offset.next(), |record| {
            found = Some(Letter::read(record));
            Ok(())
        })
        .await?;
        found.with_context(|| format!("{} has a hole at {offset}", self.topic()))
    }
}

/// Lists, shows or replays. Whoever stops reading (`… | head`) ends it quietly.
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
        eprintln!("nothing was put aside: {} is empty", place.topic());
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
    let fates = fate::of(&place, [&letter]).await?;
    let fate = fates.of(&letter);
    let placed = letter.place(&place.world);
    let way = replay::way(&letter, &placed, fate);
    let mut out = io::stdout().lock();
    if args.json {
        let mut json = letter.to_json();
        json["record"] = letter.record_json(&place.world);
        json["hex"] = letter::hex(&letter.value).into();
        json["decided"] = fate.to_string().into();
        json["replay"] = way.to_string().into();
        writeln!(out, "{json}")?;
        return Ok(());
    }
    writeln!(out, "offset    {}", letter.offset)?;
    writeln!(out, "put aside {}", letter::utc(letter.timestamp_ms))?;
    writeln!(out, "reason    {}", letter.reason)?;
    writeln!(out, "from      {}", letter.origin_text())?;
    writeln!(out, "decided   {fate}")?;
    writeln!(out, "replay    {way}")?;
    if let (Way::NewCommand(_), true) = (&way, fate.is_resolved()) {
        writeln!(
            out,
            "          its own number is used up: the same bytes again would be a resend without effect (R8)"
        )?;
    }
    writeln!(out, "record    {:#}", letter.record_json(&place.world))?;
    writeln!(out, "bytes     {}", letter.value.len())?;
    for line in letter.value.chunks(32) {
        writeln!(out, "          {}", letter::hex(line))?;
    }
    Ok(())
}
