//! The settings of the services as one file, `--config driftless.toml`: sections `[kafka]`, `[auth]`, `[ingest]`,
//! `[replayer]`, `[gateway]` and `[http]`. Every key has a default; flags win over the file.

use anyhow::{Context, Result};
use driftless_auth as auth;
use driftless_log::kafka::KafkaSettings;
use driftless_web::settings::Http;
use driftless_web::tls;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// All settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The log.
    pub kafka: KafkaSettings,
    /// Which tokens are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<auth::Settings>,
    /// How the gateway and the replayer are reached (ingest has its own).
    pub http: Http,
    /// Ingest.
    pub ingest: driftless_ingest::Settings,
    /// The replayer.
    pub replayer: driftless_replayer::Settings,
    /// The gateway.
    pub gateway: driftless_gateway::Settings,
}

/// Where settings come from.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConfigFile {
    /// A file with settings; a service's --print-config shows all of them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The same, for a service that shows its settings.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the settings that are in force, as a config file, and end.
    #[arg(long)]
    print_config: bool,
}

impl ConfigFile {
    /// Reads the file, if one was named.
    pub fn read(&self) -> Result<Config> {
        let Some(path) = &self.config else { return Ok(Config::default()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a valid config file", path.display()))
    }
}

impl ConfigArgs {
    /// Reads the file, if one was named.
    pub fn read(&self) -> Result<Config> {
        self.file.read()
    }

    /// Prints the settings if that was asked for; true: nothing else is to be done.
    pub fn print(&self, config: &Config) -> Result<bool> {
        if self.print_config {
            println!("{}", toml::to_string_pretty(config)?);
        }
        Ok(self.print_config)
    }
}

/// How the connections of a service are kept from others' eyes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TlsArgs {
    /// Speak TLS with this certificate: PEM, with those that lead to its root. It may change while the service runs.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak plain text also on an address that others can reach: behind a proxy that ends TLS, in a network that is trusted.
    #[arg(long, env = "DRIFTLESS_INSECURE")]
    insecure: bool,
}

impl TlsArgs {
    /// Flags win over the file.
    pub fn apply(&self, http: &mut Http) {
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            http.tls = Some(tls::Settings { cert: cert.clone(), key: key.clone() });
        }
        http.insecure |= self.insecure;
    }
}

/// The key that tokens are checked with.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// The key that tokens are checked with: a secret (HS256), a PEM public key, or a JWKS. `driftless token --new-key` makes one.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Users and tokens that are refused although they are signed well: lines `sub <name>` and `jti <id>`. Both files may change
    /// while the service runs.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_DENY_FILE")]
    deny_file: Option<PathBuf>,
}

impl KeyArgs {
    /// The verifier, from the flag or the config's `[auth]`.
    pub fn verifier(&self, config: &Config) -> Result<auth::Verifier> {
        let mut settings = match (&self.key_file, &config.auth) {
            (Some(path), Some(auth)) => auth::Settings { key_file: path.clone(), ..auth.clone() },
            (Some(path), None) => auth::Settings::with_key_file(path),
            (None, Some(auth)) => auth.clone(),
            (None, None) => anyhow::bail!(
                "no key to check tokens with: give --key-file (make one with `driftless token --new-key driftless.key`), \
                 or `key_file` in [auth] of the config file"
            ),
        };
        if self.deny_file.is_some() {
            settings.deny_file.clone_from(&self.deny_file);
        }
        Ok(auth::Verifier::new(settings)?)
    }
}

/// A path as `file://` wants it.
pub(crate) fn file_url(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))?;
    Ok(format!("file://{}", path.display()))
}
