//! The announcement that `driftless dev` is ready: a page for people, or one line of JSON.

use super::{Args, Site};
use crate::data_folder::DataFolder;
use anyhow::Result;
use driftless_runtime::clock::unix_now;
use driftless_schemas::access::Access;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

/// The lifetime of the token that `dev` prints: 30 days, in hours. `dev` accepts no token that
/// lives longer.
pub(super) const TOKEN_HOURS: u32 = 24 * 30;

/// Makes one token that may write to every family of the world, and prints how to reach the
/// services with it.
pub(super) fn announce(args: &Args, address: SocketAddr, is_tls: bool, site: &Site) -> Result<()> {
    let families = &site.world.spec().families;
    let write = families.iter().map(|family| format!("{}/", family.name)).collect();
    let access = Access { read: Vec::new(), write, roles: Vec::new() };
    let token = site.signer.issue("dev", &access, unix_now(), TOKEN_HOURS * 3600)?;
    let (http, ws) = if is_tls { ("https", "wss") } else { ("http", "ws") };
    let url = format!("{http}://{address}");
    let brokers = site.opened.brokers.as_deref();
    if args.json {
        let line = serde_json::json!({
            "ready": true,
            "http": url,
            "page": format!("{url}/?token={token}"),
            "ingest_ws": format!("{ws}://{address}/v1/ingest"),
            "gateway_ws": format!("{ws}://{address}/v1/gateway"),
            "brokers": brokers,
            "token": token,
            "audience": site.audience,
            "data": args.data,
        });
        println!("{line}");
        return Ok(());
    }
    let log = match brokers {
        Some(brokers) => format!("Kafka at {brokers}"),
        None => format!("{} (look into it with sqlite3)", DataFolder::new(&args.data).log_db().display()),
    };
    let driftless = called_as(std::env::args_os().next());
    println!(
        "
  Driftless is ready.

  Page       {url}/?token={token}
  Log        {log}
  Data       {}

  In another terminal:
    export DRIFTLESS_TOKEN={token}
    {driftless} watch canvas/0/0 --http {url}
    curl -N \"{url}/v1/chunks/canvas/0/0/events?token=$DRIFTLESS_TOKEN\"

  Ctrl-C ends it; nothing that was acknowledged is lost.
",
        args.data.display()
    );
    Ok(())
}

/// Returns the command that starts this program from another terminal, quoted for a shell. The
/// command is the path with which this process was started, made absolute.
fn called_as(argument: Option<OsString>) -> String {
    let Some(program) = argument.filter(|program| !program.is_empty()) else { return "driftless".into() };
    // The shell found a bare name on the PATH, so the name works in another terminal, too.
    let is_bare = Path::new(&program).components().count() == 1 && !Path::new(&program).has_root();
    let path = if is_bare { program.into() } else { std::path::absolute(&program).unwrap_or(program.into()) };
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_the_other_terminal_works_there() {
        let called = |program: &str| called_as(Some(program.into()));
        assert_eq!(called("driftless"), "driftless");
        assert_eq!(called("/opt/driftless"), "/opt/driftless");
        let here = std::env::current_dir().unwrap().display().to_string();
        assert!(called("target/debug/driftless").ends_with("/target/debug/driftless"));
        assert!(called("./driftless").trim_matches('\'').starts_with(&here));
        assert_eq!(called("/home/ann's own/driftless"), r"'/home/ann'\''s own/driftless'");
        assert_eq!(called_as(None), "driftless");
    }
}
