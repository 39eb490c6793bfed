//! `driftless token`: keys and tokens.

use anyhow::{Context, Result, bail};
use driftless_auth::{KeyKind, Signer, generate_key};
use driftless_runtime::clock::unix_now;
use driftless_schemas::access::Access;
use std::path::PathBuf;

/// Arguments of `driftless token`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  driftless token --new-key driftless.key                       one secret that signs and checks (HS256)
  driftless token --new-key driftless.pem --pair                a key pair (EdDSA); services get driftless.pem.pub
  driftless token --key-file driftless.key --sub ann --read canvas/ --write canvas/0/ --hours 12")]
pub(crate) struct Args {
    /// Make a new key in this file and end.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_file", "sub"])]
    new_key: Option<PathBuf>,
    /// With --new-key: a private and a public key instead of one secret.
    #[arg(long, requires = "new_key")]
    pair: bool,
    /// The key that signs [env: DRIFTLESS_KEY_FILE, which --new-key passes over].
    // Not clap's `env`: to clap, a variable that is set would be in conflict with --new-key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The user's name.
    #[arg(long)]
    sub: Option<String>,
    /// What may be read: a prefix that ends in a slash, or a chunk id. May be given several times.
    #[arg(long, value_name = "CHUNKS")]
    read: Vec<String>,
    /// What may be written, and read.
    #[arg(long, value_name = "CHUNKS")]
    write: Vec<String>,
    /// Roles, for models that ask for them.
    #[arg(long)]
    role: Vec<String>,
    /// How long the token is good for, hours.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=24 * 365))]
    hours: u32,
}

/// Makes a key or a token; the token alone goes to standard output.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(path) = &args.new_key {
        let checks = generate_key(path, if args.pair { KeyKind::Pair } else { KeyKind::Secret })?;
        eprintln!("made {}; services check tokens with --key-file {}", path.display(), checks.display());
        return Ok(());
    }
    let key = args.key_file.clone().or_else(|| std::env::var_os("DRIFTLESS_KEY_FILE").map(PathBuf::from));
    let key = key.context("name the key that signs: --key-file FILE (make one with --new-key FILE)")?;
    let sub = args.sub.as_ref().context("name the user: --sub NAME")?;
    if args.read.is_empty() && args.write.is_empty() {
        bail!("a token without --read or --write may do nothing: give it at least one, such as --write canvas/");
    }
    let access = Access { read: args.read.clone(), write: args.write.clone(), roles: args.role.clone() };
    println!("{}", Signer::from_file(&key)?.issue(sub, &access, unix_now(), args.hours * 3600)?);
    Ok(())
}
