//! The settings of all services in one file, `--config driftless.toml`: sections `[kafka]`,
//! `[auth]`, `[ingest]`, `[replayer]`, `[gateway]` and `[http]`. Every key has a default; flags
//! override the file.

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
    /// How tokens are checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<auth::Settings>,
    /// The HTTP server of gateway and replayer (ingest has its own section).
    pub http: Http,
    /// Ingest.
    pub ingest: driftless_ingest::Settings,
    /// The replayer.
    pub replayer: driftless_replayer::Settings,
    /// The gateway.
    pub gateway: driftless_gateway::Settings,
}

/// The file of settings.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConfigFile {
    /// A file with settings; --print-config of a service shows all settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The file of settings, for a service that can print them.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the settings in force as a config file, and end.
    #[arg(long)]
    print_config: bool,
}

impl ConfigFile {
    /// Reads the named file; without a name it returns the defaults.
    pub fn read(&self) -> Result<Config> {
        let Some(path) = &self.config else { return Ok(Config::default()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a valid config file", path.display()))
    }
}

impl ConfigArgs {
    /// Reads the named file; without a name it returns the defaults.
    pub fn read(&self) -> Result<Config> {
        self.file.read()
    }

    /// Prints the settings if `--print-config` asks for it. Returns true if it printed them: the
    /// program then ends.
    pub fn print(&self, config: &Config) -> Result<bool> {
        if self.print_config {
            println!("{}", toml::to_string_pretty(config)?);
        }
        Ok(self.print_config)
    }
}

/// TLS of a service.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TlsArgs {
    /// Use TLS with this certificate chain, PEM. The file may change while the service runs.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Allow plain text on an address that other machines can reach: behind a proxy that terminates
    /// TLS, in a trusted network.
    #[arg(long, env = "DRIFTLESS_INSECURE")]
    insecure: bool,
}

impl TlsArgs {
    /// Applies the flags, which override the file.
    pub fn apply(&self, http: &mut Http) {
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            http.tls = Some(tls::Settings { cert: cert.clone(), key: key.clone() });
        }
        http.insecure |= self.insecure;
    }
}

/// The key that verifies tokens.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// The key that verifies tokens: a secret (HS256), a PEM public key, or a JWKS. `driftless
    /// token --new-key` makes one.
    #[arg(long, value_name = "FILE", env = "DRIFTLESS_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Users and tokens to refuse although their signature is good: lines `sub <name>` and `jti
    /// <id>`. Key file and deny file may change while the service runs.
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
                "no key to verify tokens: give --key-file (make one with `driftless token --new-key driftless.key`), \
                 or `key_file` in [auth] of the config file"
            ),
        };
        if self.deny_file.is_some() {
            settings.deny_file.clone_from(&self.deny_file);
        }
        Ok(auth::Verifier::new(settings)?)
    }
}

/// The `file://` URL of a path.
pub(crate) fn file_url(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))?;
    Ok(format!("file://{}", path.display()))
}
