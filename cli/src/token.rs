//! `driftless token`: makes keys and tokens.

use anyhow::{Context, Result, bail};
use driftless_auth::{KeyKind, Signer, generate_key};
use driftless_runtime::clock::unix_now;
use driftless_schemas::WorldId;
use driftless_schemas::access::Access;
use std::path::PathBuf;

/// Arguments of `driftless token`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless token --new-key driftless.key                       one secret that signs and verifies (HS256)
  driftless token --new-key driftless.pem --pair                a key pair (EdDSA); services get driftless.pem.pub
  driftless token --key-file driftless.key --sub ann --read canvas/ --write canvas/0/ --hours 12 > ann.token
  driftless token --key-file driftless.key --audience driftless:town --sub ann --write canvas/
  driftless token --key-file .driftless/dev.key --audience driftless:dev --sub ann --write canvas/")]
pub(crate) struct Args {
    /// Make a new key in this file and end.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_file", "sub"])]
    new_key: Option<PathBuf>,
    /// Make a private and a public key instead of one secret, for --new-key.
    #[arg(long, requires = "new_key")]
    pair: bool,
    /// The key that signs [env: DRIFTLESS_KEY_FILE, which --new-key ignores].
    // Without clap's `env`: a set variable would count as a conflict with --new-key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The user's name.
    #[arg(long)]
    sub: Option<String>,
    /// Chunks that the user may read: a prefix that ends in a slash, or a chunk id. May be given
    /// several times.
    #[arg(long, value_name = "CHUNKS")]
    read: Vec<String>,
    /// Chunks that the user may write and read.
    #[arg(long, value_name = "CHUNKS")]
    write: Vec<String>,
    /// Roles of the user, for models that use them.
    #[arg(long)]
    role: Vec<String>,
    /// The audience of the services, if their settings name one. That of `driftless dev` is
    /// `driftless:` and the world's name.
    #[arg(long, value_name = "NAME", env = "DRIFTLESS_AUDIENCE")]
    audience: Option<String>,
    /// Make the token valid for the world with this id only; `driftless init` prints the id.
    /// Services of version 0.1.0 refuse such a token, so upgrade them first.
    #[arg(long, value_name = "ID")]
    world_id: Option<WorldId>,
    /// Lifetime of the token, hours.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=24 * 365))]
    hours: u32,
}

/// Makes a key or a token. Only the token goes to standard output.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(path) = &args.new_key {
        let checks = generate_key(path, if args.pair { KeyKind::Pair } else { KeyKind::Secret })?;
        eprintln!("made {}; services verify tokens with --key-file {}", path.display(), checks.display());
        return Ok(());
    }
    let key = args.key_file.clone().or_else(|| std::env::var_os("DRIFTLESS_KEY_FILE").map(PathBuf::from));
    let key = key.context("name the key that signs: --key-file FILE (make one with --new-key FILE)")?;
    let sub = args.sub.as_ref().context("name the user: --sub NAME")?;
    if args.read.is_empty() && args.write.is_empty() {
        bail!("a token without --read and --write gives no access: give at least one, such as --write canvas/");
    }
    let access = Access { read: args.read.clone(), write: args.write.clone(), roles: args.role.clone() };
    let signer = Signer::from_file(&key)?.with_audience(args.audience.clone()).for_world(args.world_id);
    println!("{}", signer.issue(sub, &access, unix_now(), args.hours * 3600)?);
    Ok(())
}
