//! `driftless watch`: prints a chunk's updates as they arrive, one line each.

use crate::http_client::{Gateway, GatewayTarget};
use crate::signals::{Signals, is_broken_pipe, reader_is_gone};
use anyhow::{Result, bail};
use driftless_schemas::ChunkId;
use serde_json::Value;
use std::io::{self, Write as _};
use std::time::Duration;

/// Arguments of `driftless watch`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless watch canvas/0/0 --token-file ann.token
  driftless watch canvas/0/0 --json | jq .         all events of the stream, one object a line")]
pub(crate) struct Args {
    /// The chunk, such as canvas/0/0.
    chunk: ChunkId,
    #[command(flatten)]
    target: GatewayTarget,
    /// Print every event as JSON: {"event": …, "data": …}.
    #[arg(long)]
    json: bool,
}

/// Watches until Ctrl-C. After an interruption the command reconnects, and the stream resumes after
/// the last event that arrived.
pub(crate) async fn run(args: Args) -> Result<()> {
    let client = reqwest::Client::new();
    let gateway = args.target.gateway()?;
    let mut last_id: Option<String> = None;
    let mut failures = 0;
    let mut signals = Signals::listen()?;
    loop {
        tokio::select! {
            () = signals.asked_to_end() => return Ok(()),
            // The reader of `driftless watch … | head -1` has closed the pipe. Without this branch
            // the command would notice that only at the chunk's next update.
            () = reader_is_gone() => return Ok(()),
            streamed = stream(&args, &gateway, &client, &mut last_id) => match streamed {
                Ok(()) => failures = 0,
                Err(e) if is_broken_pipe(&e) => return Ok(()),
                // Without a first answer the address or the token is wrong, so a retry would not
                // help.
                Err(e) if last_id.is_none() => return Err(e),
                Err(e) => {
                    failures += 1;
                    eprintln!("interrupted: {e:#}; trying again");
                }
            }
        }
        tokio::select! {
            () = signals.asked_to_end() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(500 << failures.min(5))) => {}
        }
    }
}

/// Prints the events of one connection until the stream ends. `last_id` keeps the id of the last
/// event, from which the next connection resumes.
async fn stream(args: &Args, gateway: &Gateway, client: &reqwest::Client, last_id: &mut Option<String>) -> Result<()> {
    let have = last_id.as_ref().map(|id| format!("?have={id}")).unwrap_or_default();
    let path = format!("/v1/chunks/{}/events{have}", args.chunk);
    let mut response = gateway.get(client, &path, "text/event-stream").await?;
    let mut gathered = Vec::new();
    while let Some(bytes) = response.chunk().await? {
        gathered.extend_from_slice(&bytes);
        while let Some(end) = gathered.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = gathered.drain(..end + 2).collect();
            take(args, &String::from_utf8_lossy(&event), last_id)?;
        }
    }
    Ok(())
}

fn take(args: &Args, event: &str, last_id: &mut Option<String>) -> Result<()> {
    let field = |name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|v| v.trim_start().to_owned())
    };
    if let Some(id) = field("id") {
        *last_id = Some(id);
    }
    let (Some(name), Some(data)) = (field("event"), field("data")) else { return Ok(()) };
    let data: Value = serde_json::from_str(&data)?;
    // `println!` would panic once the reader has closed the pipe.
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::json!({"event": name, "data": data}))?;
        return Ok(());
    }
    let hash = data["hash"].as_str().unwrap_or_default();
    let short = &hash[..hash.len().min(12)];
    match name.as_str() {
        "tracked" => writeln!(out, "{} is at version {} with hash {short}…", args.chunk, data["version"])?,
        "updates" => {
            for entry in data["entries"].as_array().into_iter().flatten() {
                let writer = entry["writer"].as_str().unwrap_or_default();
                let writer = &writer[writer.len().saturating_sub(6)..];
                writeln!(
                    out,
                    "version {:>6}  writer …{writer} seq {}  {}",
                    entry["version"], entry["seq"], entry["effect"]
                )?;
            }
        }
        "beacon" => writeln!(out, "beacon: version {} hash {short}…", data["version"])?,
        "lagging" => writeln!(out, "lagging: this client is too slow; the missing updates follow")?,
        "rejected" => bail!("{}", data["message"].as_str().unwrap_or("the gateway refuses the chunk")),
        "closed" => writeln!(out, "closed: {}", data["reason"].as_str().unwrap_or_default())?,
        _ => {}
    }
    Ok(())
}
