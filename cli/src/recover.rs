//! `driftless recover`: an operator mends partitions that no replayer can take up, because
//! `updates` or `commands` does not hold what the index names.

use crate::deployment::create_topics;
use crate::location::LocationArgs;
use anyhow::{Result, bail};
use clap::Subcommand;
use driftless_replayer::{Finding, Mended, Mending, State};
use driftless_schemas::{ChunkId, Partition};
use serde_json::{Value, json};

/// Arguments of `driftless recover`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless recover plan --brokers kafka:9092 --store s3://my-bucket     what is lost; changes nothing
  driftless recover apply --brokers kafka:9092 --store s3://my-bucket    go on without it
  driftless recover plan --data .driftless                               of a `driftless dev` that has ended")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print what is lost in each partition. Changes nothing.
    #[command(after_help = "Examples:
  driftless recover plan --brokers kafka:9092 --store s3://my-bucket
  driftless recover plan --partition 3 --json --data .driftless

The command ends with success if nothing is lost.")]
    Plan(Options),
    /// Accept what `plan` prints as lost.
    #[command(after_help = "Examples:
  driftless recover apply --brokers kafka:9092 --store s3://my-bucket
  driftless recover apply --partition 3 --data .driftless
  driftless recover apply --chunk canvas/0/0 --brokers kafka:9092 --store s3://my-bucket
  driftless recover apply --partition 3 --new-history --brokers kafka:9092 --store s3://my-bucket

The contents of the stored states stay, and so do all decisions that the log still has. Where records of
`updates` are lost, or where `commands` is another topic, a new history of the partition begins: clients
drop what they have of it, and the edits that they have sent and that are not concluded end as unknown.
Partitions that have lost nothing stay as they are. Replayers may run meanwhile.")]
    Apply(ApplyArgs),
}

#[derive(clap::Args)]
struct ApplyArgs {
    #[command(flatten)]
    options: Options,
    /// Let this chunk go on with an older content, because its newest snapshot is lost and cannot
    /// be made again. May be given several times.
    #[arg(long = "chunk", value_name = "ID")]
    chunks: Vec<ChunkId>,
    /// Begin a new history even where nothing is found lost. Gateways and replayers know more of
    /// the log than the index if it has lost the records of its last seconds.
    #[arg(long)]
    new_history: bool,
}

#[derive(clap::Args)]
struct Options {
    #[command(flatten)]
    location: LocationArgs,
    /// Look at this partition only.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// Print one JSON object for each partition.
    #[arg(long)]
    json: bool,
}

/// Runs `driftless recover`.
pub(crate) async fn run(args: Args) -> Result<()> {
    match args.what {
        What::Plan(options) => plan(&options).await,
        What::Apply(args) => apply(&args).await,
    }
}

async fn plan(options: &Options) -> Result<()> {
    let (mending, partitions) = open(&options.location, options.partition, false).await?;
    let mut unsound = 0;
    for partition in partitions {
        let finding = mending.examine(partition).await.map_err(anyhow::Error::msg)?;
        unsound += u32::from(!finding.is_sound());
        match options.json {
            true => println!("{}", as_json(&finding)),
            false => print(&finding),
        }
    }
    if unsound > 0 {
        bail!("{unsound} partitions have no owner until their loss is accepted: `driftless recover apply`");
    }
    Ok(())
}

async fn apply(ApplyArgs { options, chunks, new_history }: &ApplyArgs) -> Result<()> {
    let (mending, partitions) = open(&options.location, options.partition, true).await?;
    let mut failed = 0;
    for partition in partitions {
        let finding = mending.examine(partition).await.map_err(anyhow::Error::msg)?;
        let chunks: Vec<ChunkId> = chunks.iter().filter(|chunk| mending.is_in(chunk, partition)).cloned().collect();
        if finding.is_sound() && chunks.is_empty() && !new_history {
            if !options.json {
                println!("partition {partition}: nothing is lost; it stays as it is");
            }
            continue;
        }
        match mending.mend(&finding, &chunks, *new_history).await {
            Ok(mended) if options.json => println!("{}", mended_json(partition, &mended)),
            Ok(mended) => print_mended(partition, &mended),
            Err(problem) => {
                failed += 1;
                print_problem(partition, &problem, options.json);
            }
        }
    }
    if failed > 0 {
        bail!("{failed} partitions could not be mended");
    }
    Ok(())
}

/// Opens the world, and chooses its partitions. Creates topics that are missing if `creates` is
/// true.
pub(crate) async fn open(
    location: &LocationArgs,
    chosen: Option<i32>,
    creates: bool,
) -> Result<(Mending, Vec<Partition>)> {
    let place = location.open().await?;
    if creates {
        create_topics(&*place.log, place.world.spec()).await?;
    }
    let count = place.world.spec().partitions;
    if let Some(partition) = chosen.filter(|partition| !(0..count).contains(partition)) {
        bail!("--partition {partition}: the world has the partitions 0 to {}", count - 1);
    }
    let partitions = place.world.partitions().filter(|p| chosen.is_none_or(|chosen| p.0 == chosen)).collect();
    let mending = Mending::open(place.config.replayer, place.world, place.log, place.store).await?;
    Ok((mending, partitions))
}

/// Prints why a partition could not be mended or rebuilt.
pub(crate) fn print_problem(partition: Partition, problem: &str, as_json: bool) {
    match as_json {
        true => println!("{}", json!({ "partition": partition.0, "error": problem })),
        false => println!("partition {partition}: {problem}"),
    }
}

fn print(finding: &Finding) {
    let partition = finding.partition;
    if finding.is_sound() {
        return println!("partition {partition}: nothing is lost");
    }
    println!("partition {partition}:");
    if let Some(problem) = &finding.index {
        println!("  index: {problem}");
        println!("         make it again with `driftless index rebuild --partition {partition}`");
    }
    for (topic, state) in [("updates", &finding.updates), ("commands", &finding.commands)] {
        match state {
            State::Whole => {}
            State::Cut { from, to } => println!("  {topic}: the records from offset {from} to before {to} are lost"),
            State::Another { needs, low, high } => println!(
                "  {topic}: it is not the topic that the index knows, or it has lost its end: it holds offsets \
                 {low}..{high}, and the index names {needs}"
            ),
        }
    }
    for lost in &finding.chunks {
        println!(
            "  {}: {} commits are lost; its content stays that of version {}, and versions go on after {}",
            lost.chunk,
            lost.newest.0 - lost.kept.0,
            lost.kept,
            lost.newest
        );
    }
    match &finding.updates {
        State::Whole => {}
        _ => println!("  commits of other chunks may be lost too, if no record in the rest of updates is about them"),
    }
}

fn as_json(finding: &Finding) -> Value {
    let state = |state: &State| match state {
        State::Whole => json!({ "state": "whole" }),
        State::Cut { from, to } => json!({ "state": "cut", "from": from, "to": to }),
        State::Another { needs, low, high } => {
            json!({ "state": "another", "needs": needs, "low": low, "high": high })
        }
    };
    let chunks: Vec<_> = finding
        .chunks
        .iter()
        .map(|lost| json!({ "chunk": lost.chunk.as_str(), "kept": lost.kept.0, "newest": lost.newest.0 }))
        .collect();
    json!({
        "partition": finding.partition.0,
        "sound": finding.is_sound(),
        "updates": state(&finding.updates),
        "commands": state(&finding.commands),
        "index": finding.index,
        "chunks": chunks,
    })
}

fn print_mended(partition: Partition, mended: &Mended) {
    let history = match mended.is_new_history {
        true => format!("history {} begins", mended.history),
        false => "its history goes on".to_owned(),
    };
    println!("partition {partition}: {history}; commands are decided from offset {}", mended.commands_from);
    for (chunk, reason) in &mended.lost {
        println!("  {chunk}: {reason}");
    }
}

fn mended_json(partition: Partition, mended: &Mended) -> Value {
    let lost: Vec<_> =
        mended.lost.iter().map(|(chunk, reason)| json!({ "chunk": chunk.as_str(), "reason": reason })).collect();
    json!({
        "partition": partition.0,
        "history": mended.history,
        "new_history": mended.is_new_history,
        "commands_from": mended.commands_from,
        "lost": lost,
    })
}
