//! `driftless index`: an operator compares the index of a partition with the log, or makes it
//! again.

use crate::location::LocationArgs;
use crate::recover;
use anyhow::{Result, bail};
use clap::Subcommand;
use driftless_replayer::Compared;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Arguments of `driftless index`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless index check --all --brokers kafka:9092 --store s3://my-bucket          changes nothing
  driftless index rebuild --partition 3 --brokers kafka:9092 --store s3://my-bucket
  driftless index rebuild --partition 3 --data .driftless")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Compare the newest ref of each chunk with `updates`. Changes nothing.
    #[command(after_help = "Examples:
  driftless index check --all --brokers kafka:9092 --store s3://my-bucket
  driftless index check --partition 3 --json --data .driftless

Replayers of version 0.1.0 could write refs of decisions that do not count, after an index was put back
from a backup. Check each world once after the upgrade. The command ends with success if every ref that
the log still shows agrees with it. Replayers may run.")]
    Check(Options),
    /// Make the index of a partition from `updates` and the snapshots, and replace the old one.
    #[command(after_help = "Examples:
  driftless index rebuild --partition 3 --brokers kafka:9092 --store s3://my-bucket
  driftless index rebuild --all --data .driftless --json

The newest snapshot of each chunk is loaded and compared with its hash. `updates` must still begin at
offset 0: if retention has deleted records, put back an older copy of the index instead, which a replayer
completes from the log. Replayers may run; a partition has no owner meanwhile.")]
    Rebuild(Options),
}

#[derive(clap::Args)]
struct Options {
    #[command(flatten)]
    location: LocationArgs,
    /// The partition.
    #[arg(long, value_name = "N", required_unless_present = "all", conflicts_with = "all")]
    partition: Option<i32>,
    /// All partitions, one after the other.
    #[arg(long)]
    all: bool,
    /// Print one JSON object for each partition.
    #[arg(long)]
    json: bool,
}

/// Runs `driftless index`.
pub(crate) async fn run(args: Args) -> Result<()> {
    match args.what {
        What::Check(options) => check(&options).await,
        What::Rebuild(options) => rebuild(&options).await,
    }
}

async fn check(options: &Options) -> Result<()> {
    let (mending, partitions) = recover::open(&options.location, options.partition, false).await?;
    let mut foreign = 0;
    for partition in partitions {
        let compared = mending.compare_index(partition).await.map_err(anyhow::Error::msg)?;
        foreign += compared.foreign.len();
        if options.json {
            let chunks =
                compared.foreign.iter().map(|(chunk, found)| json!({ "chunk": chunk.as_str(), "found": found }));
            let object = json!({
                "partition": partition.0,
                "agreeing": compared.agreeing,
                "unknown": compared.unknown,
                "foreign": chunks.collect::<Vec<_>>(),
            });
            println!("{object}");
            continue;
        }
        let Compared { agreeing, unknown, foreign } = compared;
        println!("partition {partition}: {agreeing} refs agree with the log, {unknown} are older than the log");
        for (chunk, found) in foreign {
            println!("  {chunk}: {found}");
        }
    }
    if foreign > 0 {
        bail!("{foreign} refs contradict the log: make their indexes again with `driftless index rebuild`");
    }
    Ok(())
}

async fn rebuild(options: &Options) -> Result<()> {
    let (mending, partitions) = recover::open(&options.location, options.partition, false).await?;
    let mut failed = 0;
    for partition in partitions {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:40}] {pos}/{len} snapshots") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("partition {partition}"));
        let rebuilt = mending
            .rebuild_index(partition, |done, all| {
                bar.set_length(all as u64);
                bar.set_position(done as u64);
            })
            .await;
        bar.finish_and_clear();
        match rebuilt {
            Ok(rebuilt) if options.json => {
                let lost: Vec<_> = rebuilt.lost_objects.iter().map(|chunk| chunk.as_str()).collect();
                let object = json!({
                    "partition": partition.0,
                    "chunks": rebuilt.chunks,
                    "lost_objects": lost,
                    "updates_from": rebuilt.updates_from,
                    "commands_from": rebuilt.commands_from,
                });
                println!("{object}");
            }
            Ok(rebuilt) => {
                println!(
                    "partition {partition}: {} chunks; the next owner reads updates from offset {} and commands from {}",
                    rebuilt.chunks, rebuilt.updates_from, rebuilt.commands_from
                );
                for chunk in rebuilt.lost_objects {
                    println!("  {chunk}: its newest snapshot is lost; its owner tries to make it again from the log");
                }
            }
            Err(problem) => {
                failed += 1;
                recover::print_problem(partition, &problem, options.json);
            }
        }
    }
    if failed > 0 {
        bail!("{failed} indexes could not be made again");
    }
    Ok(())
}
