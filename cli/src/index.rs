//! `driftless index`: an operator makes the index of a partition again.

use crate::location::LocationArgs;
use crate::recover;
use anyhow::{Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Arguments of `driftless index`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless index rebuild --partition 3 --brokers kafka:9092 --store s3://my-bucket
  driftless index rebuild --partition 3 --data .driftless")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
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
    let What::Rebuild(options) = args.what;
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
